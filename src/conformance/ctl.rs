//! What an administrator does in a transcript: the words of a `ctl` line, and how to take back what they did.

use crate::transcript::text::Text;

/// Splits a line into the words a shell would give to `rabbitmqctl`, except that JSON needs no quotes around it: `"two words"` and
/// `{"a": [1, 2]}` are one word each.
pub(crate) fn words(line: &str) -> Result<Vec<String>, String> {
    let mut text = Text::new(line);
    let mut words = Vec::new();
    while !text.is_done() {
        let word = match text.peek() {
            Some(b'"') => text.quoted()?,
            Some(b'{') => json(&mut text)?,
            _ => {
                let length = text.rest().iter().position(|byte| *byte == b' ').unwrap_or(text.rest().len());
                let word = text.rest()[..length].to_vec();
                text.advance(length);
                word
            }
        };
        words.push(String::from_utf8(word).map_err(|_| format!("not UTF-8: {line}"))?);
    }
    Ok(words)
}

/// Up to the brace that closes the first one.
fn json(text: &mut Text) -> Result<Vec<u8>, String> {
    let bytes = text.rest();
    let (mut depth, mut in_string, mut is_escaped) = (0_usize, false, false);
    for (index, byte) in bytes.iter().enumerate() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = in_string,
            b'"' => in_string = !in_string,
            b'{' if !in_string => depth += 1,
            b'}' if !in_string => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            text.advance(index + 1);
            return Ok(bytes[..=index].to_vec());
        }
    }
    Err(format!("missing closing brace: {}", String::from_utf8_lossy(bytes)))
}

/// What the commands of a scenario have set and not cleared: the words that clear it.
#[derive(Default)]
pub(crate) struct Undo(Vec<Vec<String>>);

impl Undo {
    /// Takes note of a command before it is given, as it may fail half-way. The name of a policy or user must come first, as options may
    /// follow it.
    pub(crate) fn note(&mut self, words: &[String]) -> Result<(), String> {
        let name = || words.get(1).filter(|name| !name.starts_with('-')).cloned().ok_or("the name must come first");
        let verb = words.first().map(String::as_str).unwrap_or_default();
        match verb {
            "set_policy" => self.remember(vec!["clear_policy".to_owned(), name()?]),
            "set_operator_policy" => self.remember(vec!["clear_operator_policy".to_owned(), name()?]),
            "add_user" => self.remember(vec!["delete_user".to_owned(), name()?]),
            "set_vhost_limits" => self.remember(vec!["clear_vhost_limits".to_owned()]),
            "trace_on" => self.remember(vec!["trace_off".to_owned()]),
            "clear_policy" | "clear_operator_policy" | "trace_off" | "clear_vhost_limits" | "delete_user" => {
                self.0.retain(|clearing| clearing != words);
            }
            // They go with the user.
            "set_permissions" | "clear_permissions" | "set_topic_permissions" | "clear_topic_permissions" => self.needs_user(words)?,
            "set_user_tags" | "set_user_limits" => self.needs_user(words)?,
            "close_all_connections" | "close_all_user_connections" => {}
            _ => return Err(format!("nobody knows how to take back '{verb}'")),
        }
        Ok(())
    }

    /// Nothing is to be changed about users that were there before.
    fn needs_user(&self, words: &[String]) -> Result<(), String> {
        let deletes = |clearing: &Vec<String>| clearing[0] == "delete_user" && clearing.get(1) == words.get(1);
        if self.0.iter().any(deletes) { Ok(()) } else { Err("only users of the scenario may be changed".to_owned()) }
    }

    fn remember(&mut self, clearing: Vec<String>) {
        if !self.0.contains(&clearing) {
            self.0.push(clearing);
        }
    }

    pub(crate) fn commands(&self) -> &[Vec<String>] {
        &self.0
    }
}
