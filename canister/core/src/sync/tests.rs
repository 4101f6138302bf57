//! Paging, failures and recovery of the pull machine.

use proptest::prelude::*;

use super::*;
use crate::block::MAX_BLOCK_BYTES;
use crate::network::Network;

const POLICY: SyncPolicy = SyncPolicy {
    call_timeout_seconds: 300,
    idle_seconds: 5,
    backoff_seconds: 1,
    backoff_max_seconds: 60,
};

fn at(seconds: u64) -> UnixSeconds {
    UnixSeconds::new(seconds)
}

fn tick(sync: &mut Sync, now: u64) -> SyncStep {
    sync.on(at(now), Event::Tick { has_room: true }, &POLICY)
}

/// Ticks and returns the call that starts.
fn ask(sync: &mut Sync, now: u64) -> (CallId, Request) {
    match tick(sync, now).commands[..] {
        [Command::Ask { id, request }] => (id, request),
        ref other => panic!("no call at {now} s: {other:?}"),
    }
}

fn reply(sync: &mut Sync, now: u64, id: CallId, reply: Reply) -> SyncStep {
    sync.on(at(now), Event::Replied { id, reply }, &POLICY)
}

fn complete(blocks: &[&[u8]], next: &[&[u8]]) -> Reply {
    let owned = |parts: &[&[u8]]| parts.iter().map(|part| part.to_vec()).collect();
    Reply::Complete {
        blocks: owned(blocks),
        next: owned(next),
    }
}

fn partial(bytes: &[u8], remaining_follow_ups: u8) -> Reply {
    Reply::Partial {
        partial_block: bytes.to_vec(),
        next: vec![],
        remaining_follow_ups,
    }
}

fn refuse(sync: &mut Sync, now: u64, id: CallId) -> SyncStep {
    let reason = "busy".to_owned();
    sync.on(at(now), Event::Refused { id, reason }, &POLICY)
}

#[test]
fn one_call_is_in_flight_and_its_blocks_are_taken() {
    let mut sync = Sync::new();
    let (id, request) = ask(&mut sync, 0);
    assert_eq!(request, Request::Initial);
    assert_eq!(tick(&mut sync, 1), SyncStep::default());
    let header = bitcoin::consensus::serialize(&Network::Regtest.genesis_block().header);
    let step = reply(&mut sync, 2, id, complete(&[b"one", b"two"], &[&header]));
    assert_eq!(
        step.commands,
        [
            Command::TakeHeaders(vec![Network::Regtest.genesis_block().header]),
            Command::TakeBlocks(vec![b"one".to_vec(), b"two".to_vec()]),
        ]
    );
    assert_eq!(step.error, None);
    let (next, _) = ask(&mut sync, 2);
    assert!(next > id);
}

#[test]
fn no_call_starts_without_room() {
    let mut sync = Sync::new();
    let full = Event::Tick { has_room: false };
    assert_eq!(sync.on(at(0), full, &POLICY), SyncStep::default());
    assert!(!sync.is_asking());
}

#[test]
fn a_reply_without_news_is_followed_by_a_pause() {
    let mut sync = Sync::new();
    let (id, _) = ask(&mut sync, 10);
    reply(&mut sync, 10, id, complete(&[], &[]));
    assert_eq!(tick(&mut sync, 14), SyncStep::default());
    ask(&mut sync, 15);
}

#[test]
fn a_large_block_is_staged_page_by_page() {
    let mut sync = Sync::new();
    let (id, _) = ask(&mut sync, 0);
    let step = reply(&mut sync, 0, id, partial(b"abc", 2));
    let stage = |offset, bytes: &[u8]| Command::Stage {
        offset,
        bytes: bytes.to_vec(),
    };
    assert_eq!(step.commands, [stage(0, b"abc")]);
    assert_eq!(sync.staged_bytes(), Some(3));
    let (id, request) = ask(&mut sync, 0);
    assert_eq!(request, Request::FollowUp { page: 0 });
    let step = reply(&mut sync, 0, id, Reply::FollowUp(b"de".to_vec()));
    assert_eq!(step.commands, [stage(3, b"de")]);
    let (id, request) = ask(&mut sync, 0);
    assert_eq!(request, Request::FollowUp { page: 1 });
    let step = reply(&mut sync, 0, id, Reply::FollowUp(b"f".to_vec()));
    assert_eq!(
        step.commands,
        [stage(5, b"f"), Command::TakeStaged { length: 6 }]
    );
    assert_eq!(ask(&mut sync, 0).1, Request::Initial);
}

#[test]
fn a_partial_reply_without_follow_ups_is_a_whole_block() {
    let mut sync = Sync::new();
    let (id, _) = ask(&mut sync, 0);
    let step = reply(&mut sync, 0, id, partial(b"abc", 0));
    assert_eq!(step.commands.len(), 2);
    assert_eq!(step.commands[1], Command::TakeStaged { length: 3 });
    assert_eq!(sync.staged_bytes(), None);
}

#[test]
fn malformed_replies_are_errors_and_change_nothing() {
    let too_long = vec![0; MAX_REPLY_BYTES + 1];
    let cases = [
        (
            Reply::FollowUp(b"x".to_vec()),
            SyncError::WrongKind {
                asked: "an initial request",
                got: "follow-up",
            },
        ),
        (
            complete(&[b"good"], &[&[0; 79]]),
            SyncError::HeaderLength {
                index: 0,
                length: 79,
            },
        ),
        (
            complete(&[b"good"], &[&[0; 80], &[0; 81]]),
            SyncError::HeaderLength {
                index: 1,
                length: 81,
            },
        ),
        (partial(b"", 1), SyncError::EmptyPage { received: 0 }),
        (
            complete(&[&too_long], &[]),
            SyncError::ReplyTooLong {
                length: MAX_REPLY_BYTES + 1,
            },
        ),
    ];
    for (bad, error) in cases {
        let mut sync = Sync::new();
        let (id, _) = ask(&mut sync, 0);
        let step = reply(&mut sync, 0, id, bad);
        assert_eq!(
            step,
            SyncStep {
                commands: vec![],
                error: Some(error)
            }
        );
        assert_eq!(sync.staged_bytes(), None);
        assert_eq!(sync.failures(), 1);
        assert_eq!(tick(&mut sync, 0), SyncStep::default(), "it backs off");
        ask(&mut sync, 1);
    }
}

#[test]
fn bytes_beyond_the_longest_block_are_passed_over() {
    let mut sync = Sync::new();
    let (id, _) = ask(&mut sync, 0);
    let first = vec![1; MAX_BLOCK_BYTES - 3];
    reply(&mut sync, 0, id, partial(&first, 2));
    let (id, _) = ask(&mut sync, 0);
    let step = reply(&mut sync, 0, id, Reply::FollowUp(vec![2; 10]));
    let offset = first.len() as u32;
    let bytes = vec![2; 3];
    assert_eq!(
        step,
        SyncStep {
            commands: vec![Command::Stage { offset, bytes }],
            error: None
        }
    );
    let (id, request) = ask(&mut sync, 0);
    assert_eq!(request, Request::FollowUp { page: 1 });
    let step = reply(&mut sync, 0, id, Reply::FollowUp(vec![3; 10]));
    let length = MAX_BLOCK_BYTES as u32;
    assert_eq!(
        step,
        SyncStep {
            commands: vec![Command::TakeStaged { length }],
            error: None
        }
    );
    assert_eq!(sync.staged_bytes(), None);
}

#[test]
fn a_page_that_keeps_failing_is_given_up_with_its_block() {
    let mut sync = Sync::new();
    let (id, _) = ask(&mut sync, 0);
    reply(&mut sync, 0, id, partial(b"abc", 1));
    let mut now = 0;
    for attempt in 1..=MAX_PAGE_ATTEMPTS {
        let (id, request) = ask(&mut sync, now);
        assert_eq!(request, Request::FollowUp { page: 0 });
        let step = reply(&mut sync, now, id, complete(&[], &[]));
        assert!(step.error.is_some());
        let gives_up = step.commands == [Command::DropStaged];
        assert_eq!(gives_up, attempt == MAX_PAGE_ATTEMPTS, "attempt {attempt}");
        now += 60;
    }
    assert_eq!(ask(&mut sync, now).1, Request::Initial);
}

#[test]
fn a_good_page_forgives_the_failures_before_it() {
    let mut sync = Sync::new();
    let (id, _) = ask(&mut sync, 0);
    reply(&mut sync, 0, id, partial(b"abc", 2));
    let mut now = 0;
    for page in [0, 1] {
        for _ in 1..MAX_PAGE_ATTEMPTS {
            let (id, _) = ask(&mut sync, now);
            assert_eq!(refuse(&mut sync, now, id).commands, []);
            now += 60;
        }
        let (id, request) = ask(&mut sync, now);
        assert_eq!(request, Request::FollowUp { page });
        let step = reply(&mut sync, now, id, Reply::FollowUp(b"d".to_vec()));
        assert_eq!(step.error, None);
    }
    assert_eq!(sync.staged_bytes(), None);
}

#[test]
fn failures_back_off_twice_as_long_up_to_a_limit() {
    let mut sync = Sync::new();
    let mut now = 0;
    for pause in [1, 2, 4, 8, 16, 32, 60, 60] {
        let (id, _) = ask(&mut sync, now);
        refuse(&mut sync, now, id);
        assert_eq!(tick(&mut sync, now + pause - 1), SyncStep::default());
        now += pause;
    }
    let (id, _) = ask(&mut sync, now);
    reply(&mut sync, now, id, complete(&[b"block"], &[]));
    assert_eq!(sync.failures(), 0);
    let (id, _) = ask(&mut sync, now);
    refuse(&mut sync, now, id);
    ask(&mut sync, now + 1);
}

#[test]
fn a_lost_call_times_out_and_its_late_answer_is_ignored() {
    let mut sync = Sync::new();
    let (lost, _) = ask(&mut sync, 0);
    assert_eq!(tick(&mut sync, 299), SyncStep::default());
    assert_eq!(
        tick(&mut sync, 300).error,
        Some(SyncError::TimedOut {
            id: lost,
            seconds: 300
        })
    );
    let (id, _) = ask(&mut sync, 301);
    let late = reply(&mut sync, 302, lost, complete(&[b"late"], &[]));
    assert_eq!(
        late,
        SyncStep {
            commands: vec![],
            error: Some(SyncError::Stale { id: lost })
        }
    );
    let step = reply(&mut sync, 303, id, complete(&[b"block"], &[]));
    assert_eq!(step.error, None);
    let again = reply(&mut sync, 303, id, complete(&[b"block"], &[]));
    assert_eq!(again.error, Some(SyncError::Stale { id }));
}

#[test]
fn an_upgrade_repeats_the_call_that_was_in_flight() {
    let mut sync = Sync::new();
    let (id, _) = ask(&mut sync, 0);
    reply(&mut sync, 0, id, partial(b"abc", 1));
    let (lost, request) = ask(&mut sync, 0);
    let mut sync = Sync::decode(&sync.encode()).unwrap();
    assert!(sync.is_asking());
    sync.on(at(0), Event::Upgraded, &POLICY);
    let (id, again) = ask(&mut sync, 0);
    assert_eq!(again, request);
    assert_ne!(id, lost);
    let step = reply(&mut sync, 0, id, Reply::FollowUp(b"d".to_vec()));
    assert_eq!(
        step.commands.last(),
        Some(&Command::TakeStaged { length: 4 })
    );
}

#[test]
fn damaged_records_are_refused() {
    use crate::header::RecordError;
    let bytes = Sync::new().encode();
    assert_eq!(
        Sync::decode(&bytes[1..]),
        Err(RecordError::Length {
            got: 47,
            expected: 48
        })
    );
    for (at, field) in [(0, "call in flight"), (2, "block staged")] {
        let mut damaged = bytes;
        damaged[at] = 9;
        assert_eq!(
            Sync::decode(&damaged),
            Err(RecordError::Field { field, value: 9 })
        );
    }
}

#[derive(Clone, Debug)]
enum Act {
    Tick(bool),
    Reply(Reply),
    StaleReply(Reply),
    Refuse,
    Upgrade,
}

fn acts() -> impl Strategy<Value = Vec<(u64, Act)>> {
    let bytes = || proptest::collection::vec(any::<u8>(), 0..4);
    let next = || proptest::collection::vec(proptest::collection::vec(any::<u8>(), 79..82), 0..2);
    let answer = || {
        prop_oneof![
            (proptest::collection::vec(bytes(), 0..3), next())
                .prop_map(|(blocks, next)| Reply::Complete { blocks, next }),
            (bytes(), next(), 0u8..4).prop_map(|(partial_block, next, remaining_follow_ups)| {
                Reply::Partial {
                    partial_block,
                    next,
                    remaining_follow_ups,
                }
            }),
            bytes().prop_map(Reply::FollowUp),
        ]
    };
    let act = prop_oneof![
        4 => any::<bool>().prop_map(Act::Tick),
        4 => answer().prop_map(Act::Reply),
        1 => answer().prop_map(Act::StaleReply),
        1 => Just(Act::Refuse),
        1 => Just(Act::Upgrade),
    ];
    proptest::collection::vec((0u64..400, act), 1..60)
}

proptest! {
    /// Whatever a source does, staged bytes stay consecutive, one call is in flight, the record
    /// reads back, and a bounded number of ticks later the machine asks again.
    #[test]
    fn no_schedule_wedges_the_machine(acts in acts()) {
        let mut sync = Sync::new();
        let mut now = 0;
        let mut in_flight: Option<CallId> = None;
        let mut staged: u32 = 0;
        for (pause, act) in acts {
            now += pause;
            let event = match act {
                Act::Tick(has_room) => Event::Tick { has_room },
                Act::Reply(reply) => match in_flight {
                    Some(id) => Event::Replied { id, reply },
                    None => continue,
                },
                Act::StaleReply(reply) => Event::Replied { id: CallId(0), reply },
                Act::Refuse => match in_flight {
                    Some(id) => Event::Refused { id, reason: String::new() },
                    None => continue,
                },
                Act::Upgrade => Event::Upgraded,
            };
            let ends_call = matches!(
                &event,
                Event::Upgraded | Event::Refused { .. }
            ) || matches!(&event, Event::Replied { id, .. } if Some(*id) == in_flight);
            let step = sync.on(at(now), event, &POLICY);
            if ends_call || matches!(step.error, Some(SyncError::TimedOut { .. })) {
                in_flight = None;
            }
            for command in step.commands {
                match command {
                    Command::Ask { id, .. } => {
                        prop_assert_eq!(in_flight, None);
                        in_flight = Some(id);
                    }
                    Command::Stage { offset, bytes } => {
                        if offset == 0 {
                            staged = 0;
                        }
                        prop_assert_eq!(offset, staged);
                        staged += u32::try_from(bytes.len()).unwrap();
                    }
                    Command::TakeStaged { length } => {
                        prop_assert_eq!(length, staged);
                        staged = 0;
                    }
                    Command::DropStaged => staged = 0,
                    Command::TakeHeaders(headers) => prop_assert!(!headers.is_empty()),
                    Command::TakeBlocks(blocks) => prop_assert!(!blocks.is_empty()),
                }
            }
            prop_assert_eq!(sync.is_asking(), in_flight.is_some());
            prop_assert_eq!(sync.staged_bytes().unwrap_or(0), staged);
            let back = Sync::decode(&sync.encode());
            prop_assert_eq!(back.as_ref(), Ok(&sync));
        }
        // A time-out, a back-off, then a call.
        let asked = (0..3).any(|_| {
            now += POLICY.call_timeout_seconds;
            let step = tick(&mut sync, now);
            matches!(step.commands.last(), Some(Command::Ask { .. }))
        });
        prop_assert!(asked);
    }
}
