//! The commands for whoever looks after a node: RabbitMQ's rabbitmqctl, rabbitmq-diagnostics, rabbitmq-plugins, rabbitmq-queues and
//! rabbitmqadmin, with their names, options, texts and exit codes. A client of the HTTP API, which knows nothing of brokers.

mod admin;
mod arguments;
mod attempts;
mod call;
mod checks;
mod cluster;
mod commands;
mod connections;
mod definitions;
mod eval;
mod failure;
mod format;
mod help;
mod http;
mod lists;
mod machine;
mod node;
mod permissions;
mod place;
mod plugins;
mod policies;
mod queues;
mod report;
mod shovels;
mod status;
mod users;
mod vhosts;

use arguments::Arguments;
use call::{Call, write, write_error};
use commands::{Command, GROUPS, Group, Needs, PLUGINS};
use failure::{Failure, USAGE};
use place::Place;

pub use place::Variable;

/// One of RabbitMQ's programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tool {
    Ctl,
    Diagnostics,
    Queues,
    Plugins,
    Admin,
}

impl Tool {
    /// The one that has this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        let tools = [Self::Ctl, Self::Diagnostics, Self::Queues, Self::Plugins, Self::Admin];
        let also = matches!(name, "rabbitmq-upgrade" | "rabbitmq-streams").then_some(Self::Ctl);
        tools.into_iter().find(|tool| tool.name() == name).or(also)
    }

    fn name(self) -> &'static str {
        match self {
            Self::Ctl => "rabbitmqctl",
            Self::Diagnostics => "rabbitmq-diagnostics",
            Self::Queues => "rabbitmq-queues",
            Self::Plugins => "rabbitmq-plugins",
            Self::Admin => "rabbitmqadmin",
        }
    }

    fn groups(self) -> &'static [Group] {
        if self == Self::Plugins { PLUGINS } else { GROUPS }
    }
}

/// Carries out a command line, without the name of the program; returns the exit code.
#[must_use]
pub fn run(tool: Tool, words: &[String], variable: &Variable) -> u8 {
    // `leveret ctl plugins …` and `leveret ctl admin …`
    match (tool, words) {
        (Tool::Admin, _) => admin::run(words, variable),
        (Tool::Ctl, [first, rest @ ..]) if first == "admin" => admin::run(rest, variable),
        (Tool::Ctl, [first, rest @ ..]) if first == "plugins" => command_line(Tool::Plugins, rest, variable),
        _ => command_line(tool, words, variable),
    }
}

fn command_line(tool: Tool, words: &[String], variable: &Variable) -> u8 {
    let groups = tool.groups();
    let arguments = Arguments::parse(words, &[]);
    let name = arguments.words.first().map_or("", String::as_str);
    if arguments.has("version") || name == "version" {
        write(&format!("{}\n", env!("CARGO_PKG_VERSION")));
        return 0;
    }
    match (name, commands::named(groups, name)) {
        ("help", _) => explain(tool, groups, arguments.words.get(1)),
        ("", _) if arguments.has("help") => explain(tool, groups, None),
        ("", _) => {
            write_error(&help::of_tool(tool, groups));
            USAGE
        }
        (_, Some(command)) if arguments.has("help") => {
            write(&help::of_command(tool, command));
            0
        }
        (_, Some(command)) => carry_out(tool, command, Arguments::parse(words, command.options), variable),
        (_, None) => {
            let hint = match help::similar(groups, name) {
                Some(similar) => format!("Did you mean '{similar}'? \n"),
                None => help::of_tool(tool, groups),
            };
            write_error(&format!("\nCommand '{name}' not found. \n{hint}"));
            USAGE
        }
    }
}

fn explain(tool: Tool, groups: &'static [Group], name: Option<&String>) -> u8 {
    match name.map(|name| (name, commands::named(groups, name))) {
        None => write(&help::of_tool(tool, groups)),
        Some((_, Some(command))) => write(&help::of_command(tool, command)),
        Some((name, None)) => {
            write_error(&format!("Error:\n\nCommand '{name}' not found.\n"));
            return USAGE;
        }
    }
    0
}

fn carry_out(tool: Tool, command: &Command, arguments: Arguments, variable: &Variable) -> u8 {
    let given = arguments.given.join(" ");
    match attempt(command, arguments, variable) {
        Ok(()) => 0,
        Err(failure) => {
            let mut text = failure.text;
            if failure.with_usage {
                text.push_str(&format!("\nArguments given:\n\t{given}\n\n{}", help::usage(tool, command)));
            }
            write_error(&format!("{}\n", text.trim_end_matches('\n')));
            failure.code
        }
    }
}

fn attempt(command: &Command, arguments: Arguments, variable: &Variable) -> Result<(), Failure> {
    let (least, most) = command.takes;
    let given = arguments.words.len() - 1;
    arguments.check()?;
    if given < least {
        return Err(Failure::arguments(USAGE, "not enough arguments."));
    }
    if given > most {
        return Err(Failure::arguments(USAGE, "too many arguments."));
    }
    let place = Place::of(&arguments, variable);
    let mut call = Call::new(arguments, place)?;
    if command.needs != Needs::Nothing {
        let runs = call.node()?["running"] == true;
        let wrong = |is: &str, verb: &str, start: &str| Failure {
            code: USAGE,
            text: format!(
                "Error: this command requires the 'rabbit' app to be {is} on the target node. {verb} it with 'rabbitmqctl {start}'."
            ),
            with_usage: true,
        };
        match command.needs {
            Needs::App if !runs => return Err(wrong("running", "Start", "start_app")),
            Needs::NoApp if runs => return Err(wrong("stopped", "Stop", "stop_app")),
            _ => {}
        }
    }
    (command.run)(&mut call)
}

/// The rows of docs/COMMANDS.md.
#[cfg(test)]
mod tests {
    use super::*;

    fn rows(groups: &[Group]) -> String {
        let mut text = String::new();
        for group in groups {
            text.push_str(&format!("\n### {}\n\n| command | |\n|---|---|\n", group.heading));
            for command in group.commands {
                let usage = format!("{} {}", command.name, command.usage).trim_end().replace('|', "\\|");
                text.push_str(&format!("| `{usage}` | {} |\n", command.about));
            }
        }
        text
    }

    /// `UPDATE_EXPECT=1` writes the tables into the document.
    #[test]
    fn the_document_has_every_command() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/COMMANDS.md");
        let text = std::fs::read_to_string(path).expect("the document");
        let (before, rest) = text.split_once("<!-- commands -->\n").expect("a mark before the tables");
        let (tables, after) = rest.split_once("<!-- end -->\n").expect("a mark behind them");
        let expected = format!("{}{}", rows(GROUPS), rows(PLUGINS));
        if std::env::var_os("UPDATE_EXPECT").is_some() {
            std::fs::write(path, format!("{before}<!-- commands -->\n{expected}<!-- end -->\n{after}")).expect("written");
        } else {
            assert_eq!(tables, expected, "UPDATE_EXPECT=1 writes it");
        }
    }

    #[test]
    fn every_command_is_there_once() {
        for groups in [GROUPS, PLUGINS] {
            let mut names: Vec<&str> = commands::all(groups).map(|command| command.name).collect();
            names.sort_unstable();
            let all = names.len();
            names.dedup();
            assert_eq!(names.len(), all);
        }
    }

    #[test]
    fn tools_by_name() {
        assert_eq!(Tool::named("rabbitmq-diagnostics"), Some(Tool::Diagnostics));
        assert_eq!(Tool::named("leveret"), None);
    }
}
