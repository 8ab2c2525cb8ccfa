//! The log's outputs: the console and a file, as text or as JSON.

use std::fmt;
use std::fs::File;
use std::io::{self, IsTerminal};
use std::sync::Arc;

use leveret::config::logging::{Logging, Output};
use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
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

/// Opens the outputs; what is logged from now on goes there. What is returned changes the level of all of them.
///
/// # Errors
/// A file that cannot be opened.
pub(crate) fn start(logging: &Logging) -> Result<impl Fn(&str) -> Result<(), String> + use<>, String> {
    let terminal = if logging.stdout { io::stdout().is_terminal() } else { io::stderr().is_terminal() };
    let console = if logging.stdout { BoxMakeWriter::new(io::stdout) } else { BoxMakeWriter::new(io::stderr) };
    let (console, level) = output(logging, logging.console, logging.colors.unwrap_or(terminal), console);
    let (mut outputs, mut levels) = (vec![console], vec![level]);
    if let Some(path) = logging.file_path() {
        let file = File::options().create(true).append(true).open(&path);
        let file = file.map_err(|error| format!("cannot write the log to {}: {error}", path.display()))?;
        let (file, level) = output(logging, logging.file, false, BoxMakeWriter::new(Arc::new(file)));
        outputs.push(file);
        levels.push(level);
    }
    tracing_subscriber::registry().with(outputs).init();
    Ok(move |name: &str| {
        let level = leveret::config::level(name)?;
        // Only when the log is gone.
        levels.iter().try_for_each(|output| output.reload(level)).map_err(|error| error.to_string())
    })
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
        let mut object = Fields(Map::new());
        event.record(&mut object);
        let Fields(mut object) = object;
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

struct Fields(Map<String, Value>);

impl Fields {
    fn put(&mut self, field: &Field, value: impl Into<Value>) {
        let name = if field.name() == "message" { "msg" } else { field.name() };
        self.0.insert(name.to_owned(), value.into());
    }
}

impl Visit for Fields {
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, format!("{value:?}"));
    }
}
