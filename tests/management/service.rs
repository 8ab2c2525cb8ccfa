//! A service over HTTP that a test makes: it keeps what it was asked, and answers as it is told.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

use parking_lot::Mutex;
use percent_encoding::percent_decode_str;

/// What it is asked.
#[derive(Clone, Debug)]
pub(crate) struct Question {
    /// `GET /path?query`, with a form behind it.
    pub(crate) line: String,
    pub(crate) path: String,
    pub(crate) parameters: BTreeMap<String, String>,
}

impl Question {
    /// A parameter; empty when there is none.
    pub(crate) fn get(&self, name: &str) -> &str {
        self.parameters.get(name).map_or("", String::as_str)
    }
}

/// What it answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    Text(String),
    Status(u16, &'static str),
    /// Nothing, for as long as the service lives.
    Silence,
}

pub(crate) fn text(text: &str) -> Reply {
    Reply::Text(text.to_owned())
}

pub(crate) struct Service {
    pub(crate) address: SocketAddr,
    asked: Arc<Mutex<Vec<Question>>>,
}

impl Service {
    pub(crate) fn start(answer: impl Fn(&Question) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let asked: Arc<Mutex<Vec<Question>>> = Arc::default();
        let kept = Arc::clone(&asked);
        thread::spawn(move || {
            let mut unanswered = Vec::new();
            for stream in listener.incoming() {
                let mut stream = stream.expect("a question");
                let question = read(&stream);
                kept.lock().push(question.clone());
                let (status, body) = match answer(&question) {
                    Reply::Text(body) => (200, body),
                    Reply::Status(status, body) => (status, body.to_owned()),
                    Reply::Silence => {
                        unanswered.push(stream);
                        continue;
                    }
                };
                let answer = format!("HTTP/1.1 {status} Said\r\ncontent-length: {}\r\n\r\n{body}", body.len());
                let _ = stream.write_all(answer.as_bytes());
            }
        });
        Self { address, asked }
    }

    /// All it was asked since the last time.
    pub(crate) fn was_asked(&self) -> Vec<Question> {
        std::mem::take(&mut *self.asked.lock())
    }

    /// The same as lines.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.was_asked().into_iter().map(|question| question.line).collect()
    }
}

fn read(stream: &TcpStream) -> Question {
    let mut reader = BufReader::new(stream);
    let (mut first, mut length) = (String::new(), 0);
    reader.read_line(&mut first).expect("a request");
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).expect("a header");
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().expect("a length");
        }
        if line == "\r\n" {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).expect("a body");
    let body = String::from_utf8(body).expect("a form");
    let line = first.trim_end().replace(" HTTP/1.1", "");
    let target = line.split(' ').nth(1).unwrap_or_default().to_owned();
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    let pairs = query.split('&').chain(body.split('&')).filter_map(|pair| pair.split_once('='));
    let parameters = pairs.map(|(name, value)| (decoded(name), decoded(value))).collect();
    let separator = if body.is_empty() { "" } else { " " };
    Question { line: format!("{line}{separator}{body}"), path: path.to_owned(), parameters }
}
