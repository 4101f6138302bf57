//! What happens in a run: events.
//!
//! An event names blocks, scripts and callers by numbers that mean something in every state, so that a
//! list stays a list of possible events whatever is taken out of it: that is what minimising needs.

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
