//! Logs and forwarded ports, through kubectl and through `kube`, over TLS.

mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{LogParams, PostParams};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use waft_apiserver::{Access, ApiServer, ByteStream, Config, Connect, LogOptions, Status};

/// A pod that shouts back what it hears on port 80, and has no other.
struct Shouting;

#[async_trait]
impl Connect for Shouting {
    async fn logs(
        &self,
        namespace: &str,
        pod: &str,
        options: LogOptions,
    ) -> Result<BoxStream<'static, Bytes>, Status> {
        let line = format!(
            "{namespace}/{pod} {:?} {:?}\n",
            options.container, options.tail_lines
        );
        let first = futures::stream::iter([Bytes::from(line)]);
        match options.follow {
            true => Ok(first.chain(futures::stream::pending()).boxed()),
            false => Ok(first.boxed()),
        }
    }

    async fn port_forward(
        &self,
        _: &str,
        pod: &str,
        port: u16,
    ) -> Result<Box<dyn ByteStream>, Status> {
        if port != 80 {
            return Err(Status::bad_request(format!(
                "{pod} does not listen on {port}"
            )));
        }
        let (client, server) = tokio::io::duplex(4096);
        let (mut read, mut write) = tokio::io::split(server);
        tokio::spawn(async move {
            let mut buffer = [0; 1024];
            while let Ok(length @ 1..) = read.read(&mut buffer).await {
                buffer[..length].make_ascii_uppercase();
                if write.write_all(&buffer[..length]).await.is_err() {
                    return;
                }
            }
            let _ = write.shutdown().await;
        });
        Ok(Box::new(client))
    }
}

struct Running {
    server: Arc<ApiServer>,
    folder: tempfile::TempDir,
    client: kube::Client,
}

async fn start() -> Running {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let folder = tempfile::tempdir().expect("a folder");
    let config = Config {
        connect: Arc::new(Shouting),
        ..Config::default()
    };
    let server = ApiServer::open(config).await.expect("a server");
    let access = Access::open(None, &[]).expect("access");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    access
        .write_kubeconfig(&folder.path().join("kubeconfig"), &address)
        .expect("written");
    let kubeconfig = serde_saphyr::from_str(&access.kubeconfig(&address)).expect("a kubeconfig");
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &Default::default())
        .await
        .expect("a config");
    let client = kube::Client::try_from(config).expect("a client");
    let serving = server.clone();
    tokio::spawn(async move { serving.serve(listener, &access).await });
    let pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "x", "ports": [{"containerPort": 80}]}]}});
    let pods: Api<Pod> = Api::default_namespaced(client.clone());
    pods.create(
        &PostParams::default(),
        &serde_json::from_value(pod).expect("a pod"),
    )
    .await
    .expect("created");
    let running = json!({"status": {"phase": "Running"}});
    pods.patch_status("p", &Default::default(), &kube::api::Patch::Merge(running))
        .await
        .expect("patched");
    Running {
        server,
        folder,
        client,
    }
}

impl Running {
    fn kubectl(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("kubectl");
        command
            .args(arguments)
            .env("KUBECONFIG", self.folder.path().join("kubeconfig"))
            .env("HOME", self.folder.path());
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }
}

/// Ends a program with the test.
struct Guard(Child);

impl Drop for Guard {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn kubectl_missing() -> bool {
    let missing = Command::new("kubectl")
        .args(["version", "--client"])
        .stdout(Stdio::null())
        .status()
        .is_err();
    assert!(
        !(missing && std::env::var_os("WAFT_REQUIRE_SERVERS").is_some()),
        "kubectl is not installed"
    );
    if missing {
        eprintln!("skipped: kubectl is not installed");
    }
    missing
}

#[tokio::test]
async fn kube_forwards_ports_and_reads_logs() {
    let running = start().await;
    let pods: Api<Pod> = Api::default_namespaced(running.client.clone());
    let mut forwarder = pods.portforward("p", &[80, 81]).await.expect("forwarded");
    let error = forwarder
        .take_error(81)
        .expect("an error channel")
        .await
        .expect("a message");
    assert!(error.contains("does not listen on 81"), "{error}");
    let mut stream = forwarder.take_stream(80).expect("a stream");
    let mut heard = vec![0; 100_000];
    let said = vec![b'x'; heard.len()];
    let (mut read, mut write) = tokio::io::split(&mut stream);
    let (wrote, read) = tokio::join!(write.write_all(&said), read.read_exact(&mut heard));
    wrote.expect("written");
    read.expect("read");
    assert!(heard.iter().all(|byte| *byte == b'X'));
    let params = LogParams {
        container: Some("c".into()),
        tail_lines: Some(3),
        ..LogParams::default()
    };
    assert_eq!(
        pods.logs("p", &params).await.expect("logs"),
        "default/p Some(\"c\") Some(3)\n"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kubectl_forwards_ports() {
    if kubectl_missing() {
        return;
    }
    let running = start().await;
    let mut child = Guard(
        running
            .kubectl(&["port-forward", "pod/p", ":80", ":81"])
            .spawn()
            .expect("kubectl starts"),
    );
    let test = tokio::task::spawn_blocking(move || {
        let mut lines = BufReader::new(child.0.stdout.take().expect("a pipe")).lines();
        let mut port = || -> u16 {
            let line = lines
                .by_ref()
                .map(|line| line.expect("a line"))
                .find(|line| line.contains("127.0.0.1:"));
            let line = line.expect("kubectl listens");
            line.split(&[':', ' '])
                .find_map(|part| part.parse().ok())
                .expect("a port")
        };
        let (good, bad) = (port(), port());
        // Several connections, the second while the first is open.
        let mut first = std::net::TcpStream::connect(("127.0.0.1", good)).expect("connected");
        for _ in 0..3 {
            let mut stream = std::net::TcpStream::connect(("127.0.0.1", good)).expect("connected");
            stream.write_all(b"hello").expect("written");
            stream.shutdown(std::net::Shutdown::Write).expect("shut");
            let mut heard = String::new();
            stream.read_to_string(&mut heard).expect("read");
            assert_eq!(heard, "HELLO");
        }
        first
            .set_read_timeout(Some(Duration::from_secs(60)))
            .expect("set");
        first.write_all(&vec![b'y'; 200_000]).expect("written");
        let mut heard = vec![0; 200_000];
        first.read_exact(&mut heard).expect("read");
        assert!(heard.iter().all(|byte| *byte == b'Y'));
        drop(first);
        let mut refused = std::net::TcpStream::connect(("127.0.0.1", bad)).expect("connected");
        refused.write_all(b"hello").expect("written");
        let mut heard = Vec::new();
        let _ = refused.read_to_end(&mut heard);
        assert!(heard.is_empty());
        let mut errors = BufReader::new(child.0.stderr.take().expect("a pipe")).lines();
        let said = errors
            .find_map(|line| line.ok().filter(|line| line.contains("listen on 81")))
            .expect("an error");
        assert!(said.contains("does not listen on 81"), "{said}");
    });
    test.await.expect("the client side");
    running.server.shut_down();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kubectl_reads_logs_and_hears_that_there_is_no_shell() {
    if kubectl_missing() {
        return;
    }
    let running = start().await;
    let test = tokio::task::spawn_blocking(move || {
        let output = running
            .kubectl(&["logs", "p", "--tail=5"])
            .output()
            .expect("kubectl ends");
        assert_eq!(
            String::from_utf8_lossy(&output.stdout),
            "default/p Some(\"c\") Some(5)\n"
        );
        let mut following = Guard(
            running
                .kubectl(&["logs", "-f", "p"])
                .spawn()
                .expect("kubectl starts"),
        );
        let mut line = String::new();
        BufReader::new(following.0.stdout.take().expect("a pipe"))
            .read_line(&mut line)
            .expect("a line");
        assert!(line.starts_with("default/p"), "{line}");
        running.server.shut_down();
        // The stream ends with the server, and so does its reader.
        assert!(following.0.wait().is_ok());
    });
    tokio::time::timeout(Duration::from_secs(120), test)
        .await
        .expect("in time")
        .expect("the client side");
    let running = start().await;
    let test = tokio::task::spawn_blocking(move || {
        let output = running
            .kubectl(&["exec", "p", "--", "ls"])
            .output()
            .expect("kubectl ends");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success());
        assert!(said.contains("a component has no shell"), "{said}");
        running.server.shut_down();
    });
    test.await.expect("the client side");
}
