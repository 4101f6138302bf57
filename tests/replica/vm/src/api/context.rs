//! The contexts a message runs in, which decide what the system interface allows.

use crate::input::{EntryPoint, Mode};

/// What kind of message runs; the names are the interface specification's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub(crate) enum Context {
    Start,
    Init,
    PreUpgrade,
    Heartbeat,
    GlobalTimer,
    LowWasmMemory,
    Update,
    ReplicatedQuery,
    NonReplicatedQuery,
    CompositeQuery,
    ReplyCallback,
    RejectCallback,
    CompositeReplyCallback,
    CompositeRejectCallback,
    Cleanup,
    CompositeCleanup,
    InspectMessage,
}

impl Context {
    /// Every context.
    #[cfg(test)]
    pub(crate) const ALL: [Self; 17] = [
        Self::Start,
        Self::Init,
        Self::PreUpgrade,
        Self::Heartbeat,
        Self::GlobalTimer,
        Self::LowWasmMemory,
        Self::Update,
        Self::ReplicatedQuery,
        Self::NonReplicatedQuery,
        Self::CompositeQuery,
        Self::ReplyCallback,
        Self::RejectCallback,
        Self::CompositeReplyCallback,
        Self::CompositeRejectCallback,
        Self::Cleanup,
        Self::CompositeCleanup,
        Self::InspectMessage,
    ];

    /// Returns the context an entry point runs in.
    pub(crate) fn of(entry: &EntryPoint, mode: Mode) -> Self {
        let composite = mode == Mode::Composite;
        match entry {
            EntryPoint::Start => Self::Start,
            EntryPoint::Init | EntryPoint::PostUpgrade => Self::Init,
            EntryPoint::PreUpgrade => Self::PreUpgrade,
            EntryPoint::Heartbeat => Self::Heartbeat,
            EntryPoint::GlobalTimer => Self::GlobalTimer,
            EntryPoint::LowWasmMemory => Self::LowWasmMemory,
            EntryPoint::Update(_) => Self::Update,
            EntryPoint::Query(_) if mode == Mode::Replicated => Self::ReplicatedQuery,
            EntryPoint::Query(_) => Self::NonReplicatedQuery,
            EntryPoint::CompositeQuery(_) => Self::CompositeQuery,
            EntryPoint::InspectMessage => Self::InspectMessage,
            EntryPoint::ReplyCallback(_) if composite => Self::CompositeReplyCallback,
            EntryPoint::ReplyCallback(_) => Self::ReplyCallback,
            EntryPoint::RejectCallback(_) if composite => Self::CompositeRejectCallback,
            EntryPoint::RejectCallback(_) => Self::RejectCallback,
            EntryPoint::Cleanup(_) if composite => Self::CompositeCleanup,
            EntryPoint::Cleanup(_) => Self::Cleanup,
        }
    }

    /// Returns how the IC calls the context in its messages.
    pub(crate) const fn describe(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Init => "init",
            Self::PreUpgrade => "pre upgrade",
            Self::Heartbeat => "heartbeat",
            Self::GlobalTimer => "global timer",
            Self::LowWasmMemory => "on low Wasm memory",
            Self::Update => "update",
            Self::ReplicatedQuery => "replicated query",
            Self::NonReplicatedQuery => "non replicated query",
            Self::CompositeQuery => "composite query",
            Self::ReplyCallback => "reply callback",
            Self::RejectCallback => "reject callback",
            Self::CompositeReplyCallback => "composite reply callback",
            Self::CompositeRejectCallback => "composite reject callback",
            Self::Cleanup => "cleanup",
            Self::CompositeCleanup => "composite cleanup",
            Self::InspectMessage => "inspect message",
        }
    }

    /// Returns whether the canister's own heap limit holds here.
    pub(crate) const fn enforces_wasm_memory_limit(self) -> bool {
        Contexts::of(&[Self::Start, Self::Init, Self::Update]).contains(self)
    }

    /// Returns whether memory growth counts against what the subnet has left: not in installations,
    /// whose caller may check the sum, and not in queries, which throw their growth away.
    pub(crate) const fn takes_subnet_memory(self) -> bool {
        Contexts::of(&[
            Self::Update,
            Self::Heartbeat,
            Self::GlobalTimer,
            Self::LowWasmMemory,
            Self::ReplyCallback,
            Self::RejectCallback,
            Self::Cleanup,
        ])
        .contains(self)
    }

    /// Returns whether memory may only grow as far as the balance stays above the freezing threshold:
    /// installations are judged at their end, responses never.
    pub(crate) const fn pays_for_growth(self) -> bool {
        Contexts::of(&[
            Self::Update,
            Self::Heartbeat,
            Self::GlobalTimer,
            Self::LowWasmMemory,
        ])
        .contains(self)
    }

    /// Returns whether every node of the subnet executes the message.
    pub(crate) const fn is_replicated(self) -> bool {
        Contexts::REPLICATED.contains(self) || matches!(self, Self::Start)
    }
}

/// A set of contexts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Contexts(u32);

impl Contexts {
    const fn of(contexts: &[Context]) -> Self {
        let mut bits = 0;
        let mut index = 0;
        while index < contexts.len() {
            bits |= 1 << contexts[index] as u32;
            index += 1;
        }
        Self(bits)
    }

    const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Returns whether `context` is in the set.
    pub(crate) const fn contains(self, context: Context) -> bool {
        self.0 & (1 << context as u32) != 0
    }

    /// Everywhere.
    pub(crate) const ALL: Self = Self((1 << 17) - 1);
    /// Everywhere but in the start function.
    pub(crate) const NOT_START: Self = Self::ALL.without(Self::of(&[Context::Start]));
    const TASKS: Self = Self::of(&[
        Context::Heartbeat,
        Context::GlobalTimer,
        Context::LowWasmMemory,
    ]);
    const COMPOSITE_CALLBACKS: Self = Self::of(&[
        Context::CompositeReplyCallback,
        Context::CompositeRejectCallback,
    ]);
    const CALLBACKS: Self = Self::of(&[Context::ReplyCallback, Context::RejectCallback]);
    const CLEANUPS: Self = Self::of(&[Context::Cleanup, Context::CompositeCleanup]);
    /// Where a call's answer arrived.
    pub(crate) const RESPONSES: Self = Self::CALLBACKS.and(Self::COMPOSITE_CALLBACKS);
    /// Where a call's rejection arrived.
    pub(crate) const REJECTIONS: Self =
        Self::of(&[Context::RejectCallback, Context::CompositeRejectCallback]);
    /// Where a caller waits for an answer.
    pub(crate) const ANSWERS: Self = Self::of(&[
        Context::Update,
        Context::ReplicatedQuery,
        Context::NonReplicatedQuery,
        Context::CompositeQuery,
    ])
    .and(Self::RESPONSES);
    /// Where there is an argument.
    pub(crate) const PAYLOAD: Self = Self::ANSWERS
        .and(Self::of(&[Context::Init, Context::InspectMessage]))
        .without(Self::REJECTIONS);
    /// `inspect_message` only.
    pub(crate) const INSPECT: Self = Self::of(&[Context::InspectMessage]);
    /// Where a call context may hold cycles.
    pub(crate) const CYCLES: Self =
        Self::of(&[Context::Update, Context::ReplicatedQuery]).and(Self::CALLBACKS);
    /// Where a response may carry cycles back.
    pub(crate) const REFUNDS: Self = Self::CALLBACKS;
    /// Where calls may carry cycles.
    pub(crate) const PAYMENTS: Self = Self::of(&[Context::Update])
        .and(Self::TASKS)
        .and(Self::CALLBACKS);
    /// Where calls may be made.
    pub(crate) const CALLS: Self = Self::PAYMENTS
        .and(Self::of(&[Context::CompositeQuery]))
        .and(Self::COMPOSITE_CALLBACKS);
    /// Where state that outlives the message may be seen or changed by all nodes alike.
    pub(crate) const REPLICATED: Self = Self::NOT_START
        .without(Self::of(&[
            Context::NonReplicatedQuery,
            Context::CompositeQuery,
            Context::InspectMessage,
            Context::CompositeCleanup,
        ]))
        .without(Self::COMPOSITE_CALLBACKS);
    /// Where cycles may be burned.
    pub(crate) const BURNS: Self = Self::REPLICATED;
    /// Where the global timer may be set.
    pub(crate) const TIMER: Self = Self::REPLICATED.without(Self::of(&[Context::ReplicatedQuery]));
    /// Where certified data may be set.
    pub(crate) const CERTIFIES: Self = Self::TIMER.without(Self::CLEANUPS);
    /// Where a certificate of the certified data exists.
    pub(crate) const CERTIFICATE: Self =
        Self::of(&[Context::NonReplicatedQuery, Context::CompositeQuery]);
}
