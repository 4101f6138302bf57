//! What happens in a run: events, and how one seed makes a list of them.
//!
//! An event names blocks, scripts and callers by numbers that mean something in every state, so that a
//! list stays a list of possible events whatever is taken out of it: that is what minimising needs.

use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::flaw::Flaw;
use crate::memory::TrapPoint;
use crate::mine::Kind;

/// How the canister of a run is set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Profile {
    /// Whether blocks are judged by all consensus rules.
    pub is_consensus: bool,
    /// Whether the canister asks a source.
    pub is_pulling: bool,
    /// Whether adapters push.
    pub is_pushed: bool,
    /// The stability threshold.
    pub threshold: u32,
}

/// A run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// The setup.
    pub profile: Profile,
    /// What happens, in order.
    pub events: Vec<Event>,
}

/// Which block is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pick {
    /// The canister's tip.
    Tip,
    /// The best valid block.
    Best,
    /// The block so many mined before the newest one; around the list.
    Recent(u16),
    /// The ancestor of the best valid block, so many below it.
    Below(u16),
}

/// What an adapter pushes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Load {
    /// What the canister lacks of the chain to a block, at most so many.
    Missing(Pick, u8),
    /// So many blocks from one on, in the order in which they were mined.
    From(Pick, u8),
}

/// What is wrong with a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// Nothing.
    Plain,
    /// The last comes first.
    Reversed,
    /// Each comes twice.
    Twice,
    /// Without witness data, as adapters send old blocks.
    Stripped,
    /// One byte after the header is another one.
    Flipped(u16),
    /// Bytes follow.
    Padded,
    /// Bytes are missing.
    Short,
    /// Another block's name.
    Misnamed,
    /// The list of transactions is repeated at its end (CVE-2012-2459).
    Mutated,
}

/// How a block is cut into parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parts {
    /// Not at all.
    Whole,
    /// In so many parts.
    Cut(u8),
    /// The same, with one part left out.
    Gap(u8),
    /// The same, each part twice.
    Repeated(u8),
    /// The same, with another size from the second part on.
    Resized(u8),
    /// Only the first of so many: the others may follow later.
    First(u8),
}

/// How the source answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// So many wanted blocks, honestly.
    Blocks(u8),
    /// The first wanted block in so many pages, honestly.
    Pages(u8),
    /// Only headers.
    Headers,
    /// Whatever was mined, bad or good.
    Anything(u8),
    /// Blocks with a byte flipped.
    Damaged(u8),
    /// Bytes after each block.
    Padded(u8),
    /// The call is rejected.
    Reject,
    /// No Candid.
    Garbage,
    /// An answer to another question.
    WrongKind,
    /// A page without bytes, or a header of 79 bytes.
    Malformed,
    /// None, ever.
    Lost,
    /// The last honest answer once more, to the same call.
    Again,
}

/// What a reader asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs, reason = "named after the endpoints")]
pub enum Question {
    Utxos,
    UtxosConfirmed,
    UtxosFirstPage,
    UtxosNextPage,
    Balance,
    Balances,
    Outpoints,
    Block,
    Headers,
    Transaction,
    TransactionStatus,
    ChainTips,
    FeePercentiles,
    OfficialUtxos,
    OfficialUtxosConfirmed,
    OfficialBalance,
    UnknownTip,
}

impl Question {
    /// All questions.
    pub const ALL: [Self; 17] = [
        Self::Utxos,
        Self::UtxosConfirmed,
        Self::UtxosFirstPage,
        Self::UtxosNextPage,
        Self::Balance,
        Self::Balances,
        Self::Outpoints,
        Self::Block,
        Self::Headers,
        Self::Transaction,
        Self::TransactionStatus,
        Self::ChainTips,
        Self::FeePercentiles,
        Self::OfficialUtxos,
        Self::OfficialUtxosConfirmed,
        Self::OfficialBalance,
        Self::UnknownTip,
    ];
}

/// How little a subnet executes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Squeeze {
    /// As much as on the Internet Computer.
    #[default]
    None,
    /// Nothing until the next checkpoint once a little was written.
    HeapDelta,
    /// A message or two in a round.
    Instructions,
}

/// What happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// Blocks are mined in a row.
    Mine {
        /// On which block.
        on: Pick,
        /// What the last one is like; the others are plain, those of a surge as well.
        kind: Kind,
        /// How many.
        count: u8,
        /// Makes them differ.
        salt: u32,
    },
    /// An adapter pushes: 0 and 1 may, 2 is a stranger.
    Push {
        /// Who.
        who: u8,
        /// What.
        load: Load,
        /// With which fault.
        delivery: Delivery,
        /// Cut how.
        parts: Parts,
    },
    /// An adapter pushes blocks of unknown parents until there is no room.
    Flood {
        /// Makes them.
        salt: u32,
    },
    /// Heartbeats run.
    Beats {
        /// How many.
        count: u8,
        /// Seconds between them.
        seconds: u8,
    },
    /// The source answers, if it was asked.
    Answer(Answer),
    /// Time passes without heartbeats: the subnet stalls.
    Wait {
        /// Seconds.
        seconds: u16,
    },
    /// The canister is stopped, and started again.
    Stop {
        /// Seconds between.
        seconds: u16,
    },
    /// The replica stops, and goes on with what it saved.
    Restart,
    /// The subnet's limits change.
    Limits(Squeeze),
    /// The canister is upgraded.
    Upgrade,
    /// The next message traps.
    Trap(TrapPoint),
    /// Memory grows no more, or does again.
    Full(bool),
    /// Nobody can process a block any more, until an upgrade.
    Poison(Pick),
    /// A step costs so many millions of instructions.
    Pace(u16),
    /// Budgets change: millions of instructions, and pages.
    Budgets {
        /// Millions of instructions.
        millions: u16,
        /// Pages.
        pages: u16,
    },
    /// The pages that may be written in ten minutes change.
    Window(u16),
    /// The canister runs out of cycles, or gets some.
    Poor(bool),
    /// The stability threshold changes.
    Threshold(u8),
    /// Syncing is switched off or on.
    Syncing(bool),
    /// The API is switched off or on.
    Access(bool),
    /// The second adapter loses or gets its right.
    SecondAdapter(bool),
    /// Pulling is switched off or on, where the run pulls.
    Pulling(bool),
    /// Somebody reads.
    Read {
        /// What.
        question: Question,
        /// At which block, or at the best tip.
        at: Option<Pick>,
        /// Which script, page size and so on.
        salt: u16,
    },
    /// A transaction is sent.
    Send {
        /// Makes it.
        salt: u32,
    },
    /// An adapter reports about the outbox.
    Report {
        /// Who.
        who: u8,
        /// Whether the transaction was refused.
        is_refusal: bool,
    },
    /// The stored state is checked against itself.
    Audit,
}

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
