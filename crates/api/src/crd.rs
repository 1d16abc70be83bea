//! The CustomResourceDefinitions: schema, columns and subresources of every kind.

mod schema;

use k8s_openapi::{
    apiextensions_apiserver::pkg::apis::apiextensions::v1::{
        CustomResourceColumnDefinition as Column, CustomResourceDefinition,
        CustomResourceDefinitionNames, CustomResourceDefinitionSpec,
        CustomResourceDefinitionVersion, CustomResourceSubresourceScale,
        CustomResourceSubresourceStatus, CustomResourceSubresources, CustomResourceValidation,
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::Resource;
use schemars::JsonSchema;

pub(crate) use schema::merge;

use crate::{
    Artifact, Host, HostGroup, HttpTrigger, Workload, WorkloadDeployment, WorkloadReplicaSet,
};

/// What a definition has beside its names and its schema.
#[derive(Default)]
struct Shape {
    short_names: &'static [&'static str],
    scale: bool,
    columns: Vec<Column>,
    /// CEL rule of the whole object, and its message.
    rule: Option<(&'static str, &'static str)>,
}

/// Every definition Waft serves.
pub fn crds() -> Vec<CustomResourceDefinition> {
    let ready = || column("READY", "string", READY);
    let age = || column("AGE", "date", ".metadata.creationTimestamp");
    let replicas = || column("REPLICAS", "integer", ".spec.replicas");
    vec![
        definition::<Artifact>(Shape::default()),
        definition::<Host>(Shape {
            columns: vec![
                column("HOSTID", "string", ".hostId"),
                column("HOSTGROUP", "string", ".metadata.labels.hostgroup"),
                column("ENVIRONMENT", "string", ".environment"),
                ready(),
                age(),
            ],
            rule: Some((
                "has(self.hostId) || (has(self.spec) && has(self.spec.hostId))",
                "hostId is required",
            )),
            ..Shape::default()
        }),
        definition::<Workload>(Shape {
            short_names: &["ww"],
            columns: vec![
                column("HOSTID", "string", ".status.hostId"),
                column("ENVIRONMENT", "string", ".status.environment"),
                ready(),
                age(),
            ],
            ..Shape::default()
        }),
        definition::<WorkloadReplicaSet>(Shape {
            columns: vec![replicas(), ready()],
            ..Shape::default()
        }),
        definition::<WorkloadDeployment>(Shape {
            scale: true,
            columns: vec![replicas(), ready()],
            ..Shape::default()
        }),
        definition::<HttpTrigger>(Shape {
            scale: true,
            columns: vec![
                column("HOST", "string", ".spec.ingress.host"),
                column("URL", "string", ".status.url"),
                ready(),
                column("REPLICAS", "integer", ".status.currentReplicas"),
                age(),
            ],
            ..Shape::default()
        }),
        definition::<HostGroup>(Shape {
            columns: vec![replicas(), ready(), age()],
            ..Shape::default()
        }),
    ]
}

/// Every definition as one YAML stream, as kubectl takes it.
pub fn crds_yaml() -> String {
    let mut text = String::new();
    for crd in crds() {
        let value = schema::plain(&crd);
        text.push_str("---\n");
        text.push_str(
            &serde_saphyr::to_string(&value).expect("a definition is plain data with text keys"),
        );
    }
    text
}

const READY: &str = r#".status.conditions[?(@.type=="Ready")].status"#;

fn column(name: &str, type_: &str, json_path: &str) -> Column {
    Column {
        name: name.into(),
        type_: type_.into(),
        json_path: json_path.into(),
        ..Column::default()
    }
}

fn definition<K: Resource<DynamicType = ()> + JsonSchema>(
    shape: Shape,
) -> CustomResourceDefinition {
    let (group, kind, plural) = (K::group(&()), K::kind(&()), K::plural(&()));
    let version = CustomResourceDefinitionVersion {
        name: K::version(&()).into(),
        served: true,
        storage: true,
        additional_printer_columns: (!shape.columns.is_empty()).then_some(shape.columns),
        schema: Some(CustomResourceValidation {
            open_api_v3_schema: Some(schema::structural::<K>(shape.rule)),
        }),
        subresources: Some(CustomResourceSubresources {
            scale: shape.scale.then(|| CustomResourceSubresourceScale {
                spec_replicas_path: ".spec.replicas".into(),
                status_replicas_path: ".status.currentReplicas".into(),
                label_selector_path: Some(".status.selector".into()),
            }),
            status: Some(CustomResourceSubresourceStatus(serde_json::json!({}))),
        }),
        ..CustomResourceDefinitionVersion::default()
    };
    let short_names = shape
        .short_names
        .iter()
        .map(|&s| s.into())
        .collect::<Vec<_>>();
    CustomResourceDefinition {
        metadata: ObjectMeta {
            name: Some(format!("{plural}.{group}")),
            ..ObjectMeta::default()
        },
        spec: CustomResourceDefinitionSpec {
            names: CustomResourceDefinitionNames {
                kind: kind.as_ref().into(),
                list_kind: Some(format!("{kind}List")),
                plural: plural.as_ref().into(),
                singular: Some(kind.to_lowercase()),
                short_names: (!short_names.is_empty()).then_some(short_names),
                ..CustomResourceDefinitionNames::default()
            },
            group: group.into(),
            scope: "Namespaced".into(),
            versions: vec![version],
            ..CustomResourceDefinitionSpec::default()
        },
        status: None,
    }
}
