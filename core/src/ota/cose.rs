//! (cose)
