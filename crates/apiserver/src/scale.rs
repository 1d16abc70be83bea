//! The scale subresource, between an object and `autoscaling/v1` Scale.

use http::Response;
use serde_json::{Value, json};
use waft_apimachinery::jsonpath::JsonPath;
use waft_apimachinery::registry::{Resource, scale_columns};
use waft_apimachinery::request::Output;
use waft_apimachinery::selector::selector_text;
use waft_apimachinery::status::{FieldError, Status};
use waft_apimachinery::table;

use crate::service::Body;

/// The Scale of an object.
pub(crate) fn read(object: &Value, resource: &Resource) -> Result<Value, Status> {
    let scale = resource
        .scale
        .as_ref()
        .ok_or_else(Status::unknown_resource)?;
    let number = |path: &str| {
        JsonPath::parse(path)
            .and_then(|path| path.first(object)?.as_i64())
            .unwrap_or(0)
    };
    let selector = scale
        .selector
        .as_deref()
        .and_then(JsonPath::parse)
        .and_then(|path| path.first(object))
        .map(|value| match value.as_str() {
            Some(text) => text.to_owned(),
            None => selector_text(value),
        })
        .unwrap_or_default();
    let kept = [
        "name",
        "namespace",
        "uid",
        "resourceVersion",
        "creationTimestamp",
    ];
    let metadata: serde_json::Map<String, Value> = kept
        .into_iter()
        .filter_map(|field| Some((field.to_owned(), object["metadata"].get(field)?.clone())))
        .collect();
    let mut status = json!({"replicas": number(&scale.status)});
    if !selector.is_empty() {
        status["selector"] = selector.into();
    }
    let replicas = number(&scale.spec);
    // None is what is left out, as on the real server.
    let spec = match replicas == 0 {
        true => json!({}),
        false => json!({ "replicas": replicas }),
    };
    Ok(json!({
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": metadata,
        "spec": spec,
        "status": status,
    }))
}

/// The Scale of an object with those who own its number, as a patch of it sees it.
pub(crate) fn read_owned(object: &Value, resource: &Resource) -> Result<Value, Status> {
    let mut scale = read(object, resource)?;
    let spec = resource.scale.as_ref().map(|scale| scale.spec.as_str());
    let place = spec.unwrap_or_default().replace('.', "/f:");
    let entries = object["metadata"]["managedFields"].as_array();
    let owners = entries.into_iter().flatten();
    let owners = owners.filter(|entry| entry["fieldsV1"].pointer(&place).is_some());
    let owners: Vec<Value> = owners
        .map(|entry| {
            json!({
                "manager": entry["manager"],
                "operation": entry["operation"],
                "apiVersion": "autoscaling/v1",
                "fieldsType": "FieldsV1",
                "fieldsV1": {"f:spec": {"f:replicas": {}}},
                "subresource": "scale",
            })
        })
        .collect();
    if !owners.is_empty() {
        scale["metadata"]["managedFields"] = owners.into();
    }
    Ok(scale)
}

/// The answer of a Scale in the form that is wanted.
pub(crate) fn answer(scale: &Value, resource: &Resource, output: &Output) -> Response<Body> {
    match output {
        Output::Table(version, include) => {
            let columns = scale_columns(resource.builtin);
            let now = crate::answer::now();
            let row = table::row_of(&columns, scale, *include, version, now);
            let metadata = json!({"resourceVersion": scale["metadata"]["resourceVersion"]});
            let table = table::table(Some(&columns), vec![row], metadata, version);
            crate::answer::json(200, &table)
        }
        Output::Partial(version) => crate::answer::json(200, &table::partial(scale, version)),
        Output::Json => crate::answer::json(200, scale),
    }
}

/// Puts a Scale's wish into its object.
pub(crate) fn write(object: &mut Value, wanted: &Value, resource: &Resource) -> Result<(), Status> {
    let scale = resource
        .scale
        .as_ref()
        .ok_or_else(Status::unknown_resource)?;
    let name = object["metadata"]["name"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    let replicas = match &wanted["spec"]["replicas"] {
        Value::Null => 0,
        value => value
            .as_i64()
            .ok_or_else(|| Status::bad_request("Scale.spec.replicas must be an integer"))?,
    };
    // Of a custom resource the object itself is validated, with this in it.
    if replicas < 0 && resource.builtin {
        let error = FieldError::invalid(
            "spec.replicas",
            &wanted["spec"]["replicas"],
            "must be greater than or equal to 0",
        );
        return Err(Status::invalid("autoscaling", "Scale", &name, vec![error]));
    }
    if let Some(path) = JsonPath::parse(&scale.spec) {
        path.set(object, replicas.into());
    }
    Ok(())
}
