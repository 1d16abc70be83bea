//! From a manifest, or a bare component, to an answer.

use std::{
    fs,
    io::{BufReader, Write},
    net::{TcpListener, TcpStream},
};

use crate::{
    echo,
    support::{
        PATIENCE, eventually, free_address, http, manifest,
        waft::{Up, Waft, finish, signal},
    },
};

#[test]
fn the_first_example_answers() {
    let waft = Waft::up(["examples/hello"]);
    assert_eq!(waft.get_ok("hello.localhost", "/"), "Hello from Waft!\n");

    let url = format!("http://hello.localhost:{}/", waft.http.port());
    waft.wait_for_line(&[&url]);
    waft.wait_for_line(&[&format!("https://{}", waft.api)]);
    waft.wait_for_line(&["kubectl", &waft.kubeconfig().display().to_string()]);

    waft.get("hello.localhost", "/log?seen");
    waft.wait_for_line(&["hello/hello", "seen"]);
    waft.wait_for_line(&["hello/hello", "error: seen"]);
    waft.wait_for_line(&["GET", "/log", "200"]);

    let nobody = waft.get("nobody.localhost", "/");
    assert_eq!((nobody.status, nobody.reason()), (404, Some("NoRoute")));
    let port = format!("HELLO.Localhost.:{}", waft.http.port());
    assert_eq!(waft.get(&port, "/x?y").status, 200);

    let (status, output) = waft.interrupt();
    assert!(status.success(), "{status}\n{output}");
}

#[test]
fn the_trigger_example_answers() {
    let waft = Waft::up(["examples/http-trigger"]);
    let text = waft.get_ok("trigger.localhost", "/any/path");
    assert_eq!(text, "Hello from Waft, by WASI 0.3!\n");
    waft.wait_for_line(&[&format!("http://trigger.localhost:{}/", waft.http.port())]);
}

#[test]
fn a_bare_component_needs_no_manifest() {
    let folder = tempfile::tempdir().unwrap();
    let component = folder.path().join("greeter.wasm");
    fs::copy(waft_guests::path("hello-p2"), &component).unwrap();
    let waft = Up::default().arg(&component).start();
    assert_eq!(waft.get_ok("greeter.localhost", "/"), "Hello from Waft!\n");
}

#[test]
fn a_manifest_comes_by_stdin() {
    let folder = tempfile::tempdir().unwrap();
    fs::copy(
        waft_guests::path("hello-p2"),
        folder.path().join("hello.wasm"),
    )
    .unwrap();
    let text = manifest::deployment("piped", "file:hello.wasm");
    fs::write(folder.path().join("input"), text).unwrap();
    let waft = Up::default()
        .arg("-")
        .under(["sh", "-c", "exec \"$@\" <input", "sh"])
        .working_dir(folder.path())
        .start();
    assert_eq!(waft.get_ok("piped.localhost", "/"), "Hello from Waft!\n");
}

#[test]
fn a_data_folder_is_kept_and_has_one_owner() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let first = Up::default().arg("examples/hello").data(&data).start();
    first.get_ok("hello.localhost", "/");

    let refused = Up::default().data(&data).run();
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    assert!(refused.stderr.contains("in use"), "{refused:?}");
    first.get_ok("hello.localhost", "/");

    assert!(first.interrupt().0.success());
    let again = Up::default().data(&data).start();
    again.get_ok("hello.localhost", "/");
}

#[test]
fn a_port_in_use_is_named_with_its_flag() {
    let address = free_address();
    let _holder = std::net::TcpListener::bind(address).unwrap();
    let ended = Up::default().arg("examples/hello").http(address).run();
    assert_eq!(ended.status.code(), Some(1), "{ended:?}");
    for part in [address.to_string().as_str(), "--http"] {
        assert!(ended.stderr.contains(part), "{part} in {ended:?}");
    }
}

#[test]
fn the_second_interrupt_ends_it_at_once() {
    let waft = echo::server("echo-p2");
    waft.get_ok("echo-p2.localhost", "/");
    let address = waft.http;
    // A request whose answer has begun and can't end: its body stays open.
    let mut open = TcpStream::connect(address).unwrap();
    open.set_read_timeout(Some(PATIENCE)).unwrap();
    let head = "POST / HTTP/1.1\r\nhost: echo-p2.localhost\r\ntransfer-encoding: chunked\r\n\r\n";
    write!(open, "{head}4\r\nping\r\n").unwrap();
    let mut answer = BufReader::new(&open);
    assert_eq!(http::read_head(&mut answer).unwrap().0, 200);

    signal(waft.pid(), "INT");
    eventually("new connections are refused", || {
        match http::get(address, "echo-p2.localhost", "/") {
            Err(_) => Ok(()),
            Ok(answer) if answer.status == 503 => Ok(()),
            Ok(answer) => Err(format!("{answer:?}")),
        }
    });
    let (status, _) = waft.interrupt();
    assert!(!status.success(), "{status}");
}

#[test]
fn an_interrupt_ends_it_while_it_reads_its_manifests() {
    let folder = tempfile::tempdir().unwrap();
    let mut mkfifo = crate::support::waft::command("mkfifo");
    mkfifo.arg(folder.path().join("pipe"));
    let made = finish(mkfifo);
    assert!(made.status.success(), "{made:?}");
    // Connections are taken by the kernel; nobody answers.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/app.yaml", listener.local_addr().unwrap());
    for source in ["-", "pipe", &url] {
        // Neither the pipe nor standard input ever ends.
        let waft = Up::default()
            .arg(source)
            .under(["sh", "-c", "exec \"$@\" <>pipe", "sh"])
            .working_dir(folder.path())
            .spawn();
        eventually("it listens to SIGINT", || {
            let status = fs::read_to_string(format!("/proc/{}/status", waft.pid())).unwrap();
            // The shell before it may catch it too.
            if !status.starts_with("Name:\twaft\n") {
                return Err(status);
            }
            let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
            let caught = u64::from_str_radix(caught.unwrap_or_default().trim(), 16).unwrap();
            (caught & 2 != 0).then_some(()).ok_or(status)
        });
        let (status, output) = waft.interrupt();
        assert!(status.success(), "{source}: {status} {output}");
    }
}

#[test]
fn curl_reaches_it_by_its_printed_url() {
    let waft = Waft::up(["examples/hello"]);
    let url = format!("http://hello.localhost:{}/", waft.http.port());
    waft.get_ok("hello.localhost", "/");
    let mut curl = crate::support::waft::command("curl");
    curl.args(["-fsS", "--noproxy", "*", &url]);
    let ended = finish(curl);
    assert_eq!(ended.stdout, "Hello from Waft!\n", "{ended:?}");
}
