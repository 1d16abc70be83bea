//! Components and the service of a workload, alike: whatever has an image, a log and a state.

use waft_ir::{Failure, Image, Limits, LocalResources, Pool, Workload};

/// One component, or the service, of a workload.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Member<'a> {
    pub(crate) name: &'a str,
    pub(crate) image: &'a Image,
    pub(crate) pool: Pool,
    pub(crate) resources: &'a LocalResources,
    pub(crate) limits: &'a Limits,
    pub(crate) is_service: bool,
}

/// All of them: the components in manifest order, the service last. A place in this list is the
/// place in the workload's logs and states.
pub(crate) fn members(workload: &Workload) -> Vec<Member<'_>> {
    let components = workload.components.iter().map(|component| Member {
        name: &component.name,
        image: &component.image,
        pool: component.pool,
        resources: &component.resources,
        limits: &component.limits,
        is_service: false,
    });
    let service = workload.service.iter().map(|service| Member {
        name: &service.name,
        image: &service.image,
        pool: Pool::default(),
        resources: &service.resources,
        limits: &service.limits,
        is_service: true,
    });
    components.chain(service).collect()
}

impl Member<'_> {
    /// A failure that names its component and image.
    pub(crate) fn about(&self, failure: Failure) -> Failure {
        let reference = &self.image.reference;
        let image = if failure.message.contains(reference.as_str()) {
            String::new()
        } else {
            format!(" ({reference})")
        };
        let kind = if self.is_service {
            "service"
        } else {
            "component"
        };
        Failure::new(
            failure.reason,
            format!("{kind} `{}`{image}: {}", self.name, failure.message),
        )
    }
}
