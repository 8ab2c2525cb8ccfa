//! `rabbitmqctl`'s words as inputs of a broker in this process.

use leveret::broker::policy::Policy;
use leveret::broker::{Connections, Input, Limits};
use serde_json::{Value, json};

/// Who RabbitMQ says has acted when `rabbitmqctl` did.
const USER: &str = "rmq-cli";

/// What the words ask for. An error is what `rabbitmqctl` says.
pub(crate) fn input(words: &[String]) -> Result<Input<'_>, String> {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["set_policy", name, pattern, definition, options @ ..] => set(false, name, pattern, definition, options),
        ["set_operator_policy", name, pattern, definition, options @ ..] => set(true, name, pattern, definition, options),
        ["clear_policy", name] => Ok(Input::ClearPolicy { operator: false, name, user: USER }),
        ["clear_operator_policy", name] => Ok(Input::ClearPolicy { operator: true, name, user: USER }),
        ["trace_on"] => Ok(Input::Trace(true)),
        ["trace_off"] => Ok(Input::Trace(false)),
        ["set_vhost_limits", limits] => vhost_limits(limits),
        ["clear_vhost_limits"] => Ok(Input::SetLimits(Limits::default())),
        ["close_all_connections", reason] => Ok(Input::CloseConnections { which: Connections::All, reason }),
        ["close_all_user_connections", user, reason] => Ok(Input::CloseConnections { which: Connections::Of(user), reason }),
        _ => Err(format!("nobody knows how to do '{}'", words.join(" "))),
    }
}

/// A negative number is no limit.
fn vhost_limits<'a>(limits: &str) -> Result<Input<'a>, String> {
    let limits: Value = serde_json::from_str(limits).map_err(|error| error.to_string())?;
    Ok(Input::SetLimits(Limits { max_queues: limits["max-queues"].as_u64(), ..Limits::default() }))
}

fn set<'a>(operator: bool, name: &str, pattern: &str, definition: &str, options: &[&str]) -> Result<Input<'a>, String> {
    let definition: Value = serde_json::from_str(definition).map_err(|error| format!("{definition}: {error}"))?;
    let mut value = json!({ "pattern": pattern, "definition": definition });
    for option in options.chunks(2) {
        match option {
            ["--priority", number] => value["priority"] = json!(number.parse::<i64>().map_err(|error| error.to_string())?),
            ["--apply-to", what] => value["apply-to"] = json!(what),
            other => return Err(format!("unknown option '{}'", other.join(" "))),
        }
    }
    let policy = Box::new(Policy::from_json(operator, name, &value)?);
    Ok(Input::SetPolicy { operator, policy, user: USER })
}
