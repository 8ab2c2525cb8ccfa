//! A small disk of one's own, in a namespace that is gone with the test. Not every system lets its users have one.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::broker::leveret;

pub(crate) struct Volume {
    /// Keeps the namespace; it ends when its input does.
    holder: Child,
    mounted: PathBuf,
}

impl Volume {
    /// So many MiB at this place, which only those see who are in the namespace.
    pub(crate) fn new(mounted: &Path, mib: u32) -> Option<Self> {
        fs::create_dir_all(mounted).expect("a folder");
        let mount = format!("mount -t tmpfs -o size={mib}m small '{}' && echo mounted && exec cat", mounted.display());
        let mut command = Command::new("unshare");
        command.args(["--map-root-user", "--mount", "sh", "-c", &mount]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut holder = command.spawn().ok()?;
        let mut line = String::new();
        let _ = BufReader::new(holder.stdout.as_mut()?).read_line(&mut line);
        let volume = Self { holder, mounted: mounted.to_owned() };
        (line == "mounted\n").then_some(volume)
    }

    /// The command line of a broker that sees it.
    pub(crate) fn leveret(&self) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--preserve-credentials", "--user", "--mount", "--target", &self.holder.id().to_string(), "--"]);
        command.arg(leveret().get_program());
        command
    }

    /// A file there, for others.
    fn seen(&self, name: &str) -> PathBuf {
        let inside = self.mounted.strip_prefix("/").expect("an absolute path").join(name);
        Path::new(&format!("/proc/{}/root", self.holder.id())).join(inside)
    }

    /// Takes room away, in MiB.
    pub(crate) fn fill(&self, mib: usize) {
        fs::write(self.seen("filler"), vec![0; mib << 20]).expect("there is room for it");
    }

    pub(crate) fn clear(&self) {
        fs::remove_file(self.seen("filler")).expect("it was filled");
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}
