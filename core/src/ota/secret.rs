//! Secret keys in memory: an author's, who signs manifests, and a device's, which signs reports.

use super::cose::{Key, Signer};
use core::fmt;
use ed25519_compact::{KeyPair, Seed};

/// An author's secret key, or a device's.
#[derive(Clone)]
pub struct SecretKey {
    pair: KeyPair,
    key: Key,
}

impl SecretKey {
    /// The key that grows from 32 random bytes (RFC 8032 §5.1.5). `None` where they are all zero, which is no key.
    // Not inlined, nor is what signs: what of ed25519-compact is in them is known by their names.
    #[must_use]
    #[inline(never)]
    pub fn from_seed(seed: &[u8; 32]) -> Option<Self> {
        let pair = KeyPair::try_from_seed(Seed::new(*seed)).ok()?;
        let key = Key::new(*pair.pk);
        Some(Self { pair, key })
    }

    /// The public key with its identifier: what devices have to trust.
    #[must_use]
    pub const fn key(&self) -> Key {
        self.key
    }

    /// The Ed25519 signature of `message` (RFC 8032 §5.1.6).
    #[must_use]
    #[inline(never)]
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        *self.pair.sk.sign(message, None)
    }
}

impl Signer for SecretKey {
    fn id(&self) -> [u8; 8] {
        self.key.id
    }

    fn sign(&self, message: &[u8]) -> [u8; 64] {
        Self::sign(self, message)
    }
}

impl fmt::Debug for SecretKey {
    /// Shows the public key only.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecretKey").field("key", &self.key).finish_non_exhaustive()
    }
}
