//! The web page: files that are part of the binary. They hold no data; what the page shows it asks the API for, as the user who has
//! logged in there.

use std::sync::LazyLock;

use axum::Router;
use axum::extract::Path;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use sha2::{Digest, Sha256};

use super::Api;
use super::error::ApiError;

/// Nothing is loaded from elsewhere, nothing runs that is not one of these files, no other page may frame this one.
const POLICY: &str = "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'";

/// One of the files.
struct Asset {
    /// Below `/assets/`.
    path: &'static str,
    content: &'static [u8],
    /// Changes with the content.
    etag: String,
}

macro_rules! assets {
    ($($path:literal,)*) => {
        [$(Asset::new($path, include_bytes!(concat!("assets/", $path)))),*]
    };
}

static ASSETS: LazyLock<Vec<Asset>> = LazyLock::new(|| {
    assets![
        "index.html",
        "icon.svg",
        "style.css",
        "parts.css",
        "main.js",
        "api.js",
        "charts.js",
        "dialog.js",
        "dom.js",
        "format.js",
        "history.js",
        "keys.js",
        "poll.js",
        "router.js",
        "table.js",
        "topology/graph.js",
        "topology/layout.js",
        "topology/draw.js",
        "views/breakdown.js",
        "views/channels.js",
        "views/connections.js",
        "views/deadletters.js",
        "views/exchanges.js",
        "views/journal.js",
        "views/login.js",
        "views/messages.js",
        "views/overview.js",
        "views/policies.js",
        "views/queue.js",
        "views/queues.js",
        "views/topology.js",
        "views/users.js",
        "views/vhosts.js",
    ]
    .into()
});

pub(super) fn routes() -> Router<Api> {
    Router::new().route("/", get(index)).route("/assets/{*path}", get(asset))
}

async fn index(headers: HeaderMap) -> Result<Response, ApiError> {
    serve("index.html", &headers)
}

async fn asset(Path(path): Path<String>, headers: HeaderMap) -> Result<Response, ApiError> {
    serve(&path, &headers)
}

fn serve(path: &str, headers: &HeaderMap) -> Result<Response, ApiError> {
    let asset = ASSETS.iter().find(|asset| asset.path == path).ok_or(ApiError::NotFound)?;
    let known = headers.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let is_known = known.split(',').any(|tag| tag.trim().trim_start_matches("W/") == asset.etag);
    let mut response = if is_known { StatusCode::NOT_MODIFIED.into_response() } else { asset.content.into_response() };
    let to = response.headers_mut();
    to.insert(header::ETAG, HeaderValue::from_str(&asset.etag).map_err(|_| ApiError::NotFound)?);
    let fixed: [(HeaderName, &'static str); 6] = [
        (header::CONTENT_TYPE, asset.content_type()),
        // Asked for again each time, and answered with 304: another version of the broker is another page.
        (header::CACHE_CONTROL, "no-cache"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
    ];
    for (name, value) in fixed {
        to.insert(name, HeaderValue::from_static(value));
    }
    Ok(response)
}

impl Asset {
    fn new(path: &'static str, content: &'static [u8]) -> Self {
        let hash: String = Sha256::digest(content).iter().take(12).map(|byte| format!("{byte:02x}")).collect();
        Self { path, content, etag: format!("\"{hash}\"") }
    }

    fn content_type(&self) -> &'static str {
        match self.path.rsplit_once('.') {
            Some((_, "html")) => "text/html; charset=utf-8",
            Some((_, "css")) => "text/css; charset=utf-8",
            Some((_, "js")) => "text/javascript; charset=utf-8",
            Some((_, "svg")) => "image/svg+xml",
            _ => "application/octet-stream",
        }
    }
}
