//! What can go wrong with stored data.

/// Why the store could not do what was asked. State is unchanged unless the variant says otherwise.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// A record cannot be read: a defect, or memory written by something else.
    #[error("damaged {what}: {detail}")]
    Damaged {
        /// Which structure.
        what: &'static str,
        /// What is wrong with it.
        detail: String,
    },
    /// Stable memory cannot grow: the canister's or the subnet's limit is reached, or more could not be paid
    /// for.
    #[error(
        "stable memory cannot grow beyond {pages} pages of 64 KiB: none is left, or too few cycles to pay for it"
    )]
    OutOfMemory {
        /// Its size now.
        pages: u64,
    },
    /// The caller named something that is not there.
    #[error("no {what} {name}")]
    Missing {
        /// Kind of thing.
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// A read reaches beyond the end.
    #[error("bytes {offset}..{end} reach beyond a length of {length}")]
    BeyondEnd {
        /// Start of the read.
        offset: u64,
        /// End of the read.
        end: u64,
        /// Length of what is read.
        length: u64,
    },
}

impl StoreError {
    /// Names a damaged structure.
    pub(crate) fn damaged(what: &'static str, detail: impl ToString) -> Self {
        Self::Damaged {
            what,
            detail: detail.to_string(),
        }
    }

    /// Names what is not there.
    pub(crate) fn missing(what: &'static str, name: impl ToString) -> Self {
        Self::Missing {
            what,
            name: name.to_string(),
        }
    }
}

/// For bytes on the heap, which can always be read.
impl From<std::convert::Infallible> for StoreError {
    fn from(never: std::convert::Infallible) -> Self {
        match never {}
    }
}
