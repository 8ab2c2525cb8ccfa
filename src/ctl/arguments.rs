//! What stands behind the name of a tool: a command, what it is about, options in any place.

use std::collections::BTreeMap;
use std::time::Duration;

use super::failure::{Failure, USAGE};

/// Options of all commands that have a value.
const VALUES: &[(&str, &str)] = &[
    ("-n", "node"),
    ("--node", "node"),
    ("-p", "vhost"),
    ("--vhost", "vhost"),
    ("-t", "timeout"),
    ("--timeout", "timeout"),
    ("--formatter", "formatter"),
    ("--printer", "printer"),
    ("--script-name", "script-name"),
    ("--erlang-cookie", "erlang-cookie"),
    ("--data-dir", "data-dir"),
    ("--socket", "socket"),
];

/// Those that have none.
const FLAGS: &[(&str, &str)] = &[
    ("-q", "quiet"),
    ("--quiet", "quiet"),
    ("-s", "silent"),
    ("--silent", "silent"),
    ("-l", "longnames"),
    ("--longnames", "longnames"),
    ("-?", "help"),
    ("-h", "help"),
    ("--help", "help"),
    ("--version", "version"),
    ("--no-table-headers", "no-table-headers"),
    ("--dry-run", "dry-run"),
    ("--verbose", "verbose"),
];

/// Short names of options that only some commands have.
const SHORT: &[(&str, &str)] = &[
    ("-e", "if-empty"),
    ("-u", "if-unused"),
    ("-P", "pid"),
    ("-N", "number"),
    ("-d", "duration"),
    ("-a", "address-family"),
    ("-m", "minimal"),
    ("-E", "enabled"),
    ("-e", "implicitly-enabled"),
];

/// How results are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Formatter {
    #[default]
    Table,
    PrettyTable,
    Csv,
    Json,
}

/// A command line taken apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Arguments {
    /// As it was given, for error messages.
    pub(super) given: Vec<String>,
    /// The name of the command first.
    pub(super) words: Vec<String>,
    options: BTreeMap<&'static str, String>,
    /// Options that no command could have here.
    unknown: Vec<String>,
}

impl Arguments {
    /// `options` are those of the command, such as `if-unused`, or `priority=` for one that has a value.
    pub(super) fn parse(given: &[String], options: &'static [&'static str]) -> Self {
        let mut arguments = Self { given: given.to_vec(), ..Self::default() };
        let mut rest = given.iter();
        while let Some(word) = rest.next() {
            if word == "--" {
                arguments.words.extend(rest.by_ref().cloned());
            } else if word.len() > 1 && word.starts_with('-') && !is_number(word) {
                arguments.option(word, &mut rest, options);
            } else {
                arguments.words.push(word.clone());
            }
        }
        arguments
    }

    fn option(&mut self, word: &str, rest: &mut std::slice::Iter<'_, String>, options: &'static [&'static str]) {
        let (name, attached) = match word.split_once('=') {
            Some((name, value)) if name.starts_with("--") => (name, Some(value.to_owned())),
            _ => (word, None),
        };
        let is_own = |long: &str| options.iter().any(|option| option.trim_end_matches('=') == long);
        let short = SHORT.iter().find(|(short, long)| *short == name && is_own(long)).map(|(_, long)| (*long).to_owned());
        let long = name.strip_prefix("--").map(|name| name.replace('_', "-")).or(short);
        let own = |with_value: bool| {
            let long = long.as_deref()?;
            options.iter().map(|option| (option.trim_end_matches('='), option.ends_with('='))).find_map(|(option, has)| {
                let is_it = option == long && has == with_value;
                is_it.then_some(option)
            })
        };
        let of = |table: &[(&str, &'static str)]| table.iter().find(|(other, _)| *other == name).map(|(_, option)| *option);
        if let Some(option) = own(true).or_else(|| of(VALUES)) {
            match attached.or_else(|| rest.next().cloned()) {
                Some(value) => drop(self.options.insert(option, value)),
                None => self.unknown.push(word.to_owned()),
            }
        } else if let Some(option) = own(false).or_else(|| of(FLAGS)) {
            self.options.insert(option, attached.unwrap_or_default());
        } else {
            self.unknown.push(word.to_owned());
        }
    }

    /// # Errors
    /// Options that the command does not have.
    pub(super) fn check(&self) -> Result<(), Failure> {
        if self.unknown.is_empty() {
            return Ok(());
        }
        let each: Vec<String> = self.unknown.iter().map(|option| format!("{option} : ")).collect();
        Err(Failure::arguments(USAGE, format!("Invalid options for this command:\n{}", each.join("\n"))))
    }

    pub(super) fn get(&self, option: &str) -> Option<&str> {
        self.options.get(option).map(String::as_str)
    }

    pub(super) fn set(&mut self, option: &'static str, value: &str) {
        self.options.insert(option, value.to_owned());
    }

    pub(super) fn has(&self, option: &str) -> bool {
        self.options.contains_key(option)
    }

    /// # Errors
    /// A name that means nothing here.
    pub(super) fn formatter(&self) -> Result<Formatter, Failure> {
        match self.get("formatter") {
            None | Some("table" | "string" | "report") => Ok(Formatter::Table),
            Some("pretty_table") => Ok(Formatter::PrettyTable),
            Some("csv") => Ok(Formatter::Csv),
            Some("json" | "json_stream") => Ok(Formatter::Json),
            Some("erlang") => Err(Failure::arguments(USAGE, "the erlang formatter is not available: leveret has no Erlang runtime")),
            Some(other) => Err(Failure::arguments(USAGE, format!("there is no formatter {other}"))),
        }
    }

    /// In seconds on the command line; none is for ever, as is `infinity`.
    ///
    /// # Errors
    /// What is no number.
    pub(super) fn timeout(&self) -> Result<Option<Duration>, Failure> {
        match self.get("timeout") {
            None | Some("infinity") => Ok(None),
            Some(text) => match text.parse::<f64>() {
                Ok(seconds) if (0.0..1e9).contains(&seconds) => Ok(Some(Duration::from_secs_f64(seconds))),
                _ => Err(Failure::arguments(USAGE, format!("Invalid options for this command:\n--timeout : {text}"))),
            },
        }
    }
}

/// Numbers below zero are no options.
fn is_number(word: &str) -> bool {
    word.parse::<f64>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Arguments {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        Arguments::parse(&words, &["priority=", "apply-to=", "if-unused"])
    }

    #[test]
    fn options_stand_anywhere() {
        let arguments = parse("-q set_policy -p v1 --priority=3 a b --apply-to queues c --if-unused -n rabbit@x");
        assert_eq!(arguments.words, ["set_policy", "a", "b", "c"]);
        let got = ["vhost", "priority", "apply-to", "if-unused", "node", "quiet"].map(|option| arguments.get(option));
        assert_eq!(got, [Some("v1"), Some("3"), Some("queues"), Some(""), Some("rabbit@x"), Some("")]);
        assert_eq!(arguments.check(), Ok(()));
    }

    #[test]
    fn what_is_no_option() {
        let arguments = parse("eval -1 -- --nope -p");
        assert_eq!(arguments.words, ["eval", "-1", "--nope", "-p"]);
        let error = |line: &str| parse(line).check().expect_err("refused").text;
        assert_eq!(error("list_queues --nope"), "Error (argument validation): Invalid options for this command:\n--nope : ");
        assert_eq!(error("list_queues -p"), "Error (argument validation): Invalid options for this command:\n-p : ");
    }

    #[test]
    fn timeouts_and_formatters() {
        assert_eq!(parse("x -t 1.5").timeout(), Ok(Some(Duration::from_millis(1500))));
        assert_eq!(parse("x -t infinity").timeout(), Ok(None));
        assert!(parse("x -t soon").timeout().is_err());
        assert_eq!(parse("x --formatter json").formatter(), Ok(Formatter::Json));
        assert!(parse("x --formatter erlang").formatter().is_err());
    }
}
