//! What a recording comes to when it is played: methods with their contents, connection by connection, in the order of their time.

use std::collections::{BTreeMap, HashMap};

use crate::recording::file::{self, Recording};
use crate::recording::format::Side;
use crate::recording::frames::Piece;
use crate::transcript::codec::{Argument, Arguments, decode_header, decode_method, print_content, print_method};
use crate::transcript::schema::Method;
use crate::transcript::value::Table;

/// A method, with its content if it has one.
#[derive(Clone, Debug)]
pub(super) struct Said {
    pub(super) channel: u16,
    pub(super) method: &'static Method,
    pub(super) arguments: Arguments,
    pub(super) content: Option<(Arguments, Vec<u8>)>,
}

impl Said {
    pub(super) fn name(&self) -> &'static str {
        self.method.name
    }

    pub(super) fn print(&self) -> String {
        let method = print_method(self.method, &self.arguments);
        match &self.content {
            Some((properties, body)) => method + &print_content(properties, body),
            None => method,
        }
    }
}

/// How a recorded connection was opened, which is done anew.
#[derive(Clone, Debug, Default)]
pub(super) struct Opening {
    pub(super) client_properties: Table,
    pub(super) vhost: Vec<u8>,
    /// As the client chose; 0 is no limit.
    pub(super) frame_max: u64,
}

#[derive(Debug)]
pub(super) struct Step {
    pub(super) connection: u64,
    pub(super) at_us: u64,
    pub(super) what: What,
}

#[derive(Debug)]
pub(super) enum What {
    Open(Opening),
    Said(Side, Said),
    /// The client is gone, without having said goodbye or after it.
    Gone,
}

#[derive(Debug, Default)]
pub(super) struct Script {
    pub(super) steps: Vec<Step>,
    /// What cannot be played.
    pub(super) notes: Vec<String>,
}

/// One side of a channel: the content that is being said.
#[derive(Default)]
struct Assembly {
    content: Option<(Said, u64)>,
}

impl Assembly {
    /// What is complete with this frame. None for what makes no sense, too.
    fn frame(&mut self, kind: u8, channel: u16, payload: &[u8]) -> Option<Said> {
        match kind {
            1 => {
                let (method, arguments) = decode_method(payload)?;
                let said = Said { channel, method, arguments, content: None };
                if !method.has_content() {
                    return Some(said);
                }
                self.content = Some((said, u64::MAX));
                None
            }
            2 => {
                let (said, size) = self.content.as_mut()?;
                let (body_size, properties) = decode_header(payload)?;
                *size = body_size;
                said.content = Some((properties, Vec::new()));
                self.finished()
            }
            3 => {
                self.content.as_mut()?.0.content.as_mut()?.1.extend_from_slice(payload);
                self.finished()
            }
            _ => None,
        }
    }

    fn finished(&mut self) -> Option<Said> {
        let is_whole = |(said, size): &mut (Said, u64)| said.content.as_ref().is_some_and(|(_, body)| body.len() as u64 >= *size);
        self.content.take_if(is_whole).map(|(said, _)| said)
    }
}

/// The methods of one direction of a connection.
#[derive(Default)]
pub(super) struct Assemblies(HashMap<u16, Assembly>);

impl Assemblies {
    pub(super) fn frame(&mut self, kind: u8, channel: u16, payload: &[u8]) -> Option<Said> {
        self.0.entry(channel).or_default().frame(kind, channel, payload)
    }
}

#[derive(Default)]
struct Connection {
    client: Assemblies,
    server: Assemblies,
    opening: Opening,
    is_open: bool,
    is_broken: bool,
}

pub(super) fn read(recording: &Recording) -> Script {
    let mut script = Script::default();
    let mut connections: BTreeMap<u64, Connection> = BTreeMap::new();
    for told in recording.told() {
        let (number, at_us) = (told.connection, told.at_us);
        let connection = connections.entry(number).or_default();
        let mut step = |what| script.steps.push(Step { connection: number, at_us, what });
        match told.what {
            file::What::Opened { .. } => {}
            file::What::Said(side, Piece::Frame { kind, channel, payload }) if !connection.is_broken => {
                let assemblies = if side == Side::Client { &mut connection.client } else { &mut connection.server };
                let Some(said) = assemblies.frame(kind, channel, &payload) else { continue };
                if connection.is_open {
                    step(What::Said(side, said));
                } else if let Some(opening) = connection.shake_hands(&said) {
                    step(What::Open(opening));
                }
            }
            file::What::Said(_, Piece::ProtocolHeader(_) | Piece::Frame { .. }) => {}
            file::What::Said(side, Piece::Garbage(_)) => {
                if !std::mem::replace(&mut connection.is_broken, true) {
                    script.notes.push(format!("c{number}{} is no AMQP from here on, and not played", side.mark()));
                }
            }
            file::What::Lost(side, count) => {
                script.notes.push(format!("c{number}{} {count} bytes were not recorded", side.mark()));
            }
            file::What::Closed if connection.is_open => step(What::Gone),
            file::What::Closed => {}
        }
    }
    for (number, connection) in &connections {
        if !connection.is_open {
            script.notes.push(format!("c{number} was never opened in the recording, and is not played"));
        }
    }
    script
}

impl Connection {
    /// Takes note of what the client chose; the opening where it is complete.
    fn shake_hands(&mut self, said: &Said) -> Option<Opening> {
        match said.name() {
            "connection.start-ok" => self.opening.client_properties = said.arguments.table("client_properties"),
            "connection.tune-ok" => self.opening.frame_max = said.arguments.number("frame_max"),
            "connection.open" => self.opening.vhost = said.arguments.string("vhost").to_vec(),
            "connection.open-ok" => {
                self.is_open = true;
                return Some(self.opening.clone());
            }
            _ => {}
        }
        None
    }
}

impl Said {
    /// As text, without what differs each time: delivery tags, and the times of deaths.
    pub(super) fn comparable(mut self) -> String {
        self.arguments.replace("delivery_tag", Argument::Number(0));
        if let Some((properties, _)) = &mut self.content {
            properties.forget_times_of_deaths();
        }
        self.print()
    }
}
