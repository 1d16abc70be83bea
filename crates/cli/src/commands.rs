//! The commands: one function each, in a file of its own. They get settings and a printer, and say
//! how they ended.

mod apply;
mod completion;
mod crds;
mod delete;
mod describe;
mod get;
mod logs;
mod selection;
mod status;
mod up;
mod version;

use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;

use crate::{
    arguments::{Arguments, Command, ConnectionArguments},
    connection::Connection,
    exit::ExitStatus,
    printer::Printer,
    settings::{self, ConnectionSettings},
};

/// Runs a command line to its end.
pub(crate) fn run(arguments: Arguments) -> ExitStatus {
    let printer = Printer::new(arguments.quiet);
    log_to_standard_error(arguments.verbose);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    let result = match runtime {
        Ok(runtime) => {
            let result = runtime.block_on(dispatch(arguments, &printer));
            // Whatever still runs, a read of standard input for example, has no say any more.
            runtime.shutdown_background();
            result
        }
        Err(error) => Err(error.into()),
    };
    match result {
        Ok(status) => status,
        // Who reads our output (`waft get … | head`) has seen enough.
        Err(error) if is_broken_pipe(&error) => ExitStatus::Success,
        Err(error) => {
            printer.error(&error);
            ExitStatus::Failure
        }
    }
}

async fn dispatch(arguments: Arguments, printer: &Printer) -> anyhow::Result<ExitStatus> {
    let plugin = arguments.plugin;
    let connect = async |arguments: &ConnectionArguments| {
        Connection::open(&ConnectionSettings::resolve(arguments, plugin)).await
    };
    match arguments.command {
        Command::Up(up) => {
            let report = up.output;
            up::up(settings::up(&up), report, printer).await
        }
        Command::Apply(apply) => {
            let connection = connect(&apply.connection).await?;
            apply::apply(&connection, &apply.filename, apply.force_conflicts, printer).await
        }
        Command::Delete(delete) => {
            let connection = connect(&delete.connection).await?;
            let options = delete::Options {
                wait: !delete.no_wait,
                ignore_not_found: delete.ignore_not_found,
            };
            delete::delete(&connection, &delete.filename, options, printer).await
        }
        Command::Get(get) => {
            let connection = connect(&get.connection).await?;
            get::get(&connection, &get, printer).await
        }
        Command::Describe(describe) => {
            let connection = connect(&describe.connection).await?;
            describe::describe(&connection, &describe.kind, &describe.names, printer).await
        }
        Command::Logs(logs) => {
            let connection = connect(&logs.connection).await?;
            logs::logs(&connection, &logs, printer).await
        }
        Command::Status(status) => {
            let connection = connect(&status.connection).await?;
            status::status(&connection, status.output, printer).await
        }
        Command::Crds => crds::crds(printer),
        Command::Version(version) => version::version(version.output, printer),
        Command::Completion { shell } => completion::completion(shell, printer),
    }
}

/// Logs what `$WAFT_LOG` asks for, else by how often `-v` was given. Users are told in words, not
/// by the log; it is for those who look for a fault.
fn log_to_standard_error(verbose: u8) {
    // What kube says of a lost connection is told in words by whoever lost it.
    let level = ["error,kube_client=off", "info,waft=debug", "debug", "trace"];
    let level = level[usize::from(verbose).min(level.len() - 1)];
    let filter = std::env::var("WAFT_LOG").unwrap_or_else(|_| level.into());
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(filter))
        .with_ansi(io::stderr().is_terminal())
        .with_writer(io::stderr);
    subscriber.init();
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let io = error.downcast_ref::<io::Error>();
    io.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}
