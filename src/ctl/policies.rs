//! Policies, parameters, limits: named JSON.

use serde_json::{Map, Value as Json, json};

use super::call::{Call, refused};
use super::failure::{DATA, Failure, UNAVAILABLE};
use super::format::{Kind, Rows, column};
use super::http::{Answer, segment};
use super::lists::{self, Field};

pub(super) fn set_policy(call: &mut Call) -> Result<(), Failure> {
    set(call, "policies", "policy")
}

pub(super) fn set_operator_policy(call: &mut Call) -> Result<(), Failure> {
    set(call, "operator-policies", "operator policy override")
}

fn set(call: &mut Call, resource: &str, what: &str) -> Result<(), Failure> {
    let (vhost, name) = (call.vhost(), call.word(0).to_owned());
    let (pattern, definition) = (call.word(1).to_owned(), call.word(2).to_owned());
    let priority = call.arguments.get("priority").unwrap_or("0").to_owned();
    let apply_to = call.arguments.get("apply-to").unwrap_or("all").to_owned();
    call.banner(format!(
        "Setting {what} \"{name}\" for pattern \"{pattern}\" to \"{definition}\" with priority \"{priority}\" for vhost \"{vhost}\" ..."
    ));
    let priority: i64 = priority.parse().map_err(|_| Failure::error(DATA, "priority must be an integer"))?;
    let definition: Json = serde_json::from_str(&definition).map_err(|_| Failure::no_json())?;
    call.need_vhost(&vhost)?;
    let body = json!({"pattern": pattern, "definition": definition, "priority": priority, "apply-to": apply_to});
    call.have("PUT", &of(resource, &vhost, &name), Some(&body))
}

pub(super) fn clear_policy(call: &mut Call) -> Result<(), Failure> {
    clear(call, "policies", "policy")
}

pub(super) fn clear_operator_policy(call: &mut Call) -> Result<(), Failure> {
    clear(call, "operator-policies", "operator policy")
}

fn clear(call: &mut Call, resource: &str, what: &str) -> Result<(), Failure> {
    let (vhost, name) = (call.vhost(), call.word(0).to_owned());
    call.banner(format!("Clearing {what} \"{name}\" on vhost \"{vhost}\" ..."));
    let answer = call.send("DELETE", &of(resource, &vhost, &name), None)?;
    there(&answer)
}

fn of(resource: &str, vhost: &str, name: &str) -> String {
    format!("/api/{resource}/{}/{}", segment(vhost), segment(name))
}

fn there(answer: &Answer) -> Result<(), Failure> {
    if answer.status == 404 { Err(Failure::no_parameter()) } else { refused(answer) }
}

const POLICY: &[Field] = &[
    Field::plain("vhost"),
    Field::plain("name"),
    Field::plain("pattern"),
    Field::plain("apply-to"),
    Field::new("definition", "/definition", Kind::Text),
    Field::plain("priority"),
];

pub(super) fn list_policies(call: &mut Call) -> Result<(), Failure> {
    list(call, "policies", "policies")
}

/// The one that counts first, the others behind it.
pub(super) fn list_policies_that_match(call: &mut Call) -> Result<(), Failure> {
    let (vhost, name) = (call.vhost(), call.word(0).to_owned());
    let kind = call.arguments.get("object-type").unwrap_or("queue").to_owned();
    call.banner(format!("Listing policies that match {kind} '{name}' in vhost '{vhost}' ..."));
    let resource = match kind.as_str() {
        "queue" => "queues",
        "exchange" => "exchanges",
        _ => return Err(Failure::bad_argument(format!("object type {kind} is not supported. Try one of: queue, exchange"))),
    };
    let answer = call.send("GET", &format!("/api/{resource}/{}/{}?columns=type", segment(&vhost), segment(&name)), None)?;
    if answer.status == 404 {
        return Err(Failure::error(UNAVAILABLE, "not_found"));
    }
    refused(&answer)?;
    let queue_type = format!("{}_queues", answer.json()["type"].as_str().unwrap_or("classic").trim_start_matches("rabbit_"));
    let applies = |policy: &Json| {
        let to = policy["apply-to"].as_str().unwrap_or_default();
        let pattern = fancy_regex::Regex::new(policy["pattern"].as_str().unwrap_or_default());
        let of_this = if kind == "queue" { to == "queues" || to == queue_type } else { to == "exchanges" };
        (to == "all" || of_this) && pattern.is_ok_and(|pattern| pattern.is_match(&name).unwrap_or(false))
    };
    let found = call.get(&format!("/api/policies/{}", segment(&vhost)))?;
    let mut matching: Vec<Json> = found.as_array().into_iter().flatten().filter(|policy| applies(policy)).cloned().collect();
    matching.sort_by_key(|policy| std::cmp::Reverse(policy["priority"].as_i64()));
    lists::show(call, POLICY, &Json::Array(matching));
    Ok(())
}

pub(super) fn list_operator_policies(call: &mut Call) -> Result<(), Failure> {
    list(call, "operator-policies", "operator policy overrides")
}

fn list(call: &mut Call, resource: &str, what: &str) -> Result<(), Failure> {
    let vhost = call.vhost();
    call.banner(format!("Listing {what} for vhost \"{vhost}\" ..."));
    call.need_vhost(&vhost)?;
    let found = call.get(&format!("/api/{resource}/{}", segment(&vhost)))?;
    lists::show(call, POLICY, &found);
    Ok(())
}

pub(super) fn set_parameter(call: &mut Call) -> Result<(), Failure> {
    let (vhost, component, name) = (call.vhost(), call.word(0).to_owned(), call.word(1).to_owned());
    let text = call.word(2).to_owned();
    call.banner(format!("Setting runtime parameter \"{name}\" for component \"{component}\" to \"{text}\" in vhost \"{vhost}\" ..."));
    let value: Json = serde_json::from_str(&text).map_err(|_| Failure::no_json())?;
    call.need_vhost(&vhost)?;
    let path = of(&format!("parameters/{}", segment(&component)), &vhost, &name);
    call.have("PUT", &path, Some(&json!({"component": component, "vhost": vhost, "name": name, "value": value})))
}

pub(super) fn clear_parameter(call: &mut Call) -> Result<(), Failure> {
    let (vhost, component, name) = (call.vhost(), call.word(0).to_owned(), call.word(1).to_owned());
    call.banner(format!("Clearing runtime parameter \"{name}\" for component \"{component}\" on vhost \"{vhost}\" ..."));
    let answer = call.send("DELETE", &of(&format!("parameters/{}", segment(&component)), &vhost, &name), None)?;
    there(&answer)
}

pub(super) fn list_parameters(call: &mut Call) -> Result<(), Failure> {
    let vhost = call.vhost();
    call.banner(format!("Listing runtime parameters for vhost \"{vhost}\" ..."));
    call.need_vhost(&vhost)?;
    let found = call.get("/api/parameters")?;
    let here = found.as_array().into_iter().flatten().filter(|parameter| parameter["vhost"] == *vhost).cloned().collect();
    let fields = [Field::plain("component"), Field::plain("name"), Field::new("value", "/value", Kind::Text)];
    lists::show(call, &fields, &Json::Array(here));
    Ok(())
}

pub(super) fn set_global_parameter(call: &mut Call) -> Result<(), Failure> {
    let (name, text) = (call.word(0).to_owned(), call.word(1).to_owned());
    call.banner(format!("Setting global runtime parameter \"{name}\" to \"{text}\" ..."));
    let value: Json = serde_json::from_str(&text).map_err(|_| Failure::no_json())?;
    let path = format!("/api/global-parameters/{}", segment(&name));
    call.have("PUT", &path, Some(&json!({"name": name, "value": value})))
}

pub(super) fn clear_global_parameter(call: &mut Call) -> Result<(), Failure> {
    let name = call.word(0).to_owned();
    call.banner(format!("Clearing global runtime parameter \"{name}\" ..."));
    let answer = call.send("DELETE", &format!("/api/global-parameters/{}", segment(&name)), None)?;
    there(&answer)
}

pub(super) fn list_global_parameters(call: &mut Call) -> Result<(), Failure> {
    call.banner("Listing global runtime parameters ...");
    let found = call.get("/api/global-parameters")?;
    // Strings are shown as the JSON that they are.
    let row = |entry: &Json| vec![entry["name"].clone(), entry["value"].to_string().into()];
    let rows = found.as_array().into_iter().flatten().map(row).collect();
    call.rows(&Rows { columns: vec![column("name", Kind::Plain), column("value", Kind::Plain)], rows });
    Ok(())
}

/// What limits are of.
struct Limited {
    resource: &'static str,
    name: String,
    /// RabbitMQ's words for it.
    known: &'static [&'static str],
}

impl Limited {
    fn vhost(name: &str) -> Self {
        Self { resource: "vhost-limits", name: name.to_owned(), known: &["max-connections", "max-queues"] }
    }

    fn user(name: &str) -> Self {
        Self { resource: "user-limits", name: name.to_owned(), known: &["max-connections", "max-channels"] }
    }

    fn path(&self, limit: &str) -> String {
        format!("/api/{}/{}/{limit}", self.resource, segment(&self.name))
    }

    fn set(&self, call: &mut Call, limits: &Map<String, Json>) -> Result<(), Failure> {
        // What is not named is no limit any more.
        for limit in self.known {
            match limits.get(*limit) {
                Some(value) => call.have("PUT", &self.path(limit), Some(&json!({ "value": value })))?,
                None => self.clear(call, limit)?,
            }
        }
        Ok(())
    }

    fn clear(&self, call: &mut Call, limit: &str) -> Result<(), Failure> {
        let answer = call.send("DELETE", &self.path(limit), None)?;
        if answer.status == 404 { Ok(()) } else { refused(&answer) }
    }

    /// The limits of one as JSON; empty where there are none.
    fn get(&self, call: &mut Call) -> Result<Map<String, Json>, Failure> {
        let mut found = call.get(&format!("/api/{}/{}", self.resource, segment(&self.name)))?;
        Ok(match found.pointer_mut("/0/value").map(Json::take) {
            Some(Json::Object(limits)) => limits,
            _ => Map::new(),
        })
    }

    fn parse(&self, text: &str) -> Result<Map<String, Json>, String> {
        let Ok(Json::Object(limits)) = serde_json::from_str(text) else { return Err(String::new()) };
        let unknown = limits.iter().filter(|(name, _)| !self.known.contains(&name.as_str()));
        let unknown: Vec<String> = unknown.map(|(name, value)| format!("{{<<\"{name}\">>,{value}}}")).collect();
        if unknown.is_empty() { Ok(limits) } else { Err(format!("[{}]", unknown.join(","))) }
    }
}

pub(super) fn set_vhost_limits(call: &mut Call) -> Result<(), Failure> {
    let (vhost, definition) = (call.vhost(), call.word(0).to_owned());
    call.banner(format!("Setting vhost limits to \"{definition}\" for vhost \"{vhost}\" ..."));
    let limited = Limited::vhost(&vhost);
    let limits = limited.parse(&definition).map_err(|unknown| match unknown.as_str() {
        "" => Failure::no_json(),
        unknown => Failure::error(UNAVAILABLE, format!("Validation failed\n\nUnrecognised terms {unknown} in limits\n")),
    })?;
    call.need_vhost(&vhost)?;
    limited.set(call, &limits)
}

pub(super) fn clear_vhost_limits(call: &mut Call) -> Result<(), Failure> {
    let vhost = call.vhost();
    call.banner(format!("Clearing vhost \"{vhost}\" limits ..."));
    call.need_vhost(&vhost)?;
    Limited::vhost(&vhost).set(call, &Map::new())
}

pub(super) fn list_vhost_limits(call: &mut Call) -> Result<(), Failure> {
    if call.arguments.has("global") {
        call.banner("Listing limits for all vhosts ...");
        return all_limits(call, "vhost-limits", "vhost");
    }
    let vhost = call.vhost();
    call.banner(format!("Listing limits for vhost \"{vhost}\" ..."));
    call.need_vhost(&vhost)?;
    let limits = Limited::vhost(&vhost).get(call)?;
    let text = if limits.is_empty() { String::new() } else { Json::Object(limits.clone()).to_string() };
    call.found(&Json::Object(limits), text);
    Ok(())
}

pub(super) fn set_user_limits(call: &mut Call) -> Result<(), Failure> {
    let (user, definition) = (call.word(0).to_owned(), call.word(1).to_owned());
    call.banner(format!("Setting user limits to \"{definition}\" for user \"{user}\" ..."));
    let limited = Limited::user(&user);
    let limits = limited.parse(&definition).map_err(|unknown| match unknown.as_str() {
        "" => Failure::no_json(),
        unknown => Failure::error(UNAVAILABLE, format!("Unrecognised terms {unknown} in user-limits")),
    })?;
    need_user(call, &user)?;
    limited.set(call, &limits)
}

pub(super) fn clear_user_limits(call: &mut Call) -> Result<(), Failure> {
    let (user, limit) = (call.word(0).to_owned(), call.word(1).to_owned());
    call.banner(format!("Clearing \"{limit}\" limit for user \"{user}\" ..."));
    need_user(call, &user)?;
    let limited = Limited::user(&user);
    if limit == "all" { limited.set(call, &Map::new()) } else { limited.clear(call, &limit) }
}

pub(super) fn list_user_limits(call: &mut Call) -> Result<(), Failure> {
    if call.arguments.has("global") {
        call.banner("Listing limits for all users ...");
        return all_limits(call, "user-limits", "user");
    }
    let user = call.arguments.get("user").unwrap_or("guest").to_owned();
    call.banner(format!("Listing limits for user \"{user}\" ..."));
    need_user(call, &user)?;
    let limits = Json::Object(Limited::user(&user).get(call)?);
    call.found(&limits, limits.to_string());
    Ok(())
}

fn need_user(call: &mut Call, user: &str) -> Result<(), Failure> {
    if call.has_user(user)? { Ok(()) } else { Err(Failure::no_user(user)) }
}

fn all_limits(call: &mut Call, resource: &str, owner: &'static str) -> Result<(), Failure> {
    let found = call.get(&format!("/api/{resource}"))?;
    let row = |entry: &Json| vec![entry[owner].clone(), entry["value"].clone()];
    let rows = found.as_array().into_iter().flatten().map(row).collect();
    call.rows(&Rows { columns: vec![column(owner, Kind::Plain), column("limits", Kind::Text)], rows });
    Ok(())
}
