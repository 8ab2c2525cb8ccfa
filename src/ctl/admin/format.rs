//! Lists as rabbitmqadmin shows them.

use serde_json::{Map, Value as Json};

/// Columns that come first, in this order; the others follow by name.
const FIRST: &[&str] = &["vhost", "name", "type", "source", "destination", "destination_type", "routing_key"];

/// Rows of cells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Table {
    pub(super) columns: Vec<String>,
    pub(super) rows: Vec<Vec<String>>,
}

impl Table {
    /// Of objects. Without `columns` all are shown that are not deeper than `depth`; the objects of `json` are cells.
    pub(super) fn of(items: &[Json], columns: &[String], json: &[&str], depth: usize) -> Self {
        let flat: Vec<Vec<(String, String)>> = items
            .iter()
            .map(|item| {
                let mut cells = Vec::new();
                let depth = if columns.is_empty() { depth } else { usize::MAX };
                if let Json::Object(fields) = item {
                    flatten("", fields, json, depth, &mut cells);
                }
                cells
            })
            .collect();
        let mut columns = columns.to_vec();
        if columns.is_empty() {
            columns = flat.iter().flatten().map(|(name, _)| name.clone()).collect();
            columns.sort_by_key(|name| (FIRST.iter().position(|first| first == name).unwrap_or(FIRST.len()), name.clone()));
            columns.dedup();
        }
        let cell = |cells: &Vec<(String, String)>, column: &String| {
            cells.iter().find(|(name, _)| name == column).map(|(_, value)| value.clone()).unwrap_or_default()
        };
        let rows = flat.iter().map(|cells| columns.iter().map(|column| cell(cells, column)).collect()).collect();
        Self { columns, rows }
    }

    /// In a format of that name; `None` where there is none.
    pub(super) fn write(&self, format: &str, verbose: bool) -> Option<String> {
        Some(match format {
            "table" => self.framed(),
            "tsv" => self.tabbed(verbose),
            "long" => self.long(),
            "kvp" => self.pairs(),
            "bash" => self.names(),
            _ => return None,
        })
    }

    fn framed(&self) -> String {
        let width = |at: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(at)).chain(self.columns.get(at));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.columns.len()).map(width).collect();
        let bar: String = widths.iter().map(|width| format!("{}+", "-".repeat(width + 2))).collect();
        let head: String = self.columns.iter().zip(&widths).map(|(cell, width)| format!(" {cell:^width$} |")).collect();
        let mut text = format!("+{bar}\n|{head}\n+{bar}\n");
        for row in &self.rows {
            let cells: String = row.iter().zip(&widths).map(|(cell, width)| format!(" {cell:<width$} |")).collect();
            text.push_str(&format!("|{cells}\n"));
        }
        text.push_str(&format!("+{bar}\n"));
        text
    }

    fn tabbed(&self, verbose: bool) -> String {
        let head = verbose.then_some(&self.columns);
        head.into_iter().chain(&self.rows).map(|row| row.join("\t") + "\n").collect()
    }

    fn long(&self) -> String {
        let width = self.columns.iter().map(|name| name.chars().count()).max().unwrap_or(0);
        let rule = format!("\n{}\n\n", "-".repeat(80));
        let mut text = rule.clone();
        for row in &self.rows {
            for (name, cell) in self.columns.iter().zip(row) {
                text.push_str(&format!("{name:>width$}: {cell}\n"));
            }
            text.push_str(&rule);
        }
        text
    }

    fn pairs(&self) -> String {
        let line = |row: &Vec<String>| {
            let pairs: Vec<String> = self.columns.iter().zip(row).map(|(name, cell)| format!("{name}=\"{cell}\"")).collect();
            pairs.join(" ") + "\n"
        };
        self.rows.iter().map(line).collect()
    }

    fn names(&self) -> String {
        let Some(at) = self.columns.iter().position(|name| name == "name") else { return String::new() };
        let names: Vec<&str> = self.rows.iter().filter_map(|row| row.get(at)).map(String::as_str).collect();
        names.join(" ") + "\n"
    }
}

fn flatten(prefix: &str, fields: &Map<String, Json>, json: &[&str], depth: usize, cells: &mut Vec<(String, String)>) {
    for (name, value) in fields {
        let column = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
        match value {
            Json::Object(_) if json.contains(&name.as_str()) => cells.push((column, spaced(value))),
            Json::Object(inner) if depth > 1 => flatten(&column, inner, json, depth - 1, cells),
            Json::Object(_) => {}
            _ => cells.push((column, cell(value))),
        }
    }
}

/// As Python writes it, which the original is written in.
fn cell(value: &Json) -> String {
    match value {
        Json::Null => String::new(),
        Json::Bool(true) => "True".to_owned(),
        Json::Bool(false) => "False".to_owned(),
        Json::String(text) => text.clone(),
        Json::Array(list) if list.iter().all(Json::is_string) => list.iter().map(cell).collect::<Vec<_>>().join(" "),
        Json::Array(_) | Json::Object(_) => spaced(value),
        Json::Number(number) => number.to_string(),
    }
}

/// JSON with a space behind each comma and colon.
pub(super) fn spaced(value: &Json) -> String {
    match value {
        Json::Object(fields) => {
            let fields: Vec<String> = fields.iter().map(|(name, value)| format!("{}: {}", Json::from(&**name), spaced(value))).collect();
            format!("{{{}}}", fields.join(", "))
        }
        Json::Array(list) => format!("[{}]", list.iter().map(spaced).collect::<Vec<_>>().join(", ")),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn queues() -> Vec<Json> {
        vec![json!({"name": "q1", "durable": true, "a": {"b": {"c": 1}}}), json!({"name": "q2", "durable": false})]
    }

    fn table(columns: &[&str]) -> Table {
        let columns: Vec<String> = columns.iter().map(|name| (*name).to_owned()).collect();
        Table::of(&queues(), &columns, &[], 1)
    }

    /// These are the outputs of rabbitmqadmin 3.10.8.
    #[test]
    fn formats() {
        let written = |format: &str| table(&["name", "durable"]).write(format, true).expect("a format");
        assert_eq!(
            written("table"),
            "+------+---------+\n| name | durable |\n+------+---------+\n| q1   | True    |\n| q2   | False   |\n+------+---------+\n"
        );
        assert_eq!(written("tsv"), "name\tdurable\nq1\tTrue\nq2\tFalse\n");
        assert_eq!(written("kvp"), "name=\"q1\" durable=\"True\"\nname=\"q2\" durable=\"False\"\n");
        assert_eq!(written("bash"), "q1 q2\n");
        let rule = "-".repeat(80);
        assert_eq!(
            written("long"),
            format!("\n{rule}\n\n   name: q1\ndurable: True\n\n{rule}\n\n   name: q2\ndurable: False\n\n{rule}\n\n")
        );
        assert_eq!(table(&[]).write("nope", true), None);
    }

    #[test]
    fn how_deep() {
        assert_eq!(table(&[]).columns, ["name", "durable"]);
        assert_eq!(Table::of(&queues(), &[], &[], 3).columns, ["name", "a.b.c", "durable"]);
        assert_eq!(table(&["a.b.c"]).rows, [["1"], [""]]);
        assert_eq!(Table::of(&queues(), &[], &["a"], 1).rows[0], ["q1", "{\"b\": {\"c\": 1}}", "True"]);
    }
}
