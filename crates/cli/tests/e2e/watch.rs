//! `waft up --watch`: files decide, and only what came from them.

use std::{fs, path::Path};

use crate::support::{
    eventually, http,
    kubectl::Kubectl,
    manifest,
    waft::{Up, Waft},
};

/// Writes a file whole, as an editor does: watchers never see half of it.
fn replace(path: &Path, bytes: impl AsRef<[u8]>) {
    let new = path.with_extension("new");
    fs::write(&new, bytes).unwrap();
    fs::rename(new, path).unwrap();
}

fn wait_for_status(waft: &Waft, host: &str, status: u16) {
    eventually(&format!("{host} answers {status}"), || {
        match http::get(waft.http, host, "/") {
            Ok(answer) if answer.status == status => Ok(()),
            other => Err(format!("{other:?}\n{}", waft.output())),
        }
    });
}

/// Waits until a workload answers with the name that was built into its component.
fn wait_for_image(waft: &Waft, host: &str, name: &str) {
    eventually(
        &format!("{host} runs the component {name}"),
        || match http::get(waft.http, host, "/image") {
            Ok(answer) if answer.text() == format!("{name}\n") => Ok(()),
            other => Err(format!("{other:?}\n{}", waft.output())),
        },
    );
}

#[test]
fn components_are_found_wherever_and_whenever_they_are_built() {
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("target");
    let release = target.join("release");
    let component = release.join("hello.wasm");
    let build = |name: &str| {
        fs::create_dir_all(&release).unwrap();
        replace(&component, waft_guests::with_image_name(name));
    };
    let file = folder.path().join("app.yaml");
    let lone = manifest::workload("lone", "file:target/release/hello.wasm");
    let set = manifest::deployment("set", "file:target/release/hello.wasm");
    replace(&file, format!("{lone}---\n{set}"));
    let piped = tempfile::NamedTempFile::new().unwrap();
    let image = format!("file:{}", component.display());
    replace(piped.path(), manifest::deployment("piped", &image));
    let hosts = ["lone.localhost", "set.localhost", "piped.localhost"];

    // Nothing is built yet, not even the folders are there.
    let waft = Up::default().arg(&file).arg("-").arg("--watch");
    let waft = waft.stdin(piped.path()).start();
    waft.wait_for_line(&["FileNotFound"]);
    build("first");
    for host in hosts {
        wait_for_image(&waft, host, "first");
    }

    // New bytes in place: a standalone Workload is started anew.
    build("second");
    for host in hosts {
        wait_for_image(&waft, host, "second");
    }

    // All that was built is removed, and nothing of it is told to the workloads.
    let mark = waft.mark();
    fs::remove_dir_all(&target).unwrap();
    replace(
        &file,
        format!(
            "{lone}---\n{set}---\n{}",
            manifest::deployment("more", &image)
        ),
    );
    waft.wait_for_line_after(mark, &["WorkloadDeployment/more created"]);
    for host in hosts {
        assert_eq!(waft.get(host, "/image").text(), "second\n");
    }
    build("third");
    for host in hosts {
        wait_for_image(&waft, host, "third");
    }
    wait_for_image(&waft, "more.localhost", "third");

    // A folder above takes the place of another, and is built into afterwards.
    let fresh = folder.path().join("fresh");
    fs::create_dir_all(fresh.join("release")).unwrap();
    fs::write(
        fresh.join("release/hello.wasm"),
        waft_guests::with_image_name("fourth"),
    )
    .unwrap();
    fs::rename(&target, folder.path().join("old")).unwrap();
    fs::rename(&fresh, &target).unwrap();
    for host in hosts {
        wait_for_image(&waft, host, "fourth");
    }
    build("fifth");
    for host in hosts {
        wait_for_image(&waft, host, "fifth");
    }
}

#[test]
fn changes_of_files_are_changes_of_objects() {
    let folder = tempfile::tempdir().unwrap();
    let component = folder.path().join("hello.wasm");
    fs::write(&component, waft_guests::with_image_name("first")).unwrap();
    let file = folder.path().join("app.yaml");
    let one = manifest::deployment("one", "file:hello.wasm");
    let two = manifest::deployment("two", "file:hello.wasm");
    replace(&file, format!("{one}---\n{two}"));
    let waft = Up::default().arg(folder.path()).arg("--watch").start();
    assert_eq!(waft.get_ok("one.localhost", "/image"), "first\n");
    waft.get_ok("two.localhost", "/");
    let kubectl = Kubectl::new(&waft);
    if let Some(kubectl) = &kubectl {
        let by_hand = manifest::deployment("by-hand", &format!("file:{}", component.display()));
        kubectl.apply_ok(&by_hand);
        waft.get_ok("by-hand.localhost", "/");
    }

    // New bytes: a rollout.
    replace(&component, waft_guests::with_image_name("second"));
    eventually("the new component answers", || {
        match waft.get_ok("one.localhost", "/image").as_str() {
            "second\n" => Ok(()),
            other => Err(other.to_owned()),
        }
    });

    // A file that does not parse changes nothing, and says so.
    let mark = waft.mark();
    replace(&file, "apiVersion: [");
    waft.wait_for_line_after(mark, &["app.yaml"]);
    assert_eq!(waft.get("two.localhost", "/").status, 200);

    // An object that left the file goes; what came by another way stays.
    replace(&file, one.replace("one.localhost", "uno.localhost"));
    wait_for_status(&waft, "uno.localhost", 200);
    wait_for_status(&waft, "one.localhost", 404);
    wait_for_status(&waft, "two.localhost", 404);
    if kubectl.is_some() {
        wait_for_status(&waft, "by-hand.localhost", 200);
    }
}
