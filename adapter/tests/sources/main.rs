//! Every source of blocks against one contract.

mod chain;
mod contract;
mod fake_node;
mod files;
mod nodes;
