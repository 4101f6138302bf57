//! Ids, ranges and where messages go.

use super::*;

#[test]
fn mainnet_ids_belong_to_their_subnets() {
    let cases = [
        (SubnetKind::NNS, "rwlgt-iiaaa-aaaaa-aaaaa-cai"),
        (SubnetKind::NNS, "renrk-eyaaa-aaaaa-aaada-cai"),
        (SubnetKind::II, "rdmx6-jaaaa-aaaaa-aaadq-cai"),
        (SubnetKind::NNS, "qoctq-giaaa-aaaaa-aaaea-cai"),
        (SubnetKind::NNS, "n5n4y-3aaaa-aaaaa-p777q-cai"),
        (SubnetKind::II, "uc7f6-kaaaa-aaaaq-qaaaa-cai"),
        (SubnetKind::II, "ijz7v-ziaaa-aaaaq-7777q-cai"),
        (SubnetKind::SNS, "ybpmr-kqaaa-aaaaq-aaaaa-cai"),
        (SubnetKind::SNS, "ekjw2-zyaaa-aaaaq-p777q-cai"),
        (SubnetKind::Bitcoin, "g3wsl-eqaaa-aaaan-aaaaa-cai"),
        (SubnetKind::Bitcoin, "2qqia-xyaaa-aaaan-p777q-cai"),
        (SubnetKind::Bitcoin, BITCOIN_CANISTER),
        (SubnetKind::Fiduciary, "mf7xa-laaaa-aaaar-qaaaa-cai"),
        (SubnetKind::Fiduciary, "qoznl-yiaaa-aaaar-7777q-cai"),
        (SubnetKind::TestThresholdKeys, "fxzgb-eaaaa-aaaao-7777q-cai"),
    ];
    for (kind, id) in cases {
        let id = principal(id);
        let owners: Vec<_> = [
            SubnetKind::NNS,
            SubnetKind::II,
            SubnetKind::SNS,
            SubnetKind::Bitcoin,
            SubnetKind::Fiduciary,
            SubnetKind::TestThresholdKeys,
        ]
        .into_iter()
        .filter(|kind| {
            kind.mainnet_ranges()
                .iter()
                .any(|range| range.contains(&id))
        })
        .collect();
        assert_eq!(owners, [kind], "{id}");
    }
    assert_eq!(
        CanisterRange::local(0).first(),
        principal("lxzze-o7777-77777-aaaaa-cai")
    );
}

#[test]
fn creation_goes_to_the_default_subnet_or_the_one_asked_for() {
    let mut net = Net::new(&[
        SubnetKind::Bitcoin,
        SubnetKind::Application,
        SubnetKind::System,
    ]);
    let topology = net.0.topology();
    assert_eq!(
        topology.default_effective_canister_id,
        CanisterRange::local(1).first()
    );
    let anywhere = net.create();
    assert_eq!(net.0.subnet_of(&anywhere), Some(topology.subnets[1].id));
    for subnet in &topology.subnets {
        let id = net.create_in(EffectivePrincipal::SubnetId(subnet.id), 0);
        assert_eq!(net.0.subnet_of(&id), Some(subnet.id));
        let near = net.create_in(EffectivePrincipal::CanisterId(subnet.ranges[0].first()), 0);
        assert_eq!(net.0.subnet_of(&near), Some(subnet.id));
        assert_ne!(near, id);
    }
    let management = EffectivePrincipal::CanisterId(Principal::management_canister());
    let id = net.create_in(management, 0);
    assert_eq!(net.0.subnet_of(&id), Some(topology.subnets[1].id));
}

#[test]
fn a_specified_id_is_given_once_and_only_within_the_ranges() {
    let mut net = Net::new(&[SubnetKind::Application, SubnetKind::Bitcoin]);
    let id = net.create_as(BITCOIN_CANISTER);
    assert_eq!(id, principal(BITCOIN_CANISTER));
    let ask = |net: &mut Net, id: &str, effective| {
        let args = ProvisionalCreateCanisterWithCyclesArgs {
            specified_id: Some(principal(id)),
            ..Default::default()
        };
        net.create_with(&args, effective)
    };
    let error = ask(&mut net, BITCOIN_CANISTER, EffectivePrincipal::None).expect_err("taken");
    assert_eq!(error.code, ErrorCode::CanisterIdAlreadyExists);
    let elsewhere = EffectivePrincipal::SubnetId(net.0.topology().subnets[0].id);
    let error = ask(&mut net, BITCOIN_CANISTER, elsewhere).expect_err("not hosted");
    assert_eq!(error.code, ErrorCode::CanisterNotHostedBySubnet);
    let nowhere = ask(
        &mut net,
        "ryjl3-tyaaa-aaaaa-aaaba-cai",
        EffectivePrincipal::None,
    );
    assert!(
        nowhere
            .expect_err("no subnet")
            .message
            .ends_with("does not belong to any subnet.")
    );
}

#[test]
fn a_mainnet_id_without_a_subnet_asks_for_one() {
    let mut net = Net::application();
    let wanted = |net: &Net, id: &str| {
        let args = ProvisionalCreateCanisterWithCyclesArgs {
            specified_id: Some(principal(id)),
            ..Default::default()
        };
        net.0.subnet_wanted(&Ingress {
            sender: user(),
            canister_id: Principal::management_canister(),
            method: "provisional_create_canister_with_cycles".into(),
            payload: candid::encode_one(args).expect("encodes"),
            effective: EffectivePrincipal::None,
            message_id: None,
            expiry_ns: None,
            caller_info: None,
        })
    };
    let (kind, ranges) = wanted(&net, BITCOIN_CANISTER).expect("no Bitcoin subnet");
    assert_eq!(
        (kind, ranges.as_slice()),
        (
            SubnetKind::Bitcoin,
            &SubnetKind::Bitcoin.mainnet_ranges()[..]
        )
    );
    let spec = SubnetSpec {
        ranges,
        ..subnet_spec(kind, 9)
    };
    net.0.add_subnet(spec.clone()).expect("free");
    assert!(matches!(
        net.0.add_subnet(spec),
        Err(NetworkError::InvalidSubnet(_))
    ));
    assert_eq!(wanted(&net, BITCOIN_CANISTER), None);
    assert_eq!(wanted(&net, "ryjl3-tyaaa-aaaaa-aaaba-cai"), None);
    assert_eq!(wanted(&net, "lxzze-o7777-77777-aaaaa-cai"), None);
    let ordinary = canister_id_from_number(0x0050_0003).to_text();
    let (kind, ranges) = wanted(&net, &ordinary).expect("unowned mainnet id");
    assert_eq!(
        (kind, ranges),
        (
            SubnetKind::Application,
            vec![CanisterRange::new(0x0050_0000, 0x005F_FFFF)]
        )
    );
}

#[test]
fn routes_of_missing_subnets_and_canisters_say_so() {
    let net = Net::application();
    let management = Principal::management_canister();
    let missing = Principal::self_authenticating(b"no subnet");
    let error = net
        .0
        .route(&management, "x", b"", EffectivePrincipal::SubnetId(missing));
    assert_eq!(error.expect_err("missing").code, ErrorCode::SubnetNotFound);
    let nowhere = canister_id_from_number(1);
    for (target, effective) in [
        (nowhere, EffectivePrincipal::None),
        (management, EffectivePrincipal::CanisterId(nowhere)),
    ] {
        let error = net
            .0
            .route(&target, "x", b"", effective)
            .expect_err("missing");
        assert_eq!(
            error.message,
            format!("Canister {nowhere} does not belong to any subnet.")
        );
    }
}

#[test]
fn error_codes_know_their_class_and_name() {
    assert_eq!(
        ErrorCode::CanisterCalledTrap.reject_code(),
        RejectCode::CanisterError
    );
    assert_eq!(
        ErrorCode::DeadlineExpired.reject_code(),
        RejectCode::SysUnknown
    );
    for &code in ErrorCode::ALL {
        assert_eq!(ErrorCode::from_name(code.name()), Some(code));
        assert_eq!(u16::from(code.reject_code().number()), code.number() / 100);
    }
}

#[test]
fn deleting_a_subnet_rejects_the_calls_that_it_owes_an_answer() {
    let mut net = Net::new(&[SubnetKind::Application, SubnetKind::Application]);
    let subnets: Vec<SubnetId> = net.0.topology().subnets.iter().map(|s| s.id).collect();
    let probe_on = |net: &mut Net, subnet: SubnetId| {
        let id = net.create_in(EffectivePrincipal::SubnetId(subnet), 100 * TRILLION);
        net.install(id, probe());
        id
    };
    let caller = probe_on(&mut net, subnets[0]);
    let callee = probe_on(&mut net, subnets[1]);
    let cycles = 5_000_000_000;
    let before = net.cycles(&caller);
    // One call begun and not answered, because its own call waits; one in the callee's queue.
    let waiting = call(Principal::management_canister(), "raw_rand", 0, b"DIDL\0\0");
    let begun = call(callee, "call", cycles, &waiting);
    let begun = net.submit(user(), caller, "call", begun).expect("accepted");
    net.ticks(2);
    // From now on the callee is busy.
    let busy = &mut net.subnet_mut(&callee).canisters;
    busy.get_mut(&callee).expect("exists").slices_left = 10;
    let queued = call(callee, "echo", cycles, b"");
    let queued = net
        .submit(user(), caller, "call", queued)
        .expect("accepted");
    net.ticks(2);
    net.0.delete_subnet(&subnets[1]).expect("exists");
    for message in [begun, queued] {
        let expected = format!("rejected 3: subnet {} was deleted", subnets[1]);
        assert_eq!(text(net.finish(message)), expected);
    }
    let spent = before - net.cycles(&caller);
    assert!(
        spent < u128::from(cycles),
        "the calls' cycles came back: {spent}"
    );
    net.manage("stop_canister", &record(caller)).expect("stops");
}
