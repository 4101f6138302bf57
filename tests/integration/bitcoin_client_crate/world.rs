//! A network's canister where the crate looks for it, with a chain, and a client beside it.

use bitcoin::{Address, Amount, Block, Network, ScriptBuf};
use candid::Principal;
use ic_btc_interface::{
    GetBalanceRequest, GetBlockHeadersRequest, GetCurrentFeePercentilesRequest, GetUtxosRequest,
    NetworkInRequest, SendTransactionRequest, UtxosFilterInRequest,
};
use millrace_candid::InitNetwork;
use millrace_client_canister::wire::{Outcome, Request};
use millrace_tests::artifacts;
use millrace_tests::mining::{BlockPlan, Miner, output_of, pay, script, spend};
use millrace_tests::setup::{Client, Setup, bitcoin_instance, pushed};

use crate::chains::mainnet;

/// Where the crate looks for mainnet's canister, and where for the test networks'.
const MAINNET_CANISTER: &str = "ghsi2-tqaaa-aaaan-aaaca-cai";
pub const TESTNET_CANISTER: &str = "g4xu7-jiaaa-aaaan-aaaaq-cai";

/// What the official canisters charge, in cycles.
#[derive(Clone, Copy)]
pub struct Prices {
    /// UTXOs and headers: for the call, for ten instructions, and what must be attached.
    pub base: u128,
    pub per_ten_instructions: u128,
    pub maximum: u128,
    /// Balance and fee percentiles: for the call, and what must be attached.
    pub flat: u128,
    pub flat_maximum: u128,
    pub send_base: u128,
    pub send_per_byte: u128,
}

pub const MAINNET_PRICES: Prices = Prices {
    base: 50_000_000,
    per_ten_instructions: 10,
    maximum: 10_000_000_000,
    flat: 10_000_000,
    flat_maximum: 100_000_000,
    send_base: 5_000_000_000,
    send_per_byte: 20_000_000,
};

pub const TESTNET_PRICES: Prices = Prices {
    base: 20_000_000,
    per_ten_instructions: 4,
    maximum: 4_000_000_000,
    flat: 4_000_000,
    flat_maximum: 40_000_000,
    send_base: 2_000_000_000,
    send_per_byte: 8_000_000,
};

/// A network's canister at its official id with a chain, and a client beside it.
pub struct World {
    pub setup: Setup,
    pub client: Client,
    pub network: NetworkInRequest,
    pub blocks: Vec<Block>,
    /// Whose coins are asked for.
    pub address: String,
    pub script: ScriptBuf,
}

impl World {
    fn new(
        (network, init, id): (NetworkInRequest, InitNetwork, &str),
        blocks: Vec<Block>,
        script: ScriptBuf,
        network_of_address: Network,
    ) -> Self {
        let setup = Setup::with_id(bitcoin_instance(), principal(id), pushed(init));
        // Blocks from after the instance's time would be from the future.
        let newest = blocks[blocks.len() - 1].header.time;
        let now = setup.pic.get_time().as_nanos_since_unix_epoch() / 1_000_000_000;
        setup.advance(u64::from(newest).saturating_sub(now));
        setup.feed(&blocks[1..]);
        let client = Client::beside(&setup);
        let address = Address::from_script(&script, network_of_address).expect("it has an address");
        Self {
            setup,
            client,
            network,
            blocks,
            address: address.to_string(),
            script,
        }
    }

    /// Mainnet up to height 1100: the newest 144 blocks have transactions, which paid nothing.
    pub fn mainnet() -> Self {
        let blocks = mainnet()[..1_101].to_vec();
        let owner: Address<_> = "12higDjoCCNXSA95xZMWUdPvXNmkAduhWv"
            .parse()
            .expect("an address");
        let script = owner.assume_checked().script_pubkey();
        let canister = (
            NetworkInRequest::mainnet,
            InitNetwork::Mainnet,
            MAINNET_CANISTER,
        );
        Self::new(canister, blocks, script, Network::Bitcoin)
    }

    /// Testnet4's first blocks: nobody but their miners has coins, and nobody paid fees.
    pub fn testnet() -> Self {
        let mut blocks = vec![bitcoin::constants::genesis_block(Network::Testnet4)];
        blocks.extend([1, 2].map(|height| {
            let bytes = std::fs::read(artifacts::testnet4_block(height)).expect("a fixture");
            bitcoin::consensus::deserialize(&bytes).expect("a block")
        }));
        let script = blocks[1].txdata[0].output[0].script_pubkey.clone();
        let canister = (
            NetworkInRequest::testnet,
            InitNetwork::Testnet,
            TESTNET_CANISTER,
        );
        Self::new(canister, blocks, script, Network::Testnet4)
    }

    /// A mined chain whose only payment pays [`REGTEST_FEE`] for 113 bytes.
    pub fn regtest() -> Self {
        let mut miner = Miner::new();
        let funded = miner.mine_many(miner.tree.genesis(), 3, &script(1));
        let coin = output_of(miner.tree.block(funded), 0, 0);
        let change = Amount::from_int_btc(50).to_sat() - 1_000 - REGTEST_FEE;
        let payment = spend(
            &[coin],
            vec![pay(&script(2), 1_000), pay(&script(1), change)],
        );
        let tip = miner.mine(funded, BlockPlan::paying(&script(2)).with(payment));
        let blocks = miner.tree.branch(tip).into_iter().cloned().collect();
        let canister = (
            NetworkInRequest::regtest,
            InitNetwork::Regtest,
            TESTNET_CANISTER,
        );
        Self::new(canister, blocks, script(1), Network::Regtest)
    }

    pub fn tip(&self) -> &Block {
        &self.blocks[self.blocks.len() - 1]
    }

    pub fn height(&self) -> u32 {
        u32::try_from(self.blocks.len() - 1).expect("a short chain")
    }

    /// Calls through the crate and returns the outcome with the cycles that the call took. The
    /// client pays exactly what the callee gets.
    pub fn call(&self, request: &Request) -> (Outcome, u128) {
        let balances = || {
            let of = |canister| self.setup.pic.cycle_balance(canister);
            (of(self.client.canister), of(self.setup.canister))
        };
        let before = balances();
        let outcome = self.client.call(&self.setup, request);
        let after = balances();
        let charged = outcome.attached - outcome.refunded;
        assert_eq!(
            before.0 - after.0,
            charged,
            "{request:?}: what the client paid"
        );
        assert_eq!(
            after.1 - before.1,
            charged,
            "{request:?}: what Millrace got"
        );
        assert_eq!(outcome.callee, self.setup.canister, "{request:?}");
        (outcome, charged)
    }

    pub fn utxos_request(
        &self,
        address: &str,
        filter: Option<UtxosFilterInRequest>,
    ) -> GetUtxosRequest {
        GetUtxosRequest {
            address: address.to_owned(),
            network: self.network,
            filter,
        }
    }

    pub fn balance_request(&self, address: &str) -> GetBalanceRequest {
        GetBalanceRequest {
            address: address.to_owned(),
            network: self.network,
            min_confirmations: None,
        }
    }

    pub fn headers_request(&self) -> GetBlockHeadersRequest {
        GetBlockHeadersRequest {
            start_height: 0,
            end_height: None,
            network: self.network,
        }
    }

    pub fn fees_request(&self) -> GetCurrentFeePercentilesRequest {
        GetCurrentFeePercentilesRequest {
            network: self.network,
        }
    }

    pub fn send_request(&self, transaction: Vec<u8>) -> SendTransactionRequest {
        SendTransactionRequest {
            network: self.network,
            transaction,
        }
    }
}

/// Satoshi paid by the mined chain's payment.
pub const REGTEST_FEE: u64 = 5_650;

pub fn principal(text: &str) -> Principal {
    Principal::from_text(text).expect("a principal")
}
