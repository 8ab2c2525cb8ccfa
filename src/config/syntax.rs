//! The syntax of rabbitmq.conf, as cuttlefish reads it: `key = value` lines, comments, quotes, includes, references.

/// What a line, or several of them, say.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Statement {
    Setting {
        key: String,
        value: String,
    },
    /// Another file, or several by a pattern, whose lines stand here.
    Include(String),
}

/// What a text says, with the number of the line where each statement begins, or what is wrong there.
pub(super) fn parse(text: &str) -> Vec<(usize, Result<Statement, String>)> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut lines = text.lines().enumerate();
    let mut statements = Vec::new();
    while let Some((index, line)) = lines.next() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let statement = match included(line) {
            Some(path) => Ok(Statement::Include(path)),
            None => setting(line, &mut lines.by_ref().map(|(_, line)| line)),
        };
        statements.push((index + 1, statement));
    }
    statements
}

fn included(line: &str) -> Option<String> {
    let path = line.strip_prefix("include")?;
    let path = path.strip_prefix(char::is_whitespace)?;
    let path = path.split('#').next()?.trim();
    (!path.is_empty() && !path.contains('=')).then(|| path.to_owned())
}

fn setting<'a>(line: &'a str, more: &mut dyn Iterator<Item = &'a str>) -> Result<Statement, String> {
    let (key, rest) = line.split_once('=').ok_or("expected key = value")?;
    let key = key.trim_end();
    if segments(key).iter().any(|segment| segment.is_empty() || segment.contains([' ', '\t', '#', '\''])) {
        return Err(format!("'{key}' is no key: expected key = value"));
    }
    let rest = rest.trim_start();
    let value = if let Some(first) = rest.strip_prefix("'''") { several_lines(first, more)? } else { one_line(rest)? };
    Ok(Statement::Setting { key: key.to_owned(), value })
}

/// A value that goes on to the next `'''`. Line breaks at its ends are not part of it.
fn several_lines<'a>(first: &'a str, more: &mut dyn Iterator<Item = &'a str>) -> Result<String, String> {
    let mut value = String::new();
    let mut line = first;
    loop {
        if let Some((last, after)) = line.split_once("'''") {
            nothing_but_a_comment(after)?;
            value.push_str(last);
            return Ok(value.trim_matches('\n').to_owned());
        }
        value.push_str(line);
        value.push('\n');
        line = more.next().ok_or("the value has no closing '''")?;
    }
}

fn one_line(rest: &str) -> Result<String, String> {
    if let Some((quoted, after)) = rest.strip_prefix('\'').and_then(|rest| rest.split_once('\'')) {
        nothing_but_a_comment(after)?;
        return Ok(quoted.to_owned());
    }
    match rest.split('#').next().map(str::trim_end) {
        None | Some("") => Err("there is no value; the empty one is ''".to_owned()),
        Some(value) => Ok(value.to_owned()),
    }
}

fn nothing_but_a_comment(after: &str) -> Result<(), String> {
    let after = after.trim_start();
    if after.is_empty() || after.starts_with('#') { Ok(()) } else { Err(format!("'{after}' after the closing quote")) }
}

/// The parts of a key between its dots; `\.` is a dot within one.
pub(super) fn segments(key: &str) -> Vec<String> {
    let mut segments = vec![String::new()];
    let mut characters = key.chars().peekable();
    while let Some(character) = characters.next() {
        if character == '.' {
            segments.push(String::new());
            continue;
        }
        let escapes = character == '\\' && characters.next_if_eq(&'.').is_some();
        if let Some(last) = segments.last_mut() {
            last.push(if escapes { '.' } else { character });
        }
    }
    segments
}

/// A name as a segment of a key.
pub(super) fn segment(name: &str) -> String {
    name.replace('.', "\\.")
}

/// A value as it is written behind the `=`.
pub(super) fn written(value: &str) -> String {
    let plain = !value.is_empty() && value.trim() == value && !value.starts_with('\'') && !value.contains(['#', '\n']);
    match (plain, value.contains('\'')) {
        (true, _) => value.to_owned(),
        (false, false) if !value.contains('\n') => format!("'{value}'"),
        (false, _) => format!("'''\n{value}\n'''"),
    }
}

/// Puts in what `$(NAME)` refers to.
///
/// # Errors
/// A name that `lookup` does not know.
pub(super) fn interpolated(value: &str, lookup: &dyn Fn(&str) -> Option<String>) -> Result<String, String> {
    let mut whole = String::new();
    let mut rest = value;
    while let Some((before, reference)) = rest.split_once("$(") {
        let Some((name, after)) = reference.split_once(')') else { break };
        let found = lookup(name.trim()).ok_or_else(|| format!("$({name}): no such environment variable, and no such key in the files"))?;
        whole.push_str(before);
        whole.push_str(&found);
        rest = after;
    }
    whole.push_str(rest);
    Ok(whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(text: &str) -> Vec<(String, String)> {
        let of = |(line, statement)| match statement {
            Ok(Statement::Setting { key, value }) => (key, value),
            other => panic!("line {line}: {other:?}"),
        };
        parse(text).into_iter().map(of).collect()
    }

    fn value(text: &str) -> String {
        let mut values = values(text);
        assert_eq!(values.len(), 1, "{text}");
        values.remove(0).1
    }

    fn wrong(text: &str) -> (usize, String) {
        parse(text).into_iter().find_map(|(line, statement)| statement.err().map(|why| (line, why))).expect("an error")
    }

    /// What cuttlefish 3.0.1's own tests, and its grammar, have.
    #[test]
    fn settings_comments_and_blank_lines() {
        let text = "# one\n## two\n\n\t\t\nkey = a value \t\r\n  other.key=5   # why\n\ta_b-c.1 = x#y";
        let expected = [("key", "a value"), ("other.key", "5"), ("a_b-c.1", "x")];
        assert_eq!(values(text), expected.map(|(key, value)| (key.to_owned(), value.to_owned())));
        assert_eq!(values(""), []);
    }

    #[test]
    fn quotes_keep_what_would_be_a_comment() {
        assert_eq!(value("k = 'e9238-7_49%#sod7'"), "e9238-7_49%#sod7");
        assert_eq!(value("k = ' a = b '  # c"), " a = b ");
        assert_eq!(value("k = ''"), "");
        assert_eq!(value("k = it's"), "it's");
        assert_eq!(value("k = 'open"), "'open");
        assert_eq!(wrong("k = 'a' b"), (1, "'b' after the closing quote".to_owned()));
    }

    #[test]
    fn values_of_several_lines() {
        assert_eq!(value("a = '''\n    l0\n  # l1\n    l2\n'''\n"), "    l0\n  # l1\n    l2");
        assert_eq!(value("a = '''it's #1''' # c"), "it's #1");
        assert_eq!(wrong("x = 1\na = '''\n b\n"), (2, "the value has no closing '''".to_owned()));
        assert_eq!(values("a = '''\n'''\nb = 1").len(), 2);
    }

    #[test]
    fn includes() {
        let include = |text: &str| parse(text).pop();
        assert_eq!(include("include conf.d/*.conf # all"), Some((1, Ok(Statement::Include("conf.d/*.conf".to_owned())))));
        assert_eq!(values("include = 1"), [("include".to_owned(), "1".to_owned())]);
        assert_eq!(values("included = 1"), [("included".to_owned(), "1".to_owned())]);
    }

    #[test]
    fn what_is_no_setting() {
        assert_eq!(wrong("\njust words\n"), (2, "expected key = value".to_owned()));
        assert_eq!(wrong("two words = 1"), (1, "'two words' is no key: expected key = value".to_owned()));
        for text in ["= 1", "a..b = 1", ".a = 1", "a. = 1"] {
            assert!(wrong(text).1.ends_with("is no key: expected key = value"), "{text}");
        }
        assert_eq!(wrong("k ="), (1, "there is no value; the empty one is ''".to_owned()));
        assert_eq!(wrong("k = # nothing"), (1, "there is no value; the empty one is ''".to_owned()));
    }

    #[test]
    fn a_dot_in_a_name_is_escaped() {
        assert_eq!(segments(r"loopback_users.a\.b"), ["loopback_users", "a.b"]);
        assert_eq!(segments(&format!("x.{}", segment("a.b.c"))), ["x", "a.b.c"]);
        assert_eq!(segments(r"a\b"), [r"a\b"]);
    }

    #[test]
    fn what_is_written_is_read_back() {
        for original in ["plain", "", " spaces ", "a#b", "it's", "'quoted'", "#'", "a\nb", "$x", "a = b"] {
            assert_eq!(value(&format!("k = {}", written(original))), original, "{original:?}");
        }
    }

    #[test]
    fn references() {
        let lookup = |name: &str| (name == "USER").then(|| "hare".to_owned());
        assert_eq!(interpolated("$(USER)-$( USER )!", &lookup), Ok("hare-hare!".to_owned()));
        assert_eq!(interpolated("$5 (and) $(", &lookup), Ok("$5 (and) $(".to_owned()));
        let why = "$(NOBODY): no such environment variable, and no such key in the files";
        assert_eq!(interpolated("a$(NOBODY)", &lookup), Err(why.to_owned()));
    }
}
