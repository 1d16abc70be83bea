//! Volumes from manifest to guest: what is in them, what may be written, and that nothing leads
//! out of them.

use std::{fs, os::unix::fs::symlink, path::Path};

use tempfile::TempDir;

use crate::support::{
    eventually,
    waft::{Up, Waft},
};

const HOST: &str = "files.localhost";

/// A platform with the workload `files`, these volumes and mounts, and `shared/` as the folder that
/// may be shared.
fn platform(volumes: &str, mounts: &str, more: &str) -> (Waft, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let shared = folder.path().join("shared");
    fs::create_dir_all(shared.join("inner")).unwrap();
    fs::create_dir_all(folder.path().join("outside")).unwrap();
    fs::write(folder.path().join("outside/secret"), "outside").unwrap();
    fs::write(shared.join("inner/file"), "shared").unwrap();
    symlink("../../outside/secret", shared.join("inner/way-out")).unwrap();
    let image = waft_guests::path("files-p2");
    let shared_text = shared.to_str().unwrap();
    let volumes = volumes.replace("SHARED", shared_text);
    let manifest = format!(
        "\
apiVersion: runtime.wasmcloud.dev/v1alpha1
kind: WorkloadDeployment
metadata: {{name: files}}
spec:
  template:
    spec:
      hostInterfaces:
        - {{namespace: wasi, package: http, interfaces: [incoming-handler], config: {{host: {HOST}}}}}
      volumes: [{volumes}]
      components:
        - name: files
          image: \"file:{}\"
          localResources: {{volumeMounts: [{mounts}]}}
{more}",
        image.display()
    );
    let file = folder.path().join("files.yaml");
    fs::write(&file, manifest).unwrap();
    let waft = Up::default()
        .arg(&file)
        .arg("--file-root")
        .arg(image.parent().unwrap())
        .arg("--host-path-root")
        .arg(&shared)
        .start();
    (waft, folder)
}

/// Folders that `waft up` has made for ephemeral volumes.
fn made(data: &Path) -> usize {
    fs::read_dir(data.join("volumes")).unwrap().count()
}

#[test]
fn an_ephemeral_volume_holds_what_it_may_and_goes_with_its_workload() {
    let (waft, folder) = platform(
        "{name: v, ephemeral: {sizeLimit: 1Mi}}",
        "{name: v, mountPath: /v}",
        "",
    );
    let get = |target: &str| waft.get_ok(HOST, target);
    let full = |target: &str| {
        let answer = get(target);
        // The C library beneath Rust's makes one error of all that a stream may say.
        let by_stream = answer.contains("(os error 29)");
        let is_full = answer.starts_with("error StorageFull") || by_stream;
        assert!(is_full, "{target}: {answer}");
    };
    assert_eq!(get("/write?/v/a&500000"), "done");
    assert_eq!(get("/append?/v/a&300000"), "done");
    full("/append?/v/a&300000");
    full("/write?/v/b&900000");
    full("/size?/v/a&2000000");
    // What the failed writes left behind is in the way until it is deleted.
    assert_eq!(get("/remove?/v/b"), "done");
    assert_eq!(get("/remove?/v/a"), "done");
    assert_eq!(get("/write?/v/b&900000"), "done");
    assert_eq!(get("/remove?/v/b"), "done");
    // Deleted files that are still open count.
    assert_eq!(get("/held?/v/c&300000"), "3");
    assert_eq!(get("/write?/v/b&900000"), "done");
    assert_eq!(get("/remove?/v/b"), "done");
    // So do empty ones.
    let count: usize = get("/many?/v").parse().unwrap();
    assert!((900..=1024).contains(&count), "{count}");

    assert_eq!(made(&waft.data), 1);
    let file = folder.path().join("files.yaml");
    let deleted = waft.cli(&["delete", "-f", file.to_str().unwrap()]);
    assert!(deleted.status.success(), "{deleted:?}");
    eventually("the folder is gone", || match made(&waft.data) {
        0 => Ok(()),
        some => Err(some.to_string()),
    });
}

#[test]
fn a_folder_of_the_machine_is_shared_and_nothing_beside_it() {
    let (waft, folder) = platform(
        "{name: v, hostPath: {path: SHARED/inner}}",
        "{name: v, mountPath: /v}, {name: v, mountPath: /fixed, readOnly: true}",
        "",
    );
    let get = |target: &str| waft.get_ok(HOST, target);
    assert_eq!(get("/read?/v/file"), "shared");
    assert_eq!(get("/write?/v/new&5"), "done");
    let inner = folder.path().join("shared/inner");
    assert_eq!(fs::read_to_string(inner.join("new")).unwrap(), "xxxxx");
    assert_eq!(get("/symlink?file&/v/alias"), "done");
    assert_eq!(get("/read?/v/alias"), "shared");

    fs::create_dir(inner.join("folder")).unwrap();
    for target in [
        "/read?/v/../outside/secret",
        "/read?/v/../../outside/secret",
        "/read?/v/folder/../../../outside/secret",
        "/read?/etc/passwd",
        "/read?/proc/self/environ",
        "/read?/dev/shm",
        "/list?/",
        "/list?/v/..",
        // A link that the machine's owner put there leads nowhere either.
        "/read?/v/way-out",
        "/symlink?/etc/passwd&/v/absolute",
        "/read?/v/absolute",
        "/rename?/v/file&/v/../file",
        // What is mounted read-only stays as it is, by whatever call.
        "/write?/fixed/new2&5",
        "/append?/fixed/file&5",
        "/size?/fixed/file&0",
        "/remove?/fixed/file",
        "/rename?/fixed/file&/fixed/other",
        "/link?/fixed/file&/v/hard-from-fixed",
        "/symlink?file&/fixed/alias2",
    ] {
        let answer = get(target);
        let leaked = answer.contains("outside") && !target.contains("symlink");
        assert!(answer.starts_with("error") && !leaked, "{target}: {answer}");
    }
    // A link out of the folder may be made, as on any system; it leads nowhere.
    get("/symlink?../../outside/secret&/v/relative");
    get("/link?/v/way-out&/v/hard");
    for target in ["/read?/v/relative", "/read?/v/hard"] {
        let answer = get(target);
        assert!(answer.starts_with("error"), "{target}: {answer}");
    }
    assert_eq!(get("/read?/fixed/file"), "shared");
    assert_eq!(fs::read_to_string(inner.join("file")).unwrap(), "shared");
}

#[test]
fn a_folder_outside_the_roots_is_refused_with_the_flag_to_use() {
    let (waft, _folder) = platform(
        "{name: v, hostPath: {path: SHARED/../outside}}",
        "{name: v, mountPath: /v}",
        "",
    );
    waft.wait_for_line(&["PathNotAllowed", "volume `v`"]);
    assert_ne!(waft.get(HOST, "/read?/v/secret").status, 200);
}

#[test]
fn a_folder_that_is_made_later_is_found() {
    let (waft, folder) = platform(
        "{name: v, hostPath: {path: SHARED/later}}",
        "{name: v, mountPath: /v}",
        "",
    );
    waft.wait_for_line(&["FileNotFound", "volume `v`", "shared/later"]);
    fs::create_dir(folder.path().join("shared/later")).unwrap();
    eventually("the folder is there", || {
        match waft.get(HOST, "/list?/v").status {
            200 => Ok(()),
            other => Err(other.to_string()),
        }
    });
}

#[test]
fn what_leaves_a_volume_does_not_leave_its_limit() {
    let (waft, _folder) = platform(
        "{name: big, ephemeral: {sizeLimit: 8Mi}}, {name: small, ephemeral: {sizeLimit: 16Ki}}, \
         {name: shared, hostPath: {path: SHARED/inner}}",
        "{name: big, mountPath: /big}, {name: small, mountPath: /small}, \
         {name: shared, mountPath: /shared}",
        "",
    );
    let get = |target: &str| waft.get_ok(HOST, target);
    assert_eq!(get("/write?/big/f&100000"), "done");
    for target in [
        "/rename?/big/f&/small/f",
        "/link?/big/f&/small/f",
        "/rename?/big/f&/shared/f",
        "/rename?/shared/file&/big/g",
    ] {
        let answer = get(target);
        assert!(
            answer.starts_with("error CrossesDevices"),
            "{target}: {answer}"
        );
    }
    assert_eq!(get("/rename?/big/f&/big/g"), "done");
    assert_eq!(get("/link?/big/g&/big/h"), "done");

    // Another name takes room too.
    assert_eq!(get("/write?/small/f&1000"), "done");
    let links = (0..100).take_while(|at| get(&format!("/link?/small/f&/small/{at}")) == "done");
    let count = links.count();
    assert!((10..=16).contains(&count), "{count}");
    assert_eq!(get("/remove?/small/0"), "done");
    assert_eq!(get("/link?/small/f&/small/0"), "done");

    // No folder is so deep that no path reaches it, made there or moved.
    let answer = get("/deep?/big&moved");
    let (count, errors) = answer.split_once(' ').unwrap();
    assert!(count.parse::<usize>().unwrap() > 1500, "{answer}");
    assert_eq!(errors, "name-too-long name-too-long");
}

#[test]
fn config_maps_and_secrets_are_files_that_nobody_writes() {
    let canary = "canary-of-the-volume-9f3a";
    let more = format!(
        "\
---
apiVersion: v1
kind: ConfigMap
metadata: {{name: settings}}
data: {{colour: green, size: large}}
---
apiVersion: v1
kind: Secret
metadata: {{name: token}}
stringData: {{token: {canary}}}
"
    );
    let (waft, _folder) = platform(
        "{name: c, configMap: {name: settings, items: [{key: colour, path: a/colour.txt}]}}, \
         {name: s, secret: {secretName: token}}, {name: none, configMap: {name: x, optional: true}}",
        "{name: c, mountPath: /c}, {name: s, mountPath: /s}, {name: none, mountPath: /none}",
        &more,
    );
    let get = |target: &str| waft.get_ok(HOST, target);
    assert_eq!(get("/read?/c/a/colour.txt"), "green");
    assert_eq!(get("/list?/c"), "a");
    assert_eq!(get("/read?/s/token"), canary);
    assert_eq!(get("/list?/none"), "");
    for target in ["/write?/s/token&5", "/remove?/s/token", "/write?/c/new&5"] {
        let answer = get(target);
        assert!(answer.starts_with("error"), "{target}: {answer}");
    }
    // Not in the lines, and not on the disk (the store of this platform is in memory).
    assert!(!waft.output().contains(canary));
    let found = std::process::Command::new("grep")
        .args(["-rlF", canary])
        .arg(&waft.data)
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&found.stdout), "");
}
