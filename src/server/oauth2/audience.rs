//! Which of the broker's names a token is for: what its audience says, and who takes those that are for nobody here.

use serde_json::{Map, Value as Json};

use super::Server;

/// The server that a token is for, by claims that nobody has checked yet: it says whose signature they need.
///
/// # Errors
/// There is none, or more than one; in RabbitMQ's words.
pub(super) fn addressed<'a>(servers: &'a [Server], claims: &Map<String, Json>) -> Result<&'a Server, &'static str> {
    let audience = claims.get("aud").map(|audience| match audience {
        Json::String(text) => text.split(' ').collect(),
        Json::Array(all) => all.iter().filter_map(Json::as_str).collect(),
        _ => Vec::new(),
    });
    let called = |name: &str| servers.iter().find(|server| server.reader.id() == name);
    let mut named = audience.iter().flatten().filter_map(|name| called(name));
    match (named.next(), named.next()) {
        (Some(server), None) => return Ok(server),
        (Some(_), Some(_)) => return Err("aud_matched_many_resource_servers_only_one_allowed"),
        (None, _) => {}
    }
    let mut undemanding = servers.iter().filter(|server| !server.verify_aud);
    match (undemanding.next(), undemanding.next(), audience.is_some()) {
        (Some(server), None, _) => Ok(server),
        (None, _, false) => Err("no_aud_found"),
        (None, _, true) => Err("no_matching_aud_found"),
        (Some(_), Some(_), false) => Err("no_aud_found_cannot_pick_one_from_too_many_resource_servers"),
        (Some(_), Some(_), true) => Err("too_many_resources_with_verify_aud_false"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::servers;
    use super::*;
    use crate::config::{AuthOAuth2, ResourceServer};

    /// The root and two others; those that are named do not look at the audience.
    fn addressed_by(audience: &Json, undemanding: &[&str]) -> Result<String, &'static str> {
        let mut config = AuthOAuth2::default();
        config.root.id = Some("root".to_owned());
        config.root.verify_aud = Some(!undemanding.contains(&"root"));
        for name in ["prod", "dev"] {
            let verify_aud = Some(!undemanding.contains(&name));
            config.resource_servers.insert(name.to_owned(), ResourceServer { verify_aud, ..ResourceServer::default() });
        }
        let claims = if *audience == json!("none") { json!({}) } else { json!({"aud": audience}) };
        let servers = servers(&config).expect("servers");
        addressed(&servers, claims.as_object().expect("an object")).map(|server| server.reader.id().to_owned())
    }

    #[test]
    fn a_token_is_for_the_one_whom_it_names() {
        for (audience, name) in [(json!("root"), "root"), (json!("other dev"), "dev"), (json!(["prod", "other", 3]), "prod")] {
            for undemanding in [&[][..], &["root"], &["root", "prod", "dev"]] {
                assert_eq!(addressed_by(&audience, undemanding), Ok(name.to_owned()), "{audience} {undemanding:?}");
            }
        }
        for several in [json!("root dev"), json!(["prod", "dev"]), json!(["dev", "dev"])] {
            assert_eq!(addressed_by(&several, &["root"]), Err("aud_matched_many_resource_servers_only_one_allowed"), "{several}");
        }
    }

    #[test]
    fn a_token_that_names_nobody_is_for_the_one_who_does_not_ask() {
        let (none, other) = (json!("none"), json!("other"));
        for nobody in [&none, &other, &json!([]), &json!(null), &json!(3)] {
            assert_eq!(addressed_by(nobody, &["dev"]), Ok("dev".to_owned()), "{nobody}");
            assert_eq!(addressed_by(nobody, &["root"]), Ok("root".to_owned()), "{nobody}");
        }
        assert_eq!(addressed_by(&none, &[]), Err("no_aud_found"));
        assert_eq!(addressed_by(&other, &[]), Err("no_matching_aud_found"));
        assert_eq!(addressed_by(&json!(null), &[]), Err("no_matching_aud_found"));
        assert_eq!(addressed_by(&none, &["dev", "root"]), Err("no_aud_found_cannot_pick_one_from_too_many_resource_servers"));
        assert_eq!(addressed_by(&other, &["dev", "prod"]), Err("too_many_resources_with_verify_aud_false"));
    }
}
