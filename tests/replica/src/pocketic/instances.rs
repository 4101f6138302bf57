//! The registry of a server's instances.

use super::types::InstanceId;
use crate::http::errors::ApiError;
use crate::instance::Instance;
use axum::http::StatusCode;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Most instances a server creates in its life, deleted ones included: an id is never used twice.
const INSTANCES_MAX: usize = 1_000_000;

/// Instances by id. Deleted ones leave an empty place.
#[derive(Default)]
pub struct Instances {
    slots: Mutex<Vec<Option<Slot>>>,
}

#[derive(Clone)]
struct Slot {
    instance: Arc<Instance>,
    /// A pinned instance cannot be deleted over HTTP.
    pinned: bool,
}

impl Instances {
    /// Adds an instance and returns its id.
    ///
    /// # Errors
    /// HTTP 400 when the server has created too many.
    pub fn add(&self, instance: Arc<Instance>, pinned: bool) -> Result<InstanceId, ApiError> {
        let mut slots = self.slots();
        if slots.len() >= INSTANCES_MAX {
            return Err(ApiError::bad_request(format!(
                "this server has created {INSTANCES_MAX} instances, restart it for more"
            )));
        }
        slots.push(Some(Slot { instance, pinned }));
        Ok(slots.len() - 1)
    }

    /// Returns an instance.
    ///
    /// # Errors
    /// HTTP 404 when it was deleted or never existed.
    pub fn get(&self, id: InstanceId) -> Result<Arc<Instance>, ApiError> {
        self.slots()
            .get(id)
            .cloned()
            .flatten()
            .map(|slot| slot.instance)
            .ok_or_else(|| not_found(id))
    }

    /// Takes an instance out of the registry; the caller then deletes it.
    ///
    /// # Errors
    /// HTTP 404 when there is none, HTTP 400 when it is pinned.
    pub fn remove(&self, id: InstanceId) -> Result<Arc<Instance>, ApiError> {
        let mut slots = self.slots();
        let slot = slots.get_mut(id).ok_or_else(|| not_found(id))?;
        match slot.take() {
            Some(taken) if taken.pinned => {
                *slot = Some(taken);
                Err(ApiError::bad_request(format!(
                    "instance {id} belongs to this replica and cannot be deleted; stop the replica instead"
                )))
            }
            Some(taken) => Ok(taken.instance),
            None => Err(not_found(id)),
        }
    }

    /// Returns one word per instance, in the order of ids.
    pub fn list(&self) -> Vec<String> {
        self.slots()
            .iter()
            .map(|slot| match slot {
                Some(_) => "Available".to_owned(),
                None => "Deleted".to_owned(),
            })
            .collect()
    }

    /// Takes out every instance, pinned or not.
    pub fn take_all(&self) -> Vec<Arc<Instance>> {
        self.slots()
            .iter_mut()
            .filter_map(|slot| slot.take().map(|slot| slot.instance))
            .collect()
    }

    fn slots(&self) -> MutexGuard<'_, Vec<Option<Slot>>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn not_found(id: InstanceId) -> ApiError {
    ApiError::new(
        StatusCode::NOT_FOUND,
        format!("instance {id} does not exist or was deleted"),
    )
}
