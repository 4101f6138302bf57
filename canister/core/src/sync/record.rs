//! The fixed-size stable form of the pull state.
//!
//! ```text
//! offset size
//!      0    1  call in flight: 0 none, 1 initial, 2 follow-up
//!      1    1  page asked for, when a follow-up is in flight
//!      2    1  block staged: 0 no, 1 yes
//!      3    1  next page
//!      4    1  pages left
//!      5    1  failed attempts at the next page
//!      6    2  zero
//!      8    4  staged bytes, u32 LE
//!     12    4  failures, u32 LE
//!     16    8  id of the call in flight, u64 LE
//!     24    8  start of the call in flight, seconds, u64 LE
//!     32    8  earliest next call, seconds, u64 LE
//!     40    8  next call id, u64 LE
//!     48
//! ```

use super::{Call, CallId, Request, Staged, Sync};
use crate::bytes::{Reader, fixed};
use crate::header::RecordError;
use crate::units::UnixSeconds;

/// Size of an encoded [`Sync`].
pub const SYNC_RECORD_BYTES: usize = 48;

impl Sync {
    /// Returns the stable form.
    pub fn encode(&self) -> [u8; SYNC_RECORD_BYTES] {
        let (kind, page) = match self.call.map(|call| call.request) {
            None => (0, 0),
            Some(Request::Initial) => (1, 0),
            Some(Request::FollowUp { page }) => (2, page),
        };
        let staged = self.staged.map_or([0; 4], |staged| {
            [1, staged.next_page, staged.pages_left, staged.attempts]
        });
        let received = self.staged.map_or(0, |staged| staged.received);
        let id = self.call.map_or(0, |call| call.id.0);
        let since = self.call.map_or(0, |call| call.since.get());
        fixed(&[
            &[kind, page],
            &staged,
            &[0, 0],
            &received.to_le_bytes(),
            &self.failures.to_le_bytes(),
            &id.to_le_bytes(),
            &since.to_le_bytes(),
            &self.not_before.get().to_le_bytes(),
            &self.next_id.to_le_bytes(),
        ])
    }

    /// Reads the stable form.
    ///
    /// # Errors
    /// [`RecordError`] when the length or a tag is not one `encode` writes.
    pub fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        let length = RecordError::Length {
            got: bytes.len(),
            expected: SYNC_RECORD_BYTES,
        };
        if bytes.len() != SYNC_RECORD_BYTES {
            return Err(length);
        }
        read(&mut Reader::new(bytes)).ok_or(length)?
    }
}

fn read(reader: &mut Reader<'_>) -> Option<Result<Sync, RecordError>> {
    let [kind, page, is_staged, next_page, pages_left, attempts, _, _] = reader.array()?;
    let received = reader.u32()?;
    let failures = reader.u32()?;
    let id = CallId(reader.u64()?);
    let since = UnixSeconds::new(reader.u64()?);
    let not_before = UnixSeconds::new(reader.u64()?);
    let next_id = reader.u64()?;
    let request = match kind {
        0 => None,
        1 => Some(Request::Initial),
        2 => Some(Request::FollowUp { page }),
        _ => return Some(Err(bad_tag("call in flight", kind))),
    };
    let staged = match is_staged {
        0 => None,
        1 => Some(Staged {
            received,
            next_page,
            pages_left,
            attempts,
        }),
        _ => return Some(Err(bad_tag("block staged", is_staged))),
    };
    Some(Ok(Sync {
        call: request.map(|request| Call { id, request, since }),
        not_before,
        staged,
        failures,
        next_id,
    }))
}

fn bad_tag(field: &'static str, value: u8) -> RecordError {
    RecordError::Field {
        field,
        value: u64::from(value),
    }
}
