//! Which pushed chunk may be written where.
