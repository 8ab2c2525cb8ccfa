//! The log's outputs: the console and a file, as text or as JSON.

use std::fmt;
use std::io::{self, IsTerminal};
use std::sync::Arc;

use leveret::config::logging::{Logging, Output};
use leveret::server::LogControl;
use leveret::telemetry::{Fields, Logs};
use serde_json::Value;
use tracing::level_filters::LevelFilter;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Writer};
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::writer::BoxMakeWriter;
use tracing_subscriber::fmt::{FmtContext, layer};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry, reload};

use crate::logfile::LogFile;

/// The log's outputs while they are written.
pub(crate) struct Log {
    levels: Vec<reload::Handle<LevelFilter, Registry>>,
    file: Option<Arc<LogFile>>,
}

impl LogControl for Log {
    fn set_level(&self, name: &str) -> Result<(), String> {
        let level = leveret::config::level(name)?;
        // Only when the log is gone.
        self.levels.iter().try_for_each(|output| output.reload(level)).map_err(|error| error.to_string())
    }

    /// Without a file there is nothing to do.
    fn rotate(&self) -> Result<(), String> {
        self.file.as_ref().map_or(Ok(()), |file| file.rotate().map_err(|error| error.to_string()))
    }
}

/// Opens the outputs; what is logged from now on goes there.
///
/// # Errors
/// A file that cannot be opened.
pub(crate) fn start(logging: &Logging, collector: Option<Logs>) -> Result<Log, String> {
    let terminal = if logging.stdout { io::stdout().is_terminal() } else { io::stderr().is_terminal() };
    let console = if logging.stdout { BoxMakeWriter::new(io::stdout) } else { BoxMakeWriter::new(io::stderr) };
    let (console, level) = output(logging, logging.console, logging.colors.unwrap_or(terminal), console);
    let (mut outputs, mut levels, mut file) = (vec![console], vec![level], None);
    if let Some(path) = logging.file_path() {
        let opened = LogFile::open(path.clone(), logging.rotation);
        let opened = Arc::new(opened.map_err(|error| format!("cannot write the log to {}: {error}", path.display()))?);
        let (output, level) = output(logging, logging.file, false, BoxMakeWriter::new(Arc::clone(&opened)));
        outputs.push(output);
        levels.push(level);
        file = Some(opened);
    }
    if let Some(collector) = collector {
        let all = Output { on: true, level: None, json: false };
        let (filter, level) = reload::Layer::new(logging.filter(all));
        outputs.push(collector.with_filter(filter).boxed());
        levels.push(level);
    }
    tracing_subscriber::registry().with(outputs).init();
    Ok(Log { levels, file })
}

/// An output, and what changes its level.
fn output(
    logging: &Logging,
    output: Output,
    colors: bool,
    writer: BoxMakeWriter,
) -> (Box<dyn Layer<Registry> + Send + Sync>, reload::Handle<LevelFilter, Registry>) {
    let text = layer().with_ansi(colors).with_writer(writer);
    let (filter, level) = reload::Layer::new(logging.filter(output));
    let output = if output.json { text.event_format(Json).with_filter(filter).boxed() } else { text.with_filter(filter).boxed() };
    (output, level)
}

/// An object a line, with RabbitMQ's names for what it has, too.
struct Json;

impl<S, N> FormatEvent<S, N> for Json
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let Fields { message, others: mut object } = Fields::of(event);
        object.extend(message.map(|message| ("msg".to_owned(), message.into())));
        let mut time = String::new();
        SystemTime.format_time(&mut Writer::new(&mut time))?;
        let level = match *event.metadata().level() {
            Level::WARN => "warning".to_owned(),
            level => level.as_str().to_ascii_lowercase(),
        };
        object.insert("time".to_owned(), time.into());
        object.insert("level".to_owned(), level.into());
        object.insert("domain".to_owned(), event.metadata().target().replace("::", ".").into());
        writeln!(writer, "{}", Value::Object(object))
    }
}
