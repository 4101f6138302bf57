//! The PocketIC REST protocol: instances, blobs, gateways and administration, for the unmodified
//! `pocket-ic` clients 11 to 16.

pub mod activity;
pub mod base64_bytes;
pub mod blobs;
pub mod control;
pub mod extensions;
pub mod extract;
pub mod gateways;
pub mod instances;
pub mod outcalls;
pub mod port_file;
pub mod read;
pub mod routes;
pub mod server;
pub mod snapshots;
pub mod topology;
pub mod types;
pub mod update;
pub mod version;
