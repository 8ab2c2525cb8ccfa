//! The command line.

use std::io::IsTerminal;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, Parser, Subcommand};
use leveret::config::Config;
use leveret::server::Server;
use leveret::storage::{Directory, Disk, repair};

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
    Serve(Serve),
    /// Look for damage in a data directory that no broker uses, and say what repairing it would drop.
    Repair(Repair),
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

#[derive(Args, Default)]
struct Serve {
    /// Address to serve AMQP on; port 0 picks a free one [default: 127.0.0.1:5672]
    #[arg(long, value_name = "ADDRESS")]
    amqp: Option<SocketAddr>,
    /// Address to serve the HTTP API on; port 0 picks a free one [default: 127.0.0.1:15672]
    #[arg(long, value_name = "ADDRESS")]
    http: Option<SocketAddr>,
    /// Directory for what is to survive; without it everything is kept in memory
    #[arg(long, value_name = "DIR", conflicts_with = "in_memory")]
    data_dir: Option<PathBuf>,
    /// Keep everything in memory
    #[arg(long)]
    in_memory: bool,
    /// Configuration file in rabbitmq.conf syntax
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// RabbitMQ release whose version-dependent behaviour to show: permissive, 3.13, 4.0, 4.1 or 4.3 [default: permissive]
    #[arg(long, value_name = "PROFILE", value_parser = leveret::config::profile)]
    compat: Option<String>,
    /// File to write {"amqp":…,"http":…,"pid":…} to once the broker serves
    #[arg(long, value_name = "FILE")]
    ready_file: Option<PathBuf>,
    /// Log level: error, warn, info, debug or trace [default: info]
    #[arg(long, value_name = "LEVEL")]
    log: Option<tracing::Level>,
}

impl Serve {
    fn config(self) -> Result<Config, leveret::config::FileError> {
        let mut config = Config::default();
        if let Some(file) = &self.config {
            config.read_file(file)?;
        }
        config.amqp = self.amqp.unwrap_or(config.amqp);
        config.http = self.http.unwrap_or(config.http);
        config.data_dir = if self.in_memory { None } else { self.data_dir.or(config.data_dir) };
        config.compat = self.compat.unwrap_or(config.compat);
        config.ready_file = self.ready_file.or(config.ready_file);
        config.log_level = self.log.unwrap_or(config.log_level);
        Ok(config)
    }
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) if error.use_stderr() => return misused(&error),
        Err(help) => help.exit(),
    };
    let serve = match cli.command {
        None => cli.serve,
        Some(Command::Serve(serve)) => serve,
        Some(Command::Repair(repair)) => return repair.run(),
    };
    let config = match serve.config() {
        Ok(config) => config,
        Err(error) => return fail(&error),
    };
    tracing_subscriber::fmt()
        .with_max_level(config.log_level)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
    // After every task, sockets are looked at: the default of 61 tasks keeps acks waiting behind publishers, whose
    // tasks are long, and consumers get a tenth of the rate.
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().event_interval(1).build();
    match runtime {
        Ok(runtime) => runtime.block_on(serve_until_signal(config)),
        Err(error) => fail(&error),
    }
}

async fn serve_until_signal(config: Config) -> ExitCode {
    let server = match Server::start(config).await {
        Ok(server) => server,
        Err(error) => return fail(&error),
    };
    // Before anybody is told that the broker is there, and may ask it to stop.
    let stopped = match leveret::server::stop_signal() {
        Ok(stopped) => stopped,
        Err(error) => return fail(&error),
    };
    let address = server.handle().config().http;
    let http = match leveret::management::bind(server.handle(), address, None).await {
        Ok(http) => http,
        Err(error) => return fail(&format_args!("cannot listen for HTTP on {address}: {error}")),
    };
    if let Err(error) = server.announce_ready(http.address) {
        return fail(&error);
    }
    stopped.await;
    server.stop().await;
    ExitCode::SUCCESS
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

fn fail(error: &dyn std::fmt::Display) -> ExitCode {
    #[expect(clippy::print_stderr, reason = "the one line that says why the broker does not start")]
    {
        eprintln!("leveret: {error}");
    }
    ExitCode::from(1)
}
