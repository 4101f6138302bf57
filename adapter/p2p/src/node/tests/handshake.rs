//! How connections start and stay alive.

use std::time::Duration;

use bitcoin::p2p::ServiceFlags;

use super::rig::{Rig, closed, misbehaved, sent, version};
use crate::message::{Message, Version};
use crate::node::{CloseReason, Command, Event, Notice};

#[test]
fn both_sides_say_what_they_can_do() {
    let mut rig = Rig::fixed(1);
    let commands = rig.connected(0);
    let messages = sent(&commands, 0);
    let [Message::Version(ours)] = messages.as_slice() else {
        panic!("{messages:?}");
    };
    assert_eq!((ours.version, ours.services), (70_016, 0));
    let commands = rig.says(0, Message::Version(version()));
    let expected = [&Message::WtxidRelay, &Message::SendAddrV2, &Message::Verack];
    assert_eq!(sent(&commands, 0), expected);
    for message in [Message::WtxidRelay, Message::SendAddrV2] {
        assert_eq!(rig.says(0, message), []);
    }
    let commands = rig.says(0, Message::Verack);
    assert_eq!(sent(&commands, 0)[0], &Message::SendHeaders);
    let is_told = |command: &Command| matches!(command, Command::Notify(Notice::PeerReady(..)));
    assert!(commands.iter().any(is_told));
}

#[test]
fn peers_of_no_use_are_left() {
    let limited = ServiceFlags::NETWORK_LIMITED | ServiceFlags::WITNESS;
    type Change = fn(&mut Version);
    let cases: [(&str, Change, bool); 6] = [
        ("an old version", |version| version.version = 70_000, false),
        (
            "the oldest good version",
            |version| version.version = 70_001,
            true,
        ),
        ("no services", |version| version.services = 0, false),
        ("no witness data", |version| version.services = 1, false),
        ("a pruned node", |version| version.services = 1_032, true),
        (
            "a negative height",
            |version| version.start_height = -1,
            true,
        ),
    ];
    assert_eq!(limited.to_u64(), 1_032);
    for (name, change, is_good) in cases {
        let mut rig = Rig::fixed(1);
        let mut theirs = version();
        change(&mut theirs);
        let commands = rig.ready_with(0, theirs);
        let reason = closed(&commands, 0);
        assert_eq!(reason.is_none(), is_good, "{name}: {reason:?}");
        let is_useless = matches!(reason, None | Some(CloseReason::Useless { .. }));
        assert!(is_useless, "{name}: {reason:?}");
    }
}

#[test]
fn a_connection_to_oneself_is_noticed() {
    let mut rig = Rig::fixed(2);
    let commands = rig.connected(0);
    let Some(Message::Version(ours)) = sent(&commands, 0).first().copied() else {
        panic!("{commands:?}");
    };
    let ours = ours.clone();
    rig.connected(1);
    let commands = rig.says(1, Message::Version(ours));
    assert!(closed(&commands, 1).unwrap().to_string().contains("itself"));
}

#[test]
fn messages_out_of_order_end_the_connection() {
    let cases: [(&str, Vec<Message>); 4] = [
        (
            "two versions",
            vec![Message::Version(version()), Message::Version(version())],
        ),
        ("verack first", vec![Message::Verack]),
        ("wtxidrelay first", vec![Message::WtxidRelay]),
        (
            "sendaddrv2 last",
            vec![
                Message::Version(version()),
                Message::Verack,
                Message::SendAddrV2,
            ],
        ),
    ];
    for (name, messages) in cases {
        let mut rig = Rig::fixed(1);
        let mut commands = rig.connected(0);
        for message in messages {
            commands.extend(rig.says(0, message));
        }
        assert!(misbehaved(&commands, 0), "{name}: {commands:?}");
    }
}

#[test]
fn a_handshake_takes_a_minute_at_most() {
    for connects in [false, true] {
        let mut rig = Rig::fixed(1);
        if connects {
            rig.connected(0);
        }
        assert_eq!(closed(&rig.pass(59), 0), None);
        let commands = rig.pass(1);
        let reason = closed(&commands, 0);
        assert!(
            matches!(reason, Some(CloseReason::Slow { .. })),
            "{reason:?}"
        );
    }
}

#[test]
fn pings_are_sent_every_two_minutes_and_must_be_answered() {
    let mut rig = Rig::fixed(1);
    rig.answers_pings = false;
    rig.ready(0);
    rig.says(0, Message::Headers(Vec::new()));
    let number = |commands: &[Command]| {
        let messages = sent(commands, 0);
        messages.iter().find_map(|message| match message {
            Message::Ping(number) => Some(*number),
            _ => None,
        })
    };
    let commands = rig.pass(0);
    assert_eq!(number(&commands), None, "the first one was sent before");
    rig.elapsed += Duration::from_millis(50);
    let open = rig.node.peers.values().next().unwrap().ping.open.unwrap().0;
    rig.says(0, Message::Pong(open ^ 1));
    assert_eq!(rig.node.standing(rig.now()).peers[0].ping, None);
    rig.says(0, Message::Pong(open));
    let ping = rig.node.standing(rig.now()).peers[0].ping;
    assert_eq!(ping, Some(Duration::from_millis(50)));
    let commands = rig.pass(120);
    assert!(number(&commands).is_some());
    // It goes on to answer everything else.
    for _ in 0..19 {
        rig.says(0, Message::Headers(Vec::new()));
        assert_eq!(closed(&rig.pass(60), 0), None);
    }
    rig.says(0, Message::Headers(Vec::new()));
    assert_eq!(closed(&rig.pass(58), 0), None);
    assert!(matches!(
        closed(&rig.pass(2), 0),
        Some(CloseReason::Slow { .. })
    ));
}

#[test]
fn a_chatty_peer_is_left() {
    let mut rig = Rig::fixed(1);
    rig.ready(0);
    let message = Message::Other {
        command: "noise".to_owned(),
        bytes: 1,
    };
    let heard = (0..10_000)
        .take_while(|_| !misbehaved(&rig.says(0, message.clone()), 0))
        .count();
    assert!((4_000..6_000).contains(&heard), "{heard}");
    let mut rig = Rig::fixed(1);
    rig.ready(0);
    let message = Message::Other {
        command: "noise".to_owned(),
        bytes: 4_000_000,
    };
    let heard = (0..100)
        .take_while(|_| !misbehaved(&rig.says(0, message.clone()), 0))
        .count();
    assert_eq!(heard, 8);
}

#[test]
fn nothing_is_said_after_the_end() {
    let mut rig = Rig::fixed(2);
    rig.ready(0);
    let commands = rig.on(Event::Stop);
    assert_eq!(closed(&commands, 0), Some(&CloseReason::Done));
    assert_eq!(closed(&commands, 1), Some(&CloseReason::Done));
    assert_eq!(rig.node.wake_at(), Duration::MAX);
    assert_eq!(rig.tick(), []);
}
