//! Where the log goes, and what of it.

use std::path::PathBuf;

use tracing::level_filters::LevelFilter;

use super::Rotation;

/// The log's two outputs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Logging {
    /// What every output shows at most, and where it has no level of its own; `None`: info.
    pub default_level: Option<LevelFilter>,
    pub console: Output,
    /// Whether the console is standard output; otherwise it is standard error.
    pub stdout: bool,
    /// Whether the console is coloured; `None`: where it is a terminal.
    pub colors: Option<bool>,
    pub file: Output,
    /// Where the second output goes; it is appended to.
    pub path: PathBuf,
    /// When another file begins.
    pub rotation: Rotation,
    /// Where a path that is relative begins; `None`: where the process was started.
    pub dir: Option<PathBuf>,
}

/// An output of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Output {
    pub on: bool,
    /// `None`: as much as the default level.
    pub level: Option<LevelFilter>,
    /// One JSON object a line, with RabbitMQ's names; otherwise plain text.
    pub json: bool,
}

impl Default for Logging {
    fn default() -> Self {
        let console = Output { on: true, level: None, json: false };
        let file = Output { on: false, ..console };
        Self {
            default_level: None,
            console,
            stdout: false,
            colors: None,
            file,
            path: PathBuf::new(),
            rotation: Rotation::default(),
            dir: None,
        }
    }
}

impl Logging {
    /// What an output shows.
    #[must_use]
    pub fn filter(&self, output: Output) -> LevelFilter {
        match (output.on, output.level, self.default_level) {
            (false, ..) => LevelFilter::OFF,
            (true, Some(own), Some(default)) => own.min(default),
            (true, own, default) => own.or(default).unwrap_or(LevelFilter::INFO),
        }
    }

    /// The file that is written.
    #[must_use]
    pub fn file_path(&self) -> Option<PathBuf> {
        let whole = || self.dir.as_ref().map_or_else(|| self.path.clone(), |dir| dir.join(&self.path));
        self.file.on.then(whole)
    }

    /// What the console is called, where it is written to.
    #[must_use]
    pub fn console_name(&self) -> Option<&'static str> {
        self.console.on.then_some(if self.stdout { "<stdout>" } else { "<stderr>" })
    }

    /// Where the log goes.
    #[must_use]
    pub fn places(&self) -> Vec<String> {
        let file = self.file_path().map(|path| path.display().to_string());
        file.into_iter().chain(self.console_name().map(str::to_owned)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_output_shows_no_more_than_its_level_and_the_default_one() {
        let filter = |default_level, level| {
            let logging = Logging { default_level, ..Logging::default() };
            logging.filter(Output { level, ..logging.console })
        };
        let (debug, error) = (Some(LevelFilter::DEBUG), Some(LevelFilter::ERROR));
        assert_eq!(filter(None, None), LevelFilter::INFO);
        assert_eq!(filter(debug, None), LevelFilter::DEBUG);
        assert_eq!(filter(None, debug), LevelFilter::DEBUG);
        assert_eq!(filter(error, debug), LevelFilter::ERROR);
        assert_eq!(filter(debug, error), LevelFilter::ERROR);
        let logging = Logging::default();
        assert_eq!(logging.filter(logging.file), LevelFilter::OFF);
    }

    #[test]
    fn a_relative_file_lies_in_the_directory() {
        let mut logging = Logging { path: "rabbit.log".into(), dir: Some("/var/log".into()), ..Logging::default() };
        assert_eq!(logging.file_path(), None);
        logging.file.on = true;
        assert_eq!(logging.file_path(), Some("/var/log/rabbit.log".into()));
        assert_eq!(logging.places(), ["/var/log/rabbit.log", "<stderr>"]);
        logging.path = "/tmp/x.log".into();
        assert_eq!(logging.file_path(), Some("/tmp/x.log".into()));
    }
}
