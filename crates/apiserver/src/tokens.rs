//! ServiceAccount tokens: signed statements that end by themselves.

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING};
use ring::signature::{EcdsaKeyPair, KeyPair, UnparsedPublicKey};
use rustls_pki_types::PrivatePkcs8KeyDer;
use rustls_pki_types::pem::PemObject;
use serde_json::{Value, json};

use crate::access::{AccessError, write_private};

/// Who issues tokens, and the audience they have unless another is asked for.
pub(crate) const ISSUER: &str = "https://kubernetes.default.svc";

/// Tokens longer than this are not looked at, bytes.
const LONGEST: usize = 16 << 10;

/// The key that signs and checks.
pub(crate) struct Tokens {
    key: EcdsaKeyPair,
    random: SystemRandom,
}

impl Tokens {
    /// Reads the key from a folder, or makes it; without a folder it lives as long as this value.
    pub(crate) fn open(folder: Option<&Path>) -> Result<Tokens, AccessError> {
        let path = folder.map(|folder| folder.join("pki").join("service-accounts.key"));
        let kept = path.as_deref().map(std::fs::read_to_string);
        let pem = match (kept, &path) {
            (Some(Ok(pem)), _) => pem,
            (Some(Err(source)), Some(path)) if source.kind() != std::io::ErrorKind::NotFound => {
                return Err(AccessError::File {
                    path: path.display().to_string(),
                    source,
                });
            }
            (_, path) => {
                let pem = rcgen::KeyPair::generate()?.serialize_pem();
                if let Some(path) = path {
                    crate::access::make_folder(path.parent())?;
                    write_private(path, &pem)?;
                }
                pem
            }
        };
        let refused = |error: &dyn std::fmt::Display| AccessError::Tls(error.to_string());
        let der =
            PrivatePkcs8KeyDer::from_pem_slice(pem.as_bytes()).map_err(|error| refused(&error))?;
        let random = SystemRandom::new();
        let key = EcdsaKeyPair::from_pkcs8(
            &ECDSA_P256_SHA256_FIXED_SIGNING,
            der.secret_pkcs8_der(),
            &random,
        )
        .map_err(|error| refused(&error))?;
        Ok(Tokens { key, random })
    }

    /// Signs claims. `None`: the system gave no randomness.
    pub(crate) fn sign(&self, claims: &Value) -> Option<String> {
        let head = json!({"alg": "ES256", "typ": "JWT"});
        let text = format!(
            "{}.{}",
            URL_SAFE_NO_PAD.encode(head.to_string()),
            URL_SAFE_NO_PAD.encode(claims.to_string())
        );
        let signature = self.key.sign(&self.random, text.as_bytes()).ok()?;
        Some(format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }

    /// The claims of a token of this server that is valid at `now` (seconds since 1970) for one of
    /// the audiences.
    pub(crate) fn check(&self, token: &str, now: i64, audiences: &[String]) -> Option<Value> {
        let (text, signature) = token.rsplit_once('.').filter(|_| token.len() <= LONGEST)?;
        let (head, claims) = text.split_once('.')?;
        let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
        let public = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, self.key.public_key());
        public.verify(text.as_bytes(), &signature).ok()?;
        let decode = |part: &str| -> Option<Value> {
            serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok()
        };
        let claims = decode(claims).filter(|_| {
            // The key signs with one algorithm only; a head that says otherwise is not ours.
            decode(head).is_some_and(|head| head["alg"] == "ES256")
        })?;
        let ours = claims["iss"] == ISSUER;
        let begun = claims["nbf"].as_i64().is_none_or(|begin| begin <= now);
        let lasts = claims["exp"].as_i64().is_some_and(|end| now < end);
        let meant = claims["aud"].as_array().is_some_and(|given| {
            given
                .iter()
                .filter_map(Value::as_str)
                .any(|given| audiences.iter().any(|audience| audience == given))
        });
        (ours && begun && lasts && meant).then_some(claims)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claims() -> Value {
        json!({"iss": ISSUER, "aud": [ISSUER], "nbf": 100, "exp": 200, "sub": "x"})
    }

    #[test]
    fn tokens_are_good_for_their_time_and_audience_only() {
        let tokens = Tokens::open(None).expect("a key");
        let token = tokens.sign(&claims()).expect("signed");
        let ours = [ISSUER.to_owned()];
        assert_eq!(tokens.check(&token, 150, &ours), Some(claims()));
        assert_eq!(tokens.check(&token, 200, &ours), None);
        assert_eq!(tokens.check(&token, 99, &ours), None);
        assert_eq!(tokens.check(&token, 150, &["other".to_owned()]), None);
    }

    #[test]
    fn forged_tokens_are_refused() {
        let (tokens, other) = (Tokens::open(None), Tokens::open(None));
        let (tokens, other) = (tokens.expect("a key"), other.expect("a key"));
        let ours = [ISSUER.to_owned()];
        let token = tokens.sign(&claims()).expect("signed");
        assert_eq!(other.check(&token, 150, &ours), None);
        let mut longer = claims();
        longer["exp"] = json!(9_999_999_999_i64);
        let parts: Vec<&str> = token.split('.').collect();
        let body = URL_SAFE_NO_PAD.encode(longer.to_string());
        let none = URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#);
        for forged in [
            format!("{}.{body}.{}", parts[0], parts[2]),
            format!("{none}.{body}."),
            String::new(),
            "..".into(),
            "a.b.c".into(),
        ] {
            assert_eq!(tokens.check(&forged, 150, &ours), None, "{forged}");
        }
    }

    #[test]
    fn the_key_outlives_the_process_and_is_private() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().expect("a folder");
        let token = Tokens::open(Some(folder.path()))
            .expect("a key")
            .sign(&claims());
        let again = Tokens::open(Some(folder.path())).expect("the key");
        let token = token.expect("signed");
        assert!(again.check(&token, 150, &[ISSUER.to_owned()]).is_some());
        let path = folder.path().join("pki/service-accounts.key");
        let mode = std::fs::metadata(path)
            .expect("a file")
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
