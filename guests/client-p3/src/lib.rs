//! Talks over the network within its workload, by WASI 0.3: `/tcp/PORT?TEXT` sends a line and
//! answers the line that comes back; `/udp/PORT?TEXT` the same with a datagram; `/early/ADDRESS?TEXT`
//! the same, but receives before it sends; `/both/ADDRESS?TEXT` sends two, and receives two at a time
//! before the second; `/look-up/NAME` answers addresses; `/listen` tries to listen.

use std::{
    future::{Future, poll_fn},
    net::SocketAddrV4,
    pin::{Pin, pin},
    task::Poll,
};

use wasip3::{
    http::types::{ErrorCode, Request, Response},
    sockets::{
        ip_name_lookup::resolve_addresses,
        types::{
            ErrorCode as SocketError, IpAddressFamily, IpSocketAddress, Ipv4SocketAddress,
            TcpSocket, UdpSocket,
        },
    },
    wit_bindgen::yield_async,
    wit_stream,
};

wasip3::http::service::export!(Client);

struct Client;

impl wasip3::exports::http::handler::Guest for Client {
    async fn handle(request: Request) -> Result<Response, ErrorCode> {
        let target = request.get_path_with_query().unwrap_or_default();
        let (path, query) = target.split_once('?').unwrap_or((&target, ""));
        let (what, of) = path[1..].split_once('/').unwrap_or((&path[1..], ""));
        let port = of.parse().unwrap_or(0);
        let answer = match what {
            "tcp" => tcp(local(port), query)
                .await
                .map_err(|code| format!("{code:?}")),
            "udp" => udp(local(port), query)
                .await
                .map_err(|code| format!("{code:?}")),
            "early" => early(of.parse().expect("an address"), query)
                .await
                .map_err(|code| format!("{code:?}")),
            "both" => both(of.parse().expect("an address"), query)
                .await
                .map_err(|code| format!("{code:?}")),
            "listen" => listen().map_err(|code| format!("{code:?}")),
            "look-up" => match resolve_addresses(of.to_owned()).await {
                Ok(addresses) => Ok(format!("{addresses:?}")),
                Err(code) => Err(format!("{code:?}")),
            },
            _ => Ok("ok".into()),
        };
        Ok(http_answer_async::text(
            answer.unwrap_or_else(|error| error),
        ))
    }
}

fn outside(address: SocketAddrV4) -> IpSocketAddress {
    let [a, b, c, d] = address.ip().octets();
    IpSocketAddress::Ipv4(Ipv4SocketAddress {
        port: address.port(),
        address: (a, b, c, d),
    })
}

fn local(port: u16) -> IpSocketAddress {
    IpSocketAddress::Ipv4(Ipv4SocketAddress {
        port,
        address: (127, 0, 0, 1),
    })
}

async fn tcp(to: IpSocketAddress, text: &str) -> Result<String, SocketError> {
    let socket = TcpSocket::create(IpAddressFamily::Ipv4)?;
    socket.connect(to).await?;
    let (mut data, reader) = wit_stream::new();
    let sent = socket.send(reader);
    let (mut answer, _end) = socket.receive();
    let line = format!("{text}\n").into_bytes();
    let left = data.write_all(line).await;
    assert!(left.is_empty(), "the line is taken whole");
    drop(data);
    sent.await?;
    let mut came = Vec::new();
    while let Some(byte) = answer.next().await {
        came.push(byte);
    }
    Ok(String::from_utf8_lossy(&came).trim_end().to_owned())
}

async fn udp(to: IpSocketAddress, text: &str) -> Result<String, SocketError> {
    let socket = UdpSocket::create(IpAddressFamily::Ipv4)?;
    socket.send(text.as_bytes().to_vec(), Some(to)).await?;
    let (data, _from) = socket.receive().await?;
    Ok(String::from_utf8_lossy(&data).into_owned())
}

async fn early(to: SocketAddrV4, text: &str) -> Result<String, SocketError> {
    let socket = UdpSocket::create(IpAddressFamily::Ipv4)?;
    socket.bind(local(0))?;
    let mut receiving = pin!(socket.receive());
    begin(receiving.as_mut()).await;
    let text = text.as_bytes().to_vec();
    socket.send(text, Some(outside(to))).await?;
    let (data, _from) = receiving.await?;
    Ok(String::from_utf8_lossy(&data).into_owned())
}

async fn both(to: SocketAddrV4, text: &str) -> Result<String, SocketError> {
    let socket = UdpSocket::create(IpAddressFamily::Ipv4)?;
    let send = || socket.send(text.as_bytes().to_vec(), Some(outside(to)));
    send().await?;
    let mut one = pin!(socket.receive());
    let mut other = pin!(socket.receive());
    begin(one.as_mut()).await;
    begin(other.as_mut()).await;
    send().await?;
    let data = [one.await?.0, other.await?.0].concat();
    Ok(String::from_utf8_lossy(&data).into_owned())
}

/// Begins to wait for what nobody has sent yet.
async fn begin(mut receiving: Pin<&mut impl Future>) {
    let begun = poll_fn(|cx| Poll::Ready(receiving.as_mut().poll(cx).is_pending())).await;
    assert!(begun, "nobody sends before we do");
    // The host waits for it as well from now on.
    yield_async().await;
}

fn listen() -> Result<String, SocketError> {
    let socket = TcpSocket::create(IpAddressFamily::Ipv4)?;
    socket.bind(local(8000))?;
    socket.listen().map(|_| "listening".into())
}
