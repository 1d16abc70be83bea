//! Speaks TLS over a socket of its own: `/NAME/ADDRESS/PORT?TEXT` connects to an address, encrypts for
//! the server of that name, sends the text, with spaces for `+`, and an empty line, and answers what
//! comes back until the server ends.

use wasip3::{
    http::types::{ErrorCode, Request, Response},
    sockets::types::{IpAddressFamily, IpSocketAddress, Ipv4SocketAddress, TcpSocket},
};

use crate::wasi::tls::client::Connector;

wit_bindgen::generate!({ path: "../wit/tls.wit" });
wasip3::http::service::export!(Client);

struct Client;

impl wasip3::exports::http::handler::Guest for Client {
    async fn handle(request: Request) -> Result<Response, ErrorCode> {
        let (path, text) = http_answer_async::path_and_query(&request);
        let answer = match target(&path) {
            Some((name, address)) => ask(name, address, &text).await,
            None => Err("/NAME/ADDRESS/PORT?TEXT".into()),
        };
        let answer = answer.unwrap_or_else(|error| error);
        Ok(http_answer_async::text(answer))
    }
}

fn target(path: &str) -> Option<(String, IpSocketAddress)> {
    let mut parts = path.trim_start_matches('/').split('/');
    let (name, address, port) = (parts.next()?, parts.next()?, parts.next()?);
    let [a, b, c, d] = address.parse::<std::net::Ipv4Addr>().ok()?.octets();
    let address = Ipv4SocketAddress {
        port: port.parse().ok()?,
        address: (a, b, c, d),
    };
    Some((name.into(), IpSocketAddress::Ipv4(address)))
}

async fn ask(name: String, to: IpSocketAddress, text: &str) -> Result<String, String> {
    let socket = TcpSocket::create(IpAddressFamily::Ipv4).map_err(|error| format!("{error:?}"))?;
    let connected = socket.connect(to).await;
    connected.map_err(|error| format!("not connected: {error:?}"))?;
    let connector = Connector::new();
    let (mut clear, reader) = wit_stream::new();
    let (encrypted, _sent) = connector.send(reader);
    let _on_the_wire = socket.send(encrypted);
    let (came, _end) = socket.receive();
    let (mut decrypted, _received) = connector.receive(came);
    let shaken = Connector::connect(connector, name).await;
    shaken.map_err(|error| format!("no TLS: {}", error.to_debug_string()))?;
    let left = clear
        .write_all(format!("{}\r\n\r\n", text.replace('+', " ")).into_bytes())
        .await;
    assert!(left.is_empty(), "the text is taken whole");
    drop(clear);
    let mut answer = Vec::new();
    while let Some(byte) = decrypted.next().await {
        answer.push(byte);
    }
    Ok(String::from_utf8_lossy(&answer).into_owned())
}
