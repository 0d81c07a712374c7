//! What the black-box tests share.
//!
//! The tests themselves are in `tests/`, one file for each subject; each drives real daemons in labs of its own.
