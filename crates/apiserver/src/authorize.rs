//! Who may do what: the RBAC objects in the store, asked for every request of everyone who isn't in
//! `system:masters`.

pub(crate) mod escalation;
pub(crate) mod granted;
mod params;
pub(crate) mod rules;

use std::sync::Arc;

use waft_apimachinery::admission::{Access, Judge};
use waft_apimachinery::request::Info;
use waft_apimachinery::status::{Details, Reason, Status};

use crate::identity::User;
use crate::open::ApiServer;
use granted::{Granted, STORAGES};

/// The group of roles and bindings.
pub(crate) const GROUP: &str = "rbac.authorization.k8s.io";

/// What a question about access came to.
pub(crate) struct Decision {
    pub(crate) allowed: bool,
    /// By which binding; or what stood in the way of judging.
    pub(crate) reason: String,
}

impl ApiServer {
    /// Refuses what a user may not do, in the real server's words.
    pub(crate) fn authorize(&self, user: &User, info: &Info) -> Result<(), Status> {
        if user.is_master() {
            return Ok(());
        }
        match self.decide(user, info) {
            Decision { allowed: true, .. } => Ok(()),
            Decision { reason, .. } => Err(forbidden(user, info, &reason)),
        }
    }

    /// Judges, with the reason.
    pub(crate) fn decide(&self, user: &User, info: &Info) -> Decision {
        self.granted().decide(user, info)
    }

    /// The roles and bindings as they are now.
    pub(crate) fn granted(&self) -> Arc<Granted> {
        let state = self.store.changes(&STORAGES);
        self.granted.get(state, || Granted::read(&self.store))
    }
}

/// What an expression of a policy or webhook asks on behalf of a request's user.
pub(crate) struct UserJudge {
    granted: Arc<Granted>,
    user: Arc<User>,
}

impl UserJudge {
    pub(crate) fn new(server: &ApiServer, user: &Arc<User>) -> UserJudge {
        UserJudge {
            granted: server.granted(),
            user: user.clone(),
        }
    }
}

impl Judge for UserJudge {
    fn judge(&self, account: Option<(&str, &str)>, asked: &Info) -> Access {
        let Decision { allowed, reason } = match account {
            Some((namespace, name)) => {
                let account = User::of_account(namespace, name, "");
                self.granted.decide(&account, asked)
            }
            None => self.granted.decide(&self.user, asked),
        };
        Access { allowed, reason }
    }
}

/// The real server's sentence.
pub(crate) fn forbidden(user: &User, info: &Info, reason: &str) -> Status {
    let mut why = format!("User {:?} cannot {} ", user.name, info.verb);
    if !info.resource_request {
        why += &format!("path {:?}", info.path);
    } else {
        let mut resource = info.resource.clone();
        if !info.subresource.is_empty() {
            resource = format!("{resource}/{}", info.subresource);
        }
        why += &format!("resource {resource:?} in API group {:?}", info.group);
        match &*info.namespace {
            "" => why += " at the cluster scope",
            namespace => why += &format!(" in the namespace {namespace:?}"),
        }
    }
    if !reason.is_empty() {
        why += &format!(": {reason}");
    }
    if info.resource_request {
        return Status::forbidden(&info.group, &info.resource, &info.name, &why);
    }
    let mut status = Status::new(403, Some(Reason::Forbidden), format!("forbidden: {why}"));
    status.details = Some(Box::new(Details::default()));
    status
}
