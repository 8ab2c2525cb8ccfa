//! rabbitmqadmin, as RabbitMQ 3.x and test containers have it: a client of the HTTP API over TCP.

mod format;
mod objects;
mod options;

use std::io::Read;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value as Json};

use super::call::{write, write_error};
use super::http::{Http, Target, segment};
use super::place::Variable;
use format::Table;
use objects::{CLOSABLE, DECLARABLE, DELETABLE, GET, LISTABLE, Listable, Object, PUBLISH, PURGEABLE, SHOWABLE};
use options::Options;

/// Why nothing has come of it. The exit code is 1.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Failed {
    /// The command line is not right.
    Usage(String),
    /// What was asked for did not work.
    Died(String),
}

pub(super) fn run(words: &[String], variable: &Variable) -> u8 {
    match Options::read(words, variable).and_then(Admin::new).and_then(|mut admin| admin.invoke()) {
        Ok(()) => 0,
        Err(Failed::Usage(text)) => {
            write_error(&format!("\nERROR: {text}\n\nrabbitmqadmin --help for help\n\n"));
            1
        }
        Err(Failed::Died(text)) => {
            write_error(&format!("*** {text}\n\n"));
            1
        }
    }
}

struct Admin {
    options: Options,
    http: Option<Http>,
}

impl Admin {
    fn new(options: Options) -> Result<Self, Failed> {
        Ok(Self { options, http: None })
    }

    fn invoke(&mut self) -> Result<(), Failed> {
        if self.options.is_set("version") {
            write(&format!("rabbitmqadmin {}\n", env!("CARGO_PKG_VERSION")));
            return Ok(());
        }
        let words = self.options.words.clone();
        let Some((action, rest)) = words.split_first() else {
            if self.options.is_set("help") {
                write(&help());
                return Ok(());
            }
            return Err(Failed::Usage("Action not specified".to_owned()));
        };
        match action.as_str() {
            "help" => {
                write(&help());
                Ok(())
            }
            "list" => self.list(LISTABLE, "list", rest),
            "show" => self.list(SHOWABLE, "show", rest),
            "declare" => self.change(DECLARABLE, rest, "declared"),
            "delete" => self.change(DELETABLE, rest, "deleted"),
            "close" => self.change(CLOSABLE, rest, "closed"),
            "purge" => self.change(PURGEABLE, rest, "purged"),
            "publish" => self.publish(rest),
            "get" => self.get(rest),
            "export" => self.export(rest),
            "import" => self.import(rest),
            _ => Err(Failed::Usage(format!("Action {action} not understood"))),
        }
    }

    fn list(&mut self, all: &'static [Listable], verb: &str, rest: &[String]) -> Result<(), Failed> {
        let name = rest.first().map_or("", String::as_str);
        let Some(listable) = all.iter().find(|listable| listable.name == name) else {
            return Err(Failed::Usage(format!("Don't know how to {verb} {name}")));
        };
        let mut path = format!("/{}", name.replace('_', "-"));
        if let Some(vhost) = self.options.get("vhost").filter(|_| listable.by_vhost) {
            path.push_str(&format!("/{}", segment(vhost)));
        }
        let mut columns = rest[1..].to_vec();
        // Whoever wants JSON wants it whole.
        if columns.is_empty() && self.options.depth()? == 1 && !self.options.format().contains("json") {
            columns = listable.columns.iter().map(|name| (*name).to_owned()).collect();
        }
        let mut query = Vec::new();
        if !columns.is_empty() {
            query.push(format!("columns={}", columns.join(",")));
        }
        if let Some(sort) = self.options.get("sort") {
            query.push(format!("sort={sort}"));
        }
        if self.options.is_set("sort_reverse") {
            query.push("sort_reverse=true".to_owned());
        }
        if !query.is_empty() {
            path.push_str(&format!("?{}", query.join("&")));
        }
        let text = self.ask("GET", &path, None)?;
        let text = if verb == "show" { format!("[{text}]") } else { text };
        self.show(&text, &columns, listable.json)
    }

    fn show(&self, text: &str, columns: &[String], json: &[&str]) -> Result<(), Failed> {
        let format = self.options.format();
        let parsed: Json = serde_json::from_str(text).map_err(|error| Failed::Died(format!("Error getting HTTP response: {error}")))?;
        match format.as_str() {
            "raw_json" => write(&format!("{text}\n")),
            "pretty_json" => write(&format!("{}\n", serde_json::to_string_pretty(&parsed).unwrap_or_default())),
            _ => {
                let items = parsed.as_array().cloned().unwrap_or_default();
                let table = Table::of(&items, columns, json, self.options.depth()?);
                let written = table.write(&format, self.is_verbose());
                let written = written.ok_or_else(|| Failed::Usage(format!("Format {format} not recognised")))?;
                if items.is_empty() { self.say("No items") } else { write(&written) }
            }
        }
        Ok(())
    }

    fn change(&mut self, all: &'static [Object], rest: &[String], done: &str) -> Result<(), Failed> {
        let Some((name, arguments)) = rest.split_first() else { return Err(Failed::Usage("Type not specified".to_owned())) };
        let Some(object) = all.iter().find(|object| object.name == name) else {
            return Err(Failed::Usage(format!("Type {name} not recognised")));
        };
        let (path, mut upload) = self.parse(object, arguments)?;
        if done != "declared" {
            self.ask("DELETE", &path, None)?;
        } else if name == "binding" {
            self.ask("POST", &path, Some(&Json::Object(upload)))?;
        } else {
            if let Some(kind) = upload.remove("queue_type").filter(|_| name == "queue") {
                upload["arguments"]["x-queue-type"] = kind;
            }
            self.ask("PUT", &path, Some(&Json::Object(upload)))?;
        }
        self.say(&format!("{name} {done}"));
        Ok(())
    }

    fn publish(&mut self, arguments: &[String]) -> Result<(), Failed> {
        let (path, mut upload) = self.parse(&PUBLISH, arguments)?;
        if !upload.contains_key("payload") {
            let mut payload = Vec::new();
            std::io::stdin().read_to_end(&mut payload).map_err(|error| Failed::Died(format!("cannot read the payload: {error}")))?;
            upload.insert("payload".to_owned(), STANDARD.encode(payload).into());
            upload.insert("payload_encoding".to_owned(), "base64".into());
        }
        let answer = self.ask("POST", &path, Some(&Json::Object(upload)))?;
        let routed = serde_json::from_str::<Json>(&answer).is_ok_and(|answer| answer["routed"] == true);
        self.say(if routed { "Message published" } else { "Message published but NOT routed" });
        Ok(())
    }

    fn get(&mut self, arguments: &[String]) -> Result<(), Failed> {
        let (path, mut upload) = self.parse(&GET, arguments)?;
        let file = upload.remove("payload_file").as_ref().and_then(Json::as_str).map(str::to_owned);
        if file.is_some() && upload.get("count").is_some_and(|count| count != "1") {
            return Err(Failed::Usage("Cannot get multiple messages using payload_file".to_owned()));
        }
        let text = self.ask("POST", &path, Some(&Json::Object(upload)))?;
        let Some(file) = file else { return self.show(&text, &[], &[]) };
        let message = serde_json::from_str::<Json>(&text).unwrap_or_default();
        let payload = message[0]["payload"].as_str().ok_or_else(|| Failed::Died("there is no message".to_owned()))?;
        let payload = match message[0]["payload_encoding"].as_str() {
            Some("base64") => STANDARD.decode(payload).map_err(|error| Failed::Died(error.to_string()))?,
            _ => payload.as_bytes().to_vec(),
        };
        std::fs::write(&file, payload).map_err(|error| Failed::Died(format!("{file}: {error}")))?;
        let columns = ["routing_key", "exchange", "message_count", "payload_bytes", "redelivered"].map(str::to_owned);
        self.show(&text, &columns, &[])
    }

    fn export(&mut self, rest: &[String]) -> Result<(), Failed> {
        let file = only(rest)?;
        let definitions = self.ask("GET", &self.definitions(), None)?;
        std::fs::write(file, definitions).map_err(|error| Failed::Died(format!("{file}: {error}")))?;
        self.say(&format!("Exported definitions for {} to \"{file}\"", self.options.host()));
        Ok(())
    }

    fn import(&mut self, rest: &[String]) -> Result<(), Failed> {
        let file = only(rest)?;
        let text = std::fs::read_to_string(file).map_err(|error| Failed::Died(format!("{file}: {error}")))?;
        let definitions: Json = serde_json::from_str(&text).map_err(|error| Failed::Died(format!("{file}: {error}")))?;
        self.ask("POST", &self.definitions(), Some(&definitions))?;
        let host = self.options.host();
        self.say(&format!(
            "Uploaded definitions from \"{host}\" to {file}. The import process may take some time. Consult server logs to track progress."
        ));
        Ok(())
    }

    fn definitions(&self) -> String {
        let vhost = self.options.get("vhost").map(|vhost| format!("/{}", segment(vhost)));
        format!("/definitions{}", vhost.unwrap_or_default())
    }

    /// Arguments of the form `name=value`: the path of what they name, and what is sent.
    fn parse(&self, object: &Object, arguments: &[String]) -> Result<(String, Map<String, Json>), Failed> {
        let mut upload = Map::new();
        let value = |name: &str, text: &str| {
            if !object.json.contains(&name) {
                return Ok(Json::from(text));
            }
            serde_json::from_str(text).map_err(|_| Failed::Died(format!("ERROR: Could not parse JSON:\n  {text}")))
        };
        for (name, default) in object.optional {
            if let Some(default) = default {
                upload.insert((*name).to_owned(), value(name, default)?);
            }
        }
        for argument in arguments {
            let Some((name, text)) = argument.split_once('=') else {
                return Err(Failed::Usage(format!("Argument \"{argument}\" not in the name=value format")));
            };
            if !object.knows(name) {
                return Err(Failed::Usage(format!("Argument \"{name}\" is not recognised")));
            }
            upload.insert(name.to_owned(), value(name, text)?);
        }
        for mandatory in object.mandatory {
            let names: Vec<&str> = mandatory.split('|').collect();
            if names.iter().any(|name| upload.contains_key(*name)) {
                continue;
            }
            return Err(Failed::Usage(match names.as_slice() {
                [name] => format!("mandatory argument \"{name}\" is required"),
                names => format!("one of mandatory arguments \"['{}']\" is required", names.join("', '")),
            }));
        }
        if !object.mandatory.contains(&"vhost") {
            upload.insert("vhost".to_owned(), self.options.declare_vhost().into());
        }
        Ok((path(object.path, &upload), upload))
    }

    /// # Errors
    /// No connection, and what the node refuses, in its words.
    fn ask(&mut self, method: &str, path: &str, body: Option<&Json>) -> Result<String, Failed> {
        if self.options.is_set("ssl") {
            return Err(Failed::Died("Could not connect: this rabbitmqadmin does not speak TLS".to_owned()));
        }
        let full = format!("{}/api{path}", self.options.path_prefix());
        let could_not = |error: std::io::Error| Failed::Died(format!("Could not connect: {error}"));
        let mut http = match self.http.take() {
            Some(http) => http,
            None => {
                let credentials = format!("{}:{}", self.options.username(), self.options.password());
                let authorization = format!("Basic {}", STANDARD.encode(credentials));
                let target = Target::Tcp { host: self.options.host(), port: self.options.port()?, authorization };
                Http::connect(target, Some(self.options.timeout()?)).map_err(could_not)?
            }
        };
        let answer = http.request(method, &full, &[], body.map(|body| body.to_string().into_bytes()).unwrap_or_default());
        let answer = answer.map_err(could_not)?;
        self.http = Some(http);
        match answer.status {
            200..300 => Ok(answer.text()),
            400 => Err(Failed::Died(answer.reason())),
            401 => Err(Failed::Died(format!("Access refused: {full}"))),
            404 => Err(Failed::Died(format!("Not found: {full}"))),
            status => Err(Failed::Died(format!("Received response {status} for path {full}\n{}", answer.text()))),
        }
    }

    fn is_verbose(&self) -> bool {
        !self.options.is_set("quiet")
    }

    fn say(&self, text: &str) {
        if self.is_verbose() {
            write(&format!("{text}\n"));
        }
    }
}

/// Puts what is named into the braces of a path.
fn path(template: &str, upload: &Map<String, Json>) -> String {
    let text = |name: &str| match upload.get(name) {
        Some(Json::String(text)) => text.clone(),
        Some(other) => other.to_string(),
        None => String::new(),
    };
    let mut path = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        let (name, after) = after.split_once('}').unwrap_or((after, ""));
        path.push_str(before);
        let value = match name {
            // `q` or `e`.
            "destination_char" => text("destination_type").chars().take(1).collect(),
            name => text(name),
        };
        path.push_str(&quoted(&value));
        rest = after;
    }
    path + rest
}

/// Letters, digits and these stay as they are, as in Python.
fn quoted(text: &str) -> String {
    const KEPT: &percent_encoding::AsciiSet = &percent_encoding::NON_ALPHANUMERIC.remove(b'_').remove(b'.').remove(b'-').remove(b'~');
    percent_encoding::utf8_percent_encode(text, KEPT).to_string()
}

fn only(rest: &[String]) -> Result<&str, Failed> {
    match rest {
        [one] => Ok(one),
        _ => Err(Failed::Usage("Exactly one argument required".to_owned())),
    }
}

fn help() -> String {
    let mut text = "Usage\n=====\n  rabbitmqadmin [options] subcommand\n\n  where subcommand is one of:\n\nDisplay\n=======\n\n".to_owned();
    for (verb, all) in [("list", LISTABLE), ("show", SHOWABLE)] {
        all.iter().for_each(|listable| text.push_str(&format!("  {verb} {} [<column>...]\n", listable.name)));
    }
    text.push_str("\nObject Manipulation\n===================\n\n");
    let line = |verb: &str, object: &Object| {
        let mandatory: Vec<String> = object.mandatory.iter().map(|name| format!("{}=...", name.replace('|', "=... OR "))).collect();
        let optional: Vec<String> = object.optional.iter().map(|(name, _)| format!("{name}=...")).collect();
        let optional = if optional.is_empty() { String::new() } else { format!(" [{}]", optional.join(" ")) };
        format!("  {verb} {}{optional}\n", mandatory.join(" "))
    };
    for (verb, all) in [("declare", DECLARABLE), ("delete", DELETABLE), ("close", CLOSABLE), ("purge", PURGEABLE)] {
        all.iter().for_each(|object| text.push_str(&line(&format!("{verb} {}", object.name), object)));
    }
    text.push_str("\nBroker Definitions\n==================\n\n  export <file>\n  import <file>\n");
    text.push_str("\nPublishing and Consuming\n========================\n\n");
    [PUBLISH, GET].iter().for_each(|object| text.push_str(&line(object.name, object)));
    text.push_str(
        "\nOptions\n=======\n\n  -H HOST, -P PORT, -u USERNAME, -p PASSWORD, -V VHOST, -U URI, -c CONFIG, -N NODE, -t SECONDS\n  \
         -f FORMAT: raw_json, pretty_json, tsv, long, table, kvp, bash\n  -S KEY, -R, -d DEPTH, -q, --path-prefix PREFIX\n",
    );
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parse(object: &str, words: &str) -> Result<(String, Json), Failed> {
        let admin = Admin::new(Options::default()).expect("options");
        let object = DECLARABLE.iter().find(|known| known.name == object).expect("an object");
        let words: Vec<String> = words.split(' ').map(str::to_owned).collect();
        admin.parse(object, &words).map(|(path, upload)| (path, Json::Object(upload)))
    }

    #[test]
    fn what_is_declared() {
        let (path, upload) = parse("queue", "name=a/b durable=false arguments={\"x-max-length\":5}").expect("a queue");
        assert_eq!(path, "/queues/%2F/a%2Fb");
        let expected = json!({"name": "a/b", "durable": "false", "auto_delete": "false", "arguments": {"x-max-length": 5}, "vhost": "/"});
        assert_eq!(upload, expected);
        let (path, _) = parse("binding", "source=x.y destination=q").expect("a binding");
        assert_eq!(path, "/bindings/%2F/e/x.y/q/q");
    }

    #[test]
    fn what_cannot_be() {
        let refused = |object: &str, words: &str| parse(object, words).expect_err("refused");
        let usage = |text: &str| Failed::Usage(text.to_owned());
        assert_eq!(refused("queue", "durable=true"), usage("mandatory argument \"name\" is required"));
        assert_eq!(refused("queue", "name"), usage("Argument \"name\" not in the name=value format"));
        assert_eq!(refused("queue", "name=1 foo=bar"), usage("Argument \"foo\" is not recognised"));
        assert_eq!(refused("user", "name=u tags="), usage("one of mandatory arguments \"['password', 'password_hash']\" is required"));
        assert_eq!(refused("policy", "name=p pattern=x definition=y"), Failed::Died("ERROR: Could not parse JSON:\n  y".to_owned()));
    }
}
