//! The configuration: defaults, checks, stable form.

use candid::{Nat, Principal};
use millrace_candid::official::Fees;
use millrace_candid::{
    Budgets, Config as WireConfig, Flag, InitConfig, InitNetwork, SetConfigRequest,
};
use millrace_core::consensus::BlockValidation;
use millrace_core::header::ChainWork;
use millrace_core::{Instructions, Network, Pages};

use crate::convert;

/// Depth at which a block is stable unless configured otherwise.
pub const DEFAULT_STABILITY_THRESHOLD: u32 = 144;

/// Largest threshold: the unstable tree, which holds 10,000 blocks, must have room for forks.
pub const MAX_STABILITY_THRESHOLD: u32 = 5_000;

/// Adapters, at most: each may hold half-received blocks.
pub const MAX_ADAPTERS: usize = 64;

/// Instructions a heartbeat may spend on work unless configured otherwise: half of one slice of
/// deterministic time slicing (2 G), less what a message may take besides, so that neighbours on the
/// subnet do not starve. A heartbeat exceeds its budget by one step, below 0.1 G with ordinary blocks and
/// [`LONGEST_STEP`] with blocks made to be expensive; a drain before it that exceeds the budget, up to
/// [`DRAIN_INSTRUCTIONS`], leaves work for one step.
pub const DEFAULT_INSTRUCTIONS: Instructions = Instructions::new(800_000_000);

/// What the longest step costs at most, estimated: the end of a block's scan, which hashes the merkle
/// tree, some 0.7 G for 4 MB of the smallest transactions and below 30 M for an ordinary block. Letting
/// [`crate::tick::STEP_RETIRED`] blocks of other branches go costs some 0.1 G.
pub const LONGEST_STEP: Instructions = Instructions::new(1_000_000_000);

/// What draining a full queue costs at most; see `millrace_store::queue`.
pub const DRAIN_INSTRUCTIONS: Instructions = Instructions::new(4_000_000_000);

/// Largest instruction budget: a step that begins just below it, [`LONGEST_STEP`] at
/// most, and the drain before it, [`DRAIN_INSTRUCTIONS`] at most, still end below the system's 40 G per
/// message.
pub const MAX_INSTRUCTIONS: Instructions = Instructions::new(30_000_000_000);

const _: () = {
    let drain = DRAIN_INSTRUCTIONS.get();
    assert!(drain + MAX_INSTRUCTIONS.get() + LONGEST_STEP.get() < 40_000_000_000);
};

/// Distinct 4 KiB stable pages a heartbeat may write unless configured otherwise: 80 MiB.
pub const DEFAULT_PAGES: Pages = Pages::new(20_480);

/// Largest page budget: 1.5 GiB of the system's 2 GiB per message.
pub const MAX_PAGES: Pages = Pages::new(393_216);

/// Distinct stable pages that may be written in ten minutes unless configured otherwise, 16 GiB: a ninth of
/// the 140 GiB that all canisters of a subnet may write between checkpoints some ten minutes apart.
/// Connecting a hundred full blocks writes below 1 GiB.
pub const DEFAULT_WINDOW_PAGES: Pages = Pages::new(4_194_304);

/// Cycles that must be left above the freezing threshold for blocks to be connected, unless configured
/// otherwise: 0.1 T. The system wants 0.04 T in advance for every message of 40 G instructions; what is left
/// beyond that lets the canister drain and answer for hours while nobody tops it up.
pub const DEFAULT_CYCLES_RESERVE: u128 = 100_000_000_000;

/// Characters of a refused text that its error repeats.
const MAX_TEXT_CHARS: usize = 80;

/// The configuration in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Difficulty-weighted depth at which a block is stable.
    pub stability_threshold: u32,
    /// Who is asked for blocks.
    pub blocks_source: Principal,
    /// Whether `blocks_source` is asked.
    pub is_pulling: bool,
    /// Who may push blocks.
    pub adapters: Vec<Principal>,
    /// Whether new blocks are taken in.
    pub is_syncing: bool,
    /// Instructions for work in one heartbeat.
    pub instructions: Instructions,
    /// Distinct stable pages written in one heartbeat.
    pub pages: Pages,
    /// Distinct stable pages written in ten minutes.
    pub window_pages: Pages,
    /// Cycles above the freezing threshold below which no block is connected.
    pub cycles_reserve: u128,
    /// What the official endpoints charge.
    pub fees: Fees,
    /// Who may do what: see [`Access`].
    pub access: Access,
    /// Whether every heartbeat burns the canister's cycles.
    pub is_burning_cycles: bool,
    /// Whether fee percentiles are computed when asked for instead of with each new tip.
    pub is_lazy_about_fees: bool,
    /// How much of a block is checked before it is connected.
    pub block_validation: BlockValidation,
    /// Whether a commitment to the stable set is kept.
    pub is_committing: bool,
}

/// When the canister answers at all, and who may stop it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    /// Whether coins, headers and fees can be asked for and transactions sent.
    pub is_api_enabled: bool,
    /// Whether that ends while blocks of known headers are missing.
    pub needs_sync: bool,
    /// Who may change `is_api_enabled` besides the controllers.
    pub watchdog: Option<Principal>,
    /// Work below which the best chain is not believed to be the network's. None by default, even on
    /// mainnet: its early blocks, which the demo serves, and chains made for tests have little.
    pub minimum_chain_work: ChainWork,
}

impl Default for Access {
    fn default() -> Self {
        Self {
            is_api_enabled: true,
            needs_sync: true,
            watchdog: None,
            minimum_chain_work: ChainWork::ZERO,
        }
    }
}

/// Why a configuration is refused. Nothing changes then.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The caller may change nothing. The official canister's text.
    #[error("Only controllers can call set_config")]
    NotController,
    /// The threshold has more than 32 bits. The official canister's text.
    #[error("stability threshold too large: TryFromIntError(())")]
    StabilityThresholdBits,
    /// The threshold is too large.
    #[error("stability threshold too large: {given}, at most {MAX_STABILITY_THRESHOLD} is allowed")]
    StabilityThreshold {
        /// Given value.
        given: u32,
    },
    /// Too many adapters.
    #[error("{given} adapters given, at most {MAX_ADAPTERS} are allowed")]
    TooManyAdapters {
        /// Given number.
        given: usize,
    },
    /// Anybody could push.
    #[error(
        "the anonymous principal cannot be an adapter: anybody could push blocks; name the adapter's own principal"
    )]
    AnonymousAdapter,
    /// The instruction budget is out of range.
    #[error("instructions_per_heartbeat is {given}, allowed are 1 to {max}", max = MAX_INSTRUCTIONS.get())]
    Instructions {
        /// Given value.
        given: u64,
    },
    /// The page budget is out of range.
    #[error("stable_pages_per_heartbeat is {given}, allowed are 1 to {max}", max = MAX_PAGES.get())]
    Pages {
        /// Given value.
        given: u32,
    },
    /// No page may be written in ten minutes.
    #[error("stable_pages_per_ten_minutes is 0: nothing could ever be connected")]
    NoWindowPages,
    /// The reserve has more than 128 bits.
    #[error("cycles_reserve is {}, at most {} is allowed", .given.0, u128::MAX)]
    CyclesReserve {
        /// Given value.
        given: Nat,
    },
    /// The work is no number.
    #[error(
        "minimum_chain_work is {given:?}: give 1 to 64 hexadecimal digits, as Bitcoin Core's -minimumchainwork, or 0 for none"
    )]
    MinimumChainWork {
        /// The beginning of the given text.
        given: String,
    },
    /// The stored configuration cannot be read.
    #[error("the stored configuration is damaged: {reason}")]
    Stored {
        /// What the decoder found.
        reason: String,
    },
}

impl Default for Config {
    fn default() -> Self {
        Self {
            stability_threshold: DEFAULT_STABILITY_THRESHOLD,
            blocks_source: Principal::management_canister(),
            is_pulling: true,
            adapters: Vec::new(),
            is_syncing: true,
            instructions: DEFAULT_INSTRUCTIONS,
            pages: DEFAULT_PAGES,
            window_pages: DEFAULT_WINDOW_PAGES,
            cycles_reserve: DEFAULT_CYCLES_RESERVE,
            fees: Fees::default(),
            access: Access::default(),
            is_burning_cycles: false,
            is_lazy_about_fees: false,
            block_validation: BlockValidation::default_of(Network::Regtest),
            is_committing: false,
        }
    }
}

/// Returns what the official canister charges on a network; all zero on regtest.
fn default_fees(network: Network) -> Fees {
    match network {
        Network::Mainnet => Fees::mainnet(),
        Network::Testnet3 | Network::Testnet4 | Network::Signet => Fees::testnet(),
        Network::Regtest => Fees::default(),
    }
}

impl Config {
    /// Returns the configuration of a new canister, and its network (regtest by default).
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn initial(given: InitConfig) -> Result<(Self, Network), ConfigError> {
        let network = match given.network {
            Some(InitNetwork::Mainnet) => Network::Mainnet,
            Some(InitNetwork::Testnet | InitNetwork::Testnet4) => Network::Testnet4,
            Some(InitNetwork::Signet) => Network::Signet,
            Some(InitNetwork::Regtest) | None => Network::Regtest,
        };
        let has_adapters = given.adapters.as_ref().is_some_and(|list| !list.is_empty());
        let defaults = Self {
            is_pulling: !has_adapters,
            ..Self::default()
        };
        let config = Self {
            blocks_source: given.blocks_source.unwrap_or(defaults.blocks_source),
            fees: default_fees(network),
            block_validation: BlockValidation::default_of(network),
            ..defaults
        };
        let config = config.changed(SetConfigRequest {
            stability_threshold: given.stability_threshold,
            pull: given.pull,
            adapters: given.adapters,
            syncing: given.syncing,
            budgets: given.budgets,
            stable_pages_per_ten_minutes: given.stable_pages_per_ten_minutes,
            cycles_reserve: given.cycles_reserve,
            fees: given.fees,
            api_access: given.api_access,
            disable_api_if_not_fully_synced: given.disable_api_if_not_fully_synced,
            watchdog_canister: given.watchdog_canister,
            burn_cycles: given.burn_cycles,
            lazily_evaluate_fee_percentiles: given.lazily_evaluate_fee_percentiles,
            block_validation: given.block_validation,
            minimum_chain_work: given.minimum_chain_work,
            utxo_set_commitment: given.utxo_set_commitment,
        })?;
        Ok((config, network))
    }

    /// Returns the configuration after a change; absent fields stay.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn changed(&self, change: SetConfigRequest) -> Result<Self, ConfigError> {
        let mut config = self.clone();
        if let Some(given) = change.stability_threshold {
            let given = u32::try_from(given.0).map_err(|_| ConfigError::StabilityThresholdBits)?;
            if given > MAX_STABILITY_THRESHOLD {
                return Err(ConfigError::StabilityThreshold { given });
            }
            config.stability_threshold = given;
        }
        set(&mut config.is_pulling, change.pull);
        if let Some(adapters) = change.adapters {
            config.adapters = checked_adapters(adapters)?;
        }
        set(&mut config.is_syncing, change.syncing);
        if let Some(budgets) = change.budgets {
            (config.instructions, config.pages) = checked_budgets(&budgets)?;
        }
        if let Some(pages) = change.stable_pages_per_ten_minutes {
            if pages == 0 {
                return Err(ConfigError::NoWindowPages);
            }
            config.window_pages = Pages::new(u64::from(pages));
        }
        if let Some(given) = change.cycles_reserve {
            let reserve = u128::try_from(given.0.clone());
            config.cycles_reserve = reserve.map_err(|_| ConfigError::CyclesReserve { given })?;
        }
        if let Some(fees) = change.fees {
            config.fees = fees;
        }
        set(&mut config.access.is_api_enabled, change.api_access);
        set(
            &mut config.access.needs_sync,
            change.disable_api_if_not_fully_synced,
        );
        if let Some(watchdog) = change.watchdog_canister {
            config.access.watchdog = watchdog;
        }
        set(&mut config.is_burning_cycles, change.burn_cycles);
        set(
            &mut config.is_lazy_about_fees,
            change.lazily_evaluate_fee_percentiles,
        );
        if let Some(validation) = change.block_validation {
            config.block_validation = convert::configured_validation(validation);
        }
        if let Some(given) = change.minimum_chain_work {
            config.access.minimum_chain_work = checked_work(&given)?;
        }
        set(&mut config.is_committing, change.utxo_set_commitment);
        Ok(config)
    }

    /// Returns whether `caller` may push blocks.
    pub fn is_adapter(&self, caller: &Principal) -> bool {
        self.adapters.contains(caller)
    }

    /// Returns how much of a change `caller` makes. As in the official canister, the watchdog opens
    /// and closes the API, whatever else it sends and even if it is a controller.
    ///
    /// # Errors
    /// [`ConfigError::NotController`].
    pub fn allowed_to(
        &self,
        caller: &Principal,
        is_controller: bool,
        change: SetConfigRequest,
    ) -> Result<SetConfigRequest, ConfigError> {
        if self.access.watchdog.as_ref() == Some(caller) {
            Ok(SetConfigRequest {
                api_access: change.api_access,
                ..SetConfigRequest::default()
            })
        } else if is_controller {
            Ok(change)
        } else {
            Err(ConfigError::NotController)
        }
    }

    /// Returns the Candid form.
    pub fn to_wire(&self, network: Network) -> WireConfig {
        WireConfig {
            stability_threshold: Nat::from(self.stability_threshold),
            network: convert::network(network),
            chain: convert::chain(network),
            blocks_source: self.blocks_source,
            pull: convert::flag(self.is_pulling),
            adapters: self.adapters.clone(),
            syncing: convert::flag(self.is_syncing),
            budgets: Budgets {
                instructions_per_heartbeat: self.instructions.get(),
                stable_pages_per_heartbeat: u32::try_from(self.pages.get()).unwrap_or(u32::MAX),
            },
            stable_pages_per_ten_minutes: u32::try_from(self.window_pages.get())
                .unwrap_or(u32::MAX),
            cycles_reserve: Nat::from(self.cycles_reserve),
            fees: self.fees.clone(),
            api_access: convert::flag(self.access.is_api_enabled),
            disable_api_if_not_fully_synced: convert::flag(self.access.needs_sync),
            watchdog_canister: self.access.watchdog,
            burn_cycles: convert::flag(self.is_burning_cycles),
            lazily_evaluate_fee_percentiles: convert::flag(self.is_lazy_about_fees),
            block_validation: convert::block_validation(self.block_validation),
            minimum_chain_work: convert::minimum_work(self.access.minimum_chain_work),
            utxo_set_commitment: convert::flag(self.is_committing),
        }
    }

    /// Returns the stable form: the Candid form, encoded, so that fields can be added.
    ///
    /// # Errors
    /// [`ConfigError::Stored`]; not expected.
    pub fn encode(&self, network: Network) -> Result<Vec<u8>, ConfigError> {
        candid::encode_one(self.to_wire(network)).map_err(stored)
    }

    /// Reads the stable form. Fields that an older version did not store take their defaults, which
    /// is why an `init_config` is read where a `config` was written: there every field is optional.
    /// What another version allowed and this one does not is brought within this one's bounds: a
    /// store must always open.
    ///
    /// # Errors
    /// [`ConfigError::Stored`] for bytes that are no configuration.
    pub fn decode(bytes: &[u8], network: Network) -> Result<Self, ConfigError> {
        let mut given: InitConfig = candid::decode_one(bytes).map_err(stored)?;
        // The official name alone does not tell the test networks apart.
        given.network = Some(convert::init_network(network));
        bring_within_bounds(&mut given);
        let (config, _) = Self::initial(given)?;
        Ok(config)
    }
}

fn bring_within_bounds(config: &mut InitConfig) {
    if let Some(threshold) = &mut config.stability_threshold {
        *threshold = threshold.clone().min(MAX_STABILITY_THRESHOLD.into());
    }
    if let Some(adapters) = &mut config.adapters {
        adapters.retain(|adapter| *adapter != Principal::anonymous());
        adapters.truncate(MAX_ADAPTERS);
    }
    // A text that this version cannot read asks for more work than there is: what the operator does
    // not trust must not be served.
    let work = config.minimum_chain_work.as_mut();
    if let Some(work) = work.filter(|work| checked_work(work).is_err()) {
        *work = ChainWork::MAX.to_string();
    }
    if let Some(budgets) = &mut config.budgets {
        let pages = u32::try_from(MAX_PAGES.get()).unwrap_or(u32::MAX);
        budgets.instructions_per_heartbeat = budgets
            .instructions_per_heartbeat
            .clamp(1, MAX_INSTRUCTIONS.get());
        budgets.stable_pages_per_heartbeat = budgets.stable_pages_per_heartbeat.clamp(1, pages);
    }
    if let Some(pages) = &mut config.stable_pages_per_ten_minutes {
        *pages = (*pages).max(1);
    }
    if let Some(reserve) = &mut config.cycles_reserve {
        *reserve = reserve.clone().min(u128::MAX.into());
    }
}

fn set(setting: &mut bool, change: Option<Flag>) {
    if let Some(flag) = change {
        *setting = flag == Flag::Enabled;
    }
}

fn stored(error: candid::Error) -> ConfigError {
    ConfigError::Stored {
        reason: error.to_string(),
    }
}

fn checked_adapters(mut adapters: Vec<Principal>) -> Result<Vec<Principal>, ConfigError> {
    adapters.sort();
    adapters.dedup();
    let given = adapters.len();
    if given > MAX_ADAPTERS {
        return Err(ConfigError::TooManyAdapters { given });
    }
    if adapters.contains(&Principal::anonymous()) {
        return Err(ConfigError::AnonymousAdapter);
    }
    Ok(adapters)
}

fn checked_work(given: &str) -> Result<ChainWork, ConfigError> {
    ChainWork::from_hex(given).ok_or_else(|| ConfigError::MinimumChainWork {
        given: given.chars().take(MAX_TEXT_CHARS).collect(),
    })
}

fn checked_budgets(budgets: &Budgets) -> Result<(Instructions, Pages), ConfigError> {
    let instructions = Instructions::new(budgets.instructions_per_heartbeat);
    if instructions == Instructions::ZERO || instructions > MAX_INSTRUCTIONS {
        let given = budgets.instructions_per_heartbeat;
        return Err(ConfigError::Instructions { given });
    }
    let pages = Pages::new(u64::from(budgets.stable_pages_per_heartbeat));
    if pages == Pages::ZERO || pages > MAX_PAGES {
        let given = budgets.stable_pages_per_heartbeat;
        return Err(ConfigError::Pages { given });
    }
    Ok((instructions, pages))
}

#[cfg(test)]
mod tests;
