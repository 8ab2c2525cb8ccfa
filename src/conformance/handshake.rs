//! Opening a connection: by itself with the usual answers, or with those a `c1: …` line asks for.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::link::{Link, Stage};
use super::transport::Broker;
use crate::transcript::codec::Arguments;
use crate::transcript::text::{Text, quote};
use crate::transcript::value::{Value, encode_short};

const CAPABILITIES: &str = r#"{"authentication_failure_close": true, "basic.nack": true, "connection.blocked": true, "consumer_cancel_notify": true, "exchange_exchange_bindings": true, "per_consumer_qos": true, "publisher_confirms": true}"#;

/// What a `c1: user=… vhost=…` line may choose.
pub(crate) struct Choices {
    user: String,
    password: String,
    mechanism: String,
    vhost: String,
    capabilities: String,
    frame_max: Option<u64>,
    channel_max: Option<u64>,
    heartbeat: u64,
    /// `handshake=none`: only the socket is opened.
    by_hand: bool,
}

impl Choices {
    pub(crate) fn parse(line: &str) -> Result<Choices, String> {
        let mut choices = Choices {
            user: "guest".to_owned(),
            password: "guest".to_owned(),
            mechanism: "PLAIN".to_owned(),
            vhost: "/".to_owned(),
            capabilities: CAPABILITIES.to_owned(),
            frame_max: None,
            channel_max: None,
            heartbeat: 0,
            by_hand: false,
        };
        let mut text = Text::new(line);
        while !text.is_done() {
            let name = text.bare();
            text.expect(b'=')?;
            let value = String::from_utf8_lossy(&text.string()?).into_owned();
            let number = || value.parse::<u64>().map_err(|_| format!("not a number: '{value}'"));
            match name.as_str() {
                "user" => choices.user = value,
                "password" => choices.password = value,
                "mechanism" => choices.mechanism = value,
                "vhost" => choices.vhost = value,
                "capabilities" if value == "none" => choices.capabilities = "{}".to_owned(),
                "frame_max" => choices.frame_max = Some(number()?),
                "channel_max" => choices.channel_max = Some(number()?),
                "heartbeat" => choices.heartbeat = number()?,
                "handshake" if value == "none" => choices.by_hand = true,
                _ => return Err(format!("no choice '{name}={value}'")),
            }
        }
        Ok(choices)
    }

    /// The start-ok response as the transcript's text for it.
    fn response(&self) -> String {
        let (user, password) = (&self.user, &self.password);
        match self.mechanism.as_str() {
            "AMQPLAIN" => {
                let mut table = Vec::new();
                for (key, value) in [("LOGIN", user), ("PASSWORD", password)] {
                    encode_short(key.as_bytes(), &mut table);
                    Value::Str(value.clone().into_bytes()).encode(&mut table);
                }
                quote(&table)
            }
            _ => quote(format!("\0{user}\0{password}").as_bytes()),
        }
    }
}

/// Connects. If the broker refuses, the lines of the connection say how.
pub(crate) fn connect(broker: &dyn Broker, choices: &Choices) -> Link {
    let mut link = Link::new(broker.connect());
    // A refusal may take its time.
    link.patience = (broker.patience() * 3).max(Duration::from_secs(5));
    if !choices.by_hand {
        link.handshake = Some(VecDeque::new());
        let is_open = shake_hands(&mut link, choices).is_some();
        link.handshake = None;
        if !is_open && link.line_count() == 0 {
            link.channel(0).complain("no answer in the handshake");
            link.abandon();
        }
    }
    link
}

fn shake_hands(link: &mut Link, choices: &Choices) -> Option<()> {
    link.write(b"AMQP\x00\x00\x09\x01");
    await_method(link, "connection.start")?;
    link.send_text(
        0,
        &format!(
            "connection.start-ok client_properties={{\"product\": \"scenario\", \"capabilities\": {}}} mechanism={} response={} locale=en_US",
            choices.capabilities,
            choices.mechanism,
            choices.response(),
        ),
    );
    let tune = await_method(link, "connection.tune")?;
    let channel_max = choices.channel_max.unwrap_or(tune.number("channel_max"));
    let frame_max = choices.frame_max.unwrap_or(tune.number("frame_max"));
    let heartbeat = choices.heartbeat;
    link.send_text(0, &format!("connection.tune-ok channel_max={channel_max} frame_max={frame_max} heartbeat={heartbeat}"));
    link.send_text(0, &format!("connection.open vhost={}", quote(choices.vhost.as_bytes())));
    await_method(link, "connection.open-ok")?;
    Some(())
}

fn await_method(link: &mut Link, name: &str) -> Option<Arguments> {
    let deadline = Instant::now() + link.patience;
    loop {
        let answer = link.handshake.as_mut().and_then(VecDeque::pop_front);
        match answer {
            Some((method, arguments)) if method.name == name => return Some(arguments),
            Some((method, _)) => {
                link.channel(0).complain(&format!("{} instead of {name}", method.name));
                return None;
            }
            None if link.is_alive() && link.pump(deadline) => {}
            None => return None,
        }
    }
}

/// What a broker says of itself in connection.start.
#[derive(Clone, Debug, Default)]
pub(crate) struct Server {
    pub(crate) product: String,
    pub(crate) version: String,
    /// leveret gives RabbitMQ's product and version, and its own name beside them.
    pub(crate) is_leveret: bool,
}

/// Whether it refuses what is merely deprecated: declares a queue that is neither durable nor exclusive.
pub(crate) fn is_strict(broker: &dyn Broker) -> Option<bool> {
    let choices = Choices::parse("").ok()?;
    let mut link = connect(broker, &choices);
    let deadline = Instant::now() + link.patience;
    link.send_text(1, "channel.open");
    link.send_text(1, "queue.declare auto_delete=true");
    let is_done = |link: &Link| link.line_count() >= 2 || !link.is_alive();
    while !is_done(&link) && link.pump(deadline) {}
    let lines = link.take_lines();
    if lines.iter().any(|(_, line)| line.starts_with("queue.declare-ok")) {
        link.send_text(1, "queue.delete");
    }
    if link.stage == Stage::Open {
        link.send_text(0, "connection.close reply_code=200");
    }
    while link.is_alive() && link.pump(deadline) {}
    let refusal = lines.iter().find(|(_, line)| line.contains("transient_nonexcl_queues"));
    (refusal.is_some() || lines.len() >= 2).then_some(refusal.is_some())
}

/// None if it does not answer.
pub(crate) fn ask_server(broker: &dyn Broker) -> Option<Server> {
    let mut link = Link::new(broker.connect());
    link.patience = broker.patience();
    link.handshake = Some(VecDeque::new());
    link.keeps_all_properties = true;
    link.write(b"AMQP\x00\x00\x09\x01");
    let properties = await_method(&mut link, "connection.start")?.table("server_properties");
    let find = |name: &str| properties.iter().find(|(key, _)| key == name.as_bytes());
    let text = |name: &str| match find(name) {
        Some((_, Value::Str(text))) => String::from_utf8_lossy(text).into_owned(),
        _ => String::new(),
    };
    let server = Server { product: text("product"), version: text("version"), is_leveret: find("leveret").is_some() };
    link.abandon();
    Some(server)
}
