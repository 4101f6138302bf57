//! A node, a replica with a canister, and adapters between them.

use std::process::Command;
use std::time::Duration;

use bitcoin::{Block, BlockHash};
use millrace_candid::InitNetwork;
use millrace_tests::process::Process;
use tokio::runtime::Runtime;

use crate::adapter_process::{adapter, key};
use crate::local_replica::Deployed;
use crate::utxo_set::random::RandomChain;
use millrace_tests::bitcoind::{LISTENING, Node};

/// Whom the canister takes blocks from.
pub const ADAPTER: [u8; 32] = [4; 32];

/// How long an adapter may take to end when asked to.
const STOP_PATIENCE: Duration = Duration::from_secs(30);

/// See the module's documentation. Nodes are asked outside of the runtime, the canister inside.
pub struct World {
    pub runtime: Runtime,
    pub deployed: Deployed,
    pub node: Node,
    pub chain: RandomChain,
    /// Every block that was ever made, on whichever branch.
    pub blocks: Vec<Block>,
}

impl World {
    /// Starts a node and an empty canister.
    pub fn new(seed: u64, options: &[&str]) -> Self {
        let runtime = Runtime::new().expect("a runtime");
        let deployed = runtime.block_on(Deployed::new(InitNetwork::Regtest, &[ADAPTER]));
        let options = [LISTENING, &["-rest=1", "-acceptnonstdtxn=1"], options].concat();
        Self {
            runtime,
            deployed,
            node: Node::with("regtest", &options),
            chain: RandomChain::new(seed),
            blocks: Vec::new(),
        }
    }

    /// Makes blocks, some of them on branches that are overtaken at once, and hands them to the node.
    pub fn grow(&mut self, blocks: usize) {
        let made = self.chain.grow(blocks);
        self.hand_over(made);
    }

    /// Makes a branch that forks off `depth` blocks below the tip and is longer by one, and hands it to the node.
    pub fn reorganise(&mut self, depth: usize) {
        let made = self.chain.branch_off(depth);
        self.hand_over(made);
    }

    /// Makes one block with the transactions that were given to the chain and no others, and hands it to the node.
    pub fn grow_by_one_plain(&mut self) {
        let made = self.chain.mine_included();
        self.hand_over(vec![made]);
    }

    /// The blocks of the best chain, lowest first, without genesis.
    pub fn best_chain(&self) -> Vec<Block> {
        self.chain.best_chain()
    }

    fn hand_over(&mut self, made: Vec<Block>) {
        self.node.submit(&made);
        self.blocks.extend(made);
        assert_eq!(self.node.tip(), self.chain.tip().to_string());
    }

    /// Waits until the canister answers from the chain's last block.
    pub fn reach_tip(&self) {
        self.reach(self.chain.tip());
    }

    /// Waits until the canister answers from a block.
    pub fn reach(&self, tip: BlockHash) {
        self.runtime.block_on(self.deployed.reach(tip));
    }

    /// Starts an adapter with further arguments.
    pub fn adapter(&self, name: &str, arguments: &[&str]) -> Process {
        let folder = self.deployed.folder.path();
        let mut command = self.command("run");
        command.args(["--state-folder"]);
        command.arg(folder.join(format!("state-{name}")));
        command.args(arguments);
        let log = folder.join(format!("adapter-{name}.log"));
        Process::start("the adapter", &mut command, &log).expect("the adapter starts")
    }

    /// Starts an adapter that is connected to the node and to nobody else.
    pub fn peer_of_the_node(&self) -> Process {
        let address = self.node.peer_address();
        self.adapter(
            "peer",
            &["--source", "p2p", "--peers", &address, "--only-peers"],
        )
    }

    /// A command of the adapter for this canister.
    pub fn command(&self, command: &str) -> Command {
        let folder = self.deployed.folder.path();
        let mut program = adapter(folder);
        program
            .args([command, "--network", "regtest"])
            .args(["--replica-url", &self.deployed.replica.ready.url])
            .args(["--canister", &self.deployed.canister.to_text()])
            .arg("--identity-pem")
            .arg(key(folder, ADAPTER));
        program
    }

    /// Asks an adapter to end, which must go well.
    pub fn stop(adapter: Process) {
        let status = adapter.stop(STOP_PATIENCE).expect("the adapter ends");
        assert!(status.success(), "{status}");
    }
}
