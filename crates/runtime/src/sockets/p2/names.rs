//! `wasi:sockets/ip-name-lookup@0.2`.
#![allow(
    unreachable_pub,
    reason = "generated code names these types as if they were public"
)]

use std::{
    future::{Future, poll_fn},
    net::IpAddr,
    pin::Pin,
    task::{Context, Poll, ready},
};

use wasmtime::component::Resource;
use wasmtime_wasi_io::poll::{DynPollable, Pollable, subscribe};

use super::{
    Network,
    bindings::wasi::sockets::{
        ip_name_lookup::{Host, HostResolveAddressStream},
        network::IpAddress,
    },
};
use crate::sockets::{
    Sockets,
    error::{Code, SocketResult},
    stream::no_wait,
};

type Found = Result<Vec<IpAddr>, Code>;

/// The answers to one question, one after the other.
pub enum Answers {
    Waiting(Pin<Box<dyn Future<Output = Found> + Send>>),
    Known(Result<std::vec::IntoIter<IpAddr>, Code>),
}

impl Answers {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Self::Waiting(found) = self {
            let found = ready!(found.as_mut().poll(cx));
            *self = Self::Known(found.map(Vec::into_iter));
        }
        Poll::Ready(())
    }
}

#[async_trait::async_trait]
impl Pollable for Answers {
    async fn ready(&mut self) {
        poll_fn(|cx| self.poll(cx)).await;
    }
}

impl Host for Sockets<'_> {
    async fn resolve_addresses(
        &mut self,
        network: Resource<Network>,
        name: String,
    ) -> SocketResult<Resource<Answers>> {
        self.0.table().get(&network)?;
        let found = self.0.net().clone().look_up(name);
        let mut answers = Answers::Waiting(Box::pin(found));
        // What is refused is refused now.
        let _ = answers.poll(&mut no_wait());
        if let Answers::Known(Err(code)) = answers {
            return Err(code.into());
        }
        Ok(self.0.table().push(answers)?)
    }
}

impl HostResolveAddressStream for Sockets<'_> {
    fn resolve_next_address(
        &mut self,
        answers: Resource<Answers>,
    ) -> SocketResult<Option<IpAddress>> {
        let answers = self.0.table().get_mut(&answers)?;
        let _ = answers.poll(&mut no_wait());
        match answers {
            Answers::Waiting(_) => Err(Code::WouldBlock.into()),
            Answers::Known(Ok(addresses)) => Ok(addresses.next().map(IpAddress::from)),
            Answers::Known(Err(code)) => Err((*code).into()),
        }
    }

    fn subscribe(&mut self, answers: Resource<Answers>) -> wasmtime::Result<Resource<DynPollable>> {
        subscribe(self.0.table(), answers)
    }

    fn drop(&mut self, answers: Resource<Answers>) -> wasmtime::Result<()> {
        self.0.table().delete(answers)?;
        Ok(())
    }
}
