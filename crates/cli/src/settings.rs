//! What the command line means, together with the environment and the defaults.

use std::{
    env,
    path::{Path, PathBuf},
};

use waft_local::{Source, UpOptions, default_data_dir};

use crate::arguments::{ConnectionArguments, UpArguments};

/// Which API to talk to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct ConnectionSettings {
    /// Where the kubeconfig comes from.
    pub(crate) kubeconfig: Kubeconfig,
    /// Its context; `None`: the current one.
    pub(crate) context: Option<String>,
    /// The namespace; `None`: the context's.
    pub(crate) namespace: Option<String>,
}

/// Where a kubeconfig comes from.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Kubeconfig {
    /// One file, or several of `$KUBECONFIG`, to be merged.
    Files(Vec<PathBuf>),
    /// There is none; the files that were looked for.
    None(Vec<PathBuf>),
    /// The files that `$KUBECONFIG` names are not there.
    Absent(Vec<PathBuf>),
}

impl ConnectionSettings {
    /// Resolves arguments. As kubectl's plugin, the kubeconfig is kubectl's, so that
    /// `kubectl waft get` and `kubectl get` speak of the same cluster.
    pub(crate) fn resolve(arguments: &ConnectionArguments, plugin: bool) -> Self {
        let set = env::var_os("KUBECONFIG").filter(|value| !value.is_empty());
        let set = set.map(|value| env::split_paths(&value).collect::<Vec<_>>());
        let own = default_data_dir().filter(|_| !plugin);
        let own = own.map(|dir| dir.join("kubeconfig"));
        let kubectls = env::home_dir().map(|home| home.join(".kube/config"));
        let candidates = own.into_iter().chain(kubectls).collect();
        Self {
            kubeconfig: choose(arguments.kubeconfig.as_deref(), set.as_deref(), candidates),
            context: arguments.context.clone(),
            namespace: arguments.namespace.clone(),
        }
    }
}

fn choose(
    named: Option<&Path>,
    environment: Option<&[PathBuf]>,
    candidates: Vec<PathBuf>,
) -> Kubeconfig {
    match (named, environment) {
        (Some(path), _) => Kubeconfig::Files(vec![path.into()]),
        (None, Some(files)) => {
            // Those that are missing are passed over, as kubectl does.
            let present = files.iter().filter(|path| path.is_file());
            match present.cloned().collect::<Vec<_>>() {
                none if none.is_empty() => Kubeconfig::Absent(files.into()),
                present => Kubeconfig::Files(present),
            }
        }
        (None, None) => match candidates.iter().find(|path| path.is_file()) {
            Some(path) => Kubeconfig::Files(vec![path.clone()]),
            None => Kubeconfig::None(candidates),
        },
    }
}

/// Resolves the arguments of `waft up`.
pub(crate) fn up(arguments: &UpArguments) -> UpOptions {
    let data_dir = match (&arguments.data_dir, arguments.ephemeral) {
        (Some(path), _) => Some(path.clone()),
        (None, true) => None,
        (None, false) => default_data_dir(),
    };
    let mirrors = arguments.registry_mirror.iter();
    UpOptions {
        sources: arguments.sources.iter().map(|s| Source::parse(s)).collect(),
        data_dir,
        ephemeral: arguments.ephemeral,
        http: arguments.http,
        api: arguments.api,
        admin: arguments.admin,
        watch: arguments.watch,
        registry_mirrors: mirrors
            .map(|m| (m.host.clone(), m.url.to_string()))
            .collect(),
        host_labels: arguments.host_label.iter().cloned().collect(),
        environment: arguments.environment.clone(),
        file_roots: arguments.file_root.clone(),
        host_path_roots: arguments.host_path_root.clone(),
        allow_host_loopback: arguments.allow_host_loopback,
        nats: arguments.nats.clone(),
        outbound_ca: arguments.outbound_ca.clone(),
        redis: arguments.redis.clone(),
        s3: arguments.s3.clone(),
        postgres: arguments.postgres.clone(),
        traces: traces(|name| env::var(name).ok()),
        guest_telemetry: true,
        ..UpOptions::default()
    }
}

/// Whether the environment names a collector of traces, in the variables of the OpenTelemetry
/// specification.
fn traces(variable: impl Fn(&str) -> Option<String>) -> bool {
    let is = |name: &str, value: &str| variable(name).is_some_and(|set| set == value);
    let has = |name: &str| variable(name).is_some_and(|set| !set.is_empty());
    let named = has("OTEL_EXPORTER_OTLP_ENDPOINT") || has("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT");
    named && !is("OTEL_SDK_DISABLED", "true") && !is("OTEL_TRACES_EXPORTER", "none")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arguments::{Arguments, Command};
    use clap::Parser;

    fn options(arguments: &[&str]) -> UpOptions {
        let all = ["waft", "up"].iter().chain(arguments);
        match Arguments::try_parse_from(all).unwrap().command {
            Command::Up(arguments) => up(&arguments),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_environment_says_whether_there_are_traces() {
        let given = |set: &'static [(&str, &str)]| {
            traces(move |name| {
                let found = set.iter().find(|(known, _)| *known == name);
                found.map(|(_, value)| (*value).into())
            })
        };
        const ENDPOINT: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://localhost:4318");
        assert!(given(&[ENDPOINT]));
        assert!(given(&[(
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
            "http://a/v1"
        )]));
        assert!(!given(&[]));
        assert!(!given(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "")]));
        assert!(!given(&[ENDPOINT, ("OTEL_SDK_DISABLED", "true")]));
        assert!(!given(&[ENDPOINT, ("OTEL_TRACES_EXPORTER", "none")]));
    }

    #[test]
    fn without_flags_the_defaults_are_the_platforms_own() {
        let (ours, theirs) = (options(&[]), UpOptions::default());
        assert_eq!(ours.http, theirs.http);
        assert_eq!(ours.api, theirs.api);
        assert_eq!(ours.admin, theirs.admin);
    }

    #[test]
    fn an_ephemeral_platform_leaves_the_data_folder_alone() {
        assert_eq!(options(&["--ephemeral"]).data_dir, None);
        let named = options(&["--ephemeral", "--data-dir", "d"]).data_dir;
        assert_eq!(named, Some("d".into()));
    }

    #[test]
    fn flags_arrive() {
        let options = options(&[
            "a.yaml",
            "-",
            "--registry-mirror",
            "ghcr.io=http://127.0.0.1:5000",
            "--host-label=zone=a=b",
        ]);
        assert_eq!(options.sources[0], Source::Path("a.yaml".into()));
        assert_eq!(options.sources[1], Source::Stdin);
        let mirror = ("ghcr.io".into(), "http://127.0.0.1:5000/".into());
        assert_eq!(options.registry_mirrors, [mirror]);
        assert_eq!(options.host_labels["zone"], "a=b");
    }

    #[test]
    fn the_kubeconfig_is_looked_for_in_order() {
        let dir = tempfile::tempdir().unwrap();
        let (own, kubectls) = (dir.path().join("own"), dir.path().join("kubectls"));
        let candidates = || vec![own.clone(), kubectls.clone()];
        let none = choose(None, None, candidates());
        assert_eq!(none, Kubeconfig::None(candidates()));
        std::fs::write(&kubectls, "").unwrap();
        let file = |path: &Path| Kubeconfig::Files(vec![path.into()]);
        assert_eq!(choose(None, None, candidates()), file(&kubectls));
        std::fs::write(&own, "").unwrap();
        assert_eq!(choose(None, None, candidates()), file(&own));
        let absent = [dir.path().join("absent")];
        let set = [absent[0].clone(), own.clone()];
        assert_eq!(choose(None, Some(&set), candidates()), file(&own));
        let none = choose(None, Some(&absent), candidates());
        assert_eq!(none, Kubeconfig::Absent(absent.to_vec()));
        let named = Path::new("x");
        assert_eq!(choose(Some(named), Some(&set), candidates()), file(named));
    }
}
