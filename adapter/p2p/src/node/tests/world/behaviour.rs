//! The characters of peers.

/// How a peer behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behaviour {
    /// As it should.
    Honest,
    /// Ends the connection after each so many blocks, and may be connected to again.
    Flaky(u32),
    /// Sends no block.
    StallsBlocks,
    /// Sends so many blocks, then none.
    StallsAfter(u32),
    /// Sends no headers.
    StallsHeaders,
    /// Says that it has no headers.
    HidesHeaders,
    /// Answers nothing at all after the handshake.
    Silent,
    /// Does not even finish the handshake.
    Mute,
    /// Sends blocks whose transactions do not match their header.
    BadBlocks,
    /// Sends blocks with a duplicated tail (CVE-2012-2459).
    MutatedBlocks,
    /// Sends blocks without transactions.
    EmptyBlocks,
    /// Sends blocks nobody asked for instead.
    WrongBlocks,
    /// Shows chains with little work, one after the other.
    FloodsHeaders,
    /// Sends headers that follow nothing known.
    UnconnectedHeaders,
    /// Sends headers without work.
    WorthlessHeaders,
    /// Says that it has none of the blocks.
    NotFound,
    /// Sends thousands of addresses.
    FloodsAddresses,
    /// Sends messages of no use by the thousand.
    Chatters,
    /// Ends the connection at the first request for blocks.
    Vanishes,
}

impl Behaviour {
    /// All that no honest peer does.
    pub const BAD: [Self; 17] = [
        Self::StallsBlocks,
        Self::StallsAfter(40),
        Self::StallsHeaders,
        Self::HidesHeaders,
        Self::Silent,
        Self::Mute,
        Self::BadBlocks,
        Self::MutatedBlocks,
        Self::EmptyBlocks,
        Self::WrongBlocks,
        Self::FloodsHeaders,
        Self::UnconnectedHeaders,
        Self::WorthlessHeaders,
        Self::NotFound,
        Self::FloodsAddresses,
        Self::Chatters,
        Self::Vanishes,
    ];
}
