//! `wasmcloud:postgres`, 0.2.0 and 0.1.1-draft: statements in a PostgreSQL database.
//!
//! The server and its credentials are the host's; an entry of the manifest says which database. Each
//! statement is a transaction of its own, in any of the component's sessions.

mod draft;
mod number;
mod pool;
mod server;
mod shapes;
mod statement;
#[cfg(test)]
mod tests;
mod time;
mod value;
mod wire;

use std::{
    collections::BTreeMap,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use tokio::sync::mpsc;
use waft_ir::{CapabilityGrant, Failure, FailureReason, InterfaceName};
use waft_runtime::{Capability, CapabilityId, Ctx, GuestSpec, PLACES, Slot, views};
use wasmtime::{
    StoreContextMut,
    component::{
        Accessor, Destination, FutureReader, HasData, LinkerInstance, StreamProducer, StreamReader,
        StreamResult, VecBuffer,
    },
};

use crate::{
    backends::{Backends, Warning},
    granted,
    slots::POSTGRES,
};
use server::Server;
use statement::Granted;

mod bindings {
    wasmtime::component::bindgen!({
        path: "wit/postgres",
        world: "wasmcloud:postgres/imports",
        imports: { default: async | store | trappable },
        additional_derives: [PartialEq],
    });
}

use bindings::wasmcloud::postgres::{
    prepared, query,
    types::{self, Error, PgValue},
};

/// The `wasmcloud:postgres` capability.
#[derive(Clone)]
pub struct Postgres(Option<Arc<Server>>);

type Row = Vec<PgValue>;

/// What one guest may do, by the interface that it uses.
struct Bound([Option<Arc<Granted>>; Use::ALL.len()]);

/// Interfaces that have a database.
#[derive(Clone, Copy)]
enum Use {
    Query,
    Prepared,
    DraftQuery,
    DraftPrepared,
}

/// The store as a host call sees it.
struct View<'a>(&'a mut Ctx);

struct Getter;

/// Rows on their way to a guest.
struct Rows(mpsc::Receiver<Row>);

/// Rows that are handed over at a time.
const ROWS: usize = 64;

impl HasData for Getter {
    type Data<'a> = View<'a>;
}

impl Use {
    const ALL: [Self; 4] = [
        Self::Query,
        Self::Prepared,
        Self::DraftQuery,
        Self::DraftPrepared,
    ];

    fn is(self, interface: &InterfaceName) -> bool {
        let (name, draft) = match self {
            Self::Query => ("query", false),
            Self::Prepared => ("prepared", false),
            Self::DraftQuery => ("query", true),
            Self::DraftPrepared => ("prepared", true),
        };
        interface.interface.as_deref() == Some(name) && is_draft(interface) == draft
    }
}

impl Postgres {
    pub(crate) fn new(backends: &Backends) -> Result<Self, Failure> {
        let url = backends.postgres.as_deref();
        let server = url.map(|url| Server::new(url, &backends.extra_ca));
        Ok(Self(server.transpose()?.map(Arc::new)))
    }

    /// What a user must know of an entry, if it is not what the entry says.
    pub(crate) fn warning(&self, grant: &CapabilityGrant) -> Option<Warning> {
        let (server, url) = (self.0.as_ref()?, grant.config.get("url")?);
        (!server.is_at(url)).then(|| Warning::other_server(grant, "--postgres"))
    }
}

impl Capability for Postgres {
    fn id(&self) -> CapabilityId {
        POSTGRES
    }

    fn interfaces(&self) -> Vec<InterfaceName> {
        crate::interfaces_of("wasmcloud", "postgres")
    }

    fn link(
        &self,
        instance: &mut LinkerInstance<'_, Ctx>,
        interface: &InterfaceName,
        place: usize,
    ) -> wasmtime::Result<()> {
        const VIEWS: [fn(&mut Ctx) -> View<'_>; PLACES] = views!(ctx => View(ctx));
        let view = VIEWS[place];
        match interface.interface.as_deref() {
            name if is_draft(interface) => draft::link(instance, name, view),
            Some("types") => types::add_to_linker_instance::<Ctx, Getter>(instance, view),
            Some("query") => query::add_to_linker_instance::<Ctx, Getter>(instance, view),
            Some("prepared") => prepared::add_to_linker_instance::<Ctx, Getter>(instance, view),
            _ => Ok(()),
        }
    }

    fn concurrent_interfaces(&self) -> Vec<InterfaceName> {
        let mut interfaces = self.interfaces();
        interfaces.retain(|name| !is_draft(name));
        interfaces
    }

    fn bind(&self, _: &GuestSpec, grants: &[&CapabilityGrant]) -> Result<Slot, Failure> {
        let Some(server) = &self.0 else {
            let text = "`hostInterfaces[wasmcloud:postgres]` needs a PostgreSQL server: start \
                        `waft up` with --postgres postgres://USER:PASSWORD@HOST:PORT/DATABASE";
            return Err(Failure::new(FailureReason::BackendUnavailable, text));
        };
        let interfaces = self.interfaces();
        // Interfaces of one database share its sessions.
        let mut granted = BTreeMap::<String, Arc<Granted>>::new();
        let mut bound = Bound(Default::default());
        for (to, place) in Use::ALL.into_iter().zip(&mut bound.0) {
            let interface = interfaces.iter().find(|interface| to.is(interface));
            let grant = interface.and_then(|interface| granted::entry_of(grants, interface));
            if let Some(grant) = grant {
                let database = database(grant)?;
                let new = || Arc::new(Granted::new(server.clone(), &database));
                *place = Some(granted.entry(database.clone()).or_insert_with(new).clone());
            }
        }
        Ok(Arc::new(bound))
    }
}

/// Whether it is of the draft.
fn is_draft(interface: &InterfaceName) -> bool {
    interface.version.as_ref().is_some_and(|v| v.minor == 1)
}

/// The database that an entry names.
fn database(grant: &CapabilityGrant) -> Result<String, Failure> {
    let config = &grant.config;
    let of_url = || config.get("url").and_then(|url| Server::database_of(url));
    let database = config.get("database").cloned().or_else(of_url);
    database.filter(|name| !name.is_empty()).ok_or_else(|| {
        let text = "`hostInterfaces[wasmcloud:postgres].config` names no `database`; add the one that \
                    the workload may use";
        Failure::new(FailureReason::StartFailed, text)
    })
}

impl View<'_> {
    fn granted(&self, to: Use) -> wasmtime::Result<Arc<Granted>> {
        // Linking refuses components whose import was not granted, so this is the host's mistake.
        let bound = self.0.slot::<Bound>(POSTGRES);
        let missing = || wasmtime::format_err!("wasmcloud:postgres was not granted");
        let granted = bound.and_then(|bound| bound.0[to as usize].clone());
        granted.ok_or_else(missing)
    }
}

impl types::Host for View<'_> {}

impl query::Host for View<'_> {}

impl prepared::Host for View<'_> {}

type Answer<T> = wasmtime::Result<Result<T, Error>>;

impl<T: Send + 'static> query::HostWithStore<T> for Getter {
    async fn query(
        accessor: &Accessor<T, Self>,
        query: String,
        params: Vec<PgValue>,
    ) -> Answer<(
        Vec<String>,
        StreamReader<Row>,
        FutureReader<Result<(), Error>>,
    )> {
        let granted = accessor.with(|mut access| access.get().granted(Use::Query))?;
        let answer = match granted.query(query, &params).await {
            Ok(answer) => answer,
            Err(error) => return Ok(Err(error)),
        };
        let columns = answer.columns();
        let (rows, end) = answer.send();
        accessor.with(|mut access| {
            let rows = StreamReader::new(&mut access, Rows(rows))?;
            let end = FutureReader::new(&mut access, async move {
                // Whoever sends the rows says how it ended, unless it was stopped.
                let stopped = |_| Err(Error::Other("the statement was stopped".into()));
                Ok::<_, wasmtime::Error>(end.await.unwrap_or_else(stopped))
            })?;
            Ok(Ok((columns, rows, end)))
        })
    }

    async fn query_batch(accessor: &Accessor<T, Self>, query: String) -> Answer<()> {
        let granted = accessor.with(|mut access| access.get().granted(Use::Query))?;
        Ok(granted.batch(&query).await)
    }
}

impl<T: Send> prepared::HostWithStore<T> for Getter {
    async fn prepare(accessor: &Accessor<T, Self>, statement: String) -> Answer<String> {
        let granted = accessor.with(|mut access| access.get().granted(Use::Prepared))?;
        Ok(granted.prepare(statement).await)
    }

    async fn exec(
        accessor: &Accessor<T, Self>,
        token: String,
        params: Vec<PgValue>,
    ) -> Answer<u64> {
        let granted = accessor.with(|mut access| access.get().granted(Use::Prepared))?;
        Ok(granted.execute(&token, &params).await)
    }
}

impl<D> StreamProducer<D> for Rows {
    type Item = Row;
    type Buffer = VecBuffer<Row>;

    fn poll_produce<'a>(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        _: StoreContextMut<'a, D>,
        mut destination: Destination<'a, Row, VecBuffer<Row>>,
        finish: bool,
    ) -> Poll<wasmtime::Result<StreamResult>> {
        let mut rows = Vec::new();
        Poll::Ready(Ok(match self.0.poll_recv_many(context, &mut rows, ROWS) {
            Poll::Ready(0) => StreamResult::Dropped,
            Poll::Ready(_) => {
                destination.set_buffer(rows.into());
                StreamResult::Completed
            }
            Poll::Pending if finish => StreamResult::Cancelled,
            Poll::Pending => return Poll::Pending,
        }))
    }
}
