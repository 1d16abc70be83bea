//! What was acknowledged survives `kill -9`; a data folder has one owner.
//!
//! The server that is killed is this test's own binary, started again with a folder to serve from.

use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{ListParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams};
use kube::{Api, Client, ResourceExt};
use serde_json::json;
use waft_apiserver::{ApiServer, Config, OpenError};

/// Set for the process that is to be killed: the folder it serves.
const FOLDER: &str = "WAFT_TEST_DURABILITY_FOLDER";

const WRITERS: usize = 10;
const KILLS: usize = 8;

fn config(folder: &Path) -> Config {
    Config {
        data_dir: Some(folder.to_owned()),
        ..Config::default()
    }
}

/// The process that is killed: writes objects, and prints each once it is acknowledged.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writer_process() {
    let Some(folder) = std::env::var_os(FOLDER) else {
        return;
    };
    let server = ApiServer::open(config(Path::new(&folder)))
        .await
        .expect("a server");
    let client = Client::new(server.service(), "default");
    let run = std::process::id();
    let writers = (0..WRITERS).map(|writer| {
        let api: Api<ConfigMap> = Api::default_namespaced(client.clone());
        tokio::spawn(async move {
            for number in 0.. {
                let name = format!("c-{run}-{writer}-{number}");
                let object = json!({"metadata": {"name": name}, "data": {"n": "0"}});
                let object = serde_json::from_value(object).expect("a ConfigMap");
                let made = api
                    .create(&PostParams::default(), &object)
                    .await
                    .expect("created");
                acknowledge(&made);
                let patch = Patch::Merge(json!({"data": {"n": "1"}}));
                acknowledge(
                    &api.patch(&name, &PatchParams::default(), &patch)
                        .await
                        .expect("patched"),
                );
            }
        })
    });
    futures::future::join_all(writers).await;
}

/// One line, in one write, so that a kill can't cut it unseen.
fn acknowledge(object: &ConfigMap) {
    use std::io::Write;
    let line = format!(
        "ACK {} {} {}\n",
        object.name_any(),
        object.uid().unwrap_or_default(),
        object.resource_version().unwrap_or_default()
    );
    let _ = std::io::stdout().lock().write_all(line.as_bytes());
}

fn spawn_writer(folder: &Path) -> Child {
    let program = std::env::current_exe().expect("this program");
    Command::new(program)
        .args([
            "writer_process",
            "--exact",
            "--nocapture",
            "--test-threads=1",
        ])
        .env(FOLDER, folder)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("it starts")
}

#[test]
fn acknowledged_writes_survive_kill_9() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut acknowledged: HashMap<String, (String, u64)> = HashMap::new();
    let (mut newest, mut total) = (0, 0);
    for kill in 0..KILLS {
        let mut child = spawn_writer(folder.path());
        let lines = BufReader::new(child.stdout.take().expect("a pipe"))
            .lines()
            .map_while(Result::ok);
        // Killed in the middle of its work: after a number of answers that differs each time.
        let mut wanted = 60 + 23 * i64::try_from(kill).expect("small");
        let mut lowest = u64::MAX;
        for line in lines {
            let Some(fields) = line
                .strip_prefix("ACK ")
                .map(|rest| rest.split(' ').collect::<Vec<_>>())
            else {
                continue;
            };
            let [name, uid, revision] = fields[..] else {
                panic!("{line}")
            };
            let revision: u64 = revision.parse().expect("a revision");
            let (known, last) = acknowledged
                .entry(name.to_owned())
                .or_insert((uid.to_owned(), revision));
            assert_eq!(known, uid);
            *last = revision.max(*last);
            lowest = lowest.min(revision);
            total += 1;
            wanted -= 1;
            if wanted == 0 {
                child.kill().expect("killed");
            }
        }
        child.wait().expect("it ended");
        assert!(wanted <= 0, "the writer ended by itself");
        assert!(
            lowest > newest,
            "revision {lowest} was given out again after {newest}"
        );
        newest = acknowledged
            .values()
            .map(|(_, revision)| *revision)
            .max()
            .unwrap_or(0);
    }
    assert!(total >= 1000, "{total} acknowledged writes");

    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let server = ApiServer::open(config(folder.path()))
            .await
            .expect("it opens");
        let api: Api<ConfigMap> = Api::default_namespaced(Client::new(server.service(), "default"));
        let list = api.list(&ListParams::default()).await.expect("a list");
        let version = list.metadata.resource_version.expect("a version");
        let found: HashMap<String, ConfigMap> = list
            .items
            .into_iter()
            .map(|object| (object.name_any(), object))
            .collect();
        for (name, (uid, revision)) in &acknowledged {
            let object = found
                .get(name)
                .unwrap_or_else(|| panic!("{name} was acknowledged and is gone"));
            assert_eq!(object.uid().as_ref(), Some(uid), "{name}");
            let now: u64 = object
                .resource_version()
                .expect("a version")
                .parse()
                .expect("a number");
            assert!(
                now >= *revision,
                "{name} went back from {revision} to {now}"
            );
        }
        assert!(version.parse::<u64>().expect("a number") >= newest);
        // A watch from before the last kill goes on where it was.
        let events = api
            .watch(&WatchParams::default(), &(newest - 1).to_string())
            .await
            .expect("a watch");
        let first = futures::StreamExt::next(&mut std::pin::pin!(events))
            .await
            .expect("an event")
            .expect("no error");
        let resumed = match &first {
            WatchEvent::Added(object) | WatchEvent::Modified(object) => object.resource_version(),
            other => panic!("{other:?}"),
        };
        assert_eq!(resumed, Some(newest.to_string()));
        server.shut_down();
    });
}

#[tokio::test]
async fn a_folder_in_use_is_refused_and_freed_by_shutting_down() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = ApiServer::open(config(folder.path()))
        .await
        .expect("a server");
    let second = ApiServer::open(config(folder.path()))
        .await
        .err()
        .expect("refused");
    assert!(
        matches!(&second, OpenError::InUse(path) if path == folder.path()),
        "{second}"
    );
    assert!(second.to_string().contains("is in use by another process"));
    server.shut_down();
    ApiServer::open(config(folder.path()))
        .await
        .expect("free again")
        .shut_down();
}

#[tokio::test]
async fn a_folder_of_another_process_is_refused_until_that_is_gone() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut other = spawn_writer(folder.path());
    let mut lines = BufReader::new(other.stdout.take().expect("a pipe"))
        .lines()
        .map_while(Result::ok);
    assert!(lines.any(|line| line.starts_with("ACK ")), "it serves");
    let refused = ApiServer::open(config(folder.path())).await.err();
    let said = refused.expect("refused").to_string();
    let shown = folder.path().display();
    assert_eq!(
        said,
        format!("the data folder {shown} is in use by another process")
    );
    assert!(lines.any(|line| line.starts_with("ACK ")), "it goes on");
    other.kill().expect("killed");
    other.wait().expect("gone");
    ApiServer::open(config(folder.path()))
        .await
        .expect("nobody has it now")
        .shut_down();
}

/// What `docs/api-server.md` tells: SQLite's own copy, made while the server writes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_made_while_running_is_whole() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = ApiServer::open(config(folder.path()))
        .await
        .expect("a server");
    let api: Api<ConfigMap> = Api::default_namespaced(Client::new(server.service(), "default"));
    let write = |number: usize| {
        let api = api.clone();
        let object =
            json!({"metadata": {"name": format!("c-{number}")}, "data": {"n": "x".repeat(2000)}});
        let object = serde_json::from_value(object).expect("a ConfigMap");
        async move {
            api.create(&PostParams::default(), &object)
                .await
                .expect("created")
        }
    };
    for number in 0..50 {
        write(number).await;
    }
    let writing = tokio::spawn(futures::future::join_all((50..400).map(write)));
    let (from, to) = (
        folder.path().join("state.db"),
        tempfile::tempdir().expect("a folder"),
    );
    let copy = to.path().join("state.db");
    tokio::task::spawn_blocking(move || {
        let source = rusqlite::Connection::open(from).expect("the database");
        source
            .execute("VACUUM INTO ?1", [copy.to_str().expect("a path")])
            .expect("copied");
    })
    .await
    .expect("it ends");
    writing.await.expect("they end");
    let restored = ApiServer::open(config(to.path())).await.expect("a server");
    let copied: Api<ConfigMap> =
        Api::default_namespaced(Client::new(restored.service(), "default"));
    let list = copied.list(&ListParams::default()).await.expect("a list");
    assert!(list.items.len() >= 50, "{}", list.items.len());
    // It goes on from there.
    copied
        .delete("c-0", &Default::default())
        .await
        .expect("deleted");
    let all = api.list(&ListParams::default()).await.expect("a list");
    assert_eq!(all.items.len(), 400, "the original is as it was");
}
