//! The binary: parses the command line, builds the adapters, runs.

use std::io::IsTerminal;
use std::process::ExitCode;
use std::rc::Rc;

use clap::Parser;
use steadfast_server::adapters::{
    FileDisk, PeerNet, SystemClock, TokioNet, draw_entropy, fit_open_files,
};
use steadfast_server::cli::{Command, CommandLine};
use steadfast_server::config::Config;
use steadfast_server::{Parts, Placement, client_tool, cluster_tool, run};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::LocalSet;

const _: () = assert!(
    !steadfast_core::canary::POSSIBLE,
    "the program is never built with planted bugs: leave the feature `canaries` to steadfast-sim"
);

fn main() -> ExitCode {
    let line = CommandLine::parse();
    match line.command {
        Some(Command::Cli(args)) => client_tool::run(&args),
        Some(Command::Cluster(args)) => cluster_tool::run(&args),
        Some(Command::Server(args)) => serve(args.config()),
        None => serve(line.server.config()),
    }
}

fn serve(config: Result<Config, String>) -> ExitCode {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env();
    let filter = filter.unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    let colours = std::io::stdout().is_terminal(); // log files and containers want plain text
    tracing_subscriber::fmt().with_env_filter(filter).with_target(false).with_ansi(colours).init();
    match config.and_then(start) {
        Ok(()) => ExitCode::SUCCESS,
        Err(text) => {
            eprintln!("steadfast: {text}");
            ExitCode::FAILURE
        }
    }
}

fn start(mut config: Config) -> Result<(), String> {
    fit_open_files(&mut config);
    let peers = PeerNet::new(config.tls.as_ref())?;
    let disk = FileDisk::open(&config.dir)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("cannot start: {error}"))?;
    let seed = draw_entropy();
    let parts = Parts {
        net: TokioNet,
        peers,
        disk,
        clock: SystemClock,
        seed,
        observer: Rc::new(()),
        placement: Placement::Threads,
    };
    let ended = LocalSet::new().block_on(&runtime, run(config, parts, asked_to_stop()));
    ended.map_err(|error| error.to_string())
}

/// Resolves at SIGTERM or SIGINT.
async fn asked_to_stop() {
    let (Ok(mut term), Ok(mut interrupt)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        biased; // either will do
        _ = term.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("asked to stop: finishing what is under way");
}
