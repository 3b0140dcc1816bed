//! (update)
