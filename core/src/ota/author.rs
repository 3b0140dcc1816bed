//! (author)
