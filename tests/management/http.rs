//! A client for the HTTP API: one connection for each request, answers taken apart.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value as Json;

/// A user at an address.
#[derive(Clone, Debug)]
pub(crate) struct Http {
    address: SocketAddr,
    authorization: Option<String>,
}

#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Http {
    pub(crate) fn guest(address: SocketAddr) -> Self {
        Self::new(address, "guest", "guest")
    }

    pub(crate) fn new(address: SocketAddr, user: &str, password: &str) -> Self {
        let authorization = Some(format!("Basic {}", STANDARD.encode(format!("{user}:{password}"))));
        Self { address, authorization }
    }

    pub(crate) fn nobody(address: SocketAddr) -> Self {
        Self { address, authorization: None }
    }

    /// Who has a token.
    pub(crate) fn bearer(address: SocketAddr, token: &str) -> Self {
        Self { address, authorization: Some(format!("Bearer {token}")) }
    }

    /// The same with another user.
    pub(crate) fn r#as(&self, user: &str, password: &str) -> Self {
        Self::new(self.address, user, password)
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        self.request("GET", path, "")
    }

    pub(crate) fn delete(&self, path: &str) -> Answer {
        self.request("DELETE", path, "")
    }

    pub(crate) fn put(&self, path: &str, body: &Json) -> Answer {
        self.request("PUT", path, &body.to_string())
    }

    pub(crate) fn post(&self, path: &str, body: &Json) -> Answer {
        self.request("POST", path, &body.to_string())
    }

    pub(crate) fn request(&self, method: &str, path: &str, body: &str) -> Answer {
        self.send(method, path, &[("content-type", "application/json")], body.as_bytes())
    }

    /// Asks for something that goes on, and leaves what comes to be read.
    pub(crate) fn open(&self, path: &str) -> TcpStream {
        self.begin("GET", path, &[], b"")
    }

    pub(crate) fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let mut answer = Vec::new();
        self.begin(method, path, headers, body).read_to_end(&mut answer).expect("an answer");
        Answer::parse(&answer)
    }

    fn begin(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> TcpStream {
        let mut head = format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {}\r\n", body.len());
        let authorization = self.authorization.iter().map(|value| ("authorization", &**value));
        for (name, value) in authorization.chain(headers.iter().copied()) {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        let mut stream = TcpStream::connect(self.address).expect("the HTTP API");
        stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a timeout");
        stream.write_all(head.as_bytes()).expect("written");
        stream.write_all(body).expect("written");
        stream
    }
}

impl Answer {
    fn parse(bytes: &[u8]) -> Self {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").expect("a head");
        let head = std::str::from_utf8(&bytes[..end]).expect("text");
        let mut lines = head.lines();
        let status = lines.next().and_then(|line| line.split(' ').nth(1)).and_then(|code| code.parse().ok()).expect("a status");
        let headers: Vec<_> = lines.filter_map(|line| line.split_once(": ")).map(|(n, v)| (n.to_lowercase(), v.to_owned())).collect();
        let mut body = bytes[end + 4..].to_vec();
        if headers.iter().any(|(name, value)| name == "transfer-encoding" && value == "chunked") {
            body = unchunk(&body);
        }
        Self { status, headers, body }
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| &**value)
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn json(&self) -> Json {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    /// The JSON of a request that has succeeded.
    #[track_caller]
    pub(crate) fn ok(&self) -> Json {
        assert_eq!(self.status, 200, "{}", self.text());
        self.json()
    }

    /// Checks the status of an answer without a body.
    #[track_caller]
    pub(crate) fn is(&self, status: u16) {
        assert_eq!(self.status, status, "{}", self.text());
    }

    /// Checks a refusal.
    #[track_caller]
    pub(crate) fn refuses(&self, status: u16, error: &str, reason: &str) {
        assert_eq!((self.status, self.json()), (status, serde_json::json!({"error": error, "reason": reason})));
    }
}

fn unchunk(mut bytes: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    while let Some(end) = bytes.windows(2).position(|two| two == b"\r\n") {
        let size = std::str::from_utf8(&bytes[..end]).ok().and_then(|size| usize::from_str_radix(size, 16).ok()).expect("a size");
        if size == 0 {
            break;
        }
        body.extend_from_slice(&bytes[end + 2..end + 2 + size]);
        bytes = &bytes[end + 4 + size..];
    }
    body
}
