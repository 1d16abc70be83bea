//! Acknowledged means kept: writers write while the process is killed, again and again.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api, Client, Config,
    api::{ListParams, PostParams, WatchEvent, WatchParams},
    config::{KubeConfigOptions, Kubeconfig},
};

use crate::support::{
    PATIENCE, eventually, http,
    waft::{Up, Waft},
};

const WRITERS: usize = 10;
const KILLS: usize = 20;
/// Acknowledged writes before each kill; the last ones of a round are cut off by it.
const WRITES_A_ROUND: usize = 55;

/// What the server said about a write: uid and resourceVersion.
type Acknowledged = BTreeMap<String, (String, u64)>;

async fn config_maps(kubeconfig: &Path) -> Api<ConfigMap> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let kubeconfig = Kubeconfig::read_from(kubeconfig).expect("waft wrote a kubeconfig");
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
        .await
        .expect("a kubeconfig that kube understands");
    Api::default_namespaced(Client::try_from(config).expect("a client"))
}

fn named(name: &str) -> ConfigMap {
    let mut map = ConfigMap::default();
    map.metadata.name = Some(name.to_owned());
    map.data = Some(BTreeMap::from([("name".to_owned(), name.to_owned())]));
    map
}

/// uid and revision of an object that the server sent.
fn identity(map: &ConfigMap) -> (String, u64) {
    let revision = map.metadata.resource_version.as_deref();
    (
        map.metadata.uid.clone().expect("the server sets a uid"),
        revision
            .and_then(|revision| revision.parse().ok())
            .expect("a revision is a number"),
    )
}

/// Ten writers create objects until enough are acknowledged; then the process is killed while they
/// go on. Gives what was acknowledged.
async fn write_and_kill(waft: Waft, round: usize) -> Acknowledged {
    let api = config_maps(&waft.kubeconfig()).await;
    let (count, stop) = (
        Arc::new(AtomicUsize::new(0)),
        Arc::new(AtomicBool::new(false)),
    );
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let (api, count, stop) = (api.clone(), count.clone(), stop.clone());
            tokio::spawn(async move {
                let mut acknowledged = Acknowledged::new();
                for number in 0.. {
                    let name = format!("r{round}-w{writer}-n{number}");
                    let written = api.create(&PostParams::default(), &named(&name)).await;
                    let Ok(written) = written else { break };
                    acknowledged.insert(name, identity(&written));
                    count.fetch_add(1, Ordering::SeqCst);
                    if stop.load(Ordering::SeqCst) {
                        break;
                    }
                }
                acknowledged
            })
        })
        .collect();
    while count.load(Ordering::SeqCst) < WRITES_A_ROUND {
        assert!(
            writers.iter().any(|writer| !writer.is_finished()),
            "every writer failed before the kill\n{}",
            waft.output()
        );
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    // The writers are not told: the kill meets requests at every stage.
    tokio::task::spawn_blocking(|| waft.kill()).await.unwrap();
    stop.store(true, Ordering::SeqCst);
    let mut all = Acknowledged::new();
    for writer in writers {
        all.extend(writer.await.expect("a writer does not panic"));
    }
    all
}

/// Checks that all acknowledged objects are there, as they were, and gives the list's revision.
async fn verify(waft: &Waft, acknowledged: &Acknowledged, newest: u64) -> u64 {
    let api = config_maps(&waft.kubeconfig()).await;
    let list = api.list(&ListParams::default()).await.expect("a list");
    let have: BTreeMap<_, _> = list
        .items
        .iter()
        .map(|map| (map.metadata.name.clone().unwrap_or_default(), identity(map)))
        .collect();
    for (name, identity) in acknowledged {
        assert_eq!(have.get(name), Some(identity), "{name} was acknowledged");
    }
    let revision = list.metadata.resource_version.unwrap_or_default();
    let revision = revision.parse().expect("a revision is a number");
    assert!(revision >= newest, "the revision went back to {revision}");
    revision
}

/// Watches from a revision: either the events since then come, in order, or the server says that it
/// no longer has them.
async fn resume(waft: &Waft, from: u64, last: (&str, u64)) {
    let api = config_maps(&waft.kubeconfig()).await;
    let events = api
        .watch(&WatchParams::default(), &from.to_string())
        .await
        .expect("a watch");
    let mut events = events.boxed();
    let mut before = from;
    loop {
        let event = tokio::time::timeout(PATIENCE, events.try_next())
            .await
            .expect("an event comes");
        match event.expect("a stream of events") {
            Some(WatchEvent::Added(map) | WatchEvent::Modified(map) | WatchEvent::Deleted(map)) => {
                let (_, revision) = identity(&map);
                assert!(revision > before, "{revision} after {before}");
                before = revision;
                if revision == last.1 {
                    assert_eq!(map.metadata.name.as_deref(), Some(last.0));
                    return;
                }
            }
            Some(WatchEvent::Bookmark(_)) => {}
            Some(WatchEvent::Error(status)) => {
                assert_eq!(status.code, 410, "{status:?}");
                return;
            }
            None => panic!("the watch ended before it reached {last:?}"),
        }
    }
}

#[test]
fn nothing_acknowledged_is_lost_by_kills() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let mut acknowledged = Acknowledged::new();
    let (mut newest, mut first_list) = (0, None);
    for round in 0..KILLS {
        let mut up = Up::default().data(&data);
        if round == 0 {
            up = up.arg("examples/hello");
        }
        let waft = up.start();
        newest = runtime.block_on(verify(&waft, &acknowledged, newest));
        first_list.get_or_insert(newest);
        if round % 5 == 0 {
            waft.get_ok("hello.localhost", "/");
        }
        let written = runtime.block_on(write_and_kill(waft, round));
        for (name, (_, revision)) in &written {
            assert!(*revision > newest, "{name} got {revision} after {newest}");
        }
        acknowledged.extend(written);
    }
    assert!(
        acknowledged.len() >= 1000,
        "only {} writes",
        acknowledged.len()
    );

    let waft = Up::default().data(&data).start();
    let revision = runtime.block_on(verify(&waft, &acknowledged, newest));
    assert_eq!(waft.get_ok("hello.localhost", "/"), "Hello from Waft!\n");
    let last = acknowledged
        .iter()
        .max_by_key(|(_, (_, revision))| *revision)
        .map(|(name, (_, revision))| (name.as_str(), *revision))
        .unwrap();
    assert!(last.1 <= revision);
    runtime.block_on(resume(&waft, first_list.unwrap(), last));
    println!(
        "{} acknowledged writes over {KILLS} kills, none lost",
        acknowledged.len()
    );
}

#[test]
fn the_backup_that_is_documented_restores_everything() {
    let folder = tempfile::tempdir().unwrap();
    let (data, backup) = (folder.path().join("data"), folder.path().join("backup"));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let examples = ["examples/keyvalue", "examples/blobstore"];
    let waft = examples.into_iter().fold(Up::default(), Up::arg);
    let waft = waft.data(&data).start();
    let add = |waft: &Waft| waft.get_ok("keyvalue.localhost", "/add?numbers&visits");
    assert_eq!(add(&waft), "1");
    eventually("the object is stored", || {
        let path = "/notes/first";
        match http::request(
            waft.http,
            "POST",
            "blobstore.localhost",
            path,
            &[],
            b"hello",
        ) {
            Ok(answer) if answer.status == 200 => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
    let written = runtime.block_on(async {
        let api = config_maps(&waft.kubeconfig()).await;
        let written = api.create(&PostParams::default(), &named("kept")).await;
        identity(&written.expect("a write"))
    });

    let page = fs::read_to_string(waft_guests::workspace().join("docs/api-server.md")).unwrap();
    let (_, section) = page.split_once("**Backup while it runs**").unwrap();
    let commands = section.lines().filter_map(|line| line.strip_prefix("    "));
    for command in commands {
        let command = command.replace("DATA", data.to_str().unwrap());
        run_as_documented(&command.replace("BACKUP", backup.to_str().unwrap()));
    }
    waft.kill();
    let keys = ["api/pki/service-accounts.key", "pki/ca.key"];
    for key in keys {
        assert_eq!(
            fs::read(backup.join(key)).unwrap(),
            fs::read(data.join(key)).unwrap()
        );
    }
    fs::remove_dir_all(&data).unwrap();

    let waft = Up::default().data(&backup).start();
    let acknowledged = Acknowledged::from([("kept".to_owned(), written)]);
    runtime.block_on(verify(&waft, &acknowledged, 0));
    assert_eq!(add(&waft), "2");
    assert_eq!(waft.get_ok("blobstore.localhost", "/notes/first"), "hello");
}

/// Runs a command of the documentation; what it asks of SQLite by the library where the program is
/// not installed.
fn run_as_documented(command: &str) {
    let is_installed = Command::new("sqlite3").arg("-version").output().is_ok();
    if let Some(rest) = command.strip_prefix("sqlite3 -readonly ")
        && !is_installed
    {
        let (file, statement) = rest.split_once(' ').unwrap();
        let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY;
        let database = rusqlite::Connection::open_with_flags(file, flags).unwrap();
        database.execute_batch(statement.trim_matches('"')).unwrap();
        return;
    }
    let done = Command::new("sh").args(["-ec", command]).output().unwrap();
    assert!(done.status.success(), "{command}: {done:?}");
}

#[test]
fn an_answer_waits_for_the_disk() {
    let folder = tempfile::tempdir().unwrap();
    let waft = Up::default().data(&folder.path().join("data")).start();
    let trace = folder.path().join("trace");
    let Some(_tracer) = Tracer::attach(&waft, &trace) else {
        return;
    };
    let syncs = || {
        let text = fs::read_to_string(&trace).unwrap_or_default();
        text.lines()
            .filter(|line| line.contains("fdatasync") && line.ends_with("= 0"))
            .count()
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let api = config_maps(&waft.kubeconfig()).await;
        for number in 0..20 {
            let before = syncs();
            let name = format!("synced-{number}");
            api.create(&PostParams::default(), &named(&name))
                .await
                .expect("a write");
            let after = syncs();
            assert!(
                after > before,
                "write {number}: {before} syncs, then {after}"
            );
        }
    });
}

/// strace, attached to all threads of a process. Dropping it detaches.
struct Tracer(Child);

impl Tracer {
    /// `None`, and said so, where strace is not installed or may not trace.
    fn attach(waft: &Waft, trace: &Path) -> Option<Self> {
        let works = Command::new("strace")
            .args(["-o", "/dev/null", "true"])
            .stderr(Stdio::null())
            .status();
        if !works.is_ok_and(|status| status.success()) {
            waft_guests::skip("no strace: run `tests/env/testenv install debian`");
            return None;
        }
        let tracer = Command::new("strace")
            .args(["-f", "-qq", "-e", "trace=fdatasync", "-o"])
            .arg(trace)
            .args(["-p", &waft.pid().to_string()])
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("strace starts");
        eventually("strace traces every thread", || {
            let tasks = fs::read_dir(format!("/proc/{}/task", waft.pid()))
                .map_err(|error| error.to_string())?;
            let untraced = tasks
                .filter_map(Result::ok)
                .filter_map(|task| fs::read_to_string(task.path().join("status")).ok())
                .filter(|status| status.contains("TracerPid:\t0\n"))
                .count();
            match untraced {
                0 => Ok(()),
                some => Err(format!("{some} threads are not traced")),
            }
        });
        Some(Self(tracer))
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
