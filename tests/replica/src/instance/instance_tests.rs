use super::*;
use crate::pocketic::types::{InstanceConfig, SubnetConfigSet, SubnetSpec};
use millrace_subnet::LimitsConfig;

async fn instance(state_dir: Option<std::path::PathBuf>) -> Arc<Instance> {
    let subnet_config_set = SubnetConfigSet {
        application: vec![SubnetSpec::default()],
        ..SubnetConfigSet::default()
    };
    let config = InstanceConfig {
        subnet_config_set,
        state_dir,
        ..InstanceConfig::default()
    };
    let engine = millrace_vm::Engine::new(millrace_vm::EngineOptions::default());
    config::create(config, engine.expect("an engine"), LimitsConfig::default())
        .await
        .expect("an instance")
}

#[tokio::test]
async fn a_state_that_a_panic_left_half_changed_is_not_kept() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let first = instance(Some(dir.path().to_owned())).await;
    assert!(first.checkpoint(true).await.expect("written"));
    let time = first.run(|network| network.time_ns()).await.expect("read");
    let torn: Result<(), _> = first
        .change(|network| {
            network.tick().expect("no replica crashes");
            panic!("half way");
        })
        .await;
    assert!(
        matches!(&torn, Err(InstanceError::Internal(text)) if text == "half way"),
        "{torn:?}"
    );
    assert!(matches!(
        first.checkpoint(true).await,
        Err(InstanceError::Deleted)
    ));
    first.delete().await.expect("deleted");

    let second = instance(Some(dir.path().to_owned())).await;
    assert_eq!(
        second.run(|network| network.time_ns()).await.ok(),
        Some(time)
    );
}

#[tokio::test]
async fn automatic_progress_can_start_again_after_a_failure() {
    let instance = instance(None).await;
    instance.start_auto_progress(None).await.expect("started");
    let again = instance.start_auto_progress(None).await;
    assert!(matches!(again, Err(InstanceError::AutoProgressEnabled)));
    instance.stop_auto_progress().await;
    assert!(!instance.auto_progress_enabled());
    instance.start_auto_progress(None).await.expect("again");
    let _: Result<(), _> = instance.run(|_| panic!("a bug")).await;
    let mut changes = instance.subscribe();
    while instance.auto_progress_enabled() {
        changes.changed().await.expect("the instance lives");
    }
    // The network is gone, and that is what the error says.
    let again = instance.start_auto_progress(None).await;
    assert!(matches!(again, Err(InstanceError::Deleted)), "{again:?}");
}

#[tokio::test]
async fn a_change_whose_client_hangs_up_is_in_the_next_checkpoint() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let first = instance(Some(dir.path().to_owned())).await;
    assert!(first.checkpoint(true).await.expect("written"));
    assert!(!first.checkpoint(false).await.expect("nothing to write"));
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let (begun, has_begun) = tokio::sync::oneshot::channel();
    let time_ns = first.run(|network| network.time_ns()).await.expect("read");
    let change = first.change(move |network| {
        let _ = begun.send(());
        let _ = wait.recv();
        network.set_time_ns(time_ns + 77).expect("later");
    });
    tokio::select! {
        _ = change => panic!("it waits"),
        begun = has_begun => begun.expect("runs"),
    }
    // The future of the request is gone; what it began goes on.
    go.send(()).expect("received");
    assert_eq!(
        first.run(|network| network.time_ns()).await.ok(),
        Some(time_ns + 77)
    );
    assert!(first.checkpoint(false).await.expect("written"));
}
