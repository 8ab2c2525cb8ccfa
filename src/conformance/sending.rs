//! What a `>` line says, as bytes.

use super::link::{Link, Stage};
use crate::transcript::codec::{Arguments, encode_header, encode_method, frame, kind_of, property_kind};
use crate::transcript::schema::{Kind, Method};
use crate::transcript::text::Text;

impl Link {
    /// Sends what the text of a `>` line says, see the module header of `scenario`.
    pub(crate) fn send_line(&mut self, channel: u16, text: &str) -> Result<(), String> {
        let mut text = Text::new(text);
        let word = text.bare();
        match word.as_str() {
            "raw" => {
                let bytes = text.raw()?;
                self.write(&bytes);
            }
            "frame" => {
                let kind = text.bare().parse().map_err(|_| "not a frame type")?;
                self.write(&frame(kind, channel, &text.raw()?));
            }
            "header" => {
                let kind_of = |name: &str| match name {
                    "class_id" => Some(Kind::Short),
                    "body_size" => Some(Kind::LongLong),
                    _ => property_kind(name),
                };
                let arguments = Arguments::parse(&mut text, kind_of)?;
                let class_id = match arguments.number("class_id") {
                    0 => 60,
                    other => u16::try_from(other).map_err(|_| "class_id too large")?,
                };
                let payload = encode_header(class_id, arguments.number("body_size"), &arguments);
                self.write(&frame(2, channel, &payload));
            }
            "body" => {
                let body = text.raw()?;
                self.write(&frame(3, channel, &body));
            }
            "only" => {
                let name = text.bare();
                self.send_method(channel, &name, &mut text, false)?;
            }
            name => self.send_method(channel, name, &mut text, true)?,
        }
        Ok(())
    }

    fn send_method(&mut self, channel: u16, name: &str, text: &mut Text, with_content: bool) -> Result<(), String> {
        let method = Method::by_name(name).ok_or_else(|| format!("no method '{name}'"))?;
        let arguments = Arguments::parse(text, |name| kind_of(method, name))?;
        self.send(channel, method, &arguments, with_content);
        Ok(())
    }

    pub(crate) fn send(&mut self, channel: u16, method: &'static Method, arguments: &Arguments, with_content: bool) {
        self.remember(channel, method, arguments);
        let mut bytes = frame(1, channel, &encode_method(method, arguments));
        if method.has_content() && with_content {
            let body = arguments.string("body");
            bytes.extend(frame(2, channel, &encode_header(60, body.len() as u64, arguments)));
            for part in body.chunks(self.frame_max - 8) {
                bytes.extend(frame(3, channel, part));
            }
        }
        self.write(&bytes);
    }

    fn remember(&mut self, channel: u16, method: &'static Method, arguments: &Arguments) {
        match method.name {
            "connection.close" => self.stage = Stage::Closing,
            "connection.update-secret" => self.secrets.push_back(false),
            "queue.declare" if !arguments.bit("passive") => {
                let mut queue = arguments.string("queue").to_vec();
                queue.retain(|byte| !b"\r\n".contains(byte));
                self.queues.push((queue, arguments.bit("exclusive")));
            }
            "exchange.declare" if !arguments.bit("passive") => {
                self.exchanges.push(arguments.string("exchange").to_vec());
            }
            "connection.tune-ok" => {
                self.frame_max = usize::try_from(arguments.number("frame_max")).unwrap_or(0).max(4096);
            }
            _ => {}
        }
        self.channel(channel).sending(method);
    }
}
