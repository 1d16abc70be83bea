//! The command line, as it is written. What it means together with the environment is decided in
//! [`settings`](crate::settings).

use std::{ffi::OsString, net::SocketAddr, path::PathBuf};

use clap::{
    ArgAction, Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum,
    builder::NonEmptyStringValueParser,
};
use clap_complete::Shell;
use waft_oci::Mirror;

/// Says what the exit codes mean, below the help of `waft` and of `waft up`.
const EXIT_CODES: &str = "Exit codes:
  0    done; for `waft up`: stopped by Ctrl-C or SIGTERM, in-flight requests finished
  1    failed; standard error says why, and after `hint:` what to do
  2    the command line is not understood
  130  `waft up` was stopped by a second signal, without waiting";

/// Runs WebAssembly components as Kubernetes workloads, on one machine or on a cluster
#[derive(Debug, Parser)]
#[command(name = "waft", version, max_term_width = 100, after_help = EXIT_CODES)]
#[command(propagate_version = false, disable_help_subcommand = true)]
pub(crate) struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,

    /// Print nothing but data and errors
    #[arg(short, long, global = true, display_order = 900)]
    pub(crate) quiet: bool,

    /// Log more to standard error; twice for more still ($WAFT_LOG sets it by module)
    #[arg(short, long, global = true, action = ArgAction::Count, display_order = 901)]
    pub(crate) verbose: u8,

    /// Whether kubectl called us as its plugin `kubectl waft`.
    #[arg(skip)]
    pub(crate) plugin: bool,
}

/// One command.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the platform on this machine: Kubernetes API, control plane, host and HTTP router
    #[command(after_help = EXIT_CODES)]
    Up(Box<UpArguments>),
    /// Create or change the objects of manifests
    Apply(ApplyArguments),
    /// Delete the objects of manifests
    Delete(DeleteArguments),
    /// Show objects of one or several kinds
    Get(GetArguments),
    /// Show one object in full, with its conditions and events
    Describe(DescribeArguments),
    /// Print what a workload's components wrote
    Logs(LogsArguments),
    /// Show each workload: URL, ready replicas, restarts, last error
    Status(StatusArguments),
    /// Print the custom resource definitions, as YAML
    Crds,
    /// Print the version
    Version(VersionArguments),
    /// Print a completion script for a shell
    Completion {
        /// The shell
        shell: Shell,
    },
}

/// Arguments of `waft up`.
#[derive(Args, Debug)]
pub(crate) struct UpArguments {
    /// Manifests to apply: files, folders, URLs, `-` for standard input; or components (`.wasm`),
    /// each served as NAME.localhost. Without any, what the data folder holds goes on
    #[arg(value_name = "MANIFEST|DIR|URL|WASM|-")]
    pub(crate) sources: Vec<String>,

    /// Folder of the store, the logs and the kubeconfig [default: ~/.local/state/waft/default]
    #[arg(long, value_name = "DIR", env = "WAFT_DATA_DIR")]
    pub(crate) data_dir: Option<PathBuf>,

    /// Keep the objects in memory only; the data folder is temporary unless --data-dir names one
    #[arg(long)]
    pub(crate) ephemeral: bool,

    /// Address of the workloads' HTTP listener; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8000")]
    pub(crate) http: SocketAddr,

    /// Address of the Kubernetes API
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:7443")]
    pub(crate) api: SocketAddr,

    /// Address of /metrics, /livez and /readyz
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:7444")]
    pub(crate) admin: SocketAddr,

    /// Apply manifests and components again when their files change
    #[arg(long)]
    pub(crate) watch: bool,

    /// Pull the images of a registry's host from another address, for example
    /// ghcr.io=http://127.0.0.1:5000
    #[arg(long, value_name = "HOST=URL")]
    pub(crate) registry_mirror: Vec<Mirror>,

    /// Label of this host, beside hostgroup=default
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_value)]
    pub(crate) host_label: Vec<(String, String)>,

    /// Environment of this host [default: matches any]
    #[arg(long, value_name = "NAME")]
    pub(crate) environment: Option<String>,

    /// Folder that `file:` and `oci:` images may lie in, beside the working folder and the
    /// manifests' own
    #[arg(long, value_name = "DIR")]
    pub(crate) file_root: Vec<PathBuf>,

    /// Folder that `hostPath` volumes may lie in [default: none]
    #[arg(long, value_name = "DIR")]
    pub(crate) host_path_root: Vec<PathBuf>,

    /// Let workloads reach the ports of this machine's loopback that their manifest lists
    #[arg(long)]
    pub(crate) allow_host_loopback: bool,

    /// Certificate authorities, in PEM, that workloads' requests trust beside the system's
    #[arg(long, value_name = "FILE")]
    pub(crate) outbound_ca: Vec<PathBuf>,

    /// NATS server for the interfaces that use one [default: embedded]
    #[arg(long, value_name = "URL")]
    pub(crate) nats: Option<String>,

    /// Redis server for the interfaces that use one [default: embedded]
    #[arg(long, value_name = "URL")]
    pub(crate) redis: Option<String>,

    /// S3 server for the interfaces that use one, with the credentials of AWS_ACCESS_KEY_ID and
    /// AWS_SECRET_ACCESS_KEY in the region AWS_REGION [default: embedded]
    #[arg(long, value_name = "URL")]
    pub(crate) s3: Option<String>,

    /// PostgreSQL server, with the credentials that all workloads use
    #[arg(
        long,
        value_name = "URL",
        env = "WAFT_POSTGRES",
        hide_env_values = true
    )]
    pub(crate) postgres: Option<String>,

    /// How to print what happens
    #[arg(short, long, value_enum, default_value_t)]
    pub(crate) output: Report,
}

/// Which API is meant, and which namespace.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct ConnectionArguments {
    /// Kubeconfig [default: $KUBECONFIG, else that of the default data folder, else ~/.kube/config]
    #[arg(long, value_name = "FILE")]
    pub(crate) kubeconfig: Option<PathBuf>,

    /// Context of the kubeconfig
    #[arg(long, value_name = "NAME")]
    pub(crate) context: Option<String>,

    /// Namespace [default: the context's]
    #[arg(short, long, value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
    pub(crate) namespace: Option<String>,
}

/// Arguments of `waft apply`.
#[derive(Args, Debug)]
pub(crate) struct ApplyArguments {
    /// Manifest, folder, URL, `-` for standard input, or a component (`.wasm`)
    #[arg(short, long = "filename", value_name = "FILE", required = true)]
    pub(crate) filename: Vec<String>,

    /// Take over fields that another manager owns
    #[arg(long)]
    pub(crate) force_conflicts: bool,

    #[command(flatten)]
    pub(crate) connection: ConnectionArguments,
}

/// Arguments of `waft delete`.
#[derive(Args, Debug)]
pub(crate) struct DeleteArguments {
    /// Manifest, folder, URL, `-` for standard input, or a component (`.wasm`)
    #[arg(short, long = "filename", value_name = "FILE", required = true)]
    pub(crate) filename: Vec<String>,

    /// Don't wait until the objects are gone
    #[arg(long)]
    pub(crate) no_wait: bool,

    /// Don't fail when an object is not there
    #[arg(long)]
    pub(crate) ignore_not_found: bool,

    #[command(flatten)]
    pub(crate) connection: ConnectionArguments,
}

/// Arguments of `waft get`.
#[derive(Args, Debug)]
pub(crate) struct GetArguments {
    /// Kind, several with commas, or KIND/NAME
    #[arg(value_name = "KIND")]
    pub(crate) kind: String,

    /// Names [default: all]
    #[arg(value_name = "NAME")]
    pub(crate) names: Vec<String>,

    /// Objects of all namespaces
    #[arg(short = 'A', long)]
    pub(crate) all_namespaces: bool,

    /// Only objects with these labels, for example app=hello
    #[arg(short = 'l', long, value_name = "SELECTOR")]
    pub(crate) selector: Option<String>,

    /// Form of the output [default: a table]
    #[arg(short, long, value_enum)]
    pub(crate) output: Option<GetOutput>,

    #[command(flatten)]
    pub(crate) connection: ConnectionArguments,
}

/// Arguments of `waft describe`.
#[derive(Args, Debug)]
pub(crate) struct DescribeArguments {
    /// Kind, or KIND/NAME
    #[arg(value_name = "KIND")]
    pub(crate) kind: String,

    /// Names [default: all]
    #[arg(value_name = "NAME")]
    pub(crate) names: Vec<String>,

    #[command(flatten)]
    pub(crate) connection: ConnectionArguments,
}

/// Arguments of `waft logs`.
#[derive(Args, Debug)]
pub(crate) struct LogsArguments {
    /// Name of a Workload, its set, deployment or trigger; also KIND/NAME or NAMESPACE/NAME
    #[arg(value_name = "WORKLOAD")]
    pub(crate) workload: String,

    /// Go on with new lines
    #[arg(short, long)]
    pub(crate) follow: bool,

    /// Only of this component
    #[arg(
        short = 'c',
        long = "component",
        visible_alias = "container",
        value_name = "NAME"
    )]
    pub(crate) component: Option<String>,

    /// Only the last so many lines of each component
    #[arg(long, value_name = "LINES")]
    pub(crate) tail: Option<u64>,

    /// Only lines younger than this, for example 5m
    #[arg(long, value_name = "DURATION", value_parser = waft_api::parse_duration)]
    pub(crate) since: Option<std::time::Duration>,

    /// Begin each line with its time
    #[arg(long)]
    pub(crate) timestamps: bool,

    #[command(flatten)]
    pub(crate) connection: ConnectionArguments,
}

/// Arguments of `waft status`.
#[derive(Args, Debug)]
pub(crate) struct StatusArguments {
    /// Form of the output
    #[arg(short, long, value_enum, default_value_t)]
    pub(crate) output: Report,

    #[command(flatten)]
    pub(crate) connection: ConnectionArguments,
}

/// Arguments of `waft version`.
#[derive(Args, Debug)]
pub(crate) struct VersionArguments {
    /// Form of the output
    #[arg(short, long, value_enum, default_value_t)]
    pub(crate) output: Report,
}

/// For people or for programs.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, ValueEnum)]
pub(crate) enum Report {
    /// Text for people
    #[default]
    Text,
    /// JSON; of `waft up`, one object per line
    Json,
}

/// How `waft get` prints objects.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum GetOutput {
    /// YAML
    Yaml,
    /// JSON
    Json,
    /// A table with all columns
    Wide,
    /// KIND/NAME, one a line
    Name,
}

/// Parses the command line; ends the process where there is nothing to run (`--help`, mistakes).
pub(crate) fn parse(arguments: impl IntoIterator<Item = OsString>) -> Arguments {
    let mut arguments = arguments.into_iter().peekable();
    let plugin = arguments.peek().is_some_and(is_plugin);
    let mut command = Arguments::command();
    if plugin {
        // Help and mistakes are told in the words that the user typed.
        command = command.bin_name("kubectl waft");
    }
    let matches = command.get_matches_from(arguments);
    let mut parsed = Arguments::from_arg_matches(&matches).unwrap_or_else(|e| e.exit());
    parsed.plugin = plugin;
    parsed
}

/// Whether a program's name is that of a kubectl plugin.
fn is_plugin(program: &OsString) -> bool {
    let stem = std::path::Path::new(program).file_stem();
    stem.is_some_and(|stem| stem == "kubectl-waft")
}

fn key_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.into(), value.into())),
        _ => Err("expected KEY=VALUE".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn every_argument_has_help() {
        fn check(command: &clap::Command) {
            let name = command.get_name();
            assert!(command.get_about().is_some(), "{name}");
            for argument in command.get_arguments() {
                let id = argument.get_id();
                assert!(argument.get_help().is_some(), "{name} {id}");
            }
            command.get_subcommands().for_each(check);
        }
        check(&Arguments::command());
    }

    #[test]
    fn a_plugin_is_told_by_its_name() {
        for (program, expected) in [
            ("waft", false),
            ("/usr/bin/kubectl-waft", true),
            ("kubectl-waft.exe", true),
        ] {
            assert_eq!(is_plugin(&program.into()), expected, "{program}");
        }
    }
}
