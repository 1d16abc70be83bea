//! Sessions of one component in its database, at most so many at a time, used again when they were
//! left as they began.

use std::{
    collections::HashMap,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::AbortHandle,
    time::{Instant, sleep_until, timeout},
};
use tokio_postgres::{Client, NoTls, Statement};

use super::{
    server::{CONNECT_WITHIN, LARGEST, Server, said},
    types::{DbError, Error},
};

/// How long a call waits for a session while all are in use.
const ROOM_WITHIN: Duration = Duration::from_secs(5);
/// How long the server may take with a statement, or with the next row.
pub(super) const ANSWER_WITHIN: Duration = Duration::from_secs(30);
/// How long a session that nobody uses stays.
const IDLE: Duration = Duration::from_secs(30);
/// Prepared statements of one session.
const PREPARED: usize = 64;

/// The sessions.
pub(super) struct Pool {
    server: Arc<Server>,
    database: String,
    room: Arc<Semaphore>,
    idle: Mutex<Idle>,
}

#[derive(Default)]
struct Idle {
    /// The one that was used last comes last.
    sessions: Vec<(Session, Instant)>,
    /// Whether somebody ends those that stay too long.
    watched: bool,
}

/// One session.
struct Session {
    client: Client,
    talking: AbortHandle,
    too_large: Arc<AtomicBool>,
    /// By their text.
    prepared: HashMap<Arc<str>, Statement>,
}

/// A session that a call has. Dropped in the midst of something, what it does is cancelled and it
/// ends.
pub(super) struct Lent {
    pool: Arc<Pool>,
    session: Option<Session>,
    _room: OwnedSemaphorePermit,
}

impl Pool {
    /// Connects when it is first used.
    pub(super) fn new(server: Arc<Server>, database: &str) -> Self {
        Self {
            room: Arc::new(Semaphore::new(server.pool)),
            server,
            database: database.into(),
            idle: Mutex::default(),
        }
    }

    /// A session, and a statement that the server has looked at. A session that turns out to be dead
    /// is replaced: nothing was done with it yet.
    pub(super) async fn prepare(
        self: &Arc<Self>,
        text: &Arc<str>,
        keep: bool,
    ) -> Result<(Lent, Statement), Error> {
        loop {
            let (mut lent, is_new) = self.lend().await?;
            match lent.prepare(text, keep).await {
                Err(Error::ConnectionFailed(_)) if !is_new => {}
                Ok(statement) => return Ok((lent, statement)),
                Err(error) => return Err(lent.failed(false, error)),
            }
        }
    }

    /// A session, and whether it is new.
    pub(super) async fn lend(self: &Arc<Self>) -> Result<(Lent, bool), Error> {
        let room = timeout(ROOM_WITHIN, self.room.clone().acquire_owned());
        let Ok(Ok(room)) = room.await else {
            return Err(Error::Timeout);
        };
        let idle = {
            let sessions = &mut self.idle.lock().sessions;
            sessions.retain(|(session, _)| !session.client.is_closed());
            sessions.pop()
        };
        let is_new = idle.is_none();
        let session = match idle {
            Some((session, _)) => session,
            None => self.connect().await?,
        };
        let lent = Lent {
            pool: self.clone(),
            session: Some(session),
            _room: room,
        };
        Ok((lent, is_new))
    }

    async fn connect(&self) -> Result<Session, Error> {
        let connected = self.server.connect(&self.database).await;
        let (client, talking, too_large) = connected.map_err(Error::ConnectionFailed)?;
        Ok(Session {
            client,
            talking: tokio::spawn(talking).abort_handle(),
            too_large,
            prepared: HashMap::new(),
        })
    }

    fn keep(self: &Arc<Self>, session: Session) {
        if session.client.is_closed() {
            return;
        }
        let mut idle = self.idle.lock();
        idle.sessions.push((session, Instant::now()));
        if !idle.watched {
            idle.watched = true;
            tokio::spawn(watch(Arc::downgrade(self)));
        }
    }

    /// Ends what stayed too long; when the next one has, if there is one.
    fn end_idle(&self) -> Option<Instant> {
        let mut idle = self.idle.lock();
        let now = Instant::now();
        idle.sessions.retain(|(_, since)| *since + IDLE > now);
        let next = idle.sessions.iter().map(|(_, since)| *since + IDLE).min();
        idle.watched = next.is_some();
        next
    }
}

/// Ends sessions that nobody uses, as long as there are some.
async fn watch(pool: Weak<Pool>) {
    while let Some(next) = pool.upgrade().and_then(|pool| pool.end_idle()) {
        sleep_until(next).await;
    }
}

impl Lent {
    /// What talks to the server. There is one until it is given back.
    pub(super) fn client(&self) -> Result<&Client, Error> {
        let gone = || Error::Other("the session was given back".into());
        Ok(&self.session.as_ref().ok_or_else(gone)?.client)
    }

    /// Lets the server look at a statement; with `keep`, it is remembered for the next time.
    pub(super) async fn prepare(
        &mut self,
        text: &Arc<str>,
        keep: bool,
    ) -> Result<Statement, Error> {
        let kept = self
            .session
            .as_ref()
            .and_then(|session| session.prepared.get(text));
        if let Some(statement) = kept.filter(|_| keep) {
            return Ok(statement.clone());
        }
        let statement = self.within(self.client()?.prepare(text)).await?;
        if let Some(session) = self.session.as_mut().filter(|_| keep) {
            if session.prepared.len() >= PREPARED {
                session.prepared.clear();
            }
            session.prepared.insert(text.clone(), statement.clone());
        }
        Ok(statement)
    }

    /// Forgets a statement that the server does not take any more.
    pub(super) fn forget(&mut self, text: &Arc<str>) {
        if let Some(session) = &mut self.session {
            session.prepared.remove(text);
        }
    }

    /// Waits for the server, and says in the interface's words what went wrong.
    pub(super) async fn within<T>(
        &self,
        answer: impl Future<Output = Result<T, tokio_postgres::Error>>,
    ) -> Result<T, Error> {
        match timeout(ANSWER_WITHIN, answer).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => Err(self.error(&error)),
            Err(_) => Err(Error::Timeout),
        }
    }

    /// An error of the server or of the connection in the interface's words.
    pub(super) fn error(&self, error: &tokio_postgres::Error) -> Error {
        let too_large = self
            .session
            .as_ref()
            .is_some_and(|s| s.too_large.load(Ordering::Relaxed));
        if too_large {
            let text = format!("a row has more than {LARGEST} bytes");
            return Error::ValueConversionFailed(text);
        }
        if let Some(refused) = error.as_db_error() {
            let code = refused.code().code();
            // The server goes away, or was never to be reached.
            if code.starts_with("08") || ["57P01", "57P02", "57P03"].contains(&code) {
                return Error::ConnectionFailed(refused.message().into());
            }
            return Error::QueryFailed(refusal(refused));
        }
        let closed = self
            .session
            .as_ref()
            .is_none_or(|session| session.client.is_closed());
        match closed || error.is_closed() {
            true => Error::ConnectionFailed(said(error)),
            false => Error::Other(said(error)),
        }
    }

    /// Gives the session back after a statement failed, unless it may still be busy with it.
    pub(super) fn failed(self, changed: bool, error: Error) -> Error {
        if !matches!(error, Error::Timeout | Error::ConnectionFailed(_)) {
            self.give_back(changed);
        }
        error
    }

    /// Gives the session back after everything was read. A statement that may have changed the session
    /// itself leaves nothing behind: what it opened is rolled back, what it set is forgotten.
    pub(super) fn give_back(mut self, changed: bool) {
        let Some(mut session) = self.session.take() else {
            return;
        };
        if !changed {
            self.pool.keep(session);
            return;
        }
        tokio::spawn(async move {
            session.prepared.clear();
            // Two messages: the second may not stand in a transaction, not even in that of one message.
            let cleaning = async {
                session.client.batch_execute("ROLLBACK").await?;
                session.client.batch_execute("DISCARD ALL").await
            };
            match timeout(ANSWER_WITHIN, cleaning).await {
                Ok(Ok(())) => self.pool.keep(session),
                _ => session.talking.abort(),
            }
        });
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let Some(session) = self.session.take() else {
            return;
        };
        let (server, token) = (self.pool.server.clone(), session.client.cancel_token());
        session.talking.abort();
        // On a thread of a runtime, as all host calls are.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                let cancelling = async {
                    if let Ok(stream) = server.open().await {
                        let _ = token.cancel_query_raw(stream, NoTls).await;
                    }
                };
                let _ = timeout(CONNECT_WITHIN, cancelling).await;
            });
        }
    }
}

fn refusal(error: &tokio_postgres::error::DbError) -> DbError {
    let position = error.position().map(|position| match position {
        tokio_postgres::error::ErrorPosition::Original(at) => at.to_string(),
        tokio_postgres::error::ErrorPosition::Internal { position, .. } => position.to_string(),
    });
    let text = |text: Option<&str>| text.map(ToOwned::to_owned);
    let extras = [
        ("hint", text(error.hint())),
        ("position", position),
        ("where", text(error.where_())),
        ("schema", text(error.schema())),
        ("table", text(error.table())),
        ("column", text(error.column())),
        ("datatype", text(error.datatype())),
        ("constraint", text(error.constraint())),
    ];
    DbError {
        code: error.code().code().into(),
        severity: error.severity().into(),
        message: error.message().into(),
        detail: text(error.detail()),
        extras: extras
            .into_iter()
            .filter_map(|(name, value)| Some((name.to_owned(), value?)))
            .collect(),
    }
}
