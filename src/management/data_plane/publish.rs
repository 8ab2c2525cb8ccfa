//! POST to an exchange: one message, whose body is the request's, or many, one JSON object on a line each.

use axum::body::Bytes;
use axum::extract::{FromRequest, Path, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde_json::{Value as Json, json};

use crate::amqp::basic::AMQPProperties;
use crate::amqp::{AMQPValue, FieldTable};
use crate::client::{Confirmation, PendingConfirm, Publication};
use crate::management::Api;
use crate::management::auth::{Caller, Client};
use crate::management::body::Fields;
use crate::management::declare::exchange_name;
use crate::management::error::ApiError;
use crate::management::messages::{blocked, confirmed, not_published, publisher};
use crate::management::query::Query;
use crate::management::values::properties_from_json;

const NDJSON: &str = "application/x-ndjson";
/// Headers with this beginning become headers of the message.
const HEADER_PREFIX: &str = "x-header-";
const PERSISTENT: u8 = 2;

pub(super) async fn publish(
    State(api): State<Api>,
    Client(caller): Client,
    Path((vhost, exchange)): Path<(String, String)>,
    query: Query,
    request: Request,
) -> Result<Response, ApiError> {
    caller.vhost(&vhost)?;
    let headers = request.headers().clone();
    let body = Bytes::from_request(request, &()).await.map_err(|_| ApiError::TooLarge)?;
    let exchange = exchange_name(&exchange);
    if headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind.as_bytes() == NDJSON.as_bytes()) {
        return publish_all(&api, &caller, &vhost, exchange, &body).await;
    }
    let key = query.get("routing_key").unwrap_or_default().to_owned();
    let publication = Publication::new(exchange.to_owned(), key, body).mandatory();
    let confirmation = confirmed(&api, &caller, &vhost, publication.with_properties(&properties(&headers)?)).await?;
    let routed = confirmation.returned.is_none();
    if !confirmation.acked {
        return Err(ApiError::TooMany("a queue takes no more messages".to_owned()));
    }
    let status = if routed { StatusCode::CREATED } else { StatusCode::OK };
    Ok(crate::management::json(status, &json!({"routed": routed})))
}

/// The properties of a message whose body comes as it is: persistent unless the request says otherwise.
fn properties(headers: &HeaderMap) -> Result<AMQPProperties, ApiError> {
    let mut properties = AMQPProperties::default().with_delivery_mode(PERSISTENT);
    let mut table = FieldTable::default();
    for (name, value) in headers {
        let name = name.as_str();
        let text = || match value.to_str() {
            Ok(text) if text.len() <= 255 => Ok(text),
            _ => Err(ApiError::bad_request(format!("the header {name} has to be a text of at most 255 bytes"))),
        };
        let number = || text()?.parse().map_err(|_| ApiError::bad_request(format!("the header {name} has to be a small number")));
        properties = match name {
            "content-type" => properties.with_content_type(text()?.into()),
            "content-encoding" => properties.with_content_encoding(text()?.into()),
            "x-delivery-mode" => properties.with_delivery_mode(number()?),
            "x-priority" => properties.with_priority(number()?),
            "x-correlation-id" => properties.with_correlation_id(text()?.into()),
            "x-reply-to" => properties.with_reply_to(text()?.into()),
            "x-expiration" => properties.with_expiration(text()?.into()),
            "x-message-id" => properties.with_message_id(text()?.into()),
            "x-type" => properties.with_type(text()?.into()),
            "x-app-id" => properties.with_app_id(text()?.into()),
            _ => {
                if let Some(name) = name.strip_prefix(HEADER_PREFIX).filter(|name| !name.is_empty()) {
                    table.insert(name.into(), AMQPValue::LongString(value.as_bytes().into()));
                }
                properties
            }
        };
    }
    Ok(if table.inner().is_empty() { properties } else { properties.with_headers(table) })
}

/// What became of a batch.
#[derive(Debug, Default, Serialize)]
struct Summary {
    routed: usize,
    unrouted: usize,
    refused: usize,
}

/// The messages are published in their order. All are confirmed before the answer; it counts what became of them.
async fn publish_all(api: &Api, caller: &Caller, vhost: &str, exchange: &str, body: &[u8]) -> Result<Response, ApiError> {
    let lines = body.split(|byte| *byte == b'\n').enumerate().filter(|(_, line)| !line.trim_ascii().is_empty());
    let publications = lines.map(|(number, line)| {
        publication(exchange, line).map_err(|error| match error {
            ApiError::BadRequest(why) => ApiError::BadRequest(format!("line {}: {why}", number + 1)),
            other => other,
        })
    });
    // Nothing is published of a batch that has something wrong in it.
    let publications: Vec<Publication> = publications.collect::<Result<_, _>>()?;
    let channel = publisher(api, caller, vhost).await?;
    let mut alarms = api.handle.on_alarms();
    let all = async {
        let mut pending: Vec<PendingConfirm> = Vec::new();
        for publication in publications {
            pending.push(channel.start_publish(publication).await?);
        }
        let mut summary = Summary::default();
        for confirm in pending {
            match confirm.await? {
                Confirmation { acked: false, .. } => summary.refused += 1,
                Confirmation { returned: Some(_), .. } => summary.unrouted += 1,
                Confirmation { .. } => summary.routed += 1,
            }
        }
        Ok(summary)
    };
    let summary = tokio::select! {
        biased;
        summary = all => summary.map_err(not_published)?,
        error = blocked(&mut alarms) => return Err(error),
    };
    api.amqp.give_back(caller, vhost, channel);
    let status = match summary {
        Summary { refused: 1.., .. } => StatusCode::TOO_MANY_REQUESTS,
        Summary { routed: 0, .. } => StatusCode::OK,
        Summary { .. } => StatusCode::CREATED,
    };
    Ok(crate::management::json(status, &summary))
}

/// `{"routing_key": …, "payload": …}`, with `payload_encoding` and `properties` where they are not the usual ones.
fn publication(exchange: &str, line: &[u8]) -> Result<Publication, ApiError> {
    let fields = Fields::parse(line)?;
    let body = match fields.get("payload") {
        None => Vec::new(),
        Some(Json::String(text)) => match fields.text("payload_encoding") {
            None | Some("string") => text.as_bytes().to_vec(),
            Some("base64") => STANDARD.decode(text).map_err(|_| ApiError::bad_request("payload is not base64"))?,
            Some(other) => return Err(ApiError::bad_request(format!("unsupported payload_encoding '{other}'"))),
        },
        // JSON in JSON is what many have.
        Some(json) => json.to_string().into_bytes(),
    };
    let properties = properties_from_json(fields.get("properties").unwrap_or(&json!({"delivery_mode": PERSISTENT})))?;
    let key = fields.text("routing_key").unwrap_or_default().to_owned();
    Ok(Publication::new(exchange.to_owned(), key, body).mandatory().with_properties(&properties))
}
