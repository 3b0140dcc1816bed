//! A release to be delivered.

use waft::{
    Rng,
    ota::{
        author::{Release, SecretKey},
        digest::Sha256,
        manifest::{Image, Requires},
        policy::{Severity, UpdateType},
    },
};

/// The vendor of all devices here.
pub const VENDOR: [u8; 16] = [0x11; 16];
/// Their class.
pub const CLASS: [u8; 16] = [0x22; 16];
/// Bytes of an MQTT chunk.
pub const CHUNK: u32 = 16 * 1024;

/// The author's key.
#[must_use]
pub fn key() -> SecretKey {
    SecretKey::from_seed(&[9; 32]).expect("a seed that is not all zero")
}

/// An image of `len` bytes that no compression would shrink.
#[must_use]
pub fn image(len: usize) -> Vec<u8> {
    let mut rng = Rng::new(len as u64);
    std::iter::repeat_with(|| rng.next_u64().to_le_bytes()).flatten().take(len).collect()
}

/// A signed manifest for `image`.
///
/// # Panics
/// If the release is not sound.
#[must_use]
pub fn manifest(image: &[u8], sequence: u64, uri: &str, severity: Severity) -> Vec<u8> {
    release(image, sequence, uri, severity).sign(&key()).expect("a sound release")
}

/// The same before it is signed.
///
/// # Panics
/// If the image is 4 GiB long or longer.
#[must_use]
pub fn release<'r>(image: &[u8], sequence: u64, uri: &'r str, severity: Severity) -> Release<'r> {
    Release {
        sequence,
        vendor: VENDOR,
        class: CLASS,
        image: Image::of(image).expect("an image below 4 GiB"),
        uri,
        version: "1.1.0".parse().ok(),
        kind: UpdateType::Security,
        severity,
        chunk: Some(CHUNK),
        reference_uri: None,
        requires: Requires::default(),
        text: None,
        more: Default::default(),
    }
}

/// The image's reference relative to its manifest.
#[must_use]
pub fn reference(image: &[u8]) -> String {
    let digest = Sha256::of(image);
    let id: String = digest[..8].iter().map(|b| format!("{b:02x}")).collect();
    format!("image/{id}")
}
