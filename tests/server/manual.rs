//! The manual page and the completions say what the command line takes: nothing less, and nothing that is gone.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use leveret::broker::Profile;

use crate::support::broker::leveret;

fn help(command: &[&str]) -> String {
    let output = leveret().args(command).arg("--help").output().expect("the broker runs");
    assert_eq!(output.status.code(), Some(0), "{command:?}");
    String::from_utf8(output.stdout).expect("text")
}

/// The commands of the broker's own; those of `ctl` are listed by itself.
fn commands() -> BTreeSet<String> {
    let help = help(&[]);
    let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    // Long descriptions go on further to the right.
    let names = listed.filter(|line| !line.starts_with("   ")).filter_map(|line| line.split_whitespace().next());
    names.map(str::to_owned).filter(|name| name != "help").collect()
}

/// Long options, without their dashes.
fn options(text: &str) -> BTreeSet<String> {
    let after_dashes = text.split("--").skip(1);
    let names = after_dashes.map(|rest| rest.split(|c: char| !c.is_ascii_alphanumeric() && c != '-').next().unwrap_or_default());
    names.filter(|name| name.starts_with(|c: char| c.is_ascii_lowercase())).map(str::to_owned).collect()
}

/// What the help of each command has in its list of options.
fn all_options() -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    let commands = commands();
    let own = commands.iter().filter(|command| *command != "ctl").map(|command| vec![command.as_str()]);
    // What it can do has options of its own.
    let of_record = [vec!["record", "show"], vec!["record", "export"]];
    for words in own.chain(of_record).chain([Vec::new()]) {
        let help = help(&words);
        let listed = help.split_once("Options:").expect("a list of options").1;
        all.extend(options(&listed.lines().filter(|line| line.trim_start().starts_with('-')).collect::<Vec<_>>().join("\n")));
    }
    all
}

fn packaged(file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging").join(file);
    fs::read_to_string(path).expect("a file")
}

#[test]
fn they_have_every_option_and_no_other() {
    let expected = all_options();
    assert!(expected.contains("ready-file") && expected.contains("drop") && expected.contains("version"), "{expected:?}");
    let manual = packaged("leveret.1").replace("\\-", "-");
    let fish = packaged("completions/leveret.fish");
    let fish: Vec<&str> = fish.lines().filter(|line| line.starts_with("complete ")).collect();
    let fish = fish.join("\n").replace(" -l ", " --");
    for (name, text) in [
        ("the manual page", manual),
        ("bash", packaged("completions/leveret.bash")),
        ("zsh", packaged("completions/leveret.zsh")),
        ("fish", fish),
    ] {
        assert_eq!(options(&text), expected, "{name}");
    }
}

#[test]
fn they_have_every_command() {
    let commands = commands();
    assert!(commands.contains("serve") && commands.contains("repair"), "{commands:?}");
    for file in ["leveret.1", "completions/leveret.bash", "completions/leveret.zsh", "completions/leveret.fish"] {
        let text = packaged(file);
        let words: BTreeSet<&str> = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '-').collect();
        for command in &commands {
            assert!(words.contains(command.as_str()), "{file}: {command}");
        }
    }
}

#[test]
fn completions_know_the_values() {
    for file in ["completions/leveret.bash", "completions/leveret.zsh", "completions/leveret.fish"] {
        let text = packaged(file);
        for profile in Profile::NAMES {
            assert!(text.contains(profile), "{file}: {profile}");
        }
        for level in ["error", "warning", "info", "debug", "trace", "none"] {
            assert!(leveret::config::level(level).is_ok() && text.contains(level), "{file}: {level}");
        }
    }
}
