//! What a workload may send out, from manifest to answer: to another workload, to the machine, and
//! what is denied.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener},
    thread,
};

use crate::support::{
    http, manifest,
    waft::{Up, Waft},
};

/// A platform with a fetching workload of both generations, whose components have these extra
/// fields, the workload `hello`, and one that answers for all hosts that no other does.
fn platform(resources: &str, flags: &[&str]) -> Waft {
    let folder = tempfile::tempdir().unwrap();
    let images = waft_guests::path("fetch-p2");
    let image = |name: &str| format!("file:{}", waft_guests::path(name).display());
    // A resolver that nobody answers takes its time to say so.
    let component = format!("localResources: {resources}, limits: {{requestTimeout: 5m}}");
    let manifests = [
        manifest::deployment_with("fetch-p2", &image("fetch-p2"), &component),
        manifest::deployment_with("fetch-p3", &image("fetch-p3"), &component),
        manifest::deployment("hello", &image("hello-p2")),
        manifest::deployment("any", &image("hello-p2")).replace("host: any.localhost", "host: '*'"),
    ];
    let file = folder.path().join("all.yaml");
    std::fs::write(&file, manifests.join("---\n")).unwrap();
    let up = Up::default()
        .arg(&file)
        .arg("--file-root")
        .arg(images.parent().unwrap());
    let waft = flags.iter().fold(up, |up, flag| up.arg(*flag)).start();
    for host in ["hello.localhost", "example.com"] {
        waft.get_ok(host, "/");
    }
    waft
}

/// A server on the machine's loopback that answers every request alike.
fn loopback_server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut head = [0; 4096];
            if stream.read(&mut head).is_ok_and(|length| length > 0) {
                let answer =
                    "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 7\r\n\r\nmachine";
                let _ = stream.write_all(answer.as_bytes());
            }
        }
    });
    address
}

const FETCHERS: [&str; 2] = ["fetch-p2", "fetch-p3"];

#[test]
fn one_workload_reaches_another_by_the_name_of_its_route() {
    let waft = platform("{allowedHosts: [hello.localhost]}", &[]);
    let direct = waft.get("hello.localhost", "/").text();
    for name in FETCHERS {
        let host = format!("{name}.localhost");
        // Whatever the port: nothing is connected to.
        for url in ["http://hello.localhost/", "http://hello.localhost:8000/"] {
            let answer = waft.get_ok(&host, &format!("/?{url}"));
            assert_eq!(answer, format!("200 {direct}"), "{name}");
        }
        // What the host answers itself, it answers here as well; another workload is not granted.
        let mark = waft.mark();
        let answer = waft.get_ok(&host, "/?http://fetch-p2.localhost/");
        assert_eq!(answer, "ErrorCode::HttpRequestDenied", "{name}");
        let denied = format!("{name}/");
        waft.wait_for_line_after(
            mark,
            &[&denied, "request to http://fetch-p2.localhost:80 denied"],
        );
    }
    let metrics = http::get(waft.admin, "localhost", "/metrics")
        .unwrap()
        .text();
    let denied = metrics
        .lines()
        .filter(|line| line.starts_with("waft_egress_denied_total"))
        .filter(|line| line.contains("reason=\"HostNotGranted\"") && line.ends_with(" 1"));
    assert_eq!(denied.count(), FETCHERS.len(), "{metrics}");
}

#[test]
fn a_route_for_all_hosts_takes_nothing_that_goes_out() {
    let waft = platform("{allowedHosts: ['*']}", &[]);
    for name in FETCHERS {
        for (url, expected) in [
            ("http://10.1.2.3:9/", "ErrorCode::DestinationIpProhibited"),
            ("http://127.0.0.1:5/", "ErrorCode::ConnectionRefused"),
            ("http://localhost/", "ErrorCode::ConnectionRefused"),
            (
                "http://service.wasmcloud.internal:7/",
                "ErrorCode::ConnectionRefused",
            ),
            (
                "http://host.wasmcloud.internal:3/",
                "ErrorCode::HttpRequestDenied",
            ),
            // A name that nobody can have.
            ("http://name.invalid/", "ErrorCode::DnsError"),
        ] {
            let answer = waft.get_ok(&format!("{name}.localhost"), &format!("/?{url}"));
            assert!(answer.starts_with(expected), "{name}: {url}: {answer}");
        }
    }
}

#[test]
fn workloads_that_call_each_other_in_a_circle_are_stopped() {
    let waft = platform("{allowedHosts: ['*']}", &[]);
    // At once, and after they have computed for so long that they go on in other threads.
    for path in ["/", "/late"] {
        // Each asks itself for what is left of the URL.
        let mut target = format!("{path}?http://hello.localhost/");
        for _ in 0..20 {
            target = format!("{path}?http://fetch-p2.localhost{target}");
        }
        let answer = waft.get_ok("fetch-p2.localhost", &target);
        assert!(answer.ends_with("ErrorCode::LoopDetected"), "{answer}");
    }
    let control = waft.get_ok(
        "fetch-p2.localhost",
        "/?http://fetch-p2.localhost/?http://hello.localhost/",
    );
    assert!(control.starts_with("200 200 "), "{control}");
}

#[test]
fn the_machines_loopback_is_reached_when_both_sides_agree() {
    let server = loopback_server();
    let resources = format!(
        "{{allowedHosts: ['*'], allowedHostLoopbackPorts: ['{}']}}",
        server.port()
    );
    let by_name = format!("/?http://host.wasmcloud.internal:{}/", server.port());
    let open = platform(&resources, &["--allow-host-loopback"]);
    for name in FETCHERS {
        let get = |target: &str| open.get_ok(&format!("{name}.localhost"), target);
        assert_eq!(get(&by_name), "200 machine", "{name}");
        // A port that is not listed: here, Waft's own admin listener.
        let other = format!(
            "/?http://host.wasmcloud.internal:{}/metrics",
            open.admin.port()
        );
        assert_eq!(get(&other), "ErrorCode::HttpRequestDenied", "{name}");
        // By address it is the workload's own network, where nothing listens.
        let by_address = format!("/?http://{server}/");
        assert_eq!(get(&by_address), "ErrorCode::ConnectionRefused", "{name}");
    }
    drop(open);
    let closed = platform(&resources, &[]);
    let answer = closed.get_ok("fetch-p2.localhost", &by_name);
    assert_eq!(answer, "ErrorCode::HttpRequestDenied");
}
