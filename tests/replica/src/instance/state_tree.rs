//! Answers `read_state`: which paths a reader may see, and their values as a signed tree
//! (interface spec, "The system state tree" and "Request: Read state").

use crate::authentication::envelope::Targets;
use crate::certification::authority::{
    Authority, encode_ranges, insert_range_shard, insert_ranges, to_cbor,
};
use crate::certification::tree::{TreeBuilder, leb128};
use candid::Principal;
use ic_certification::Label;
use millrace_subnet::{
    IngressState, IngressStatus, MessageId, MetadataVisibility, Network, SubnetType, UserError,
};

/// What the URL of a request says it is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// `/api/…/canister/<effective canister id>/…`
    Canister(Principal),
    /// `/api/…/subnet/<subnet id>/…`
    Subnet(Principal),
}

/// Why a read was refused. Nothing is revealed about state the reader may not see.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadStateError {
    /// The reader may not see the path (HTTP 403).
    #[error("{0}")]
    Forbidden(String),
    /// The path is malformed (HTTP 400).
    #[error("{0}")]
    BadRequest(String),
    /// There is no such path, canister range or subnet (HTTP 404).
    #[error("{0}")]
    NotFound(String),
}

/// Returns the subnet that answers for a scope.
///
/// # Errors
/// [`ReadStateError::NotFound`] when no subnet does.
pub fn subnet_of(network: &Network, scope: Scope) -> Result<Principal, ReadStateError> {
    match scope {
        Scope::Subnet(id) => network
            .topology()
            .subnets
            .iter()
            .any(|spec| spec.id == id)
            .then_some(id)
            .ok_or_else(|| {
                ReadStateError::NotFound(format!("subnet {id} is not part of this instance"))
            }),
        Scope::Canister(id) => {
            // The management canister lives on every subnet; the default one answers for it.
            let lookup = if id == Principal::management_canister() {
                network.topology().default_effective_canister_id
            } else {
                id
            };
            network.subnet_of(&lookup).ok_or_else(|| {
                ReadStateError::NotFound(format!("canister {id} does not belong to any subnet"))
            })
        }
    }
}

/// Returns the certificate over the values at `paths` and the time, as `reader`, whose
/// delegations are for `targets`, may see them.
/// Paths without a value are absent from the tree. Costs one signature.
///
/// # Errors
/// [`ReadStateError`] when a path is malformed, unknown, or not for this reader.
pub fn read(
    network: &Network,
    authority: &Authority,
    scope: Scope,
    paths: &[Vec<Label>],
    reader: Principal,
    targets: &Targets,
) -> Result<Vec<u8>, ReadStateError> {
    let subnet_id = subnet_of(network, scope)?;
    let mut reading = Reading {
        network,
        authority,
        scope,
        subnet_id,
        reader,
        targets,
        request: None,
        tree: TreeBuilder::new(),
    };
    for path in paths {
        let labels: Vec<&[u8]> = path.iter().map(Label::as_bytes).collect();
        reading.path(&labels)?;
    }
    let tree = reading.tree;
    authority
        .certify(subnet_id, tree, network.time_ns())
        .ok_or_else(|| ReadStateError::NotFound(format!("subnet {subnet_id} has no keys")))
}

/// Returns the certificate over the status of one request, for the answer of a synchronous call.
/// `None` when the request is unknown.
pub fn request_certificate(
    network: &Network,
    authority: &Authority,
    id: &MessageId,
) -> Option<Vec<u8>> {
    let status = network.ingress_status(id)?;
    let mut tree = TreeBuilder::new();
    insert_status(&mut tree, id, status);
    authority.certify(status.subnet, tree, network.time_ns())
}

struct Reading<'a> {
    network: &'a Network,
    authority: &'a Authority,
    scope: Scope,
    subnet_id: Principal,
    reader: Principal,
    /// Canisters that the reader's delegations are for.
    targets: &'a Targets,
    /// All status paths of one read must be about the same request.
    request: Option<MessageId>,
    tree: TreeBuilder,
}

impl Reading<'_> {
    fn path(&mut self, path: &[&[u8]]) -> Result<(), ReadStateError> {
        match path {
            // Every certificate carries the time.
            [b"time"] => Ok(()),
            [b"request_status", id] | [b"request_status", id, _] => self.request_status(id),
            [b"canister", id, rest @ ..] if matches!(self.scope, Scope::Canister(_)) => {
                self.canister(id, rest)
            }
            [b"subnet"] => {
                for spec in self.network.topology().subnets {
                    self.subnet(spec.id);
                }
                Ok(())
            }
            [b"subnet", id, rest @ ..] => self.subnet_path(id, rest),
            [b"canister_ranges"] => {
                self.canister_ranges(self.subnet_id);
                Ok(())
            }
            [b"canister_ranges", id, ..] => {
                self.canister_ranges(subnet_principal(id)?);
                Ok(())
            }
            // A local replica has no boundary nodes: provably absent.
            [b"api_boundary_nodes", ..] => Ok(()),
            _ => Err(ReadStateError::NotFound(format!(
                "Invalid path requested: {}",
                display_path(path)
            ))),
        }
    }

    fn request_status(&mut self, id: &[u8]) -> Result<(), ReadStateError> {
        let id = MessageId(id.try_into().map_err(|_| {
            ReadStateError::BadRequest(format!(
                "request id {} has {} bytes, it must have 32",
                hex::encode(id),
                id.len()
            ))
        })?);
        if self.request.is_some_and(|other| other != id) {
            return Err(ReadStateError::BadRequest(
                "Can only request a single request ID in request_status paths.".to_owned(),
            ));
        }
        self.request = Some(id);
        let Some(status) = self.network.ingress_status(&id) else {
            return Ok(());
        };
        if status.sender != self.reader {
            return Err(ReadStateError::Forbidden(
                "The user tries to access Request ID not signed by the caller.".to_owned(),
            ));
        }
        if !self.targets.contain(&status.receiver) {
            return Err(ReadStateError::Forbidden(
                "The user tries to access request IDs for canisters not belonging to sender delegation targets."
                    .to_owned(),
            ));
        }
        let addressed = match self.scope {
            Scope::Subnet(id) => status.subnet == id,
            Scope::Canister(id) => {
                status.subnet == self.subnet_id
                    && (status.receiver == id
                        || status.receiver == Principal::management_canister())
            }
        };
        if !addressed {
            return Err(ReadStateError::Forbidden(
                "The user tries to access request IDs for canisters not belonging to the effective canister ID."
                    .to_owned(),
            ));
        }
        insert_status(&mut self.tree, &id, status);
        Ok(())
    }

    fn canister(&mut self, id: &[u8], path: &[&[u8]]) -> Result<(), ReadStateError> {
        let canister_id = Principal::try_from_slice(id)
            .map_err(|e| ReadStateError::BadRequest(format!("Invalid canister id: {e}")))?;
        if self.scope != Scope::Canister(canister_id) {
            return Err(ReadStateError::BadRequest(format!(
                "the path is about canister {canister_id}, which is not the effective canister id of the URL"
            )));
        }
        // A canister that does not exist has no values: provably absent.
        let Ok(canister) = self.network.canister(&canister_id) else {
            return Ok(());
        };
        match path {
            [b"controllers"] => {
                let controllers = canister.controllers();
                let controllers: Vec<&serde_bytes::Bytes> = controllers
                    .iter()
                    .map(|id| serde_bytes::Bytes::new(id.as_slice()))
                    .collect();
                self.tree
                    .insert(&[b"canister", id, b"controllers"], to_cbor(&controllers));
                Ok(())
            }
            [b"module_hash"] => {
                if let Some(hash) = canister.module_hash() {
                    self.tree.insert(&[b"canister", id, b"module_hash"], hash);
                }
                Ok(())
            }
            [b"metadata", name] => {
                let text = std::str::from_utf8(name).map_err(|e| {
                    ReadStateError::BadRequest(format!(
                        "Could not parse the custom section name: {e}"
                    ))
                })?;
                let Some((visibility, content)) = canister.metadata(text) else {
                    return Ok(());
                };
                let is_controller = canister.controllers().contains(&self.reader);
                if visibility == MetadataVisibility::Private && !is_controller {
                    return Err(ReadStateError::Forbidden(format!(
                        "Custom section {text} can only be requested by the controllers of the canister."
                    )));
                }
                self.tree
                    .insert(&[b"canister", id, b"metadata", name], content);
                Ok(())
            }
            _ => Err(ReadStateError::NotFound(format!(
                "Invalid path requested: /canister/{canister_id}/{}",
                display_path(path)
            ))),
        }
    }

    fn subnet_path(&mut self, id: &[u8], rest: &[&[u8]]) -> Result<(), ReadStateError> {
        let id = subnet_principal(id)?;
        if rest == [b"metrics"] {
            return self.metrics(id);
        }
        self.subnet(id);
        Ok(())
    }

    /// Inserts what the tree says about a subnet; nodes only for the one that answers, as on the IC.
    fn subnet(&mut self, id: Principal) {
        let topology = self.network.topology();
        let Some(spec) = topology.subnets.iter().find(|spec| spec.id == id) else {
            return;
        };
        let Some(keys) = self.authority.keys(id) else {
            return;
        };
        let kind = match spec.kind.subnet_type() {
            SubnetType::Application => "application",
            SubnetType::VerifiedApplication => "verified_application",
            SubnetType::System => "system",
        };
        let id = id.as_slice();
        self.tree
            .insert(&[b"subnet", id, b"public_key"], keys.public_key_der());
        self.tree.insert(&[b"subnet", id, b"type"], kind);
        if spec.id == self.subnet_id {
            self.tree.insert(
                &[
                    b"subnet",
                    id,
                    b"node",
                    keys.node_id().as_slice(),
                    b"public_key",
                ],
                keys.node_public_key_der(),
            );
        }
        let ranges = self.authority.ranges(spec.id).unwrap_or_default();
        if spec.id == self.authority.root_subnet_id() {
            // The root has no delegation that would state its ranges.
            insert_ranges(&mut self.tree, spec.id, &ranges);
        } else {
            self.tree
                .insert(&[b"subnet", id, b"canister_ranges"], encode_ranges(&ranges));
        }
    }

    fn canister_ranges(&mut self, id: Principal) {
        if let Some(ranges) = self.authority.ranges(id) {
            insert_range_shard(&mut self.tree, id, &ranges);
        }
    }

    fn metrics(&mut self, id: Principal) -> Result<(), ReadStateError> {
        // As on the IC, a subnet knows its own figures only.
        if id != self.subnet_id {
            return Ok(());
        }
        let metrics = self
            .network
            .subnet_metrics(&id)
            .map_err(|e| ReadStateError::NotFound(e.to_string()))?;
        let leaf = ic_transport_types::SubnetMetrics {
            num_canisters: metrics.num_canisters,
            canister_state_bytes: metrics.canister_state_bytes,
            consumed_cycles_total: metrics.consumed_cycles_total,
            update_transactions_total: metrics.update_transactions_total,
        };
        // The leaf is a map with numbers as keys, which is what the packed format writes.
        let encoded = serde_cbor::ser::to_vec_packed(&leaf)
            .map_err(|e| ReadStateError::NotFound(e.to_string()))?;
        self.tree
            .insert(&[b"subnet", id.as_slice(), b"metrics"], encoded);
        Ok(())
    }
}

fn insert_status(tree: &mut TreeBuilder, id: &MessageId, status: &IngressStatus) {
    let mut set = |name: &[u8], value: Vec<u8>| {
        tree.insert(&[b"request_status", &id.0, name], value);
    };
    let text = match &status.state {
        IngressState::Received => "received",
        IngressState::Processing => "processing",
        IngressState::Done => "done",
        IngressState::Replied(reply) => {
            set(b"reply", reply.clone());
            "replied"
        }
        IngressState::Rejected(error) => {
            set(
                b"reject_code",
                leb128(u64::from(error.reject_code().number())),
            );
            set(b"reject_message", error.message.clone().into_bytes());
            set(b"error_code", error_code(error).into_bytes());
            "rejected"
        }
    };
    set(b"status", text.as_bytes().to_vec());
}

/// Returns the IC's text form of an error code, for example `IC0503`.
pub fn error_code(error: &UserError) -> String {
    format!("IC{:04}", error.code.number())
}

fn subnet_principal(id: &[u8]) -> Result<Principal, ReadStateError> {
    Principal::try_from_slice(id)
        .map_err(|e| ReadStateError::BadRequest(format!("Invalid subnet id: {e}")))
}

fn display_path(path: &[&[u8]]) -> String {
    let labels: Vec<String> = path
        .iter()
        .map(|label| match std::str::from_utf8(label) {
            Ok(text) if text.bytes().all(|b| b.is_ascii_graphic()) => text.to_owned(),
            _ => format!("0x{}", hex::encode(label)),
        })
        .collect();
    format!("/{}", labels.join("/"))
}
