//! Rows of values as text: RabbitMQ's tables with tabs, with frames, as CSV, as JSON.

use serde_json::{Map, Value as Json};

use super::arguments::Formatter;

/// How a value is written where it is not JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Plain,
    /// An object, as the table of AMQP that it stands for.
    Arguments,
    /// A list in brackets.
    Tags,
    /// A list without them.
    Names,
    /// JSON as text, in JSON too.
    Text,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) kind: Kind,
}

pub(super) fn column(name: &str, kind: Kind) -> Column {
    Column { name: name.to_owned(), kind }
}

/// What a command found, one row for each thing.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Rows {
    pub(super) columns: Vec<Column>,
    pub(super) rows: Vec<Vec<Json>>,
}

impl Rows {
    /// With a line end, unless there is nothing.
    pub(super) fn write(&self, formatter: Formatter, with_headers: bool) -> String {
        match formatter {
            Formatter::Json => self.json(),
            Formatter::Table => self.lines(with_headers, "\t", text),
            Formatter::Csv => self.lines(with_headers, ",", |value, kind| format!("\"{}\"", text(value, kind).replace('"', "\"\""))),
            Formatter::PrettyTable => self.framed(with_headers),
        }
    }

    fn lines(&self, with_headers: bool, separator: &str, cell: impl Fn(&Json, Kind) -> String) -> String {
        let mut lines = Vec::new();
        // As in RabbitMQ, nothing has no heading.
        if with_headers && !self.rows.is_empty() {
            lines.push(self.columns.iter().map(|c| cell(&Json::from(&*c.name), Kind::Plain)).collect::<Vec<_>>().join(separator));
        }
        for row in &self.rows {
            lines.push(row.iter().zip(&self.columns).map(|(value, c)| cell(value, c.kind)).collect::<Vec<_>>().join(separator));
        }
        lines.into_iter().map(|line| line + "\n").collect()
    }

    fn framed(&self, with_headers: bool) -> String {
        if self.rows.is_empty() {
            return String::new();
        }
        let mut cells: Vec<Vec<String>> = Vec::new();
        if with_headers {
            cells.push(self.columns.iter().map(|c| c.name.clone()).collect());
        }
        cells.extend(self.rows.iter().map(|row| row.iter().zip(&self.columns).map(|(value, c)| text(value, c.kind)).collect()));
        let width = |at: usize| cells.iter().filter_map(|row| row.get(at)).map(|cell| cell.chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..self.columns.len()).map(width).collect();
        let rule = |left: &str, middle: &str, right: &str| {
            let parts: Vec<String> = widths.iter().map(|width| "─".repeat(width + 2)).collect();
            format!("{left}{}{right}\n", parts.join(middle))
        };
        let line = |row: &Vec<String>| {
            let parts: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!(" {cell:<width$} ")).collect();
            format!("│{}│\n", parts.join("│"))
        };
        let body: Vec<String> = cells.iter().map(line).collect();
        format!("{}{}{}", rule("┌", "┬", "┐"), body.join(&rule("├", "┼", "┤")), rule("└", "┴", "┘"))
    }

    fn json(&self) -> String {
        // By hand: the columns stay in their order.
        let object = |row: &Vec<Json>| {
            let fields = row.iter().zip(&self.columns).map(|(value, c)| format!("{}:{}", Json::from(&*c.name), json(value, c.kind)));
            format!("{{{}}}", fields.collect::<Vec<_>>().join(","))
        };
        let objects: Vec<String> = self.rows.iter().map(|row| object(row) + "\n").collect();
        format!("[\n{}]\n", objects.join(","))
    }
}

fn text(value: &Json, kind: Kind) -> String {
    match (value, kind) {
        (Json::Null, _) => String::new(),
        (Json::String(text), _) => text.clone(),
        (Json::Object(table), Kind::Arguments) => term_table(table),
        // The API says this of an empty table.
        (Json::Array(list), Kind::Tags | Kind::Arguments) => format!("[{}]", texts(list).join(", ")),
        (Json::Array(list), Kind::Names) if !list.is_empty() => texts(list).join(","),
        _ => value.to_string(),
    }
}

fn texts(list: &[Json]) -> Vec<String> {
    list.iter().map(|value| text(value, Kind::Plain)).collect()
}

/// As Erlang's terms look in RabbitMQ's tables.
fn term_table(table: &Map<String, Json>) -> String {
    let fields: Vec<String> = table.iter().map(|(name, value)| format!("{{{},{}}}", Json::from(&**name), term(value))).collect();
    format!("[{}]", fields.join(","))
}

fn term(value: &Json) -> String {
    match value {
        Json::Object(table) => term_table(table),
        Json::Array(list) => format!("[{}]", list.iter().map(term).collect::<Vec<_>>().join(",")),
        other => other.to_string(),
    }
}

fn json(value: &Json, kind: Kind) -> Json {
    match (value, kind) {
        (Json::Object(table), Kind::Arguments) => typed_table(table),
        (Json::Object(_), Kind::Text) => Json::from(value.to_string()),
        (Json::Null, _) => Json::from(""),
        _ => value.clone(),
    }
}

/// Name, type and value: what RabbitMQ has of a table.
fn typed_table(table: &Map<String, Json>) -> Json {
    table.iter().map(|(name, value)| Json::from_iter([Json::from(&**name), type_of(value).into(), typed(value)])).collect()
}

fn typed(value: &Json) -> Json {
    match value {
        Json::Object(table) => typed_table(table),
        Json::Array(list) => list.iter().map(|value| Json::from_iter([type_of(value).into(), typed(value)])).collect(),
        other => other.clone(),
    }
}

fn type_of(value: &Json) -> &'static str {
    match value {
        Json::Null => "void",
        Json::Bool(_) => "bool",
        Json::Number(number) if number.is_f64() => "double",
        Json::Number(_) => "long",
        Json::String(_) => "longstr",
        Json::Array(_) => "array",
        Json::Object(_) => "table",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn queues() -> Rows {
        let columns = vec![column("name", Kind::Plain), column("messages", Kind::Plain), column("arguments", Kind::Arguments)];
        let arguments = json!({"x-dead-letter-exchange": "d", "x-max-length": 5});
        Rows { columns, rows: vec![vec!["q1".into(), 1.into(), arguments], vec!["q2".into(), 0.into(), json!({})]] }
    }

    /// These are RabbitMQ 3.10.8's.
    #[test]
    fn tables() {
        let rows = queues();
        assert_eq!(
            rows.write(Formatter::Table, true),
            "name\tmessages\targuments\nq1\t1\t[{\"x-dead-letter-exchange\",\"d\"},{\"x-max-length\",5}]\nq2\t0\t[]\n"
        );
        assert_eq!(rows.write(Formatter::Table, false).lines().count(), 2);
        assert_eq!(
            rows.write(Formatter::Csv, true),
            "\"name\",\"messages\",\"arguments\"\n\
             \"q1\",\"1\",\"[{\"\"x-dead-letter-exchange\"\",\"\"d\"\"},{\"\"x-max-length\"\",5}]\"\n\"q2\",\"0\",\"[]\"\n"
        );
    }

    #[test]
    fn json_is_one_line_for_each() {
        let text = queues().write(Formatter::Json, true);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!((lines[0], lines.len()), ("[", 4));
        assert!(lines[2].starts_with(",{"), "{text}");
        let parsed: Json = serde_json::from_str(&text).expect("JSON");
        assert_eq!(parsed[0]["arguments"], json!([["x-dead-letter-exchange", "longstr", "d"], ["x-max-length", "long", 5]]));
        assert_eq!(parsed[1]["arguments"], json!([]));
        assert_eq!(Rows { columns: Vec::new(), rows: Vec::new() }.write(Formatter::Json, true), "[\n]\n");
    }

    #[test]
    fn frames() {
        let columns = vec![column("user", Kind::Plain), column("tags", Kind::Tags)];
        let rows = Rows { columns, rows: vec![vec!["guest".into(), json!(["a", "b"])]] };
        let expected = "┌───────┬────────┐\n│ user  │ tags   │\n├───────┼────────┤\n│ guest │ [a, b] │\n└───────┴────────┘\n";
        assert_eq!(rows.write(Formatter::PrettyTable, true), expected);
    }
}
