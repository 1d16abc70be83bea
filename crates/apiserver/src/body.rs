//! Reading bodies.

use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde_json::Value;
use waft_apimachinery::registry::Resource;
use waft_apimachinery::request::{BodyFormat, DeleteOptions};
use waft_apimachinery::status::Status;

use crate::open::ApiServer;
use crate::service::Body;

impl ApiServer {
    /// The whole body, if it isn't too large.
    pub(crate) async fn read_bytes(&self, body: Body) -> Result<Bytes, Status> {
        let limit = self.body_bytes;
        match Limited::new(body, limit).collect().await {
            Ok(collected) => Ok(collected.to_bytes()),
            Err(error) if error.is::<LengthLimitError>() => {
                Err(Status::too_large(format!("limit is {limit}")))
            }
            Err(error) => Err(Status::bad_request(format!(
                "the body could not be read: {error}"
            ))),
        }
    }

    /// The object in a body.
    pub(crate) async fn read_object(
        &self,
        body: Body,
        format: BodyFormat,
        resource: &Resource,
    ) -> Result<Value, Status> {
        let bytes = self.read_bytes(body).await?;
        let value = decode(&bytes, format)?;
        match value {
            Value::Object(_) => Ok(value),
            _ => Err(Status::bad_request(format!(
                "the body must be a {}",
                resource.kind
            ))),
        }
    }

    /// Reads `DeleteOptions`, when there is a body.
    pub(crate) async fn read_delete_options(
        &self,
        body: Body,
        format: BodyFormat,
        options: &mut DeleteOptions,
    ) -> Result<(), Status> {
        let bytes = self.read_bytes(body).await?;
        if bytes.is_empty() {
            return Ok(());
        }
        options.merge_body(&decode(&bytes, format)?)
    }
}

pub(crate) fn decode(bytes: &[u8], format: BodyFormat) -> Result<Value, Status> {
    let broken = |error: String| {
        Status::bad_request(format!(
            "the object provided is unrecognized (must be of type {format:?}): {error}"
        ))
    };
    match format {
        BodyFormat::Json => {
            serde_json::from_slice(bytes).map_err(|error| broken(error.to_string()))
        }
        BodyFormat::Yaml => yaml(bytes),
        BodyFormat::Protobuf => waft_apimachinery::protobuf::decode(bytes),
    }
}

/// YAML, which includes JSON.
pub(crate) fn yaml(bytes: &[u8]) -> Result<Value, Status> {
    if let Ok(value) = serde_json::from_slice(bytes) {
        return Ok(value);
    }
    let text =
        std::str::from_utf8(bytes).map_err(|_| Status::bad_request("the body is not UTF-8"))?;
    waft_apimachinery::yaml::parse(text)
        .map_err(|error| Status::bad_request(format!("error converting YAML to JSON: {error}")))
}
