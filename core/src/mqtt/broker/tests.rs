//! The broker in virtual time, with packets by hand.

mod auth;
mod bench;
mod bounds;
mod connections;
mod messages;
mod properties;
mod restart;
mod restored;
mod sessions;
