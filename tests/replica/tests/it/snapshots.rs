//! Snapshots in folders, with the unmodified `pocket-ic` 16 client.

use crate::support::{builder, get, inc, refusal, with_counter};
use candid::Principal;
use pocket_ic::PocketIc;
use std::path::Path;

/// Takes a snapshot of the counter at two and writes it into the folder.
fn downloaded(dir: &Path) -> (PocketIc, Principal, Vec<u8>) {
    let (pic, canister) = with_counter();
    let anonymous = Principal::anonymous();
    assert_eq!(inc(&pic, canister), 1);
    assert_eq!(inc(&pic, canister), 2);
    let snapshot = pic
        .take_canister_snapshot(canister, None, None)
        .expect("taken");
    pic.canister_snapshot_download(canister, anonymous, snapshot.id.clone(), dir.to_owned());
    (pic, canister, snapshot.id)
}

/// Returns an instance with an empty canister.
fn with_empty_canister() -> (PocketIc, Principal) {
    let pic = builder().with_application_subnet().build();
    let canister = pic.create_canister();
    pic.add_cycles(canister, 10_000_000_000_000);
    (pic, canister)
}

#[test]
fn a_downloaded_snapshot_brings_the_canister_to_another_instance() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let folder = dir.path().join("snapshot");
    let (first, source, _) = downloaded(&folder);
    let module_hash = first
        .canister_status(source, None)
        .expect("status")
        .module_hash;
    assert_eq!(inc(&first, source), 3, "the snapshot stays as it is");
    drop(first);

    let (second, target) = with_empty_canister();
    let anonymous = Principal::anonymous();
    let id = second.canister_snapshot_upload(target, anonymous, None, folder);
    let listed = second
        .list_canister_snapshots(target, None)
        .expect("listed");
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].id, id);
    assert!(listed[0].total_size > 0);
    second
        .load_canister_snapshot(target, None, id)
        .expect("loaded");
    let status = second.canister_status(target, None).expect("status");
    assert_eq!(status.module_hash, module_hash);
    assert_eq!(get(&second, target), 2);
    assert_eq!(inc(&second, target), 3);
}

#[test]
fn an_uploaded_snapshot_takes_the_place_of_the_one_it_replaces() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let folder = dir.path().join("snapshot");
    let (pic, canister, taken) = downloaded(&folder);
    let anonymous = Principal::anonymous();
    let uploaded =
        pic.canister_snapshot_upload(canister, anonymous, Some(taken.clone()), folder.clone());
    assert_ne!(uploaded, taken);
    let listed = pic.list_canister_snapshots(canister, None).expect("listed");
    assert_eq!(listed.len(), 1);
    let gone = refusal(|| {
        pic.canister_snapshot_upload(canister, anonymous, Some(taken.clone()), folder);
    });
    assert!(gone.contains("Could not find the snapshot"), "{gone}");
}

#[test]
fn only_controllers_may_and_only_into_an_empty_folder() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let folder = dir.path().join("snapshot");
    let (pic, canister, id) = downloaded(&folder);
    let stranger = Principal::self_authenticating(b"a stranger");
    let elsewhere = dir.path().join("elsewhere");
    let refused = refusal(|| {
        pic.canister_snapshot_download(canister, stranger, id.clone(), elsewhere.clone());
    });
    assert!(refused.contains("Only the controllers"), "{refused}");
    assert!(!elsewhere.exists());
    let refused = refusal(|| {
        pic.canister_snapshot_upload(canister, stranger, None, folder.clone());
    });
    assert!(refused.contains("Only the controllers"), "{refused}");
    let anonymous = Principal::anonymous();
    let refused =
        refusal(|| pic.canister_snapshot_download(canister, anonymous, id.clone(), folder.clone()));
    assert!(refused.contains("is not empty"), "{refused}");
    let refused =
        refusal(|| pic.canister_snapshot_download(canister, anonymous, vec![1], elsewhere));
    assert!(
        refused.contains("Could not find the snapshot ID 01"),
        "{refused}"
    );
}

#[test]
fn a_folder_that_was_tampered_with_is_refused_with_the_file_and_the_reason() {
    type Change = fn(&Path);
    let changes: [(Change, &str); 6] = [
        (
            |dir| std::fs::remove_dir_all(dir).expect("removed"),
            "metadata.json",
        ),
        (
            |dir| std::fs::write(dir.join("metadata.json"), "{}").expect("written"),
            "metadata.json",
        ),
        (
            |dir| std::fs::write(dir.join("wasm_module.bin"), "no module").expect("written"),
            "wasm_module.bin",
        ),
        (
            |dir| {
                let other = wat::parse_str("(module)").expect("a module");
                std::fs::write(dir.join("wasm_module.bin"), other).expect("written");
            },
            "another module",
        ),
        (
            |dir| std::fs::write(dir.join("memories/state.cbor"), [0xff; 9]).expect("written"),
            "state.cbor",
        ),
        (
            |dir| std::fs::remove_file(dir.join("memories/heap.bin")).expect("removed"),
            "the heap",
        ),
    ];
    let (pic, target) = with_empty_canister();
    for (change, named) in changes {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let folder = dir.path().join("snapshot");
        downloaded(&folder);
        change(&folder);
        let refused = refusal(|| {
            pic.canister_snapshot_upload(target, Principal::anonymous(), None, folder);
        });
        assert!(refused.contains(named), "{named}: {refused}");
    }
    let listed = pic.list_canister_snapshots(target, None).expect("listed");
    assert!(listed.is_empty());
}
