//! Makes the schedule of a seed.

use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::flaw::Flaw;
use crate::memory::TrapPoint;
use crate::mine::Kind;
use crate::schedule::{
    Answer, Delivery, Event, Load, Parts, Pick, Profile, Question, Schedule, Squeeze,
};

/// Makes the schedule of a seed.
pub fn of_seed(seed: u64) -> Schedule {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let rng = &mut rng;
    let way = rng.random_range(0..4);
    let profile = Profile {
        is_consensus: rng.random_ratio(1, 2),
        is_pulling: way == 0 || way == 3,
        is_pushed: way != 0,
        threshold: *[2, 4, 7].choose(rng).unwrap_or(&4),
    };
    let count = rng.random_range(20..70);
    let is_heavy = rng.random_ratio(1, 600);
    let mut events = Vec::with_capacity(count);
    while events.len() < count {
        push_events(&mut events, profile, is_heavy, rng);
    }
    if is_heavy {
        let flood = Event::Flood { salt: rng.random() };
        events.extend([flood, pushing(rng), beats(rng)]);
    }
    Schedule { profile, events }
}

fn push_events(events: &mut Vec<Event>, profile: Profile, is_heavy: bool, rng: &mut ChaCha8Rng) {
    match rng.random_range(0..100) {
        0..24 => mining(events, profile, is_heavy, rng),
        24..48 => {
            if profile.is_pushed {
                events.push(pushing(rng));
            } else {
                events.push(beats(rng));
                events.push(Event::Answer(answer(rng)));
            }
        }
        48..62 => events.push(beats(rng)),
        62..70 if profile.is_pulling => {
            events.push(beats(rng));
            events.push(Event::Answer(answer(rng)));
        }
        62..78 => events.push(reading(rng)),
        78..82 => events.push(Event::Send { salt: rng.random() }),
        82..84 => events.push(Event::Report {
            who: rng.random_range(0..3),
            is_refusal: rng.random_ratio(1, 4),
        }),
        84..86 => events.push(Event::Audit),
        _ => events.extend(trouble(profile, rng)),
    }
}

fn pick(rng: &mut ChaCha8Rng) -> Pick {
    match rng.random_range(0..10) {
        0..4 => Pick::Best,
        4..6 => Pick::Tip,
        6..8 => Pick::Recent(rng.random_range(0..12)),
        _ => Pick::Below(rng.random_range(0..10)),
    }
}

fn mining(events: &mut Vec<Event>, profile: Profile, is_heavy: bool, rng: &mut ChaCha8Rng) {
    let kind = match rng.random_range(0..20) {
        0..2 => Kind::Empty,
        2 if rng.random_ratio(1, 4) => Kind::Surge,
        3 | 4 if is_heavy => Kind::Large,
        5..10 => Kind::Broken(*Flaw::ALL.choose(rng).unwrap_or(&Flaw::Bits)),
        _ => Kind::Plain,
    };
    events.push(Event::Mine {
        on: match rng.random_range(0..10) {
            0..6 => Pick::Best,
            // Deep enough to go below what is stable.
            6 => Pick::Below(rng.random_range(0..10)),
            _ => pick(rng),
        },
        kind,
        count: rng.random_range(1..7),
        salt: rng.random(),
    });
    if matches!(kind, Kind::Broken(_)) && rng.random_ratio(1, 3) {
        // Nobody builds on a bad block but who wants to see what comes of it.
        events.push(Event::Mine {
            on: Pick::Recent(0),
            kind: Kind::Plain,
            count: rng.random_range(1..4),
            salt: rng.random(),
        });
        if profile.is_pushed {
            events.push(Event::Push {
                who: 0,
                load: Load::Missing(Pick::Recent(rng.random_range(0..2)), 11),
                delivery: Delivery::Plain,
                parts: Parts::Whole,
            });
        }
    }
}

fn pushing(rng: &mut ChaCha8Rng) -> Event {
    let count = rng.random_range(1..12);
    Event::Push {
        who: *[0, 0, 0, 1, 1, 2].choose(rng).unwrap_or(&0),
        load: match rng.random_range(0..10) {
            0..4 => Load::Missing(Pick::Best, count),
            4..7 => Load::Missing(Pick::Recent(rng.random_range(0..6)), count),
            7 => Load::Missing(pick(rng), count),
            _ => Load::From(Pick::Recent(rng.random_range(0..12)), count),
        },
        delivery: match rng.random_range(0..16) {
            0 => Delivery::Reversed,
            1 => Delivery::Twice,
            2 => Delivery::Stripped,
            3 => Delivery::Flipped(rng.random()),
            4 => Delivery::Padded,
            5 => Delivery::Short,
            6 => Delivery::Misnamed,
            7 => Delivery::Mutated,
            _ => Delivery::Plain,
        },
        parts: match rng.random_range(0..14) {
            0 => Parts::Cut(rng.random_range(2..6)),
            1 => Parts::Gap(rng.random_range(2..6)),
            2 => Parts::Repeated(rng.random_range(2..6)),
            3 => Parts::Resized(rng.random_range(2..6)),
            4 => Parts::First(rng.random_range(2..6)),
            _ => Parts::Whole,
        },
    }
}

fn beats(rng: &mut ChaCha8Rng) -> Event {
    Event::Beats {
        count: match rng.random_range(0..20) {
            0 => rng.random_range(10..60),
            1..6 => rng.random_range(2..6),
            _ => 1,
        },
        seconds: *[0, 1, 1, 1, 3, 30].choose(rng).unwrap_or(&1),
    }
}

fn answer(rng: &mut ChaCha8Rng) -> Answer {
    let count = rng.random_range(1..12);
    match rng.random_range(0..22) {
        0 => Answer::Headers,
        1..3 => Answer::Anything(count),
        3 => Answer::Damaged(count),
        4 => Answer::Padded(count),
        5 => Answer::Reject,
        6 => Answer::Garbage,
        7 => Answer::WrongKind,
        8 => Answer::Malformed,
        9 => Answer::Lost,
        10 => Answer::Again,
        11..14 => Answer::Pages(rng.random_range(1..5)),
        _ => Answer::Blocks(count),
    }
}

fn reading(rng: &mut ChaCha8Rng) -> Event {
    Event::Read {
        question: *Question::ALL.choose(rng).unwrap_or(&Question::Utxos),
        at: rng.random_ratio(1, 2).then(|| pick(rng)),
        salt: rng.random(),
    }
}

fn trouble(profile: Profile, rng: &mut ChaCha8Rng) -> Vec<Event> {
    let few = if rng.random_ratio(1, 2) { 30 } else { 400 };
    let last = if profile.is_pulling { 20 } else { 19 };
    match rng.random_range(0..last) {
        0 | 1 => vec![Event::Upgrade],
        2 => vec![Event::Trap(TrapPoint::Write(rng.random_range(0..few)))],
        3 => vec![Event::Trap(TrapPoint::Read(rng.random_range(0..few)))],
        4 => vec![Event::Full(rng.random_ratio(1, 2))],
        5 => vec![
            Event::Poison(pick(rng)),
            Event::Beats {
                count: if rng.random_ratio(1, 4) { 90 } else { 5 },
                seconds: 1,
            },
        ],
        6 => vec![Event::Pace(*[1, 1, 50, 2_000].choose(rng).unwrap_or(&1))],
        7 | 8 => vec![Event::Budgets {
            millions: *[1, 5, 40, 1_500].choose(rng).unwrap_or(&1),
            pages: *[1, 20, 100, 20_000].choose(rng).unwrap_or(&1),
        }],
        9 => vec![Event::Threshold(rng.random_range(0..9))],
        10 => vec![Event::Syncing(rng.random_ratio(2, 3))],
        11 => vec![Event::Access(rng.random_ratio(2, 3))],
        12 => vec![Event::SecondAdapter(rng.random_ratio(1, 2))],
        13 => vec![Event::Wait {
            seconds: *[1, 11, 70, 400, 8_000].choose(rng).unwrap_or(&1),
        }],
        14 => vec![Event::Window(
            *[1, 60, 400, u16::MAX].choose(rng).unwrap_or(&1),
        )],
        15 => vec![Event::Poor(rng.random_ratio(1, 2))],
        16 => vec![Event::Stop {
            seconds: *[1, 11, 70, 400].choose(rng).unwrap_or(&1),
        }],
        17 => vec![Event::Restart],
        18 => vec![Event::Limits(
            *[Squeeze::None, Squeeze::HeapDelta, Squeeze::Instructions]
                .choose(rng)
                .unwrap_or(&Squeeze::None),
        )],
        _ => vec![Event::Pulling(rng.random_ratio(2, 3))],
    }
}
