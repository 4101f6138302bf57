//! Arguments of `init`, `post_upgrade` and `set_config`, and the answer of `get_config`.

use candid::{CandidType, Nat, Principal};
use ic_btc_interface::Fees;
use serde::Deserialize;

/// An on/off setting, spelled as the official Bitcoin canister spells it.
#[derive(CandidType, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flag {
    /// On.
    #[serde(rename = "enabled")]
    Enabled,
    /// Off.
    #[serde(rename = "disabled")]
    Disabled,
}

/// The official Bitcoin canister's network names.
#[derive(CandidType, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Network {
    /// Bitcoin's main network.
    #[serde(rename = "mainnet")]
    Mainnet,
    /// Testnet4; also what a canister on signet reports, since the official interface has no name for it.
    #[serde(rename = "testnet")]
    Testnet,
    /// A local regression-test network.
    #[serde(rename = "regtest")]
    Regtest,
}

/// The Bitcoin networks Millrace follows.
#[derive(CandidType, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chain {
    /// Bitcoin's main network.
    #[serde(rename = "mainnet")]
    Mainnet,
    /// Testnet4 (BIP94).
    #[serde(rename = "testnet4")]
    Testnet4,
    /// The default signet (BIP325).
    #[serde(rename = "signet")]
    Signet,
    /// A local regression-test network.
    #[serde(rename = "regtest")]
    Regtest,
}

/// Every spelling of a network that the initial configuration accepts.
#[derive(CandidType, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum InitNetwork {
    /// Bitcoin's main network.
    #[serde(rename = "mainnet")]
    Mainnet,
    /// Testnet4, under the official interface's name.
    #[serde(rename = "testnet")]
    Testnet,
    /// Testnet4.
    #[serde(rename = "testnet4")]
    Testnet4,
    /// The default signet.
    #[serde(rename = "signet")]
    Signet,
    /// A local regression-test network.
    #[serde(rename = "regtest")]
    Regtest,
}

/// How much of a block is checked before its coins count.
#[derive(CandidType, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockValidation {
    /// What the official canister checks: proof of work, header rules, merkle root, structure; and
    /// that every spent coin exists.
    #[serde(rename = "proof_of_work")]
    ProofOfWork,
    /// All of that and every consensus rule that takes no script execution.
    #[serde(rename = "consensus")]
    Consensus,
}

/// What one heartbeat may spend on work after it has drained the queue.
#[derive(CandidType, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budgets {
    /// Instructions, as `performance_counter(0)` counts them.
    pub instructions_per_heartbeat: u64,
    /// Distinct 4 KiB pages of stable memory written.
    pub stable_pages_per_heartbeat: u32,
}

/// The initial configuration. An absent field takes the default named at the field.
#[derive(CandidType, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct InitConfig {
    /// Difficulty-weighted depth at which a block is stable; 144.
    pub stability_threshold: Option<Nat>,
    /// The Bitcoin network; regtest, as in the official canister. Cannot be changed later.
    pub network: Option<InitNetwork>,
    /// Who is asked with `bitcoin_get_successors`; the management canister.
    pub blocks_source: Option<Principal>,
    /// Whether `blocks_source` is asked; enabled, unless `adapters` names somebody.
    pub pull: Option<Flag>,
    /// Who may push blocks; nobody.
    pub adapters: Option<Vec<Principal>>,
    /// Whether new blocks are taken in at all; enabled.
    pub syncing: Option<Flag>,
    /// Budgets of one heartbeat; the canister's defaults.
    pub budgets: Option<Budgets>,
    /// Distinct 4 KiB pages of stable memory that may be written in ten minutes; the canister's default.
    pub stable_pages_per_ten_minutes: Option<u32>,
    /// Cycles that must be left above the freezing threshold for blocks to be connected; the canister's
    /// default. Without effect where messages cost nothing.
    pub cycles_reserve: Option<Nat>,
    /// What the official endpoints charge; the official canister's prices on the network.
    pub fees: Option<Fees>,
    /// Whether coins, headers and fees can be asked for and transactions sent; enabled.
    pub api_access: Option<Flag>,
    /// Whether that ends while blocks of known headers are missing; enabled.
    pub disable_api_if_not_fully_synced: Option<Flag>,
    /// Who may change `api_access` besides the controllers; nobody.
    pub watchdog_canister: Option<Option<Principal>>,
    /// Whether every heartbeat burns all cycles the canister could spend; disabled. For system
    /// subnets: elsewhere nothing would be left to run on.
    pub burn_cycles: Option<Flag>,
    /// Whether fee percentiles are computed when asked for instead of with each new tip; disabled.
    pub lazily_evaluate_fee_percentiles: Option<Flag>,
    /// How much of a block is checked; `proof_of_work` on regtest, else `consensus`.
    pub block_validation: Option<BlockValidation>,
    /// Work that the best chain must have for the canister to count as synced: up to 64 hexadecimal
    /// digits, as Bitcoin Core's `-minimumchainwork` takes; none.
    pub minimum_chain_work: Option<String>,
    /// Whether `get_utxo_set_info` is kept up to date; disabled.
    pub utxo_set_commitment: Option<Flag>,
}

/// A change of configuration: absent fields stay as they are.
#[derive(CandidType, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct SetConfigRequest {
    /// Difficulty-weighted depth at which a block is stable.
    pub stability_threshold: Option<Nat>,
    /// Whether `blocks_source` is asked.
    pub pull: Option<Flag>,
    /// Who may push blocks: the whole new list.
    pub adapters: Option<Vec<Principal>>,
    /// Whether new blocks are taken in at all.
    pub syncing: Option<Flag>,
    /// Budgets of one heartbeat.
    pub budgets: Option<Budgets>,
    /// Distinct 4 KiB pages of stable memory that may be written in ten minutes.
    pub stable_pages_per_ten_minutes: Option<u32>,
    /// Cycles that must be left above the freezing threshold for blocks to be connected.
    pub cycles_reserve: Option<Nat>,
    /// What the official endpoints charge.
    pub fees: Option<Fees>,
    /// Whether coins, headers and fees can be asked for and transactions sent.
    pub api_access: Option<Flag>,
    /// Whether that ends while blocks of known headers are missing.
    pub disable_api_if_not_fully_synced: Option<Flag>,
    /// Who may change `api_access` besides the controllers.
    pub watchdog_canister: Option<Option<Principal>>,
    /// Whether every heartbeat burns the canister's cycles.
    pub burn_cycles: Option<Flag>,
    /// Whether fee percentiles are computed when asked for instead of with each new tip.
    pub lazily_evaluate_fee_percentiles: Option<Flag>,
    /// How much of the blocks connected from now on is checked.
    pub block_validation: Option<BlockValidation>,
    /// Work that the best chain must have for the canister to count as synced: up to 64 hexadecimal
    /// digits, as Bitcoin Core's `-minimumchainwork` takes; `0` asks for none.
    pub minimum_chain_work: Option<String>,
    /// Whether `get_utxo_set_info` is kept up to date.
    pub utxo_set_commitment: Option<Flag>,
}

/// The argument of `init` and of `post_upgrade`.
#[derive(CandidType, Deserialize, Clone, Debug, PartialEq, Eq)]
pub enum CanisterArg {
    /// For installing and reinstalling.
    #[serde(rename = "init")]
    Init(InitConfig),
    /// For upgrading.
    #[serde(rename = "upgrade")]
    Upgrade(Option<SetConfigRequest>),
}

/// The configuration in force.
#[derive(CandidType, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Difficulty-weighted depth at which a block is stable.
    pub stability_threshold: Nat,
    /// The network under the official interface's name.
    pub network: Network,
    /// The network.
    pub chain: Chain,
    /// Who is asked with `bitcoin_get_successors` when `pull` is enabled.
    pub blocks_source: Principal,
    /// Whether `blocks_source` is asked.
    pub pull: Flag,
    /// Who may push blocks.
    pub adapters: Vec<Principal>,
    /// Whether new blocks are taken in at all.
    pub syncing: Flag,
    /// Budgets of one heartbeat.
    pub budgets: Budgets,
    /// Distinct 4 KiB pages of stable memory that may be written in ten minutes.
    pub stable_pages_per_ten_minutes: u32,
    /// Cycles that must be left above the freezing threshold for blocks to be connected.
    pub cycles_reserve: Nat,
    /// What the official endpoints charge.
    pub fees: Fees,
    /// Whether coins, headers and fees can be asked for and transactions sent.
    pub api_access: Flag,
    /// Whether that ends while blocks of known headers are missing.
    pub disable_api_if_not_fully_synced: Flag,
    /// Who may change `api_access` besides the controllers.
    pub watchdog_canister: Option<Principal>,
    /// Whether every heartbeat burns the canister's cycles.
    pub burn_cycles: Flag,
    /// Whether fee percentiles are computed when asked for instead of with each new tip.
    pub lazily_evaluate_fee_percentiles: Flag,
    /// How much of a block is checked before its coins count.
    pub block_validation: BlockValidation,
    /// Work that the best chain must have for the canister to count as synced, as 64 hexadecimal
    /// digits.
    pub minimum_chain_work: Option<String>,
    /// Whether `get_utxo_set_info` is kept up to date.
    pub utxo_set_commitment: Flag,
}
