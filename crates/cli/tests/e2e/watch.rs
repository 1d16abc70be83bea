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
