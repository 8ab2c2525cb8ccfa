//! What survives of the node itself, as RabbitMQ's definitions: users, virtual hosts, permissions, parameters. A file of the data
//! directory, written whole or not at all.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value as Json};

use super::{StartError, salt};
use crate::node::{Node, definitions};

const NAME: &str = "node.json";
/// Of the form of the file; another one is not read.
const VERSION: u64 = 1;

#[derive(Clone, Debug)]
pub(super) struct NodeFile(PathBuf);

impl NodeFile {
    pub(super) fn in_directory(directory: &Path) -> Self {
        Self(directory.join(NAME))
    }

    /// Reads what was there when the node ran last over `node`; `false` when it never did.
    ///
    /// # Errors
    /// A file that cannot be read or understood: the node would lose its users by starting without it.
    pub(super) fn read(&self, node: &mut Node) -> Result<bool, StartError> {
        let failed = |why: &dyn std::fmt::Display| StartError(format!("{}: {why}", self.0.display()));
        let text = match fs::read_to_string(&self.0) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(failed(&error)),
        };
        let sections: Map<String, Json> = serde_json::from_str(&text).map_err(|error| failed(&error))?;
        if sections.get("leveret_node") != Some(&VERSION.into()) {
            return Err(failed(&"the file is of another version"));
        }
        // What is there stays, also where no more may come.
        let vhost_max = node.vhost_max.take();
        definitions::take_all(node, &sections, salt).map_err(|why| failed(&why))?;
        node.vhost_max = vhost_max;
        Ok(true)
    }

    /// Returns when the file is on the disk.
    pub(super) fn write(&self, node: &Node) -> io::Result<()> {
        let mut sections = node.to_definitions(None);
        sections.insert("leveret_node".to_owned(), VERSION.into());
        let unfinished = self.0.with_extension("json.new");
        let mut file = File::create(&unfinished)?;
        file.write_all(format!("{:#}\n", Json::Object(sections)).as_bytes())?;
        file.sync_all()?;
        fs::rename(&unfinished, &self.0)?;
        let directory = self.0.parent().unwrap_or(Path::new("."));
        File::open(directory)?.sync_all()
    }
}
