//! What a server that speaks TLS needs.

use std::sync::Arc;

use rustls::{ServerConfig, pki_types::PrivateKeyDer};

/// A certificate for a name that it signed itself, in PEM, and a server's configuration with it.
///
/// # Panics
/// If the name can't stand in a certificate.
pub fn self_signed(name: &str) -> (String, ServerConfig) {
    let made = rcgen::generate_simple_self_signed([name.to_owned()]).expect("a certificate");
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).expect("a key");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions of TLS")
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .expect("a certificate and its key");
    (made.cert.pem(), config)
}
