//! Names that a broker makes up: what they were in the recording, and what they are now.

use std::collections::HashMap;

use super::script::Said;
use crate::transcript::codec::{Argument, Arguments};

/// How RabbitMQ's begin, and those of others that keep to its habits.
const MADE_UP: [&[u8]; 3] = [b"amq.gen-", b"amq.ctag-", b"amq.rabbitmq.reply-to."];

#[derive(Debug, Default)]
pub(super) struct Names(HashMap<Vec<u8>, Vec<u8>>);

impl Names {
    /// Puts the names of now in the place of those of the recording.
    pub(super) fn reveal(&self, arguments: &mut Arguments) {
        arguments.change_strings(|string| {
            if let Some(now) = self.0.get(string.as_slice()) {
                string.clone_from(now);
            }
        });
    }

    /// An answer has come for one of the recording: names that differ there, and were made up, are the same thing.
    pub(super) fn learn(&mut self, expected: &Said, actual: &Said) {
        let pairs = [(&expected.arguments, &actual.arguments)].into_iter();
        let contents = expected.content.as_ref().zip(actual.content.as_ref()).map(|(expected, actual)| (&expected.0, &actual.0));
        for (expected, actual) in pairs.chain(contents) {
            for (name, then) in expected.iter() {
                if let (Argument::String(then), Some(Argument::String(now))) = (then, actual.get(name))
                    && then != now
                    && is_made_up(then)
                    && !self.0.contains_key(then)
                {
                    self.0.insert(then.clone(), now.clone());
                }
            }
        }
        // A name of another broker's own making, which the client left to it.
        if matches!(expected.name(), "queue.declare-ok" | "basic.consume-ok") {
            for name in ["queue", "consumer_tag"] {
                let (then, now) = (expected.arguments.string(name), actual.arguments.string(name));
                if then != now && is_made_up(now) {
                    self.0.entry(then.to_vec()).or_insert_with(|| now.to_vec());
                }
            }
        }
    }

    /// What was recorded, with the names of now.
    pub(super) fn translated(&self, said: &Said) -> Said {
        let mut said = said.clone();
        self.reveal(&mut said.arguments);
        if let Some((properties, _)) = &mut said.content {
            self.reveal(properties);
        }
        // Texts of errors have names in them.
        if !said.arguments.string("reply_text").is_empty() {
            let mut text = String::from_utf8_lossy(said.arguments.string("reply_text")).into_owned();
            for (then, now) in &self.0 {
                text = text.replace(&*String::from_utf8_lossy(then), &String::from_utf8_lossy(now));
            }
            said.arguments.replace("reply_text", Argument::String(text.into_bytes()));
        }
        said
    }

    pub(super) fn now<'a>(&'a self, then: &'a [u8]) -> &'a [u8] {
        self.0.get(then).map_or(then, Vec::as_slice)
    }
}

fn is_made_up(name: &[u8]) -> bool {
    MADE_UP.iter().any(|prefix| name.starts_with(prefix))
}
