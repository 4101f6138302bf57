//! Certificates over canisters' certified data, for queries.

use crate::certification::authority::Authority;
use crate::certification::tree::TreeBuilder;
use candid::Principal;
use millrace_subnet::Certifier;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Canisters whose latest certificate is kept.
const CACHED_CANISTERS_MAX: usize = 256;

/// Signs `/canister/<id>/certified_data` with the keys of the canister's subnet.
///
/// A signature costs about a millisecond, so the certificate of an unchanged state is reused.
pub struct DataCertifier {
    authority: Arc<Authority>,
    cache: Mutex<HashMap<Principal, Cached>>,
}

struct Cached {
    certified_data: Vec<u8>,
    time_ns: u64,
    certificate: Vec<u8>,
}

impl DataCertifier {
    /// Returns a certifier that signs as `authority`.
    pub fn new(authority: Arc<Authority>) -> Self {
        Self {
            authority,
            cache: Mutex::new(HashMap::new()),
        }
    }
}

impl Certifier for DataCertifier {
    fn data_certificate(
        &self,
        subnet: &Principal,
        canister: &Principal,
        certified_data: &[u8],
        time_ns: u64,
    ) -> Option<Vec<u8>> {
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(cached) = cache.get(canister)
            && cached.time_ns == time_ns
            && cached.certified_data == certified_data
        {
            return Some(cached.certificate.clone());
        }
        let mut tree = TreeBuilder::new();
        tree.insert(
            &[b"canister", canister.as_slice(), b"certified_data"],
            certified_data,
        );
        let certificate = self.authority.certify(*subnet, tree, time_ns)?;
        if cache.len() >= CACHED_CANISTERS_MAX {
            cache.clear();
        }
        cache.insert(
            *canister,
            Cached {
                certified_data: certified_data.to_vec(),
                time_ns,
                certificate: certificate.clone(),
            },
        );
        Some(certificate)
    }

    fn root_key(&self) -> Vec<u8> {
        self.authority.root_key_der().to_vec()
    }
}
