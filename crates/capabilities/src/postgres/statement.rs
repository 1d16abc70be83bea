//! Statements of one component: parameters out, rows in.

use std::{collections::VecDeque, pin::Pin, sync::Arc};

use bytes::BytesMut;
use futures::TryStreamExt as _;
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};
use tokio_postgres::{
    Row, RowStream, Statement,
    types::{FromSql, IsNull, ToSql, Type, to_sql_checked},
};
use uuid::Uuid;

use super::{
    pool::{Lent, Pool},
    server::{LARGEST, Server},
    types::{Error, PgValue},
    value,
};

/// Prepared statements of one component.
const TOKENS: usize = 256;
/// Rows that wait for their guest.
const WAITING: usize = 16;
/// First words of statements that leave a session as it was.
const HARMLESS: &[&str] = &[
    "select", "insert", "update", "delete", "merge", "with", "values", "table", "create", "alter",
    "drop", "truncate", "explain", "comment", "grant", "revoke",
];

/// What one component may use.
pub(super) struct Granted {
    pool: Arc<Pool>,
    /// Tokens and statements, the oldest first.
    prepared: Mutex<VecDeque<(String, Arc<str>)>>,
}

/// An answer whose rows are to come.
pub(super) struct Answer {
    lent: Lent,
    statement: Statement,
    rows: Pin<Box<RowStream>>,
    changes: bool,
}

/// A parameter as the server wants it.
#[derive(Debug)]
struct Parameter {
    bytes: BytesMut,
    is_null: bool,
}

/// A value as the server sent it.
struct Raw<'a>(Option<&'a [u8]>);

impl Granted {
    pub(super) fn new(server: Arc<Server>, database: &str) -> Self {
        Self {
            pool: Arc::new(Pool::new(server, database)),
            prepared: Mutex::default(),
        }
    }

    /// Runs one statement.
    pub(super) async fn query(&self, text: String, params: &[PgValue]) -> Result<Answer, Error> {
        let changes = changes_session(&text);
        let (lent, statement) = self.pool.prepare(&text.into(), false).await?;
        let started = match parameters(&statement, params) {
            Ok(params) => {
                lent.within(lent.client()?.query_raw(&statement, params))
                    .await
            }
            Err(error) => Err(error),
        };
        match started {
            Ok(rows) => Ok(Answer {
                rows: Box::pin(rows),
                lent,
                statement,
                changes,
            }),
            Err(error) => Err(lent.failed(changes, error)),
        }
    }

    /// Runs any number of statements.
    pub(super) async fn batch(&self, text: &str) -> Result<(), Error> {
        let (lent, _) = self.pool.lend().await?;
        match lent.within(lent.client()?.batch_execute(text)).await {
            Ok(()) => {
                lent.give_back(true);
                Ok(())
            }
            Err(error) => Err(lent.failed(true, error)),
        }
    }

    /// Lets the server look at a statement, and remembers it.
    pub(super) async fn prepare(&self, text: String) -> Result<String, Error> {
        let text: Arc<str> = text.into();
        let (lent, _) = self.pool.prepare(&text, true).await?;
        lent.give_back(false);
        let token = Uuid::new_v4().to_string();
        let mut prepared = self.prepared.lock();
        if prepared.len() >= TOKENS {
            prepared.pop_front();
        }
        prepared.push_back((token.clone(), text));
        Ok(token)
    }

    /// Runs a prepared statement; how many rows it changed.
    pub(super) async fn execute(&self, token: &str, params: &[PgValue]) -> Result<u64, Error> {
        let known = {
            let prepared = self.prepared.lock();
            let found = prepared.iter().find(|(known, _)| known == token);
            found.map(|(_, text)| text.clone())
        };
        let text = known.ok_or(Error::UnknownPreparedStatement)?;
        let changes = changes_session(&text);
        let mut is_retry = false;
        loop {
            let (mut lent, statement) = self.pool.prepare(&text, true).await?;
            let done = match parameters(&statement, params) {
                Ok(params) => {
                    lent.within(lent.client()?.execute_raw(&statement, params))
                        .await
                }
                Err(error) => Err(error),
            };
            match done {
                Ok(count) => {
                    lent.give_back(changes);
                    return Ok(count);
                }
                // The table has changed since it was prepared; nothing was done yet.
                Err(Error::QueryFailed(error))
                    if !is_retry && ["0A000", "26000"].contains(&error.code.as_str()) =>
                {
                    is_retry = true;
                    lent.forget(&text);
                    lent.give_back(false);
                }
                Err(error) => return Err(lent.failed(changes, error)),
            }
        }
    }
}

/// The parameters of a statement.
fn parameters(statement: &Statement, params: &[PgValue]) -> Result<Vec<Parameter>, Error> {
    let wanted = statement.params();
    if wanted.len() != params.len() {
        let (wanted, given) = (wanted.len(), params.len());
        let text = format!("the statement has {wanted} parameters, and {given} were given");
        return Err(Error::InvalidParams(text));
    }
    let pairs = params.iter().zip(wanted).enumerate();
    let all = pairs.map(|(index, (value, of))| {
        let mut bytes = BytesMut::new();
        let encoded = value::encode(value, of, &mut bytes);
        let is_null = encoded
            .map_err(|error| Error::InvalidParams(format!("parameter ${}: {error}", index + 1)))?;
        Ok(Parameter {
            bytes,
            is_null: matches!(is_null, IsNull::Yes),
        })
    });
    all.collect()
}

impl Answer {
    /// Names of the columns.
    pub(super) fn columns(&self) -> Vec<String> {
        let columns = self.statement.columns().iter();
        columns.map(|column| column.name().to_owned()).collect()
    }

    /// The next row, and its size: on the wire, and that of its decimals' digits.
    pub(super) async fn next(&mut self) -> Result<Option<(Vec<PgValue>, usize)>, Error> {
        let Some(row) = self.lent.within(self.rows.try_next()).await? else {
            return Ok(None);
        };
        let (values, digits) = values(&row)?;
        Ok(Some((values, row.raw_size_bytes() + digits)))
    }

    /// Says that no more rows are wanted: all were read, or something failed.
    pub(super) fn end(self, result: &Result<(), Error>) {
        // After a value that can't be given to the guest there are more rows to come.
        if result.is_ok() || matches!(result, Err(Error::QueryFailed(_))) {
            self.lent.give_back(self.changes);
        }
    }

    /// Sends the rows as they come, no faster than they are taken, and then how it ended. When nobody
    /// takes them any more, the statement is cancelled.
    pub(super) fn send(
        mut self,
    ) -> (
        mpsc::Receiver<Vec<PgValue>>,
        oneshot::Receiver<Result<(), Error>>,
    ) {
        let (sender, rows) = mpsc::channel(WAITING);
        let (said, end) = oneshot::channel();
        tokio::spawn(async move {
            let result = loop {
                match self.next().await {
                    Ok(Some((row, _))) => {
                        if sender.send(row).await.is_err() {
                            return;
                        }
                    }
                    Ok(None) => break Ok(()),
                    Err(error) => break Err(error),
                }
            };
            self.end(&result);
            // Nobody need wait for it.
            let _ = said.send(result);
        });
        (rows, end)
    }
}

/// The values of a row, and how many bytes its decimals have as digits.
fn values(row: &Row) -> Result<(Vec<PgValue>, usize), Error> {
    let mut digits = 0;
    let columns = row.columns().iter().enumerate();
    let all = columns.map(|(index, column)| {
        let unfit = |text: String| {
            Error::ValueConversionFailed(format!("column `{}`: {text}", column.name()))
        };
        let Raw(raw) = row
            .try_get(index)
            .map_err(|error| unfit(error.to_string()))?;
        digits += value::digits(column.type_(), raw);
        if digits > LARGEST as usize {
            let text = format!("the decimals of the row have more than {LARGEST} digits");
            return Err(unfit(text));
        }
        value::decode(column.type_(), raw).map_err(|error| unfit(error.to_string()))
    });
    let all = all.collect::<Result<_, _>>()?;
    Ok((all, digits))
}

/// Whether a statement may leave something behind in its session: a transaction, a setting, a lock, a
/// subscription. What begins with words of a list of its own does not, but for functions that it calls.
fn changes_session(text: &str) -> bool {
    let mut rest = text.trim_start_matches([' ', '\t', '\r', '\n', '(', ';']);
    // Comments before the first word.
    while let Some(comment) = rest.strip_prefix("--") {
        rest = comment
            .split_once('\n')
            .map_or("", |(_, rest)| rest)
            .trim_start();
    }
    let letters = rest.chars().take_while(char::is_ascii_alphabetic);
    // Those that are looked for are shorter.
    let word: String = letters.take(16).collect();
    !HARMLESS.contains(&word.to_ascii_lowercase().as_str())
}

impl ToSql for Parameter {
    fn to_sql(
        &self,
        _: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        out.extend_from_slice(&self.bytes);
        Ok(if self.is_null {
            IsNull::Yes
        } else {
            IsNull::No
        })
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

impl<'a> FromSql<'a> for Raw<'a> {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Self(Some(raw)))
    }

    fn from_sql_null(_: &Type) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Self(None))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_change_a_session_is_told() {
        for text in [
            "SELECT 1",
            " (select 1)",
            "-- a\n -- b\nwith x as (select 1) table x",
        ] {
            assert!(!changes_session(text), "{text}");
        }
        for text in [
            "BEGIN",
            "set role x",
            "/* */ select",
            "-- only",
            "",
            "listen x",
            "do $$$$",
        ] {
            assert!(changes_session(text), "{text}");
        }
    }
}
