//! What the tools say of themselves.

use super::Tool;
use super::call::bold;
use super::commands::{Command, Group, all};

/// The options of all commands.
const GENERAL: &str = "\
short            | long          | description
-----------------|---------------|--------------------------------
-?               | --help        | displays command help
-n <node>        | --node <node> | the name of the node, for messages
-t               | --timeout <n> | operation timeout in seconds
-q               | --quiet       | suppress informational messages
-s               | --silent      | suppress informational messages
                                 | and table header row
-p               | --vhost       | for commands that are scoped to a virtual host,
                 |               | virtual host to use
                 | --formatter   | result formatter: table, pretty_table, csv, json
                 | --data-dir    | the data directory of the node
                 | --socket      | the control socket of the node
";

/// How a command is used, as RabbitMQ says it behind an error.
pub(super) fn usage(tool: Tool, command: &Command) -> String {
    let line = format!("{} [--node <node>] [--longnames] [--quiet] {} {}", tool.name(), command.name, command.usage);
    format!("{}\n\n{}\n", bold("Usage"), line.trim_end())
}

pub(super) fn of_command(tool: Tool, command: &Command) -> String {
    format!(
        "\n{}\n{}.\n\n{}\n\nThe following options are accepted by most or all commands.\n\n{GENERAL}",
        usage(tool, command),
        command.about,
        bold("General Options")
    )
}

pub(super) fn of_tool(tool: Tool, groups: &[Group]) -> String {
    let mut text = format!(
        "\n{}\n\n{} [--node <node>] [--timeout <timeout>] [--longnames] [--quiet] <command> [<command options>]\n\nAvailable commands:\n",
        bold("Usage"),
        tool.name()
    );
    for group in groups {
        text.push_str(&format!("\n{}:\n\n", bold(group.heading)));
        for command in group.commands {
            text.push_str(&format!("   {:<36} {}\n", command.name, command.about));
        }
    }
    text.push_str(&format!("\nUse '{} help <command>' to learn more about a specific command\n", tool.name()));
    text
}

/// The name that is most like a wrong one.
pub(super) fn similar(groups: &'static [Group], wrong: &str) -> Option<&'static str> {
    let nearest = all(groups).map(|command| (distance(command.name, wrong), command.name)).min()?;
    (nearest.0 <= wrong.len() / 3).then_some(nearest.1)
}

/// How many letters have to be put in, taken out or changed.
fn distance(one: &str, other: &str) -> usize {
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in other.bytes().enumerate() {
            let changed = diagonal + usize::from(a != b);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::super::commands::GROUPS;
    use super::*;

    #[test]
    fn names_that_are_nearly_right() {
        assert_eq!(similar(GROUPS, "list_quues"), Some("list_queues"));
        assert_eq!(similar(GROUPS, "nope"), None);
        assert_eq!(distance("kitten", "sitting"), 3);
    }
}
