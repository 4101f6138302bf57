//! Certification: keys, hash trees, signed certificates and delegations.

pub mod authority;
pub mod keys;
pub mod tree;
