//! The chunk store: pieces of modules that do not fit one message.

use super::{Caller, ManagementUsage, Reply, decode, encode, errors};
use crate::canister::Canister;
use crate::error::UserError;
use crate::subnet::Subnet;
use crate::topology::CanisterId;
use candid::Principal;
use ic_management_canister_types::{
    ChunkHash, ClearChunkStoreArgs, StoredChunksArgs, UploadChunkArgs,
};
use sha2::{Digest, Sha256};

impl Subnet {
    pub(super) fn upload_chunk(
        &mut self,
        caller: &Caller<'_>,
        payload: &[u8],
        usage: &mut ManagementUsage,
    ) -> Reply {
        let args: UploadChunkArgs = decode(payload)?;
        let limits = self.rules.limits.clone();
        let fees = self.rules.fees;
        let canister = self.chunk_owner(&caller.principal, &args.canister_id)?;
        if args.chunk.len() as u64 > limits.chunk_bytes {
            return Err(errors::chunk_store(&format!(
                "Wasm chunk size {} exceeds the maximum chunk size of {}",
                args.chunk.len(),
                limits.chunk_bytes
            )));
        }
        let hash: [u8; 32] = Sha256::digest(&args.chunk).into();
        let reply = encode((ChunkHash {
            hash: hash.to_vec(),
        },));
        if canister.chunks.chunks.contains_key(&hash) {
            return Ok(reply);
        }
        if canister.chunks.chunks.len() as u64 >= limits.chunks_per_canister {
            return Err(errors::chunk_store(&format!(
                "Wasm chunk store has already reached maximum capacity of {} bytes",
                limits.chunks_per_canister * limits.chunk_bytes
            )));
        }
        let debit = canister.heap_delta_debit;
        if debit >= limits.heap_delta_rate {
            return Err(errors::heap_delta_limited(
                &canister.id,
                debit,
                limits.heap_delta_rate,
            ));
        }
        let price = fees.instructions(limits.upload_chunk_instructions);
        let reveal = true;
        canister
            .withdraw(price, &limits, &fees, reveal)
            .map_err(|error| {
                errors::chunk_store(&format!("Cannot upload chunk: {}", error.message))
            })?;
        canister.consumed = canister.consumed.saturating_add(price);
        canister
            .chunks
            .chunks
            .insert(hash, serde_bytes::ByteBuf::from(args.chunk));
        canister.heap_delta_debit += limits.chunk_bytes;
        usage.instructions += limits.upload_chunk_instructions;
        usage.heap_delta += limits.chunk_bytes;
        Ok(reply)
    }

    pub(super) fn clear_chunk_store(&mut self, caller: &Caller<'_>, payload: &[u8]) -> Reply {
        let args: ClearChunkStoreArgs = decode(payload)?;
        self.chunk_owner(&caller.principal, &args.canister_id)?
            .chunks
            .chunks
            .clear();
        Ok(encode(()))
    }

    pub(super) fn stored_chunks(&mut self, caller: &Caller<'_>, payload: &[u8]) -> Reply {
        let args: StoredChunksArgs = decode(payload)?;
        let canister = self.chunk_owner(&caller.principal, &args.canister_id)?;
        let chunks: Vec<ChunkHash> = canister
            .chunks
            .chunks
            .keys()
            .map(|hash| ChunkHash {
                hash: hash.to_vec(),
            })
            .collect();
        Ok(encode((chunks,)))
    }

    /// Returns the canister if the caller controls it or is the canister itself.
    pub(super) fn chunk_owner(
        &mut self,
        caller: &Principal,
        id: &CanisterId,
    ) -> Result<&mut Canister, UserError> {
        if caller == id {
            self.canister_mut(id)
        } else {
            self.controlled(caller, id)
        }
    }
}

/// Returns the module that the named chunks make up.
pub(super) fn assemble(
    store: &Canister,
    hashes: &[ChunkHash],
    module_hash: &[u8],
    module_bytes_max: u64,
) -> Result<Vec<u8>, UserError> {
    let mut module = Vec::new();
    for ChunkHash { hash } in hashes {
        let key: &[u8; 32] = hash
            .as_slice()
            .try_into()
            .map_err(|_| errors::chunk_store("Chunk hash is invalid. The length is not 32"))?;
        let chunk = store
            .chunks
            .chunks
            .get(key)
            .ok_or_else(|| errors::chunk_store(&format!("Chunk hash {key:?} was not found")))?;
        module.extend_from_slice(chunk);
        // The same chunk may be named many times, so the sum needs a bound of its own.
        if module.len() as u64 > module_bytes_max {
            return Err(errors::chunk_store(&format!(
                "the chunks make up more than {module_bytes_max} bytes"
            )));
        }
    }
    let actual: [u8; 32] = Sha256::digest(&module).into();
    if actual.as_slice() != module_hash {
        return Err(errors::chunk_store(&format!(
            "Wasm module hash {actual:?} does not match given hash WasmHash({module_hash:?})"
        )));
    }
    Ok(module)
}
