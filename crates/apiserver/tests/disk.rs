//! A disk that fills up, and history that must not fill one: writes are refused in clear words, reads
//! go on, nothing is damaged, and with space writing goes on.
//!
//! The full disk is a small file system in memory where this program may mount one, and everywhere a
//! limit on the size of files, in a process of its own.

mod support;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{ListParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams};
use kube::{Api, Client, ResourceExt};
use serde_json::json;
use waft_apiserver::{ApiServer, Config};

/// Set for the process whose files are limited: the folder it serves.
const FOLDER: &str = "WAFT_TEST_DISK_FOLDER";

/// More writes than this fit on none of the disks here.
const MANY: usize = 2000;

fn config(folder: &Path) -> Config {
    Config {
        data_dir: Some(folder.to_owned()),
        ..Config::default()
    }
}

fn config_map(name: &str, bytes: usize) -> ConfigMap {
    let object = json!({"metadata": {"name": name}, "data": {"x": "x".repeat(bytes)}});
    serde_json::from_value(object).expect("a ConfigMap")
}

/// Creates objects of a size until one is refused; returns what the refusal says.
async fn fill(
    api: &Api<ConfigMap>,
    bytes: usize,
    stored: &mut BTreeMap<String, ConfigMap>,
) -> String {
    for _ in 0..MANY {
        let name = format!("c-{}", stored.len());
        let made = api
            .create(&PostParams::default(), &config_map(&name, bytes))
            .await;
        match made {
            Ok(made) => drop(stored.insert(name, made)),
            Err(_) => {
                let (code, message) = support::refusal(made);
                assert_eq!(code, 503, "{message}");
                return message;
            }
        }
    }
    panic!("{MANY} objects of {bytes} bytes fit");
}

async fn same_objects(api: &Api<ConfigMap>, stored: &BTreeMap<String, ConfigMap>) {
    let list = api.list(&ListParams::default()).await.expect("a list");
    let found: BTreeMap<String, ConfigMap> = list
        .items
        .into_iter()
        .map(|object| (object.name_any(), object))
        .collect();
    let names = |objects: &BTreeMap<String, ConfigMap>| objects.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&found), names(stored));
    assert!(
        &found == stored,
        "objects differ from what was acknowledged"
    );
}

/// What must be true of a disk that is full and then has space again.
async fn fills_up_and_heals(folder: &Path, heal: impl FnOnce()) {
    let server = ApiServer::open(config(folder)).await.expect("a server");
    let api: Api<ConfigMap> = Api::default_namespaced(Client::new(server.service(), "default"));
    let mut stored = BTreeMap::new();
    let first = api
        .create(&PostParams::default(), &config_map("c-0", 10))
        .await
        .expect("created");
    let start = first.resource_version().expect("a version");
    stored.insert("c-0".to_owned(), first);
    for bytes in [200_000, 1_000] {
        let message = fill(&api, bytes, &mut stored).await;
        assert!(message.contains("could not be stored"), "{message}");
        assert!(message.contains("disk"), "{message}");
    }
    assert!(stored.len() > 5, "{} objects fit", stored.len());

    // Reads go on, and none of them shows what was refused.
    same_objects(&api, &stored).await;
    let patch = Patch::Merge(json!({"data": {"x": "y".repeat(300_000)}}));
    let refused = api.patch("c-0", &PatchParams::default(), &patch).await;
    assert_eq!(support::refusal(refused).0, 503);
    same_objects(&api, &stored).await;
    let events = api
        .watch(&WatchParams::default(), &start)
        .await
        .expect("a watch");
    let events = futures::StreamExt::take(events, stored.len() - 1);
    let events: Vec<_> = futures::StreamExt::collect(events).await;
    for event in events {
        let event = event.expect("an event");
        assert!(
            matches!(&event, WatchEvent::Added(object) if stored.contains_key(&object.name_any())),
            "{event:?}"
        );
    }

    // A start finds what was there, full as the disk is.
    server.shut_down();
    let server = ApiServer::open(config(folder))
        .await
        .expect("it opens on a full disk");
    let api: Api<ConfigMap> = Api::default_namespaced(Client::new(server.service(), "default"));
    same_objects(&api, &stored).await;
    fill(&api, 200_000, &mut stored).await;

    heal();
    let name = "after".to_owned();
    let made = api
        .create(&PostParams::default(), &config_map(&name, 200_000))
        .await
        .expect("there is space again");
    stored.insert(name, made);
    let patched = api.patch("c-0", &PatchParams::default(), &patch).await;
    stored.insert("c-0".to_owned(), patched.expect("patched"));
    same_objects(&api, &stored).await;
    server.shut_down();

    let server = ApiServer::open(config(folder))
        .await
        .expect("it opens again");
    let api: Api<ConfigMap> = Api::default_namespaced(Client::new(server.service(), "default"));
    same_objects(&api, &stored).await;
    server.shut_down();
    let database = rusqlite::Connection::open(folder.join("state.db")).expect("the database");
    let check: String = database
        .pragma_query_value(None, "integrity_check", |row| row.get(0))
        .expect("checked");
    assert_eq!(check, "ok");
}

/// A small file system in memory. It goes away with this.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    /// `None` where this program may not mount; CI fails there.
    fn mount() -> Option<SmallDisk> {
        let disk = SmallDisk(tempfile::tempdir().expect("a folder"));
        if disk.run("mount", &["-t", "tmpfs", "-o", "size=4m", "waft-test"]) {
            return Some(disk);
        }
        assert!(
            std::env::var_os("WAFT_REQUIRE_SERVERS").is_none(),
            "no file system can be mounted"
        );
        eprintln!("skipped: no file system can be mounted; the limit of file sizes is tested");
        None
    }

    fn grow(&self) {
        assert!(self.run("mount", &["-o", "remount,size=64m"]));
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("data")
    }

    fn run(&self, program: &str, arguments: &[&str]) -> bool {
        let status = Command::new(program)
            .args(arguments)
            .arg(self.0.path())
            .status();
        status.is_ok_and(|status| status.success())
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // The last files are closed when the server's tasks have ended.
        self.run("umount", &["--lazy"]);
    }
}

#[tokio::test]
async fn a_full_disk_refuses_writes_and_heals() {
    let Some(disk) = SmallDisk::mount() else {
        return;
    };
    fills_up_and_heals(&disk.path(), || disk.grow()).await;
}

/// Fills a file system to the last byte; returns the file.
fn fill_with_something_else(disk: &SmallDisk) -> PathBuf {
    let path = disk.0.path().join("other");
    let mut file = std::fs::File::create(&path).expect("a file");
    for bytes in [1 << 16, 1] {
        let piece = vec![0; bytes];
        while std::io::Write::write(&mut file, &piece).is_ok() {}
    }
    path
}

#[tokio::test]
async fn a_disk_that_others_filled_is_called_full_and_nothing_is_lost() {
    let Some(disk) = SmallDisk::mount() else {
        return;
    };
    disk.grow();
    let install = async |server: &ApiServer| {
        let definitions = waft_api::crds();
        let definitions = definitions.iter().map(|definition| json!(definition));
        server.install_crds(definitions.collect()).await
    };
    let server = ApiServer::open(config(&disk.path()))
        .await
        .expect("a server");
    install(&server).await.expect("installed");
    let api: Api<ConfigMap> = Api::default_namespaced(Client::new(server.service(), "default"));
    let made = api
        .create(&PostParams::default(), &config_map("c-0", 10))
        .await
        .expect("created");
    let stored = BTreeMap::from([("c-0".to_owned(), made)]);
    // What a kill leaves: the files as they are while the server runs.
    let killed = disk.0.path().join("killed");
    let copied = Command::new("cp")
        .arg("-r")
        .arg(disk.path())
        .arg(&killed)
        .status();
    assert!(copied.expect("cp runs").success());
    server.shut_down();

    // After a stop SQLite makes its side files anew.
    let other = fill_with_something_else(&disk);
    let refused = ApiServer::open(config(&disk.path())).await.err();
    let said = refused.expect("there is no space").to_string();
    assert!(said.contains("is full"), "{said}");

    // After a kill they are there, and what is served already is not written again.
    let server = ApiServer::open(config(&killed)).await.expect("it opens");
    install(&server).await.expect("nothing has changed");
    let api: Api<ConfigMap> = Api::default_namespaced(Client::new(server.service(), "default"));
    same_objects(&api, &stored).await;
    server.shut_down();

    std::fs::remove_file(other).expect("removed");
    let server = ApiServer::open(config(&disk.path()))
        .await
        .expect("there is space again");
    let api: Api<ConfigMap> = Api::default_namespaced(Client::new(server.service(), "default"));
    same_objects(&api, &stored).await;
    server.shut_down();
}

/// The process whose files are limited.
#[tokio::test]
async fn limited_process() {
    let Some(folder) = std::env::var_os(FOLDER) else {
        return;
    };
    fills_up_and_heals(Path::new(&folder), || {
        let id = std::process::id().to_string();
        let raised = Command::new("prlimit")
            .args(["--pid", &id, "--fsize=unlimited"])
            .status();
        assert!(raised.expect("prlimit is installed").success());
    })
    .await;
}

#[test]
fn a_limit_of_file_sizes_refuses_writes_and_heals() {
    let folder = tempfile::tempdir().expect("a folder");
    // The signal that comes with the limit would end the process.
    let output = Command::new("bash")
        .args(["-c", "trap '' XFSZ; ulimit -S -f 3072; exec \"$0\" \"$@\""])
        .arg(std::env::current_exe().expect("this program"))
        .args([
            "limited_process",
            "--exact",
            "--nocapture",
            "--test-threads=1",
        ])
        .env(FOLDER, folder.path())
        .output()
        .expect("bash is there");
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
    assert!(text.contains("1 passed"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn history_stays_within_its_bytes_under_load() {
    const WRITERS: usize = 8;
    const WRITES: usize = 150;
    const SIZE: usize = 64 << 10;
    const HISTORY: usize = 2 << 20;
    let folder = tempfile::tempdir().expect("a folder");
    let server = ApiServer::open(Config {
        history_bytes: HISTORY,
        ..config(folder.path())
    })
    .await
    .expect("a server");
    let api: Api<ConfigMap> = Api::default_namespaced(Client::new(server.service(), "default"));
    let first = api
        .create(&PostParams::default(), &config_map("first", 10))
        .await
        .expect("created");
    let version = first.resource_version().expect("a version");
    let used = || -> u64 {
        let files = std::fs::read_dir(folder.path()).expect("a folder");
        files
            .filter_map(|file| Some(file.ok()?.metadata().ok()?.len()))
            .sum()
    };
    let writers = (0..WRITERS).map(|writer| {
        let api = api.clone();
        tokio::spawn(async move {
            let name = format!("w-{writer}");
            api.create(&PostParams::default(), &config_map(&name, SIZE))
                .await
                .expect("created");
            for number in 0..WRITES {
                let data = format!("{number:06}").repeat(SIZE / 6);
                let patch = Patch::Merge(json!({"data": {"x": data}}));
                api.patch(&name, &PatchParams::default(), &patch)
                    .await
                    .expect("patched");
            }
        })
    });
    let writing = futures::future::join_all(writers);
    let mut most = 0;
    let mut writing = std::pin::pin!(writing);
    loop {
        let pause = tokio::time::sleep(std::time::Duration::from_millis(20));
        tokio::select! {
            done = &mut writing => {
                done.into_iter().for_each(|writer| writer.expect("it ends"));
                break;
            }
            () = pause => most = most.max(used()),
        }
    }
    most = most.max(used());
    let written = (WRITERS * WRITES * SIZE) as u64;
    // The window, rows that wait for their removal, and the write-ahead log.
    assert!(
        most < written / 4,
        "{most} bytes on disk after {written} were written"
    );
    let expired = api
        .watch(&WatchParams::default(), &version)
        .await
        .expect("a watch");
    let event = futures::StreamExt::next(&mut std::pin::pin!(expired)).await;
    let event = event.expect("an event").expect("no other error");
    assert!(
        matches!(&event, WatchEvent::Error(status) if status.code == 410),
        "{event:?}"
    );
    let newest = api.list(&ListParams::default()).await.expect("a list");
    assert_eq!(newest.items.len(), WRITERS + 1);
    server.shut_down();
    // What waited for its removal is gone after the next start and write.
    let server = ApiServer::open(config(folder.path()))
        .await
        .expect("a server");
    let api: Api<ConfigMap> = Api::default_namespaced(Client::new(server.service(), "default"));
    let again = api.list(&ListParams::default()).await.expect("a list");
    assert_eq!(again.items, newest.items);
    server.shut_down();
}
