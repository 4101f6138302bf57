//! Tests across boundaries: the real Wasm through the unmodified `pocket-ic` crate, real clients, and
//! the real programs as processes. One behaviour per module.

mod adapter_process;
mod bad_blocks;
mod bad_feeding;
mod bad_reads;
mod bitcoin_client_crate;
mod budgets;
mod chains;
mod confirmations;
mod contract;
mod demo;
mod faults;
mod ic_agent_client;
mod incident;
mod ingest;
mod javascript_client;
mod large_blocks;
mod lifecycle;
mod local_replica;
mod many_forks;
mod network;
mod page_accounting;
mod paging;
mod pull;
mod reorg;
mod transports;
mod upgrade;
mod utxo_set;
