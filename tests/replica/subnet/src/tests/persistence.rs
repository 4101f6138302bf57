//! Saving and loading the whole network.

use super::*;
use crate::error::NetworkError;
use std::path::Path;

fn load(dir: &Path) -> Result<Network, NetworkError> {
    Network::load(dir, engine(), Arc::new(PlainCertifier))
}

fn saved_bytes(network: &Network) -> Vec<u8> {
    let dir = tempfile::tempdir().expect("a folder");
    network.save(dir.path()).expect("saved");
    std::fs::read(dir.path().join("network.cbor")).expect("written")
}

#[test]
fn a_loaded_network_equals_the_saved_one_and_goes_on_like_it() {
    let mut net = Net::new(&[SubnetKind::Application, SubnetKind::Bitcoin]);
    let (id, twin) = (net.probe(), net.probe());
    let waiting = net.create_as(BITCOIN_CANISTER);
    net.install(waiting, probe());
    net.update(id, "store", b"heap").expect("replied");
    net.update(id, "stable_store", b"stab").expect("replied");
    net.update(id, "print", b"logged").expect("replied");
    let snapshot = ic_management_canister_types::TakeCanisterSnapshotArgs {
        canister_id: twin,
        replace_snapshot: None,
        uninstall_code: None,
        sender_canister_version: None,
    };
    net.manage("take_canister_snapshot", &snapshot)
        .expect("taken");
    let unanswered = management_call("bitcoin_get_successors", 9, &SuccessorsRequest::initial(()));
    let open = net
        .submit(user(), waiting, "call", unanswered)
        .expect("accepted");
    net.ticks(2);
    let queued = net
        .submit(user(), id, "echo", b"queued".to_vec())
        .expect("accepted");

    let dir = tempfile::tempdir().expect("a folder");
    net.0.save(dir.path()).expect("saved");
    let mut copy = Net(load(dir.path()).expect("loaded"));
    assert_eq!(saved_bytes(&copy.0), saved_bytes(&net.0));
    assert_eq!(copy.0.topology(), net.0.topology());
    for net in [&mut net, &mut copy] {
        assert_eq!(text(net.query(id, "load", b"")), "heap");
        assert_eq!(text(net.query(id, "stable_load", b"")), "stab");
        assert_eq!(text(net.finish(queued)), "queued");
        net.answer_consensus_call(&waiting, b"blocks".to_vec());
        assert_eq!(text(net.finish(open)), "blocks");
        net.update(twin, "call", &call(id, "store", 0, b"later"))
            .expect("replied");
    }
    assert_eq!(saved_bytes(&copy.0), saved_bytes(&net.0));
}

#[test]
fn incomplete_damaged_and_foreign_folders_are_refused() {
    let mut net = Net::application();
    net.probe();
    let dir = tempfile::tempdir().expect("a folder");
    let refused = |what: &str| match load(dir.path()) {
        Err(NetworkError::SavedState { reason, .. }) => {
            assert!(reason.contains(what), "{reason} should name {what}");
        }
        Err(error) => panic!("unexpected error {error}"),
        Ok(_) => panic!("{what} was not noticed"),
    };
    refused("No such file");
    net.0.save(dir.path()).expect("saved");
    load(dir.path()).expect("intact");
    let path = dir.path().join("network.cbor");
    let good = std::fs::read(&path).expect("written");
    let change = |at: usize, to: u8| {
        let mut bytes = good.clone();
        bytes[at] = to;
        std::fs::write(&path, bytes).expect("written");
    };
    change(0, b'X');
    refused("not a saved network");
    change(8, 99);
    refused("format version 99");
    change(good.len() - 1, good[good.len() - 1] ^ 1);
    refused("damaged");
    std::fs::write(&path, &good[..20]).expect("written");
    refused("too few");
    std::fs::write(&path, &good).expect("written");
    let module = std::fs::read_dir(dir.path().join("modules"))
        .expect("folder")
        .next();
    let module = module.expect("one").expect("readable").path();
    std::fs::write(&module, b"other").expect("written");
    refused("damaged");
}
