//! Reading bodies.

use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde_json::Value;
use waft_apimachinery::decode::{self, Target};
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
        target: &Target<'_>,
    ) -> Result<decode::Body, Status> {
        let bytes = self.read_bytes(body).await?;
        target.read(&bytes, format)
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
        options.merge_body(&delete_options(&bytes, format)?)
    }
}

fn delete_options(bytes: &[u8], format: BodyFormat) -> Result<Value, Status> {
    let broken = |why: String| decode::unrecognized("DeleteOptions", &why, bytes);
    match format {
        BodyFormat::Json => decode::json(bytes).map(|body| body.value).map_err(|why| {
            broken(format!(
                "couldn't get version/kind; json parse error: {why}"
            ))
        }),
        BodyFormat::Yaml => decode::yaml(bytes),
        BodyFormat::Protobuf => waft_apimachinery::protobuf::decode(bytes).map_err(broken),
    }
}
