//! Things that machines borrow for as long as they live. Each distinct value is kept once and for good: an agent's names
//! and keys are few and short, and machines that borrow need no copy of their own.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use waft::ota::manifest::Key;
use waft::ota::secret::SecretKey;

static STRINGS: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());
static BYTES: Mutex<BTreeSet<&'static [u8]>> = Mutex::new(BTreeSet::new());
static SIGNERS: Mutex<BTreeMap<[u8; 32], &'static SecretKey>> = Mutex::new(BTreeMap::new());
static KEYS: Mutex<BTreeMap<Vec<[u8; 32]>, &'static [Key]>> = Mutex::new(BTreeMap::new());

/// The same string, for ever.
pub(crate) fn string(s: &str) -> &'static str {
    let mut kept = STRINGS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(old) = kept.get(s) {
        return old;
    }
    let new: &'static str = Box::leak(s.into());
    kept.insert(new);
    new
}

/// The same keys, for ever.
pub(crate) fn keys(public: Vec<[u8; 32]>) -> &'static [Key] {
    let mut kept = KEYS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(old) = kept.get(&public) {
        return old;
    }
    let new: &'static [Key] = Box::leak(public.iter().map(|key| Key::new(*key)).collect());
    kept.insert(public, new);
    new
}

/// The same bytes, for ever.
pub(crate) fn bytes(data: &[u8]) -> &'static [u8] {
    let mut kept = BYTES.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(old) = kept.get(data) {
        return old;
    }
    let new: &'static [u8] = Box::leak(data.into());
    kept.insert(new);
    new
}

/// The same secret key, for ever.
pub(crate) fn signer(key: &SecretKey, seed: [u8; 32]) -> &'static SecretKey {
    let mut kept = SIGNERS.lock().unwrap_or_else(PoisonError::into_inner);
    kept.entry(seed).or_insert_with(|| Box::leak(Box::new(key.clone())))
}
