//! Volumes and their mounts: whether they make sense, and what is in them.
//!
//! Pure. Values of Secrets end up in the result, never in an error.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Component, Path, PathBuf},
};

use waft_api::{KeyToPath, LocalResources, Reason, Volume, VolumeMount, WorkloadSpec};
use waft_ir::VolumeSource;

use crate::{
    config_layers::{Source, Sources, missing_config_map, missing_secret},
    problem::Problem,
};

/// Bytes an ephemeral volume may hold unless its manifest says otherwise.
const DEFAULT_SIZE: u64 = 64 << 20;

/// A volume whose texts were read.
#[derive(Clone, Debug)]
pub(crate) struct CheckedVolume<'a> {
    name: &'a str,
    source: CheckedSource<'a>,
}

#[derive(Clone, Debug)]
enum CheckedSource<'a> {
    Ephemeral(u64),
    HostPath(PathBuf),
    Files(Files<'a>),
}

/// Files out of a ConfigMap or a Secret.
#[derive(Clone, Debug)]
struct Files<'a> {
    is_secret: bool,
    name: &'a str,
    items: &'a [KeyToPath],
    optional: bool,
}

/// Checks the volumes of a workload, and what is mounted of them.
pub(super) fn check(spec: &WorkloadSpec) -> Result<Vec<CheckedVolume<'_>>, Problem> {
    let mut names = BTreeSet::new();
    let mut checked = Vec::new();
    for volume in &spec.volumes {
        if !names.insert(volume.name.as_str()) {
            return Err(Problem::invalid(format!(
                "two volumes are named `{}`; names must be unique",
                volume.name
            )));
        }
        checked.push(check_volume(volume)?);
    }
    let components = spec.components.iter().map(|component| {
        let path = format!("components[{}]", component.name);
        (path, &component.local_resources)
    });
    let service = spec.service.iter();
    let service = service.map(|service| ("service".to_owned(), &service.local_resources));
    for (path, resources) in components.chain(service) {
        if let Some(resources) = resources {
            check_mounts(resources, &path, &names)?;
        }
    }
    Ok(checked)
}

fn check_volume(volume: &Volume) -> Result<CheckedVolume<'_>, Problem> {
    let name = volume.name.as_str();
    let files = |is_secret, source: &'_ str, items: &[KeyToPath]| -> Result<(), Problem> {
        let kind = if is_secret { "Secret" } else { "ConfigMap" };
        if source.is_empty() {
            return Err(Problem::invalid(format!(
                "`volumes[{name}]` names no {kind}"
            )));
        }
        if let Some(item) = items.iter().find(|item| !is_below(&item.path)) {
            return Err(Problem::invalid(format!(
                "`volumes[{name}]` has the path `{}`; a path is relative, has no `..` and no `/` at its end",
                item.path
            )));
        }
        let Some((file, below)) = file_and_folder(items) else {
            return Ok(());
        };
        Err(Problem::invalid(format!(
            "`volumes[{name}]` has the paths `{file}` and `{below}`; `{file}` can't be a file and \
             a folder"
        )))
    };
    let source = match (
        &volume.ephemeral,
        &volume.host_path,
        &volume.config_map,
        &volume.secret,
    ) {
        (Some(ephemeral), None, None, None) => {
            let limit = ephemeral.size_limit.as_ref();
            CheckedSource::Ephemeral(limit.map_or(Ok(DEFAULT_SIZE), |limit| {
                bytes(&limit.0).ok_or_else(|| {
                    Problem::invalid(format!(
                        "`volumes[{name}].ephemeral.sizeLimit` is `{}`; write a number of bytes \
                         such as `64Mi`",
                        limit.0
                    ))
                })
            })?)
        }
        (None, Some(host_path), None, None) => {
            let path = PathBuf::from(&host_path.path);
            if !path.is_absolute() {
                return Err(Problem::invalid(format!(
                    "`volumes[{name}].hostPath.path` is `{}`; it must be absolute",
                    host_path.path
                )));
            }
            CheckedSource::HostPath(path)
        }
        (None, None, Some(config_map), None) => {
            files(false, &config_map.name, &config_map.items)?;
            CheckedSource::Files(Files {
                is_secret: false,
                name: &config_map.name,
                items: &config_map.items,
                optional: config_map.optional.unwrap_or(false),
            })
        }
        (None, None, None, Some(secret)) => {
            files(true, &secret.secret_name, &secret.items)?;
            CheckedSource::Files(Files {
                is_secret: true,
                name: &secret.secret_name,
                items: &secret.items,
                optional: secret.optional.unwrap_or(false),
            })
        }
        _ => {
            return Err(Problem::invalid(format!(
                "`volumes[{name}]` must have exactly one of ephemeral, hostPath, configMap and \
                 secret"
            )));
        }
    };
    Ok(CheckedVolume { name, source })
}

fn check_mounts(
    resources: &LocalResources,
    path: &str,
    volumes: &BTreeSet<&str>,
) -> Result<(), Problem> {
    let mut paths = BTreeSet::new();
    for mount in &resources.volume_mounts {
        let refuse = |text: &str| {
            Err(Problem::invalid(format!(
                "`{path}.localResources.volumeMounts[{}]` {text}",
                mount.name
            )))
        };
        if !volumes.contains(mount.name.as_str()) {
            return refuse("names no volume of the workload");
        }
        let target = mount.mount_path.as_str();
        if !target.starts_with('/') || target.split('/').any(|part| part == "..") {
            return refuse(&format!(
                "has the path `{target}`; it must be absolute, without `..`"
            ));
        }
        if !paths.insert(target.trim_end_matches('/')) {
            return refuse(&format!(
                "has the path `{target}`, where another volume is mounted"
            ));
        }
    }
    Ok(())
}

/// What a component mounts.
pub(super) fn mounts(raw: &[VolumeMount]) -> Vec<waft_ir::VolumeMount> {
    let mount = |raw: &VolumeMount| waft_ir::VolumeMount {
        volume: raw.name.clone(),
        path: raw.mount_path.clone(),
        read_only: raw.read_only.unwrap_or(false),
    };
    raw.iter().map(mount).collect()
}

/// The volumes, with what is in them.
pub(super) fn build(
    volumes: &[CheckedVolume<'_>],
    sources: &Sources,
) -> Result<Vec<waft_ir::Volume>, Problem> {
    let build = |volume: &CheckedVolume<'_>| {
        Ok(waft_ir::Volume {
            name: volume.name.into(),
            source: match &volume.source {
                CheckedSource::Ephemeral(limit) => VolumeSource::Ephemeral { size_limit: *limit },
                CheckedSource::HostPath(path) => VolumeSource::HostPath(path.clone()),
                CheckedSource::Files(files) => VolumeSource::Files(files.read(sources)?),
            },
        })
    };
    volumes.iter().map(build).collect()
}

impl Files<'_> {
    fn read(&self, sources: &Sources) -> Result<BTreeMap<String, Vec<u8>>, Problem> {
        let found = match self.is_secret {
            true => sources.secrets.get(self.name),
            false => sources.config_maps.get(self.name),
        };
        let Some(source) = found else {
            return match (self.optional, self.is_secret) {
                (true, _) => Ok(BTreeMap::new()),
                (false, true) => Err(missing_secret(self.name)),
                (false, false) => Err(missing_config_map(self.name)),
            };
        };
        if self.items.is_empty() {
            let texts = source.values.iter();
            let texts = texts.map(|(key, text)| (key.clone(), text.clone().into_bytes()));
            return Ok(texts.chain(source.binary.clone()).collect());
        }
        let mut files = BTreeMap::new();
        for item in self.items {
            match value(source, &item.key) {
                Some(content) => {
                    files.insert(item.path.clone(), content);
                }
                None if self.optional => {}
                None => {
                    let kind = if self.is_secret {
                        "Secret"
                    } else {
                        "ConfigMap"
                    };
                    return Err(Problem::new(
                        Reason::KeyNotFound,
                        format!("{kind} `{}` has no key `{}`", self.name, item.key),
                    ));
                }
            }
        }
        Ok(files)
    }
}

fn value(source: &Source, key: &str) -> Option<Vec<u8>> {
    let text = source.values.get(key).map(|text| text.clone().into_bytes());
    text.or_else(|| source.binary.get(key).cloned())
}

fn is_below(path: &str) -> bool {
    let is_plain = |part: Component<'_>| matches!(part, Component::Normal(_));
    !path.is_empty() && !path.ends_with('/') && Path::new(path).components().all(is_plain)
}

/// A path that another one needs as a folder, and that one.
fn file_and_folder(items: &[KeyToPath]) -> Option<(&str, &str)> {
    let paths: BTreeMap<&Path, &str> = items
        .iter()
        .map(|item| (Path::new(&item.path), item.path.as_str()))
        .collect();
    paths.iter().find_map(|(path, below)| {
        let mut folders = path.ancestors().skip(1);
        folders.find_map(|folder| Some((*paths.get(folder)?, *below)))
    })
}

/// Bytes of a Kubernetes quantity: whole numbers with the usual suffixes. `None`: anything else.
fn bytes(quantity: &str) -> Option<u64> {
    let digits = quantity.find(|c: char| !c.is_ascii_digit());
    let (number, suffix) = quantity.split_at(digits.unwrap_or(quantity.len()));
    let factor: u64 = match suffix {
        "" => 1,
        "k" => 1000,
        "M" => 1000_u64.pow(2),
        "G" => 1000_u64.pow(3),
        "T" => 1000_u64.pow(4),
        "Ki" => 1 << 10,
        "Mi" => 1 << 20,
        "Gi" => 1 << 30,
        "Ti" => 1 << 40,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(component: &str, volumes: &str) -> WorkloadSpec {
        let text = format!(
            "{{components: [{{name: a, image: i, localResources: {{volumeMounts: [{component}]}}}}], \
             volumes: [{volumes}]}}"
        );
        serde_saphyr::from_str(&text).unwrap()
    }

    fn sources() -> Sources {
        let source = Source {
            values: [("a".to_owned(), "text".to_owned())].into(),
            binary: [("b".to_owned(), vec![255])].into(),
        };
        Sources {
            config_maps: [("m".to_owned(), source)].into(),
            ..Sources::default()
        }
    }

    #[test]
    fn mistakes_are_named_by_volume_and_mount() {
        for (mounts, volumes, wanted) in [
            (
                "{name: x, mountPath: /v}",
                "",
                "volumeMounts[x]` names no volume",
            ),
            (
                "{name: v, mountPath: v}",
                "{name: v, ephemeral: {}}",
                "must be absolute",
            ),
            (
                "{name: v, mountPath: /a/../b}",
                "{name: v, ephemeral: {}}",
                "without `..`",
            ),
            (
                "{name: v, mountPath: /v}, {name: v, mountPath: /v/}",
                "{name: v, ephemeral: {}}",
                "another volume",
            ),
            (
                "",
                "{name: v, ephemeral: {}}, {name: v, ephemeral: {}}",
                "two volumes",
            ),
            ("", "{name: v}", "exactly one"),
            (
                "",
                "{name: v, ephemeral: {}, hostPath: {path: /x}}",
                "exactly one",
            ),
            ("", "{name: v, ephemeral: {sizeLimit: 1.5Gi}}", "`1.5Gi`"),
            ("", "{name: v, ephemeral: {sizeLimit: '-1'}}", "`-1`"),
            ("", "{name: v, hostPath: {path: x}}", "must be absolute"),
            (
                "",
                "{name: v, configMap: {name: m, items: [{key: a, path: ../a}]}}",
                "`../a`",
            ),
            (
                "",
                "{name: v, configMap: {name: m, items: [{key: a, path: a/}]}}",
                "`a/`",
            ),
            (
                "",
                "{name: v, secret: {secretName: m, items: \
                 [{key: a, path: x/y/z}, {key: b, path: x-y}, {key: c, path: x}]}}",
                "`x` and `x/y/z`",
            ),
        ] {
            let problem = check(&spec(mounts, volumes)).unwrap_err();
            assert!(problem.message.contains(wanted), "{}", problem.message);
        }
    }

    #[test]
    fn files_are_all_keys_or_those_that_are_named() {
        let files = |volume: &str| {
            let spec = spec("", &format!("{{name: v, {volume}}}"));
            let built = build(&check(&spec).unwrap(), &sources());
            built.map(|volumes| match volumes[0].source.clone() {
                VolumeSource::Files(files) => files.into_keys().collect::<Vec<_>>().join(" "),
                other => panic!("{other:?}"),
            })
        };
        assert_eq!(files("configMap: {name: m}").unwrap(), "a b");
        let one = "configMap: {name: m, items: [{key: b, path: x/y}]}";
        assert_eq!(files(one).unwrap(), "x/y");
        let optional = "secret: {secretName: s, optional: true}";
        assert_eq!(files(optional).unwrap(), "");
        let problem = files("secret: {secretName: s}").unwrap_err();
        assert_eq!(problem.reason, Reason::SecretNotFound);
        let problem = files("configMap: {name: m, items: [{key: z, path: z}]}").unwrap_err();
        assert!(
            problem.message.contains("no key `z`"),
            "{}",
            problem.message
        );
        assert_eq!(problem.reason, Reason::KeyNotFound);
    }

    #[test]
    fn sizes_are_quantities() {
        for (text, wanted) in [
            ("5", Some(5)),
            ("64Mi", Some(64 << 20)),
            ("1G", Some(1_000_000_000)),
            ("", None),
            ("Mi", None),
            ("1e3", None),
            ("99999999Ti", None),
        ] {
            assert_eq!(bytes(text), wanted, "{text}");
        }
    }
}
