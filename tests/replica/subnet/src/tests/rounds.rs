//! Rounds: order, limits, heap delta and checkpoints.

use super::*;

#[test]
fn the_consensus_queue_is_drained_before_the_heap_delta_is_looked_at() {
    let (mut net, id, message) = waiting_for_blocks(LimitsConfig::default());
    let subnet_id = net.0.subnet_of(&id).expect("hosted");
    let call = net.0.consensus_calls(&subnet_id).expect("subnet")[0].clone();
    assert_eq!(
        (call.sender, call.method.as_str()),
        (id, "bitcoin_get_successors")
    );
    let capacity = net.0.limits.system.heap_delta_capacity;
    net.subnet_mut(&id).state.heap_delta = capacity;
    net.0
        .answer_consensus_call(&subnet_id, call.callback, Ok(b"blocks".to_vec()))
        .expect("waiting");
    net.tick();
    let metrics = net.0.subnet_metrics(&subnet_id).expect("subnet");
    assert_eq!(metrics.rounds_skipped_by_heap_delta, 1);
    // The answer has left the queue and waits for the canister, which executes nothing.
    assert!(net.subnet_mut(&id).state.consensus_queue.is_empty());
    assert!(
        net.0
            .consensus_calls(&subnet_id)
            .expect("subnet")
            .is_empty()
    );
    net.ticks(3);
    assert_eq!(net.state_of(&message), IngressState::Processing);
    net.subnet_mut(&id).state.heap_delta = 0;
    assert_eq!(text(net.finish(message)), "blocks");
}

#[test]
fn the_old_order_leaves_the_queue_as_it_is_and_the_replica_crashes_until_its_program_is_replaced() {
    let limits = LimitsConfig::default().with_round_order(RoundOrder::BeforeApril2024);
    let (mut net, id, message) = waiting_for_blocks(limits);
    let subnet = net.0.subnet_of(&id).expect("hosted");
    let capacity = net.0.limits.system.heap_delta_capacity;
    net.subnet_mut(&id).state.heap_delta = capacity;
    net.answer_consensus_call(&id, b"blocks".to_vec());
    let rounds = net.0.subnet_metrics(&subnet).expect("subnet").rounds + 1;
    for _ in 0..2 {
        let error = net.0.tick().expect_err("crashed").to_string();
        let report = format!("Consensus queue not empty at the end of round {rounds}.");
        assert!(error.contains(&report), "{error}");
    }
    assert!(matches!(
        net.0.await_ingress(&message, 1),
        Err(NetworkError::Crashed(_))
    ));
    let fixed = net.0.limits().clone().with_round_order(RoundOrder::Ic);
    net.0.set_limits(fixed);
    net.tick();
    assert!(net.subnet_mut(&id).state.consensus_queue.is_empty());
    net.subnet_mut(&id).state.heap_delta = 0;
    assert_eq!(text(net.finish(message)), "blocks");
}

#[test]
fn the_old_order_is_harmless_below_the_limit() {
    let limits = LimitsConfig::default().with_round_order(RoundOrder::BeforeApril2024);
    let (mut net, id, message) = waiting_for_blocks(limits);
    net.answer_consensus_call(&id, b"blocks".to_vec());
    assert_eq!(text(net.finish(message)), "blocks");
}

#[test]
fn an_invariant_broken_by_force_is_counted_and_the_next_round_drains() {
    let (mut net, id, message) = waiting_for_blocks(LimitsConfig::default());
    let subnet = net.0.subnet_of(&id).expect("hosted");
    net.0.keep_consensus_queue(&subnet, 2).expect("subnet");
    net.answer_consensus_call(&id, b"blocks".to_vec());
    let left = |net: &Net| {
        let metrics = net.0.subnet_metrics(&subnet).expect("subnet");
        (
            metrics.consensus_queue_items,
            metrics.consensus_items_left_total,
        )
    };
    net.ticks(2);
    assert_eq!(
        left(&net),
        (1, 2),
        "the item is kept, and counted once a round"
    );
    assert_eq!(net.state_of(&message), IngressState::Processing);
    net.tick();
    assert_eq!(left(&net), (0, 2));
    assert_eq!(text(net.finish(message)), "blocks");
}

#[test]
fn all_of_the_capacity_is_available_in_the_round_of_the_checkpoint() {
    let mut limits = LimitsConfig::default();
    limits.application.heap_delta_capacity = 1_000;
    limits.application.heap_delta_initial_reserve = 0;
    limits.application.checkpoint_interval_rounds = 10;
    let mut net = Net::with_limits(&[SubnetKind::Application], limits);
    let subnet = net.0.topology().subnets[0].id;
    // 0 of 1,000 right after a checkpoint, and 100 more each round.
    let mut skipped = Vec::new();
    for round in 1..=20 {
        let state = &mut net.0.subnets.get_mut(&subnet).expect("exists").state;
        state.heap_delta = 950;
        let before = state.rounds_skipped_by_heap_delta;
        net.tick();
        let after = net.0.subnet_metrics(&subnet).expect("subnet");
        if after.rounds_skipped_by_heap_delta == before {
            skipped.push(round);
        }
    }
    assert_eq!(skipped, [10, 20], "rounds that execute with 950 bytes");
}

#[test]
fn what_a_canister_writes_does_not_keep_other_threads_from_their_messages() {
    let mut limits = LimitsConfig::default();
    limits.application.heap_delta_iteration = 4_096;
    let mut net = Net::with_limits(&[SubnetKind::Application], limits);
    let ids = [net.probe(), net.probe()];
    net.ticks(2);
    let messages: Vec<_> = ids
        .iter()
        .flat_map(|id| [(*id, "dirty_pages"), (*id, "echo")])
        .map(|(id, method)| {
            net.submit(user(), id, method, Vec::new())
                .expect("accepted")
        })
        .collect();
    net.tick();
    let is_answered: Vec<bool> = messages
        .iter()
        .map(|message| matches!(net.state_of(message), IngressState::Replied(_)))
        .collect();
    // Each thread ends its iteration after the message that wrote too much, and the round ends with it.
    assert_eq!(is_answered, [true, false, true, false]);
}

#[test]
fn a_management_call_waits_for_the_end_of_a_long_execution() {
    let mut net = Net::application();
    let (id, other) = (net.probe(), net.probe());
    net.ticks(20);
    net.canister_mut(&id).slices_left = 3;
    let submit = |net: &mut Net, id| {
        let payload = candid::encode_one(record(id)).expect("encodes");
        let management = Principal::management_canister();
        net.submit(user(), management, "start_canister", payload)
            .expect("accepted")
    };
    let (late, prompt) = (submit(&mut net, id), submit(&mut net, other));
    net.tick();
    assert!(matches!(net.state_of(&prompt), IngressState::Replied(_)));
    assert_eq!(net.state_of(&late), IngressState::Received);
    net.ticks(3);
    assert!(matches!(net.state_of(&late), IngressState::Replied(_)));
}

#[test]
fn an_answer_that_nobody_waits_for_is_refused_and_harms_nothing() {
    let (mut net, id, message) = waiting_for_blocks(LimitsConfig::default());
    let subnet_id = net.0.subnet_of(&id).expect("hosted");
    assert!(matches!(
        net.0.answer_consensus_call(&subnet_id, 77, Ok(Vec::new())),
        Err(NetworkError::UnknownConsensusCall(77))
    ));
    // Even an item that slipped into the queue is drained, and the rest goes on.
    net.subnet_mut(&id)
        .push_consensus_response(78, Ok(Vec::new()).into());
    let callback = net.0.consensus_calls(&subnet_id).expect("subnet")[0].callback;
    let refused = UserError::new(ErrorCode::CanisterRejectedMessage, "no blocks today");
    net.0
        .answer_consensus_call(&subnet_id, callback, Err(refused))
        .expect("waiting");
    assert_eq!(text(net.finish(message)), "rejected 4: no blocks today");
}

#[test]
fn only_privileged_canisters_ask_for_blocks() {
    let mut net = Net::new(&[SubnetKind::Bitcoin]);
    let id = net.create_as("g3wsl-eqaaa-aaaan-aaaaa-cai");
    net.install(id, probe());
    let argument = blocks_call(&SuccessorsRequest::initial(()));
    assert_eq!(
        text(net.update(id, "call", &argument)),
        "rejected 4: Permission denied."
    );
}

#[test]
fn a_round_above_the_heap_delta_executes_nothing_until_the_checkpoint() {
    let mut limits = LimitsConfig::default();
    limits.application.heap_delta_capacity = 40 * 4_096;
    limits.application.heap_delta_initial_reserve = 40 * 4_096;
    limits.application.checkpoint_interval_rounds = 50;
    let mut net = Net::with_limits(&[SubnetKind::Application], limits);
    let id = net.probe();
    let subnet = net.0.subnet_of(&id).expect("hosted");
    while net
        .0
        .subnet_metrics(&subnet)
        .expect("subnet")
        .heap_delta_bytes
        < 40 * 4_096
    {
        net.update(id, "dirty_pages", b"").expect("replied");
    }
    let message = net
        .submit(user(), id, "echo", b"later".to_vec())
        .expect("accepted");
    let rounds = net.0.subnet_metrics(&subnet).expect("subnet").rounds;
    let to_checkpoint = usize::try_from(50 - rounds % 50).expect("small");
    net.ticks(to_checkpoint);
    assert_eq!(net.state_of(&message), IngressState::Received);
    let metrics = net.0.subnet_metrics(&subnet).expect("subnet");
    assert_eq!(metrics.rounds_skipped_by_heap_delta, to_checkpoint as u64);
    assert_eq!(metrics.heap_delta_bytes, 0);
    assert_eq!(text(net.finish(message)), "later");
}

#[test]
fn a_canister_above_its_write_rate_waits_while_others_go_on() {
    let mut limits = LimitsConfig::default();
    limits.application.heap_delta_rate = 4 * 4_096;
    let mut net = Net::with_limits(&[SubnetKind::Application], limits);
    let (id, other) = (net.probe(), net.probe());
    net.ticks(20);
    // 16 pages take four rounds' worth.
    net.update(id, "dirty_pages", b"").expect("replied");
    let delayed = net
        .submit(user(), id, "echo", b"".to_vec())
        .expect("accepted");
    let prompt = net
        .submit(user(), other, "echo", b"".to_vec())
        .expect("accepted");
    net.tick();
    assert_eq!(net.state_of(&delayed), IngressState::Received);
    assert_eq!(net.state_of(&prompt), IngressState::Replied(Vec::new()));
    net.ticks(4);
    assert_eq!(net.state_of(&delayed), IngressState::Replied(Vec::new()));
}

#[test]
fn a_long_message_occupies_its_canister_for_as_many_rounds_as_it_has_slices() {
    let mut limits = LimitsConfig::default();
    limits.application.slice_instructions = 2_000_000;
    limits.application.round_instructions = 4_000_000_000;
    let mut net = Net::with_limits(&[SubnetKind::Application], limits);
    let id = net.probe();
    net.ticks(20);
    net.update(id, "spin", b"").expect("replied");
    let used = net
        .0
        .canister(&id)
        .expect("exists")
        .usage()
        .since(0)
        .last()
        .expect("ran")
        .instructions;
    let slices = used.div_ceil(2_000_000);
    assert!(slices > 2, "{used}");
    let message = net
        .submit(user(), id, "echo", Vec::new())
        .expect("accepted");
    for _ in 0..slices - 1 {
        net.tick();
        assert_eq!(net.state_of(&message), IngressState::Received);
    }
    net.tick();
    assert_eq!(net.state_of(&message), IngressState::Replied(Vec::new()));
}

#[test]
fn a_rounds_instructions_bound_how_much_of_a_queue_it_executes() {
    let mut limits = LimitsConfig::default();
    limits.application.round_instructions = 2_030_000_000;
    let mut net = Net::with_limits(&[SubnetKind::Application], limits);
    let id = net.probe();
    net.ticks(2);
    // The round has 30 M: 8 M for the canister and more than 2 M for each message.
    let messages: Vec<_> = (0..20)
        .map(|_| {
            net.submit(user(), id, "echo", Vec::new())
                .expect("accepted")
        })
        .collect();
    net.tick();
    let answered = |net: &Net| {
        messages
            .iter()
            .filter(|m| matches!(net.state_of(m), IngressState::Replied(_)))
            .count()
    };
    assert_eq!(answered(&net), 11);
    net.ticks(2);
    assert_eq!(answered(&net), 20);
}

#[test]
fn every_round_has_its_own_time() {
    let mut net = Net::application();
    let start = net.0.time_ns();
    net.ticks(3);
    assert_eq!(net.0.time_ns(), start + 2);
    assert!(matches!(
        net.0.set_time_ns(start),
        Err(NetworkError::TimeInPast { .. })
    ));
    net.0.set_time_ns(start + 2).expect("the current time");
    net.0.set_time_ns(start + 1_000).expect("later");
    net.tick();
    assert_eq!(net.0.time_ns(), start + 1_000);
}

#[test]
fn an_idle_network_has_no_work() {
    let mut net = Net::application();
    let id = net.probe();
    net.ticks(200);
    assert!(!net.0.has_work());
    net.submit(user(), id, "echo", Vec::new())
        .expect("accepted");
    assert!(net.0.has_work());
}

#[test]
fn times_without_room_for_deadlines_are_refused() {
    let mut net = Net::application();
    let latest_ns = i64::MAX as u64;
    assert!(matches!(
        net.0.set_time_ns(latest_ns + 1),
        Err(NetworkError::TimeTooLate { .. })
    ));
    net.0.set_time_ns(latest_ns).expect("the latest time");
    net.ticks(2);
}

#[test]
fn an_https_outcall_waits_for_an_answer_from_outside_and_pays() {
    use ic_management_canister_types::{HttpRequestArgs, HttpRequestResult};
    let mut net = Net::application();
    let id = net.probe();
    let subnet_id = net.0.subnet_of(&id).expect("hosted");
    let args = HttpRequestArgs {
        url: "https://example.org/".to_owned(),
        max_response_bytes: Some(1_000),
        ..HttpRequestArgs::default()
    };
    // (3 M + 60,000 per node + 400 per byte sent + 800 per byte received) for each of 13 nodes.
    let fee: u64 = (3_000_000 + 60_000 * 13 + 400 * 20 + 800 * 1_000) * 13;
    let underpaid = management_call("http_request", fee - 1, &args);
    let refusal = text(net.update(id, "call", &underpaid));
    assert!(refusal.contains("cycles are required"), "{refusal}");
    let greedy = HttpRequestArgs {
        max_response_bytes: Some(2_000_001),
        ..args.clone()
    };
    let refusal = text(net.update(id, "call", &management_call("http_request", fee, &greedy)));
    assert!(refusal.contains("max_http_response_bytes"), "{refusal}");

    let before = net.cycles(&id);
    let message = net
        .submit(
            user(),
            id,
            "call",
            management_call("http_request", fee + 5_000_000_000, &args),
        )
        .expect("accepted");
    net.ticks(3);
    let calls = net.0.consensus_calls(&subnet_id).expect("subnet");
    assert_eq!(calls.len(), 1);
    assert_eq!(calls[0].method, "http_request");
    let asked = millrace_vm::decode_candid(&calls[0].payload).ok();
    assert_eq!(asked, Some(args));
    let answer = candid::encode_one(HttpRequestResult {
        status: 200_u16.into(),
        headers: Vec::new(),
        body: b"body".to_vec(),
    })
    .expect("encodes");
    net.0
        .answer_consensus_call(&subnet_id, calls[0].callback, Ok(answer.clone()))
        .expect("waiting");
    assert_eq!(net.finish(message), Ok(answer));
    let paid = before - net.cycles(&id);
    assert!(paid >= u128::from(fee), "{paid}");
    assert!(paid < u128::from(fee) + 1_000_000_000, "{paid}");
}
