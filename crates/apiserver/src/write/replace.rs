//! From one state of an object to the next.

use std::borrow::Cow;

use serde_json::Value;
use waft_apimachinery::admission::Operation as Asked;
use waft_apimachinery::managed::{self, Operation};
use waft_apimachinery::meta;
use waft_apimachinery::request::Part;
use waft_apimachinery::status::Status;

use super::{Change, Outcome, complete, manager, set_version};
use crate::admission::Gate;
use crate::admit;
use crate::definitions;
use crate::open::ApiServer;
use crate::scale;
use crate::service::Text;
use crate::store::Stored;

impl ApiServer {
    /// Takes an object from one state to the next, if nothing came in between.
    pub(crate) async fn replace(
        &self,
        change: &Change<'_>,
        stored: &Stored,
        old: Value,
        mut new: Value,
        operation: Operation,
        text: &mut Text,
    ) -> Result<Outcome, Status> {
        let Change {
            resource,
            options,
            part,
            ..
        } = change;
        complete::fill(&mut new, resource);
        // Before anything is compared: a definition that leaves out what was filled in is no other.
        definitions::complete(&mut new, resource);
        meta::prepare_update(&old, &mut new, resource, *part)?;
        text.warnings.extend(meta::drop_double_owners(&mut new));
        self.ask_hooks(admit::Operation::Update, change, &mut new, Some(&old), text)
            .await?;
        let mut gate = self.gate_of(change, Asked::Update, &stored.key.name, text);
        let track = |new: &mut Value, text: &Text| {
            if operation == Operation::Update {
                let manager = manager(change, operation, text);
                managed::track_update(Some(&old), new, resource.schema(), &manager);
            }
        };
        let mutable = gate.as_ref().is_some_and(Gate::may_mutate);
        if let Some(gate) = gate.as_mut().filter(|_| mutable) {
            track(&mut new, text);
            self.show(gate, change, &new, &old)?;
            if self.mutate(gate, text).await? {
                let managed = new["metadata"]["managedFields"].take();
                let mutated = gate.attributes.object.take();
                match part {
                    Part::Scale => scale::write(&mut new, &mutated, resource)?,
                    _ => new = mutated,
                }
                resource.schema().prune(&mut new);
                complete::fill(&mut new, resource);
                complete::keep_managers(&mut new, managed.clone());
                definitions::complete(&mut new, resource);
                meta::prepare_update(&old, &mut new, resource, *part)?;
                complete::keep_managers(&mut new, managed);
            }
        }
        self.check_grants(change, &new, Some(&old), &text.user)?;
        complete::validate(&new, Some(&old), resource)?;
        self.check_params(change, &new, Some(&old), &text.user)?;
        if !mutable {
            track(&mut new, text);
        }
        if let Some(gate) = &mut gate {
            self.show(gate, change, &new, &old)?;
            self.judge(gate, text).await?;
        }
        definitions::settle(&mut new, resource, &self.registry());
        meta::metadata_mut(&mut new)
            .insert("resourceVersion".into(), stored.revision.to_string().into());
        if complete::same(&old, &new) {
            return Ok(Outcome::Done(old));
        }
        if options.dry_run {
            return Ok(Outcome::Done(new));
        }
        // The last finalizer is gone: so is the object. Watchers see it as it was before.
        let gone = stored.meta.terminating && !meta::has_finalizers(&new);
        let kept = if gone {
            Cow::Owned(stored.value())
        } else {
            self.to_stored(&new, resource)
        };
        let Some(written) = self.put(stored, &kept, gone).await? else {
            return Ok(Outcome::Again);
        };
        self.after_write(resource, &stored.key);
        if !gone {
            set_version(&mut new, &written);
        }
        Ok(Outcome::Done(new))
    }

    /// Puts both states into a gate, as this part shows them.
    fn show(
        &self,
        gate: &mut Gate,
        change: &Change<'_>,
        new: &Value,
        old: &Value,
    ) -> Result<(), Status> {
        gate.attributes.object = change.shown(Cow::Borrowed(new))?;
        gate.attributes.old_object = change.shown(Cow::Borrowed(old))?;
        Ok(())
    }
}
