//! `wasmcloud:postgres@0.1.1-draft`: the same statements and values, with rows all at once and other
//! errors.

use waft_runtime::Ctx;
use wasmtime::component::LinkerInstance;

use super::{Getter, Use, View, types::Error};

/// The types of the draft: its values are those of 0.2.0.
#[expect(unreachable_pub, reason = "the bindings re-export it")]
pub mod types {
    use wasmtime::component::{ComponentType, Lift, Lower};

    // With what the bindings of a world want of a module of types.
    pub use super::super::bindings::wasmcloud::postgres::types::*;

    #[derive(Clone, Debug, ComponentType, Lift, Lower)]
    #[component(variant)]
    pub enum QueryError {
        #[component(name = "invalid-params")]
        InvalidParams(String),
        #[component(name = "invalid-query")]
        InvalidQuery(String),
        #[component(name = "unexpected")]
        Unexpected(String),
    }

    #[derive(Clone, Debug, ComponentType, Lift, Lower)]
    #[component(variant)]
    pub enum StatementPrepareError {
        #[component(name = "unexpected")]
        Unexpected(String),
    }

    #[derive(Clone, Debug, ComponentType, Lift, Lower)]
    #[component(variant)]
    pub enum PreparedStatementExecError {
        #[component(name = "unknown-prepared-query")]
        UnknownPreparedQuery,
        #[component(name = "query-error")]
        QueryError(QueryError),
        #[component(name = "unexpected")]
        Unexpected(String),
    }

    #[derive(Clone, Debug, ComponentType, Lift, Lower)]
    #[component(record)]
    pub struct ResultRowEntry {
        #[component(name = "column-name")]
        pub column_name: String,
        pub value: PgValue,
    }

    pub type ResultRow = Vec<ResultRowEntry>;
}

use types::{
    PgValue, PreparedStatementExecError, QueryError, ResultRow, ResultRowEntry,
    StatementPrepareError,
};

mod bindings {
    wasmtime::component::bindgen!({
        path: "wit/postgres-draft",
        world: "wasmcloud:postgres/imports",
        imports: { default: async | trappable },
        with: { "wasmcloud:postgres/types": super::types },
    });
}

use bindings::wasmcloud::postgres::{prepared, query};

/// Bytes of all rows of one answer, names of columns included.
const ANSWER: usize = 16 << 20;
/// What a value takes beside its bytes.
const VALUE: usize = 64;

/// Adds an interface of the draft to an instance of a linker.
pub(super) fn link(
    instance: &mut LinkerInstance<'_, Ctx>,
    interface: Option<&str>,
    view: fn(&mut Ctx) -> View<'_>,
) -> wasmtime::Result<()> {
    match interface {
        Some("query") => query::add_to_linker_instance::<Ctx, Getter>(instance, view),
        Some("prepared") => prepared::add_to_linker_instance::<Ctx, Getter>(instance, view),
        _ => Ok(()),
    }
}

impl query::Host for View<'_> {
    async fn query(
        &mut self,
        query: String,
        params: Vec<PgValue>,
    ) -> wasmtime::Result<Result<Vec<ResultRow>, QueryError>> {
        let granted = self.granted(Use::DraftQuery)?;
        let mut answer = match granted.query(query, &params).await {
            Ok(answer) => answer,
            Err(error) => return Ok(Err(error.into())),
        };
        let columns = answer.columns();
        let per_row: usize = columns.iter().map(|name| name.len() + VALUE).sum();
        let (mut rows, mut size) = (Vec::new(), 0);
        let result = loop {
            match answer.next().await {
                Ok(Some((row, bytes))) => {
                    size += bytes + per_row;
                    if size > ANSWER {
                        let text = format!(
                            "the rows have more than {ANSWER} bytes together; ask for less at a time"
                        );
                        break Err(Error::Other(text));
                    }
                    let entries = columns.iter().cloned().zip(row);
                    let entries =
                        entries.map(|(column_name, value)| ResultRowEntry { column_name, value });
                    rows.push(entries.collect());
                }
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        answer.end(&result);
        Ok(result.map(|()| rows).map_err(Into::into))
    }

    async fn query_batch(&mut self, query: String) -> wasmtime::Result<Result<(), QueryError>> {
        Ok(self
            .granted(Use::DraftQuery)?
            .batch(&query)
            .await
            .map_err(Into::into))
    }
}

impl prepared::Host for View<'_> {
    async fn prepare(
        &mut self,
        statement: String,
    ) -> wasmtime::Result<Result<String, StatementPrepareError>> {
        let prepared = self.granted(Use::DraftPrepared)?.prepare(statement).await;
        Ok(prepared.map_err(|error| StatementPrepareError::Unexpected(said(error))))
    }

    async fn exec(
        &mut self,
        token: String,
        params: Vec<PgValue>,
    ) -> wasmtime::Result<Result<u64, PreparedStatementExecError>> {
        let done = self
            .granted(Use::DraftPrepared)?
            .execute(&token, &params)
            .await;
        Ok(done.map_err(|error| match error {
            Error::UnknownPreparedStatement => PreparedStatementExecError::UnknownPreparedQuery,
            error => PreparedStatementExecError::QueryError(error.into()),
        }))
    }
}

impl From<Error> for QueryError {
    fn from(error: Error) -> Self {
        match error {
            Error::InvalidParams(text) => Self::InvalidParams(text),
            Error::InvalidQuery(text) => Self::InvalidQuery(text),
            // Syntax, and names of tables and columns that there are not: class 42.
            Error::QueryFailed(refused) if refused.code.starts_with("42") => {
                Self::InvalidQuery(said(Error::QueryFailed(refused)))
            }
            error => Self::Unexpected(said(error)),
        }
    }
}

/// An error in words; of the server's, the SQLSTATE comes first.
fn said(error: Error) -> String {
    match error {
        Error::QueryFailed(refused) => format!("{}: {}", refused.code, refused.message),
        Error::ConnectionFailed(text)
        | Error::InvalidParams(text)
        | Error::InvalidQuery(text)
        | Error::ValueConversionFailed(text)
        | Error::Other(text) => text,
        Error::UnknownPreparedStatement => "there is no such prepared statement".into(),
        Error::AccessDenied => "the database may not be used".into(),
        Error::Timeout => "PostgreSQL takes too long".into(),
    }
}
