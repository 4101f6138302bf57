//! Memories that a message changes on a private copy and that commit only the changed pages.

pub(crate) mod file;
pub(crate) mod heap;
pub(crate) mod mapping;
pub(crate) mod pages;
pub(crate) mod stable;
