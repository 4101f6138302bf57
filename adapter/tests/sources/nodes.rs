//! The contract over a node's REST and RPC interfaces, and what only a node can do wrong.

use std::path::PathBuf;

use millrace_adapter::node::{Credentials, NodeSettings};
use millrace_adapter::source::node::{
    NodeInterface, NodeSource, Rest, RestSettings, RestSource, Rpc, RpcSettings, RpcSource,
};
use millrace_adapter::source::{BlockSource, SourceError, SourceErrorReach};
use millrace_core::{Height, Network};
use tempfile::TempDir;

use crate::contract::{Handle, Reader, hash_of, keep_to_the_contract};
use crate::fake_node::{FakeNode, Fault};

/// A fake node as a chain that can be changed.
struct Fake {
    node: FakeNode,
    folder: TempDir,
    starts: u32,
}

impl Fake {
    fn new() -> Self {
        let fake = Self {
            node: FakeNode::start(),
            folder: tempfile::tempdir().expect("a folder"),
            starts: 1,
        };
        fake.write_cookie();
        fake
    }

    fn cookie(&self) -> PathBuf {
        self.folder.path().join(".cookie")
    }

    fn write_cookie(&self) {
        std::fs::write(self.cookie(), &self.node.state().cookie).expect("writable");
    }

    fn rest(&self) -> RestSource {
        let rest = Rest::new(&RestSettings::new(self.node.url())).expect("a client");
        NodeSource::new(rest, Network::Regtest)
    }

    fn rpc(&self) -> RpcSource {
        let settings = RpcSettings {
            node: NodeSettings {
                url: self.node.url(),
                credentials: Credentials::Cookie(self.cookie()),
                is_named: true,
            },
            connections: 3,
        };
        let rpc = Rpc::new(&settings).expect("a client");
        NodeSource::new(rpc, Network::Regtest)
    }

    fn set(&self, fault: Fault) {
        self.node.state().fault = fault;
    }
}

impl Handle for Fake {
    async fn mine(&mut self, blocks: u32) {
        self.node.state().chain.mine(blocks);
    }

    async fn reorganise(&mut self, depth: u32, blocks: u32) {
        self.node.state().chain.reorganise(depth, blocks);
    }

    async fn restart(&mut self) {
        // The cookie is another one, and the first requests meet a node that is starting.
        self.starts += 1;
        self.node.state().cookie = format!("__cookie__:{}", self.starts);
        self.set(Fault::Busy(3));
        self.write_cookie();
    }

    async fn chain(&self) -> Vec<Vec<u8>> {
        self.node.state().chain.bytes()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rest_interface_keeps_to_the_contract() {
    keep_to_the_contract(Fake::rest, Fake::new()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rpc_interface_keeps_to_the_contract() {
    keep_to_the_contract(Fake::rpc, Fake::new()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn long_chains_come_in_ranges_and_connections_are_few_and_kept() {
    let mut fake = Fake::new();
    fake.mine(4_500).await;
    let mut reader = Reader::new(fake.rest());
    reader.follow(&fake).await;
    // Three ranges, and where the node stands before each and at the end.
    assert!(
        fake.node.state().requests <= 8,
        "{}",
        fake.node.state().requests
    );
    let chain = fake.chain().await;
    reader.read_all(chain.iter().skip(1).take(400)).await;
    let state = fake.node.state();
    assert!(state.connections <= 6, "{} connections", state.connections);
    assert!(
        state.most_fetching <= 4,
        "{} at a time",
        state.most_fetching
    );
}

/// Returns how a discovery and a read of the best block fail under a fault.
async fn failures<I: NodeInterface>(
    fake: &Fake,
    source: &NodeSource<I>,
    fault: Fault,
) -> (Option<SourceError>, Option<SourceError>) {
    fake.set(fault);
    let tip = hash_of(fake.chain().await.last().expect("genesis at least"));
    let discovered = source.discover(Vec::new()).await;
    let read = source.read(tip).await;
    fake.set(Fault::None);
    (discovered.err(), read.err())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_node_does_wrong_is_told_apart_and_says_what_to_do() {
    use SourceErrorReach::{Block, Moment, Source};
    let mut fake = Fake::new();
    fake.mine(3).await;
    type Expected = Option<(SourceErrorReach, &'static str)>;
    let cases: [(Fault, Expected, Expected); 8] = [
        (Fault::None, None, None),
        (
            Fault::Busy(9),
            Some((Moment, "Loading block index")),
            Some((Moment, "503")),
        ),
        (
            Fault::CutOff,
            Some((Moment, "is it running")),
            Some((Moment, "is it running")),
        ),
        (Fault::Damaged, None, Some((Block, "damaged block"))),
        (Fault::Exchanged, None, Some((Block, "it is block"))),
        (
            Fault::Oversized,
            Some((Source, "more than")),
            Some((Source, "more than 4000000")),
        ),
        (
            Fault::Absent,
            Some((Source, "rest=1")),
            Some((Block, "is not in the source")),
        ),
        (
            Fault::Noise,
            Some((Source, "expected value")),
            Some((Block, "damaged block")),
        ),
    ];
    for (fault, discovery, read) in cases {
        let found = failures(&fake, &fake.rest(), fault).await;
        for (found, expected) in [(found.0, discovery), (found.1, read)] {
            let shown = found.as_ref().map(ToString::to_string).unwrap_or_default();
            let reach = found.as_ref().map(SourceError::reach);
            assert_eq!(
                reach,
                expected.map(|(reach, _)| reach),
                "{fault:?}: {shown}"
            );
            assert!(
                shown.contains(expected.map_or("", |(_, text)| text)),
                "{fault:?}: {shown}"
            );
        }
    }
    for source in [
        failures(&fake, &fake.rest(), Fault::Pruned).await,
        failures(&fake, &fake.rpc(), Fault::Pruned).await,
    ] {
        let error = source.1.expect("the block is gone");
        assert!(matches!(error, SourceError::Pruned { .. }), "{error}");
        assert_eq!(error.reach(), Source);
        assert!(
            error
                .to_string()
                .contains("use a node that keeps all blocks"),
            "{error}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rpc_failures_are_those_of_the_same_kinds() {
    use SourceErrorReach::{Block, Moment, Source};
    let mut fake = Fake::new();
    fake.mine(3).await;
    for (fault, discovery, read) in [
        (Fault::Busy(9), Some(Moment), Some(Moment)),
        (Fault::CutOff, Some(Moment), Some(Moment)),
        (Fault::Damaged, None, Some(Block)),
        (Fault::Exchanged, None, Some(Block)),
        (Fault::Oversized, Some(Source), Some(Source)),
        (Fault::Noise, Some(Source), Some(Source)),
    ] {
        let (discovered, found) = failures(&fake, &fake.rpc(), fault).await;
        assert_eq!(
            discovered.as_ref().map(SourceError::reach),
            discovery,
            "{fault:?}: {discovered:?}"
        );
        assert_eq!(
            found.as_ref().map(SourceError::reach),
            read,
            "{fault:?}: {found:?}"
        );
    }
    // A wrong cookie is an error until the node has let us in once; then it means a restart.
    std::fs::write(fake.cookie(), "__cookie__:wrong").expect("writable");
    let source = fake.rpc();
    let error = source.discover(Vec::new()).await.expect_err("it is wrong");
    assert_eq!(error.reach(), Source, "{error}");
    fake.write_cookie();
    source.discover(Vec::new()).await.expect("it is right");
    std::fs::remove_file(fake.cookie()).expect("it is there");
    let error = source
        .discover(Vec::new())
        .await
        .expect_err("there is none");
    assert_eq!(error.reach(), Moment, "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_not_there_or_elsewhere_or_behind_is_said_so() {
    let mut fake = Fake::new();
    fake.mine(5).await;
    fake.node.state().is_catching_up = true;
    let mut reader = Reader::new(fake.rest());
    reader.follow(&fake).await;
    fake.mine(2).await;
    reader.follow(&fake).await;
    let [remark] = reader.remarks.as_slice() else {
        panic!("{:?}", reader.remarks);
    };
    assert!(
        remark.contains("at block 5 of 105 known headers"),
        "{remark}"
    );
    assert_eq!(reader.tree.tip_height(), Height::new(7));

    fake.node.state().network = "main";
    let error = fake
        .rest()
        .discover(Vec::new())
        .await
        .expect_err("it is mainnet's");
    assert!(
        matches!(&error, SourceError::OtherNetwork { found, .. } if found == "main"),
        "{error}"
    );
    assert!(error.to_string().contains("--network"), "{error}");

    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("a bound port");
    drop(listener);
    let url: url::Url = format!("http://{address}").parse().expect("a URL");
    let rest = Rest::new(&RestSettings::new(url.clone())).expect("a client");
    let source = NodeSource::new(rest, Network::Regtest);
    let error = source
        .discover(Vec::new())
        .await
        .expect_err("nobody is there");
    assert_eq!(error.reach(), SourceErrorReach::Moment, "{error}");
    assert!(error.to_string().contains(url.as_str()), "{error}");
}
