//! The few Erlang expressions that test suites of clients evaluate: alarms, channel_max, loopback_users. They are recognised, not run.

use serde_json::json;

use super::call::Call;
use super::failure::{Failure, USAGE};

#[derive(Clone, Debug, PartialEq, Eq)]
enum Wish {
    Alarm { set: bool, alarm: &'static str },
    ChannelMax(u16),
    LoopbackUsers(Vec<String>),
}

pub(super) fn eval(call: &mut Call) -> Result<(), Failure> {
    let Some(wish) = understand(&call.words().join(" ")) else {
        return Err(Failure::plain(USAGE, "Error: eval is not available: leveret has no Erlang runtime"));
    };
    match wish {
        Wish::Alarm { set, alarm } => {
            call.have(if set { "PUT" } else { "DELETE" }, &format!("/api/leveret/alarms/{alarm}"), None)?;
        }
        Wish::ChannelMax(channel_max) => call.have("PUT", "/api/leveret/tuning", Some(&json!({"channel_max": channel_max})))?,
        Wish::LoopbackUsers(users) => call.have("PUT", "/api/leveret/tuning", Some(&json!({"loopback_users": users})))?,
    }
    call.line("ok");
    Ok(())
}

fn understand(text: &str) -> Option<Wish> {
    let text: String = text.chars().filter(|c| !c.is_whitespace()).collect();
    let text = text.trim_end_matches('.');
    if let Some(arguments) = text.strip_prefix("rabbit_alarm:") {
        let (set, of) = match arguments.split_once('(')? {
            ("set_alarm", of) => (true, of.strip_prefix("{{resource_limit,")?),
            ("clear_alarm", of) => (false, of.strip_prefix("{resource_limit,")?),
            _ => return None,
        };
        let alarm = ["memory", "disk"].into_iter().find(|alarm| of.starts_with(&format!("{alarm},node()}}")))?;
        return Some(Wish::Alarm { set, alarm });
    }
    let setting = text.strip_prefix("application:set_env(rabbit,")?.strip_suffix(')')?;
    let (key, value) = setting.split_once(',')?;
    match key {
        "channel_max" => value.parse().ok().map(Wish::ChannelMax),
        "loopback_users" => {
            let users = value.strip_prefix('[')?.strip_suffix(']')?;
            let user = |user: &str| Some(user.strip_prefix("<<\"")?.strip_suffix("\">>")?.to_owned());
            users.split(',').filter(|user| !user.is_empty()).map(user).collect::<Option<_>>().map(Wish::LoopbackUsers)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_java_client_evaluates() {
        let alarm = |set, alarm| Some(Wish::Alarm { set, alarm });
        assert_eq!(understand("rabbit_alarm:set_alarm({{resource_limit, memory, node()}, []})."), alarm(true, "memory"));
        assert_eq!(understand("rabbit_alarm:clear_alarm({resource_limit, disk, node()})."), alarm(false, "disk"));
        assert_eq!(understand("application:set_env(rabbit, channel_max, 5)."), Some(Wish::ChannelMax(5)));
        assert_eq!(understand("application:set_env(rabbit, loopback_users, [])."), Some(Wish::LoopbackUsers(Vec::new())));
        let guest = Some(Wish::LoopbackUsers(vec!["guest".to_owned()]));
        assert_eq!(understand("application:set_env(rabbit, loopback_users, [<<\"guest\">>])."), guest);
        assert_eq!(understand("1+1."), None);
        assert_eq!(understand("application:set_env(rabbit, other, 5)."), None);
    }
}
