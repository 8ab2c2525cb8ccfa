//! Definitions in files.

use std::io::Read;

use serde_json::{Map, Value as Json};

use super::call::{Call, Progress, write};
use super::failure::{CANNOT_CREATE, DATA, Failure, USAGE};

/// As many queues, exchanges or bindings are sent at a time.
const PORTION: usize = 1000;

pub(super) fn export_definitions(call: &mut Call) -> Result<(), Failure> {
    json_only(call)?;
    let path = call.word(0).to_owned();
    let found = call.get("/api/definitions")?;
    if path == "-" {
        write(&format!("{found}\n"));
        return Ok(());
    }
    call.banner(format!("Exporting definitions in JSON to a file at \"{path}\" ..."));
    std::fs::write(&path, found.to_string()).map_err(|error| Failure::error(CANNOT_CREATE, format!("{path}: {error}")))
}

pub(super) fn import_definitions(call: &mut Call) -> Result<(), Failure> {
    json_only(call)?;
    let path = call.words().first().map_or("-", String::as_str).to_owned();
    let mut text = String::new();
    if path == "-" {
        call.banner("Importing definitions in JSON from standard input ...");
        std::io::stdin().read_to_string(&mut text).map_err(|error| Failure::error(DATA, error))?;
    } else {
        let missing = |_| Failure::bad_argument(format!("File {path} does not exist"));
        text = std::fs::read_to_string(&path).map_err(missing)?;
        call.banner(format!("Importing definitions in JSON from a file at \"{path}\" ..."));
    }
    let portions = match serde_json::from_str(&text) {
        Ok(Json::Object(definitions)) => portions(definitions),
        _ => return Err(Failure::error(DATA, "Failed to parse the file: it is no JSON object")),
    };
    let progress = Progress::new(call, "importing");
    for (done, portion) in portions.iter().enumerate() {
        progress.at(done, portions.len());
        call.have("POST", "/api/definitions", Some(portion))?;
    }
    drop(progress);
    call.banner("Successfully started definition import. This process is asynchronous and can take some time.");
    Ok(())
}

fn json_only(call: &Call) -> Result<(), Failure> {
    match call.arguments.get("format") {
        None | Some("json" | "JSON") => Ok(()),
        Some(other) => Err(Failure::arguments(USAGE, format!("Formatter should be json, and is {other}"))),
    }
}

/// Everything that others refer to first, then what there may be many of, in the order of RabbitMQ's import.
fn portions(mut definitions: Map<String, Json>) -> Vec<Json> {
    let mut portions = Vec::new();
    let lists = ["queues", "exchanges", "bindings"].map(|key| (key, definitions.remove(key)));
    portions.push(Json::Object(definitions));
    for (key, list) in lists {
        let Some(Json::Array(list)) = list else { continue };
        portions.extend(list.chunks(PORTION).map(|chunk| Json::Object(Map::from_iter([(key.to_owned(), chunk.to_vec().into())]))));
    }
    portions
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn many_things_go_in_portions() {
        let Json::Object(definitions) = json!({"users": [1], "bindings": [2], "queues": vec![0; PORTION + 1]}) else { unreachable!() };
        let portions = portions(definitions);
        assert_eq!(portions.len(), 4);
        assert_eq!(portions[0], json!({"users": [1]}));
        assert_eq!(portions[2], json!({"queues": [0]}));
        assert_eq!(portions[3], json!({"bindings": [2]}));
    }
}
