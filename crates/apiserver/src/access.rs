//! Who may talk to the server: its own certificate authority, one client, and the kubeconfig.

use std::io::Write;
use std::net::IpAddr;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;

use base64::Engine;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, date_time_ymd,
};
use rustls::RootCertStore;
use rustls::server::WebPkiClientVerifier;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::identity::ADMIN as USER;

/// Why access could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// A file could not be read or written.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// A key or certificate could not be made or read.
    #[error("certificates: {0}")]
    Certificate(#[from] rcgen::Error),
    /// TLS refused the certificates.
    #[error("TLS: {0}")]
    Tls(String),
}

/// Keys and certificates of one server.
///
/// The authority and the client's certificate outlive restarts, so that a kubeconfig stays good; the
/// server's own certificate is made anew each time and never stored.
pub struct Access {
    authority: Pair,
    server: Pair,
    client: Pair,
}

struct Pair {
    certificate: String,
    key: String,
}

impl Access {
    /// Reads the authority from a folder, or makes it; `names` are the host names and addresses by
    /// which the server is reached, besides the loopback ones.
    pub fn open(folder: Option<&Path>, names: &[String]) -> Result<Access, AccessError> {
        let kept = folder.map(load).transpose()?.flatten();
        let (authority, client) = match kept {
            Some(kept) => kept,
            None => {
                let made = make()?;
                if let Some(folder) = folder {
                    save(folder, &made.0, &made.1)?;
                }
                made
            }
        };
        let server = authority.issue(
            server_names(names),
            "waft-apiserver",
            None,
            ExtendedKeyUsagePurpose::ServerAuth,
        )?;
        Ok(Access {
            authority,
            server,
            client,
        })
    }

    /// A kubeconfig for the server at an address such as `127.0.0.1:7443`.
    pub fn kubeconfig(&self, address: &str) -> String {
        let encode = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
        format!(
            "apiVersion: v1\nkind: Config\nclusters:\n- name: waft\n  cluster:\n    server: https://{address}\n    \
             certificate-authority-data: {}\nusers:\n- name: {USER}\n  user:\n    client-certificate-data: {}\n    \
             client-key-data: {}\ncontexts:\n- name: waft\n  context:\n    cluster: waft\n    user: {USER}\n    \
             namespace: default\ncurrent-context: waft\n",
            encode(&self.authority.certificate),
            encode(&self.client.certificate),
            encode(&self.client.key),
        )
    }

    /// The authority's certificate, as PEM.
    pub(crate) fn root(&self) -> &str {
        &self.authority.certificate
    }

    /// Writes the kubeconfig to a file that only its owner can read.
    pub fn write_kubeconfig(&self, path: &Path, address: &str) -> Result<(), AccessError> {
        let text = self.kubeconfig(address);
        match std::fs::read_to_string(path) {
            // A full disk is no hindrance then.
            Ok(kept) if kept == text => Ok(()),
            _ => write_private(path, &text),
        }
    }

    /// The server's side of TLS; clients may come without a certificate, and are told so politely.
    pub(crate) fn tls(&self) -> Result<rustls::ServerConfig, AccessError> {
        let failed = |error: &dyn std::fmt::Display| AccessError::Tls(error.to_string());
        let certificate = |pem: &str| {
            CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|error| failed(&error))
        };
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = RootCertStore::empty();
        roots
            .add(certificate(&self.authority.certificate)?)
            .map_err(|error| failed(&error))?;
        let clients = WebPkiClientVerifier::builder_with_provider(roots.into(), provider.clone())
            .allow_unauthenticated()
            .build()
            .map_err(|error| failed(&error))?;
        let key = PrivateKeyDer::from_pem_slice(self.server.key.as_bytes())
            .map_err(|error| failed(&error))?;
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| failed(&error))?
            .with_client_cert_verifier(clients)
            .with_single_cert(vec![certificate(&self.server.certificate)?], key)
            .map_err(|error| failed(&error))?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(config)
    }
}

impl Pair {
    fn issue(
        &self,
        names: Vec<String>,
        common_name: &str,
        organization: Option<&str>,
        usage: ExtendedKeyUsagePurpose,
    ) -> Result<Pair, AccessError> {
        let issuer = Issuer::from_ca_cert_pem(&self.certificate, KeyPair::from_pem(&self.key)?)?;
        let mut parameters = parameters(names, common_name, organization)?;
        parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        parameters.extended_key_usages = vec![usage];
        parameters.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate()?;
        let certificate = parameters.signed_by(&key, &issuer)?;
        Ok(Pair {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
        })
    }
}

fn parameters(
    names: Vec<String>,
    common_name: &str,
    organization: Option<&str>,
) -> Result<CertificateParams, AccessError> {
    let mut parameters = CertificateParams::new(names)?;
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common_name);
    if let Some(organization) = organization {
        name.push(DnType::OrganizationName, organization);
    }
    parameters.distinguished_name = name;
    // A machine's clock may be wrong when it makes these, so they don't depend on it.
    parameters.not_before = date_time_ymd(2020, 1, 1);
    parameters.not_after = date_time_ymd(2070, 1, 1);
    Ok(parameters)
}

fn make() -> Result<(Pair, Pair), AccessError> {
    // A name of its own, so that clients don't mistake one server's authority for another's.
    let mut parameters = parameters(
        Vec::new(),
        &format!("waft-ca-{}", uuid::Uuid::new_v4()),
        None,
    )?;
    parameters.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let key = KeyPair::generate()?;
    let certificate = parameters.self_signed(&key)?;
    let authority = Pair {
        certificate: certificate.pem(),
        key: key.serialize_pem(),
    };
    let client = authority.issue(
        Vec::new(),
        USER,
        Some("system:masters"),
        ExtendedKeyUsagePurpose::ClientAuth,
    )?;
    Ok((authority, client))
}

fn server_names(names: &[String]) -> Vec<String> {
    let mut all: Vec<String> = [
        "localhost",
        "127.0.0.1",
        "::1",
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
    ]
    .map(str::to_owned)
    .to_vec();
    let unspecified = |name: &String| {
        name.parse::<IpAddr>()
            .is_ok_and(|address| address.is_unspecified())
    };
    all.extend(names.iter().filter(|name| !unspecified(name)).cloned());
    all.dedup();
    all
}

const FILES: [&str; 4] = ["ca.crt", "ca.key", "client.crt", "client.key"];

fn load(folder: &Path) -> Result<Option<(Pair, Pair)>, AccessError> {
    let mut found = Vec::new();
    for name in FILES {
        let path = folder.join("pki").join(name);
        match std::fs::read_to_string(&path) {
            Ok(text) => found.push(text),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(source) => {
                return Err(AccessError::File {
                    path: path.display().to_string(),
                    source,
                });
            }
        }
    }
    let Ok([ca, ca_key, client, client_key]) = <[String; 4]>::try_from(found) else {
        return Ok(None);
    };
    Ok(Some((
        Pair {
            certificate: ca,
            key: ca_key,
        },
        Pair {
            certificate: client,
            key: client_key,
        },
    )))
}

fn save(folder: &Path, authority: &Pair, client: &Pair) -> Result<(), AccessError> {
    let folder = folder.join("pki");
    make_folder(Some(&folder))?;
    let texts = [
        &authority.certificate,
        &authority.key,
        &client.certificate,
        &client.key,
    ];
    for (name, text) in FILES.into_iter().zip(texts) {
        write_private(&folder.join(name), text)?;
    }
    Ok(())
}

/// Makes a folder that only its owner can enter.
pub(crate) fn make_folder(folder: Option<&Path>) -> Result<(), AccessError> {
    let Some(folder) = folder else {
        return Ok(());
    };
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(|source| AccessError::File {
            path: folder.display().to_string(),
            source,
        })
}

/// Writes a file of mode 0600 so that it is never seen half.
pub(crate) fn write_private(path: &Path, text: &str) -> Result<(), AccessError> {
    let failed = |source| AccessError::File {
        path: path.display().to_string(),
        source,
    };
    let draft = path.with_extension("new");
    // A draft that was left behind may have any mode.
    let _ = std::fs::remove_file(&draft);
    let mut file = std::fs::OpenOptions::new()
        .create_new(true)
        .write(true)
        .mode(0o600)
        .open(&draft)
        .map_err(failed)?;
    file.write_all(text.as_bytes())
        .and_then(|()| file.sync_all())
        .map_err(failed)?;
    std::fs::rename(&draft, path).map_err(failed)
}
