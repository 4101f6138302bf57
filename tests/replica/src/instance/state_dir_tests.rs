use super::*;

fn write(dir: &Path, name: &str, text: &str) {
    fs::write(dir.join(name), text).expect("written");
}

#[test]
fn an_empty_or_new_folder_has_no_state_and_is_locked() {
    let parent = tempfile::tempdir().expect("a temporary folder");
    let path = parent.path().join("new");
    let dir = StateDir::open(&path).expect("opened");
    assert_eq!(dir.current().expect("readable"), None);
    assert!(matches!(
        StateDir::open(&path),
        Err(StateDirError::InUse(_))
    ));
    drop(dir);
    StateDir::open(&path).expect("free again");
}

#[test]
fn a_folder_with_other_files_is_left_alone() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    write(dir.path(), "thesis.txt", "precious");
    let refused = StateDir::open(dir.path());
    assert!(
        matches!(refused, Err(StateDirError::Foreign(_))),
        "{refused:?}"
    );
    assert!(dir.path().join("thesis.txt").exists());
    assert!(!dir.path().join("lock").exists());
}

#[test]
fn another_version_a_damaged_file_and_a_missing_checkpoint_are_told_apart() {
    let current = |text: &str| {
        let dir = tempfile::tempdir().expect("a temporary folder");
        write(dir.path(), "current", text);
        StateDir::open(dir.path()).expect_err(text)
    };
    let other_version = current(
        r#"{"format":"millrace-replica-state","version":99,"checkpoint":"checkpoint-00000001"}"#,
    );
    assert!(
        matches!(other_version, StateDirError::Incompatible { .. }),
        "{other_version}"
    );
    let half_written = current(r#"{"format":"millrace-repl"#);
    assert!(
        matches!(half_written, StateDirError::Damaged { .. }),
        "{half_written}"
    );
    let missing = current(
        r#"{"format":"millrace-replica-state","version":1,"checkpoint":"checkpoint-00000001"}"#,
    );
    assert!(
        matches!(missing, StateDirError::Damaged { .. }),
        "{missing}"
    );
    let escaping = current(
        r#"{"format":"millrace-replica-state","version":1,"checkpoint":"checkpoint-/../.."}"#,
    );
    assert!(
        matches!(escaping, StateDirError::Damaged { .. }),
        "{escaping}"
    );
}

#[test]
fn remains_of_an_interrupted_checkpoint_are_removed_and_never_loaded() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    write(
        dir.path(),
        "current",
        r#"{"format":"millrace-replica-state","version":1,"checkpoint":"checkpoint-00000002"}"#,
    );
    for name in [
        "checkpoint-00000002",
        "checkpoint-00000003",
        "partial-00000004",
    ] {
        fs::create_dir(dir.path().join(name)).expect("created");
    }
    let state = StateDir::open(dir.path()).expect("opened");
    let in_force = state.current().expect("readable");
    assert_eq!(in_force.as_deref(), Some("checkpoint-00000002"));
    assert!(dir.path().join("checkpoint-00000002").exists());
    assert!(!dir.path().join("checkpoint-00000003").exists());
    assert!(!dir.path().join("partial-00000004").exists());
}
