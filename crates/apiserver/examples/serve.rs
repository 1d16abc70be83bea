//! An empty server to try clients on: `cargo run -p waft-apiserver --example serve -- FOLDER [PORT]`.
//! Writes FOLDER/kubeconfig and serves until interrupted.

use std::path::PathBuf;

use tokio::net::TcpListener;
use waft_apiserver::{Access, ApiServer, Config};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let folder = PathBuf::from(arguments.next().ok_or("usage: serve FOLDER [PORT]")?);
    let port: u16 = arguments.next().map_or(Ok(0), |port| port.parse())?;
    let server = ApiServer::open(Config {
        data_dir: Some(folder.clone()),
        ..Config::default()
    })
    .await?;
    let access = Access::open(Some(&folder), &[])?;
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    let kubeconfig = folder.join("kubeconfig");
    access.write_kubeconfig(&kubeconfig, &listener.local_addr()?.to_string())?;
    println!("KUBECONFIG={}", kubeconfig.display());
    let interrupted = tokio::spawn({
        let server = server.clone();
        async move {
            let _ = tokio::signal::ctrl_c().await;
            server.shut_down();
        }
    });
    server.serve(listener, &access).await?;
    interrupted.await?;
    Ok(())
}
