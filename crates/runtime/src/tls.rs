//! `wasi:tls`: guests encrypt their own streams. It reaches nothing by itself: what goes over a stream
//! of a socket was granted when the socket was connected.

use std::{pin::Pin, sync::Arc};

use rustls::pki_types::ServerName;
use wasmtime::component::Linker;
use wasmtime_wasi_tls::{
    Error, TlsProvider, TlsStream, TlsTransport, WasiTlsCtx, WasiTlsCtxBuilder,
};

use crate::{Ctx, outgoing::Network};

/// Adds `wasi:tls` of 0.3.0-draft to a linker. Whether it was granted is the caller's question.
pub fn link_tls(linker: &mut Linker<Ctx>) -> wasmtime::Result<()> {
    wasmtime_wasi_tls::p3::add_to_linker(linker)
}

/// What one member keeps for it.
pub(crate) fn context(network: &Arc<Network>) -> WasiTlsCtx {
    let provider = Provider(network.clone());
    WasiTlsCtxBuilder::new()
        .provider(Box::new(provider))
        .build()
}

/// Trusts whom the guest's requests trust.
struct Provider(Arc<Network>);

impl TlsProvider for Provider {
    fn connect(
        &self,
        server_name: String,
        transport: Box<dyn TlsTransport>,
    ) -> Pin<Box<dyn Future<Output = Result<Box<dyn TlsStream>, Error>> + Send>> {
        let network = self.0.clone();
        Box::pin(async move {
            let name = ServerName::try_from(server_name)
                .map_err(|_| Error::msg("this is no name of a server"))?;
            let connector = network.encryption().await;
            let connector = connector.map_err(|_| Error::msg("no authorities can be read"))?;
            let stream = connector
                .connect(name, transport)
                .await
                .map_err(Error::msg)?;
            Ok(Box::new(stream) as Box<dyn TlsStream>)
        })
    }
}
