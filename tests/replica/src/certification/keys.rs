//! Key material of one subnet: its BLS threshold key (held whole here) and its node's Ed25519 key.
//!
//! Every key is derived from the subnet's 32-byte seed, so a state directory that keeps the seed
//! keeps the identity of the subnet: its id, the root key agents have fetched, and node ids.

use candid::Principal;
use ic_verify_bls_signature::PrivateKey as BlsPrivateKey;
use sha2::{Digest, Sha256};

/// DER wrapping of a compressed BLS12-381 G2 public key (interface spec, "Certificate").
const BLS_DER_PREFIX: [u8; 37] = [
    0x30, 0x81, 0x82, 0x30, 0x1d, 0x06, 0x0d, 0x2b, 0x06, 0x01, 0x04, 0x01, 0x82, 0xdc, 0x7c, 0x05,
    0x03, 0x01, 0x02, 0x01, 0x06, 0x0c, 0x2b, 0x06, 0x01, 0x04, 0x01, 0x82, 0xdc, 0x7c, 0x05, 0x03,
    0x02, 0x01, 0x03, 0x61, 0x00,
];

/// The keys of one subnet with exactly one signing node.
pub struct SubnetKeys {
    bls: BlsPrivateKey,
    public_key_der: Vec<u8>,
    subnet_id: Principal,
    node: ic_ed25519::PrivateKey,
    node_public_key_der: Vec<u8>,
    node_id: Principal,
}

impl SubnetKeys {
    /// Derives all keys of a subnet from its seed. Costs one G2 multiplication (about a millisecond).
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        let bls = bls_key(seed);
        let mut public_key_der = BLS_DER_PREFIX.to_vec();
        public_key_der.extend_from_slice(&bls.public_key().serialize());
        let node =
            ic_ed25519::PrivateKey::deserialize_raw_32(&derive(b"millrace-node-key", seed, 0));
        let node_public_key_der = node.public_key().serialize_rfc8410_der();
        Self {
            subnet_id: Principal::self_authenticating(&public_key_der),
            node_id: Principal::self_authenticating(&node_public_key_der),
            bls,
            public_key_der,
            node,
            node_public_key_der,
        }
    }

    /// Returns the subnet id: the self-authenticating principal of the public key, as on the IC.
    /// Agents rely on it for the root subnet, whose id they compute from the root key.
    pub fn subnet_id(&self) -> Principal {
        self.subnet_id
    }

    /// Returns the DER form of the subnet's public key (133 bytes).
    pub fn public_key_der(&self) -> &[u8] {
        &self.public_key_der
    }

    /// Returns the id of the node that signs query responses.
    pub fn node_id(&self) -> Principal {
        self.node_id
    }

    /// Returns the DER form of the node's Ed25519 public key (44 bytes).
    pub fn node_public_key_der(&self) -> &[u8] {
        &self.node_public_key_der
    }

    /// Signs `message` with the subnet's key (48-byte compressed G1 point).
    pub fn sign(&self, message: &[u8]) -> [u8; 48] {
        self.bls.sign(message).serialize()
    }

    /// Signs `message` with the node's key (64 bytes).
    pub fn sign_as_node(&self, message: &[u8]) -> [u8; 64] {
        self.node.sign_message(message)
    }
}

/// Returns the raw 96-byte key inside a DER-wrapped subnet key, or `None` when it is not one.
pub fn raw_bls_key(der: &[u8]) -> Option<&[u8]> {
    der.strip_prefix(&BLS_DER_PREFIX)
        .filter(|raw| raw.len() == 96)
}

fn bls_key(seed: &[u8; 32]) -> BlsPrivateKey {
    (0u32..)
        .find_map(|counter| {
            let mut scalar = derive(b"millrace-subnet-key", seed, counter);
            // Below 2^254, so below the group order; the loop only guards the all-zero scalar.
            scalar[0] &= 0x3f;
            BlsPrivateKey::deserialize(&scalar).ok()
        })
        .expect("one of 2^32 hash outputs is a valid scalar")
}

fn derive(domain: &[u8], seed: &[u8; 32], counter: u32) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(domain);
    hash.update(seed);
    hash.update(counter.to_be_bytes());
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_identity_and_another_seed_another() {
        let first = SubnetKeys::from_seed(&[1; 32]);
        let again = SubnetKeys::from_seed(&[1; 32]);
        let other = SubnetKeys::from_seed(&[2; 32]);
        assert_eq!(first.public_key_der(), again.public_key_der());
        assert_eq!(first.node_id(), again.node_id());
        assert_ne!(first.subnet_id(), other.subnet_id());
        assert_ne!(first.node_id(), other.node_id());
    }

    #[test]
    fn the_public_key_is_der_wrapped_and_verifies_signatures() {
        let keys = SubnetKeys::from_seed(&[7; 32]);
        assert_eq!(keys.public_key_der().len(), 133);
        let raw = raw_bls_key(keys.public_key_der()).expect("wrapped key");
        let signature = keys.sign(b"message");
        ic_verify_bls_signature::verify_bls_signature(&signature, b"message", raw)
            .expect("the signature is valid");
        ic_verify_bls_signature::verify_bls_signature(&signature, b"other", raw)
            .expect_err("the signature covers the message");
    }
}
