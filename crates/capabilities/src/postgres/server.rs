//! The PostgreSQL server of a host: its URL, and connections to it.
//!
//! TCP or a Unix socket, encrypted as `sslmode` says: `prefer`, which is the default, where the server
//! offers it, and then its certificate is checked; there is no encryption without a check.

use std::{
    io,
    path::PathBuf,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use rustls::pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf},
    net::{TcpStream, UnixStream},
    sync::OnceCell,
    time::timeout,
};
use tokio_postgres::{
    Config, NoTls,
    config::{Host, SslMode},
};
use tokio_rustls::TlsConnector;
use waft_ir::{Failure, FailureReason};

/// How a URL of a server begins.
const SCHEMES: [&str; 2] = ["postgres://", "postgresql://"];
/// How long a connection may take to be made.
pub(super) const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// Connections of one component, unless the URL says `pool_size`.
const POOL: usize = 10;
/// Bytes of one message of the server: a row is one.
pub(super) const LARGEST: u32 = 16 << 20;
/// What asks a server whether it encrypts.
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];

/// The server.
pub(super) struct Server {
    config: Config,
    /// As the URL had it; the connections themselves are encrypted here.
    encryption: SslMode,
    extra_ca: Vec<PathBuf>,
    tls: OnceCell<TlsConnector>,
    /// Connections of one component.
    pub(super) pool: usize,
}

/// Bytes both ways.
pub(super) trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// A connection that ends when the server sends a message that is too large to be kept: the client
/// reads messages whole, and what is in them a guest decides.
pub(super) struct Bounded {
    inner: Box<dyn Duplex>,
    /// Head of the message that comes, as far as it has come.
    head: [u8; 5],
    have: usize,
    /// Bytes of its body that are to come.
    body: u32,
    too_large: Arc<AtomicBool>,
}

impl Server {
    /// Checks the URL; nothing is connected to yet.
    pub(super) fn new(url: &str, extra_ca: &[PathBuf]) -> Result<Self, Failure> {
        let refused = |what: String| {
            let text = format!(
                "--postgres: {what}; write it as postgres://USER:PASSWORD@HOST:PORT/DATABASE"
            );
            Failure::new(FailureReason::StartFailed, text)
        };
        let (url, pool) = take(url, "pool_size");
        let (url, authority) = take(&url, "sslrootcert");
        let pool = match pool {
            None => POOL,
            Some(text) => match text.parse() {
                Ok(size @ 1..=1000) => size,
                _ => return Err(refused("`pool_size` is a number from 1 to 1000".into())),
            },
        };
        let url = for_the_client(&url);
        let mut config: Config = url.parse().map_err(|error: tokio_postgres::Error| {
            // The client reads it as `host=… user=…`, and speaks of that.
            if !SCHEMES.iter().any(|scheme| url.starts_with(scheme)) {
                return refused("this is no URL of a PostgreSQL server".into());
            }
            // What it says of a value does not hold the value.
            let source = std::error::Error::source(&error);
            refused(source.map_or_else(|| error.to_string(), ToString::to_string))
        })?;
        if config.get_hosts().is_empty() {
            return Err(refused("it names no host".into()));
        }
        let encryption = config.get_ssl_mode();
        config.ssl_mode(SslMode::Disable);
        if config.get_application_name().is_none() {
            config.application_name("waft");
        }
        Ok(Self {
            config,
            encryption,
            extra_ca: extra_ca
                .iter()
                .cloned()
                // The system's are trusted always.
                .chain(authority.filter(|file| file != "system").map(PathBuf::from))
                .collect(),
            tls: OnceCell::new(),
            pool,
        })
    }

    /// Whether a URL names this server, whatever else it says.
    pub(super) fn is_at(&self, url: &str) -> bool {
        let Ok(other) = for_the_client(url).parse::<Config>() else {
            return false;
        };
        let ports = |config: &Config| match config.get_ports() {
            [] => vec![5432],
            ports => ports.to_vec(),
        };
        other.get_hosts() == self.config.get_hosts() && ports(&other) == ports(&self.config)
    }

    /// The database that a URL names.
    pub(super) fn database_of(url: &str) -> Option<String> {
        let config: Config = for_the_client(url).parse().ok()?;
        config.get_dbname().map(Into::into)
    }

    /// A session in a database. Its other half, which does the talking, ends with it; the flag says
    /// whether it ended because of a message that was too large.
    pub(super) async fn connect(
        &self,
        database: &str,
    ) -> Result<
        (
            tokio_postgres::Client,
            impl Future<Output = ()> + use<>,
            Arc<AtomicBool>,
        ),
        String,
    > {
        let connecting = async {
            let stream = self.open().await?;
            let too_large = Arc::new(AtomicBool::new(false));
            let stream = Bounded {
                inner: stream,
                head: [0; 5],
                have: 0,
                body: 0,
                too_large: too_large.clone(),
            };
            let mut config = self.config.clone();
            config.dbname(database);
            let made = config.connect_raw(stream, NoTls).await;
            let (client, mut connection) = made.map_err(|error| said(&error))?;
            let talking = async move {
                // Notices are between the guest and its database.
                while let Some(Ok(_)) =
                    std::future::poll_fn(|context| connection.poll_message(context)).await
                {
                }
            };
            Ok((client, talking, too_large))
        };
        let late = |_| "PostgreSQL does not answer".to_owned();
        timeout(CONNECT_WITHIN, connecting).await.map_err(late)?
    }

    /// Bytes to the server: to the first of its addresses that answers.
    pub(super) async fn open(&self) -> Result<Box<dyn Duplex>, String> {
        let ports = self.config.get_ports();
        let mut failed = String::new();
        for (index, host) in self.config.get_hosts().iter().enumerate() {
            let port = ports.get(index).or(ports.first()).copied().unwrap_or(5432);
            let opened = match host {
                Host::Tcp(name) => self.open_tcp(name, port).await,
                Host::Unix(folder) => UnixStream::connect(folder.join(format!(".s.PGSQL.{port}")))
                    .await
                    .map(|stream| Box::new(stream) as Box<dyn Duplex>)
                    .map_err(|error| error.to_string()),
            };
            match opened {
                Ok(stream) => return Ok(stream),
                Err(error) => failed = error,
            }
        }
        Err(format!("PostgreSQL does not answer: {failed}"))
    }

    async fn open_tcp(&self, name: &str, port: u16) -> Result<Box<dyn Duplex>, String> {
        let io = |error: io::Error| error.to_string();
        let mut stream = TcpStream::connect((name, port)).await.map_err(io)?;
        stream.set_nodelay(true).map_err(io)?;
        if self.encryption == SslMode::Disable {
            return Ok(Box::new(stream));
        }
        stream.write_all(&SSL_REQUEST).await.map_err(io)?;
        match stream.read_u8().await.map_err(io)? {
            b'S' => {}
            _ if self.encryption == SslMode::Prefer => return Ok(Box::new(stream)),
            _ => return Err("it does not encrypt, and sslmode asks for it".into()),
        }
        let connector = self.tls.get_or_try_init(|| async {
            let extra = self.extra_ca.clone();
            let reading = tokio::task::spawn_blocking(move || waft_runtime::client_tls(&extra));
            let config = reading.await.map_err(|error| error.to_string())??;
            Ok::<_, String>(TlsConnector::from(Arc::new(config)))
        });
        let connector = connector.await?;
        let name = ServerName::try_from(name.to_owned()).map_err(|error| error.to_string())?;
        let encrypted = connector.connect(name, stream).await.map_err(|error| {
            format!(
                "{error}; give its authority by --outbound-ca or sslrootcert=FILE, or write \
                 sslmode=disable in --postgres"
            )
        })?;
        Ok(Box::new(encrypted))
    }
}

/// The URL without a parameter, and its value.
fn take(url: &str, name: &str) -> (String, Option<String>) {
    let Some((base, parameters)) = url.split_once('?') else {
        return (url.to_owned(), None);
    };
    let mut taken = None;
    let others = parameters.split('&').filter(|parameter| {
        let value = parameter
            .split_once('=')
            .filter(|(this, _)| *this == name)
            .map(|(_, value)| value.to_owned());
        let is_it = value.is_some();
        taken = value.or(taken.take());
        !is_it
    });
    let others: Vec<_> = others.collect();
    (format!("{base}?{}", others.join("&")), taken)
}

/// The URL in the words that the client knows.
fn for_the_client(url: &str) -> String {
    let (url, _) = take(url, "pool_size");
    let (url, _) = take(&url, "sslrootcert");
    // Who encrypts checks, always.
    url.replace("sslmode=verify-full", "sslmode=require")
        .replace("sslmode=verify-ca", "sslmode=require")
}

/// An error with what it comes from.
pub(super) fn said(error: &tokio_postgres::Error) -> String {
    match error.as_db_error() {
        Some(error) => error.message().to_owned(),
        None => match std::error::Error::source(error) {
            Some(source) => format!("{error}: {source}"),
            None => error.to_string(),
        },
    }
}

impl Bounded {
    /// Looks at what came, message by message.
    fn look(&mut self, mut came: &[u8]) -> io::Result<()> {
        while !came.is_empty() {
            let skipped = came.len().min(self.body as usize);
            self.body -= u32::try_from(skipped).unwrap_or(self.body);
            came = &came[skipped..];
            if came.is_empty() {
                break;
            }
            let taken = came.len().min(self.head.len() - self.have);
            self.head[self.have..self.have + taken].copy_from_slice(&came[..taken]);
            self.have += taken;
            came = &came[taken..];
            if self.have == self.head.len() {
                self.have = 0;
                let [_, length @ ..] = self.head;
                // The length counts itself.
                self.body = u32::from_be_bytes(length).saturating_sub(4);
                if self.body > LARGEST {
                    self.too_large.store(true, Ordering::Relaxed);
                    return Err(io::Error::other("the message is too large"));
                }
            }
        }
        Ok(())
    }
}

impl AsyncRead for Bounded {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.inner).poll_read(context, buffer))?;
        Poll::Ready(self.look(&buffer.filled()[before..]))
    }
}

impl AsyncWrite for Bounded {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_read_and_refused() {
        let server = Server::new("postgres://u:hunter2@db:5433/x?pool_size=3", &[]).unwrap();
        assert_eq!(server.pool, 3);
        assert!(server.is_at("postgres://other@db:5433/y"));
        assert!(!server.is_at("postgres://db/x"));
        let of = Server::database_of;
        assert_eq!(
            of("postgres://db/orders?sslmode=disable").as_deref(),
            Some("orders")
        );
        for url in [
            "postgres://u:hunter2@db/x?pool_size=0",
            "postgres://u:hunter2@db/x?colour=green",
            "postgres:///x",
            "http://u:hunter2@db",
            "mysql://u:hunter2@db/x",
            "foo",
            "mysql://u:hunter2@db/x?a=b",
        ] {
            let refused = Server::new(url, &[]).err().unwrap();
            assert!(!refused.message.contains("EOF"), "{refused}");
            assert!(refused.message.starts_with("--postgres"), "{refused}");
            assert!(!refused.message.contains("hunter2"), "{refused}");
        }
    }

    #[test]
    fn messages_are_measured_however_they_come() {
        let bounded = || Bounded {
            inner: Box::new(tokio::io::empty()),
            head: [0; 5],
            have: 0,
            body: 0,
            too_large: Arc::default(),
        };
        let small = [b'D', 0, 0, 0, 6, 1, 2].repeat(3);
        for size in 1..small.len() {
            let mut bounded = bounded();
            for part in small.chunks(size) {
                bounded.look(part).unwrap();
            }
            assert_eq!((bounded.have, bounded.body), (0, 0));
        }
        let mut bounded = bounded();
        let large = [small, vec![b'D', 127, 0, 0, 0]].concat();
        assert!(bounded.look(&large).is_err());
        assert!(bounded.too_large.load(Ordering::Relaxed));
    }
}
