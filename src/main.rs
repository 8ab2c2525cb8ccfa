//! The command line.

mod logfile;
mod logging;
mod notify;
mod stdin;

use std::future::pending;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use leveret::config::environment::Environment;
use leveret::config::{Config, Origin, Sources};
use leveret::ctl::Tool;
use leveret::embed::Services;
use leveret::server::{Address, Handle, Hangup, Server};
use leveret::storage::{Directory, Disk, repair};
use logging::Log;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// How long the end of the process waits for the last lines of the log to be sent to a collector.
const LOG_GRACE: Duration = Duration::from_secs(2);

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A RabbitMQ-compatible AMQP 0-9-1 message broker.
#[derive(Parser)]
#[command(version, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: Serve,
}

#[derive(Subcommand)]
enum Command {
    /// Run the broker (the default).
    Serve(Box<Serve>),
    /// Look for damage in a data directory that no broker uses, and say what repairing it would drop.
    Repair(Repair),
    /// Look after a running broker, as with rabbitmqctl, rabbitmq-diagnostics, rabbitmq-plugins and rabbitmqadmin.
    #[command(disable_help_flag = true)]
    Ctl(Ctl),
    /// Play RabbitMQ's behaviours against any broker of AMQP 0-9-1, and say which it fulfils.
    Conformance(leveret::conformance::Conformance),
    /// Look at a recording, which serve --record makes, or export it.
    Record(leveret::recording::Record),
    /// Play the clients' side of a recording against any broker, and say what that answers otherwise.
    Replay(leveret::recording::Replay),
    /// Print the configuration that these options, the environment and the files make, with where it comes from.
    Config(Box<Show>),
}

#[derive(Args)]
struct Repair {
    /// The data directory
    #[arg(long, value_name = "DIR")]
    data_dir: PathBuf,
    /// Drop it, so that the broker can start
    #[arg(long)]
    drop: bool,
}

impl Repair {
    /// Exit codes: 0 when nothing is damaged any more, 1 when something is, or when that cannot be told.
    fn run(&self) -> ExitCode {
        if !self.data_dir.is_dir() {
            return fail(&format_args!("{}: no such directory", self.data_dir.display()));
        }
        let disk: Arc<dyn Disk> = match Directory::open(&self.data_dir) {
            Ok(directory) => Arc::new(directory),
            Err(error) => return fail(&error),
        };
        let report = if self.drop { repair::repair(&disk) } else { repair::inspect(&disk) };
        match report {
            Ok(report) => {
                #[expect(clippy::print_stdout, reason = "the report is what was asked for")]
                {
                    println!("{report}");
                }
                ExitCode::from(u8::from(!report.is_clean() && !self.drop))
            }
            Err(error) => fail(&error),
        }
    }
}

#[derive(Args)]
struct Ctl {
    /// A command with its arguments; `help` lists them
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "COMMAND")]
    words: Vec<String>,
}

#[derive(Args)]
struct Show {
    /// Only say what is wrong with a file, if anything is
    #[arg(long, value_name = "FILE", conflicts_with_all = ["amqp", "amqps", "tls", "unix", "http", "https", "data_dir", "in_memory", "config", "compat", "test_api", "clock", "faults", "fail_on", "log"])]
    check: Option<PathBuf>,
    /// Say what each key means
    #[arg(long)]
    explain: bool,
    #[command(flatten)]
    serve: Serve,
}

impl Show {
    /// Exit codes: 0 when everything is understood, 1 when something is not.
    fn run(&self) -> ExitCode {
        let sources = match &self.check {
            Some(file) => {
                let mut sources = Sources::new(variable);
                sources.read(file);
                sources
            }
            None => match self.serve.sources() {
                Ok(sources) => sources,
                Err(text) => return refused(&text),
            },
        };
        let text = match sources.effective(self.explain) {
            Ok(text) => text,
            Err(error) => return fail(&error),
        };
        #[expect(clippy::print_stderr, reason = "what the broker would log")]
        for warning in sources.warnings() {
            eprintln!("leveret: warning: {warning}");
        }
        if self.check.is_none() {
            #[expect(clippy::print_stdout, reason = "the configuration is what was asked for")]
            {
                print!("{text}");
            }
        }
        ExitCode::SUCCESS
    }
}

#[derive(Args, Default)]
struct Serve {
    /// Address to serve AMQP on; port 0 picks a free one [default: 127.0.0.1:5672]
    #[arg(long, value_name = "ADDRESS")]
    amqp: Option<SocketAddr>,
    /// Address to serve AMQP over TLS on; port 0 picks a free one
    #[arg(long, value_name = "ADDRESS")]
    amqps: Option<SocketAddr>,
    /// Where the certificate for TLS comes from instead of the configuration file: auto makes one for development
    #[arg(long, value_name = "auto", value_parser = ["auto"])]
    tls: Option<String>,
    /// Path of a socket to serve AMQP on for clients on this machine
    #[arg(long, value_name = "PATH")]
    unix: Option<PathBuf>,
    /// Address to serve the HTTP API on; port 0 picks a free one [default: 127.0.0.1:15672]
    #[arg(long, value_name = "ADDRESS")]
    http: Option<SocketAddr>,
    /// Address to serve the HTTP API over TLS on; port 0 picks a free one
    #[arg(long, value_name = "ADDRESS")]
    https: Option<SocketAddr>,
    /// Address to serve metrics for Prometheus on, to who has no password; port 0 picks a free one
    #[arg(long, value_name = "ADDRESS")]
    metrics: Option<SocketAddr>,
    /// Directory for what is to survive; without it everything is kept in memory
    #[arg(long, value_name = "DIR", conflicts_with = "in_memory")]
    data_dir: Option<PathBuf>,
    /// Keep everything in memory
    #[arg(long)]
    in_memory: bool,
    /// Configuration file in rabbitmq.conf syntax, or a directory of *.conf; of several, the last one has the last word
    #[arg(long, value_name = "FILE")]
    config: Vec<PathBuf>,
    /// RabbitMQ release whose version-dependent behaviour to show: permissive, 3.13, 4.0, 4.1 or 4.3 [default: permissive]
    #[arg(long, value_name = "PROFILE", value_parser = leveret::config::profile)]
    compat: Option<String>,
    /// Serve /api/test: move time, inject faults, see what becomes of each message; for tests only
    #[arg(long)]
    test_api: bool,
    /// Whose time messages live in: real, or virtual, which /api/test moves [default: real]
    #[arg(long, value_name = "CLOCK", value_parser = ["real", "virtual"])]
    clock: Option<String>,
    /// File of rules for faults that are there from the start; for tests only
    #[arg(long, value_name = "FILE")]
    faults: Option<PathBuf>,
    /// End with exit code 3 and a report if there was any of these: leaks, deprecated, unroutable, never-consumed, no-prefetch, unacked, unknown-tag, errors
    #[arg(long, value_name = "WHAT,...")]
    fail_on: Option<String>,
    /// File to write {"amqp":…,"http":…,"metrics":…,"pid":…} to once the broker serves
    #[arg(long, value_name = "FILE")]
    ready_file: Option<PathBuf>,
    /// File, or directory for one, to record every frame of every connection in
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
    /// Stop when standard input is at its end: when whoever holds the other end of the pipe closes it, or dies
    #[arg(long)]
    until_stdin_closes: bool,
    /// Log level: error, warning, info, debug, trace or none [default: info]
    #[arg(long, value_name = "LEVEL", value_parser = log_level)]
    log: Option<String>,
}

impl Serve {
    /// The files, the environment, then these options. Files that are named here take the place of those of the environment.
    ///
    /// # Errors
    /// The whole text about variables that are refused.
    fn sources(&self) -> Result<Sources, String> {
        let environment = Environment::from_env(variable)?;
        let mut sources = Sources::new(variable);
        if self.config.is_empty() {
            sources.read_files_of(&environment);
        }
        self.config.iter().for_each(|file| sources.read(file));
        sources.apply_environment(&environment);
        if let Some(address) = self.amqp {
            sources.forget("listeners.tcp");
            sources.set("listeners.tcp.default", &address.to_string(), Origin::CommandLine("--amqp"));
        }
        if let Some(address) = self.amqps {
            sources.forget("listeners.ssl");
            sources.set("listeners.ssl.default", &address.to_string(), Origin::CommandLine("--amqps"));
        }
        if let Some(address) = self.http {
            ["management.tcp.ip", "management.listener.ip", "management.listener.port"].into_iter().for_each(|key| sources.forget(key));
            sources.set("management.tcp.port", &address.to_string(), Origin::CommandLine("--http"));
        }
        if let Some(address) = self.https {
            sources.forget("management.ssl.ip");
            sources.set("management.ssl.port", &address.to_string(), Origin::CommandLine("--https"));
        }
        if let Some(address) = self.metrics {
            sources.forget("prometheus.tcp.ip");
            sources.set("prometheus.tcp.port", &address.to_string(), Origin::CommandLine("--metrics"));
        }
        if self.in_memory {
            sources.forget("data_dir");
        }
        if let Some(dir) = &self.data_dir {
            sources.set("data_dir", &dir.to_string_lossy(), Origin::CommandLine("--data-dir"));
        }
        if let Some(profile) = &self.compat {
            sources.set("compat", profile, Origin::CommandLine("--compat"));
        }
        if self.test_api {
            sources.set("test_api", "true", Origin::CommandLine("--test-api"));
        }
        if let Some(fail_on) = &self.fail_on {
            sources.set("test_fail_on", fail_on, Origin::CommandLine("--fail-on"));
        }
        if let Some(clock) = &self.clock {
            sources.set("clock", clock, Origin::CommandLine("--clock"));
        }
        if let Some(file) = &self.faults {
            sources.set("faults", &file.display().to_string(), Origin::CommandLine("--faults"));
        }
        if let Some(level) = &self.log {
            ["log.default.level", "log.console.level"].into_iter().for_each(|key| sources.set(key, level, Origin::CommandLine("--log")));
        }
        Ok(sources)
    }

    /// What is not text stays as it is.
    fn complete(self, config: &mut Config) {
        config.ready_file = self.ready_file;
        config.record = self.record;
        config.data_dir = self.data_dir.or_else(|| config.data_dir.take());
        config.tls.auto = self.tls.is_some();
        config.unix_listener = self.unix.or_else(|| config.unix_listener.take());
    }
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

fn environment() -> leveret::ctl::Variable {
    std::rc::Rc::new(variable)
}

fn log_level(value: &str) -> Result<String, String> {
    leveret::config::level(value).map(|_| value.to_owned())
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args_os().map(|argument| argument.to_string_lossy().into_owned()).collect();
    let called = arguments.first().and_then(|program| Path::new(program).file_name()).and_then(|name| name.to_str());
    match called.map(|name| (name, Tool::named(name))) {
        Some((_, Some(tool))) => return ExitCode::from(leveret::ctl::run(tool, &arguments[1..], &environment())),
        // Its options are Erlang's, such as -detached.
        Some(("rabbitmq-server", None)) => return run_broker(Serve::default()),
        _ => {}
    }
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) if error.use_stderr() => return misused(&error),
        Err(help) => help.exit(),
    };
    let serve = match cli.command {
        None => cli.serve,
        Some(Command::Serve(serve)) => *serve,
        Some(Command::Repair(repair)) => return repair.run(),
        Some(Command::Config(show)) => return show.run(),
        Some(Command::Record(record)) => return ExitCode::from(record.run()),
        Some(Command::Replay(replay)) => return ExitCode::from(replay.run()),
        Some(Command::Conformance(conformance)) => return ExitCode::from(conformance.run()),
        Some(Command::Ctl(ctl)) => return ExitCode::from(leveret::ctl::run(Tool::Ctl, &ctl.words, &environment())),
    };
    run_broker(serve)
}

fn run_broker(serve: Serve) -> ExitCode {
    let sources = match serve.sources() {
        Ok(sources) => sources,
        Err(text) => return refused(&text),
    };
    let mut config = match sources.config() {
        Ok(config) => config,
        Err(error) => return fail(&error),
    };
    let until_stdin_closes = serve.until_stdin_closes;
    serve.complete(&mut config);
    let (collector, exporter) = leveret::telemetry::logs(&config.opentelemetry, &config.node_name).unzip();
    let log = match logging::start(&config.log, collector.clone()) {
        Ok(log) => log,
        Err(error) => return fail(&error),
    };
    for warning in sources.warnings() {
        tracing::warn!("{warning}");
    }
    raise_file_limit();
    // After every task, sockets are looked at: the default of 61 tasks keeps acks waiting behind publishers, whose
    // tasks are long, and consumers get a tenth of the rate.
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().event_interval(1).build();
    match runtime {
        Ok(runtime) => runtime.block_on(async {
            exporter.map(|exporter| tokio::spawn(exporter.run()));
            let code = serve_until_told(config, log, until_stdin_closes).await;
            if let Some(collector) = collector {
                collector.outlet().flush(LOG_GRACE).await;
            }
            code
        }),
        Err(error) => fail(&error),
    }
}

/// As many files and sockets as the system lets the process have: a shell gives often no more than 1024, and a broker needs one for
/// each connection.
fn raise_file_limit() {
    let limit = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }) {
        tracing::warn!("the limit of open files stays at {:?}: {error}", limit.current);
    }
}

async fn serve_until_told(config: Config, log: Log, until_stdin_closes: bool) -> ExitCode {
    let pid_file = config.pid_file.clone();
    let hangup = match Hangup::catch() {
        Ok(hangup) => hangup,
        Err(error) => return fail(&error),
    };
    let server = match Server::start(config).await {
        Ok(server) => server,
        Err(error) => return fail(&error),
    };
    if let Some(path) = pid_file
        && let Err(error) = std::fs::write(&path, format!("{}\n", std::process::id()))
    {
        return fail(&format_args!("{}: {error}", path.display()));
    }
    // Before anybody is told that the broker is there, and may ask it to stop.
    let stopped = match leveret::server::stop_signal() {
        Ok(stopped) => stopped,
        Err(error) => return fail(&error),
    };
    let stdin_closed = match until_stdin_closes.then(stdin::closed).transpose() {
        Ok(closed) => async { if let Some(closed) = closed { closed.await } else { pending().await } },
        Err(error) => return fail(&error),
    };
    let handle = server.handle();
    hangup.reloads(&handle);
    handle.control_log(log);
    let services = match Services::start(&handle).await {
        Ok(services) => services,
        Err(error) => return fail(&error),
    };
    let http = match services.serve_http(handle.config().http).await {
        Ok(http) => http,
        Err(error) => return fail(&error),
    };
    let control = match control_socket(&handle) {
        Some(path) => http.serve_commands(&path).await.map(|()| path),
        None => Err(std::io::Error::other("no place for it has a path that is short enough")),
    };
    match &control {
        Ok(path) => tracing::debug!("commands are taken at {}", path.display()),
        // Who has asked for it wants it; nobody else is kept waiting for a broker by a directory that cannot be written to.
        Err(error) if handle.config().control_socket.is_some() => return fail(&format_args!("no control socket: {error}")),
        Err(error) => tracing::warn!("no control socket: {error}"),
    }
    if let Err(error) = server.announce_ready(http.address) {
        return fail(&error);
    }
    let manager = notify::ServiceManager::from_env(variable);
    manager.ready(&handle);
    tokio::select! {
        () = stopped => {}
        () = handle.asked_to_stop() => {}
        () = stdin_closed => {}
    }
    manager.stopping();
    let fail_on = handle.config().testing.fail_on.clone();
    let report = if fail_on.is_empty() { None } else { Some(handle.lint().await.of_groups(&fail_on)) };
    services.stop().await;
    server.stop().await;
    if let Ok(path) = control {
        let _ = std::fs::remove_file(path);
    }
    report.filter(|report| !report.is_empty()).map_or(ExitCode::SUCCESS, |report| found(&report))
}

/// What was not to be found has been.
fn found(report: &leveret::server::Report) -> ExitCode {
    #[expect(clippy::print_stderr, reason = "the report is what was asked for")]
    {
        eprint!("{report}");
    }
    ExitCode::from(3)
}

/// Where the node takes commands of its machine.
fn control_socket(handle: &Handle) -> Option<PathBuf> {
    let addresses = handle.listening().into_iter().map(|listening| listening.address);
    let port = addresses.filter_map(|address| if let Address::Ip(address) = address { Some(address.port()) } else { None }).next();
    let runtime_dir = variable("XDG_RUNTIME_DIR").map(PathBuf::from);
    handle.config().control_sockets(port.unwrap_or(0), runtime_dir.as_deref()).into_iter().next()
}

/// One line instead of clap's page.
fn misused(error: &clap::Error) -> ExitCode {
    let text = error.to_string();
    let line = text.lines().next().unwrap_or_default().trim_start_matches("error: ");
    #[expect(clippy::print_stderr, reason = "the one line that says what is wrong with the command")]
    {
        eprintln!("leveret: {line} (--help lists the options)");
    }
    ExitCode::from(2)
}

/// The text as the official image has it.
fn refused(text: &str) -> ExitCode {
    #[expect(clippy::print_stderr, reason = "says why the broker does not start")]
    {
        eprintln!("{text}");
    }
    ExitCode::from(1)
}

fn fail(error: &dyn std::fmt::Display) -> ExitCode {
    #[expect(clippy::print_stderr, reason = "the one line that says why the broker does not start")]
    {
        eprintln!("leveret: {error}");
    }
    ExitCode::from(1)
}
