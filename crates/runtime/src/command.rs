//! A component that runs as long as its workload does: the export `wasi:cli/run`, called once per
//! instance.
//!
//! How often it is started again, and what its end means for the workload, is the host's business.

use std::{
    future::Future,
    sync::{Arc, atomic::Ordering::Relaxed},
};

use parking_lot::Mutex;
use wasmtime::{Store, component::InstancePre};
use wasmtime_wasi::{I32Exit, p2::bindings as p2, p3::bindings as p3};

use crate::{
    CallError, Ctx, Guest, GuestStats, RunVersion, TrapReason, epoch::Meter, guest::GuestInner,
    instance::Cell, room::Search, stats::Counters,
};

/// A linked component that can be run. Clones are the same one.
#[derive(Clone)]
pub struct Command {
    guest: Guest,
    pre: Pre,
    /// Of the run that goes on.
    meter: Arc<Mutex<Option<Arc<Meter>>>>,
}

/// Why a run ended other than well. The texts hold nothing of the guest.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum RunError {
    /// It returned an error, or exited with a status other than 0.
    #[error("it ended with an error")]
    Failed,
    /// It trapped.
    #[error("it failed ({})", reason.as_str())]
    Trap {
        /// What kind of trap.
        reason: TrapReason,
    },
    /// The host has no room for its instance.
    #[error("the host has no room for its instance")]
    HostAtCapacity,
    /// The host's own code failed.
    #[error("the host failed while it ran; please report this")]
    HostFailed,
}

#[derive(Clone)]
enum Pre {
    P2(p2::CommandPre<Ctx>),
    P3(p3::CommandPre<Ctx>),
}

enum Export {
    P2(p2::Command),
    P3(p3::Command),
}

/// Counts a run as going on, until it is dropped: a run that is stopped ends in any place.
struct Counted<'a> {
    command: &'a Command,
    meter: Arc<Meter>,
}

impl Command {
    pub(crate) fn new(
        guest: Guest,
        pre: InstancePre<Ctx>,
        version: Option<RunVersion>,
    ) -> wasmtime::Result<Self> {
        let pre = match version {
            Some(RunVersion::P3) => Pre::P3(p3::CommandPre::new(pre)?),
            // Says what is missing where it exports neither.
            Some(RunVersion::P2) | None => Pre::P2(p2::CommandPre::new(pre)?),
        };
        Ok(Self {
            guest,
            pre,
            meter: Arc::default(),
        })
    }

    /// Makes an instance in a store of its own and runs it to its end, or until it is told to stop,
    /// which is `Ok` as well: also while it computes, as it gives way at each tick of the epoch. It
    /// has no budget of processor time. Its store is gone when this is ready. If this is dropped
    /// instead, the store of one that computes goes a little later.
    pub async fn run(&self, stop: impl Future<Output = ()>) -> Result<(), RunError> {
        let guest = self.guest.inner().clone();
        let mut cell = guest.new_cell();
        cell.begin_unbounded_call();
        let meter = cell.meter.clone();
        let _counted = Counted::begin(self, meter.clone());
        let (inside, pre) = (guest.clone(), self.pre.clone());
        let whole = async move { run(&inside, cell, &pre).await };
        let mut driver = guest.driver(Box::pin(whole), meter);
        tokio::select! {
            biased;
            () = stop => {
                driver.end().await;
                Ok(())
            }
            ended = &mut driver => ended,
        }
    }

    /// Its counters.
    pub fn stats(&self) -> GuestStats {
        let mut stats = self.guest.stats();
        if let Some(meter) = self.meter.lock().as_ref() {
            stats.cpu_nanos += meter.used();
        }
        stats
    }
}

impl RunError {
    /// The CamelCase name, for conditions and metrics.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Failed => "Failed",
            Self::Trap { reason } => reason.as_str(),
            Self::HostAtCapacity => "HostAtCapacity",
            Self::HostFailed => "Internal",
        }
    }
}

impl From<CallError> for RunError {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Trap { reason } => Self::Trap { reason },
            CallError::HostAtCapacity => Self::HostAtCapacity,
            // The other kinds are those of requests.
            _ => Self::Failed,
        }
    }
}

impl Pre {
    async fn instantiate(&self, store: &mut Store<Ctx>) -> wasmtime::Result<Export> {
        Ok(match self {
            Self::P2(pre) => Export::P2(pre.instantiate_async(store).await?),
            Self::P3(pre) => Export::P3(pre.instantiate_async(store).await?),
        })
    }
}

impl Export {
    async fn run(&self, store: &mut Store<Ctx>) -> wasmtime::Result<Result<(), ()>> {
        match self {
            Self::P2(command) => command.wasi_cli_run().call_run(store).await,
            Self::P3(command) => {
                let run = async |accessor: &_| command.wasi_cli_run().call_run(accessor).await;
                store.run_concurrent(run).await?
            }
        }
    }
}

impl<'a> Counted<'a> {
    fn begin(command: &'a Command, meter: Arc<Meter>) -> Self {
        let counters = &command.guest.inner().counters;
        Counters::add(&counters.requests);
        Counters::add(&counters.in_flight);
        *command.meter.lock() = Some(meter.clone());
        Self { command, meter }
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        *self.command.meter.lock() = None;
        let counters = &self.command.guest.inner().counters;
        Counters::sub(&counters.in_flight);
        counters.cpu_nanos.fetch_add(self.meter.used(), Relaxed);
    }
}

/// The whole life of one instance.
async fn run(guest: &GuestInner, mut cell: Cell, pre: &Pre) -> Result<(), RunError> {
    let mut search = Search::new(guest);
    let mut result = pre.instantiate(&mut cell.store).await;
    while search.again(&result).await {
        result = pre.instantiate(&mut cell.store).await;
    }
    let export = guest.made(&mut cell, result)?;
    let result = export.run(&mut cell.store).await;
    cell.store.data_mut().end_call();
    match result {
        Ok(Ok(())) => Ok(()),
        Ok(Err(())) => Err(RunError::Failed),
        Err(error) => match error.downcast_ref::<I32Exit>() {
            Some(I32Exit(0)) => Ok(()),
            Some(I32Exit(_)) => Err(RunError::Failed),
            None => Err(guest.trapped(&mut cell, &error).into()),
        },
    }
}
