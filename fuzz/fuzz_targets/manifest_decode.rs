//! The manifest's verifier: an envelope, or a manifest that is put into one, is refused or encodes again to the same
//! bytes; what the device profile takes is well-formed too.
#![no_main]

#[allow(dead_code)]
#[path = "../../core/tests/suit/mod.rs"]
mod suit;

use libfuzzer_sys::fuzz_target;
use waft::ota::manifest::{
    Component, Image, Key, Verifier, Visit, inspect, parse_unverified, payload, verify_envelope, verify_for_slot,
};
use waft::ota::report::{MAX, Report};

/// Takes any signature: what is behind it is to be reached.
struct Any;

impl Verifier for Any {
    fn verify(&self, _: &[u8; 32], _: &[u8], _: &[u8; 64]) -> bool {
        true
    }
}

/// Counts what it is shown.
#[derive(Default)]
struct Count(usize);

impl<'a> Visit<'a> for Count {
    fn command(&mut self, depth: usize, _: i32, _: &'a [u8]) {
        assert!(depth < waft::ota::manifest::DEPTH);
        self.0 += 1;
    }
}

fuzz_target!(|data: &[u8]| {
    let bytes = if data.starts_with(&[0xd8, 0x6b]) { data.to_vec() } else { suit::unsigned(data) };
    let mut count = Count::default();
    let well_formed = inspect(&bytes, &mut count);
    assert!(count.0 <= bytes.len());
    if let Ok(envelope) = well_formed {
        assert_eq!(suit::encode_again(&bytes), bytes);
        let key = Key { id: envelope.key_id.unwrap_or_default(), ..Key::new([0; 32]) };
        assert_eq!(verify_envelope(&bytes, &[key], &Any), Ok(envelope));
        for slot in [None, Some(0), Some(1)] {
            let parsed = parse_unverified(&bytes, slot);
            let signer = Some(key.id);
            assert_eq!(
                verify_for_slot(&bytes, &[key], &Any, slot),
                parsed.map(|manifest| waft::ota::manifest::Manifest { signer, ..manifest })
            );
            if let Ok(manifest) = parsed {
                assert_eq!((manifest.digest, manifest.sequence), (envelope.digest, envelope.sequence));
                assert!(manifest.payloads > 0 && manifest.chunk != Some(0));
                assert!(payload(&bytes, slot, manifest.payloads).is_none());
                let mut firmware = false;
                for n in 0..manifest.payloads {
                    let found = payload(&bytes, slot, n).expect("as many as it says");
                    assert!(!found.uri.is_empty());
                    if found.component == Component::Image(0) {
                        assert_eq!((found.image, found.uri), (manifest.image, manifest.uri));
                        firmware = true;
                    }
                    if let Some(content) = found.content {
                        assert_eq!(Image::of(content), Some(found.image));
                    }
                }
                assert!(firmware || (manifest.image == Image::NONE && manifest.uri.is_empty()));
            }
        }
    } else {
        assert!(parse_unverified(&bytes, Some(0)).is_err());
    }

    if let Ok((report, uri)) = Report::decode(data) {
        let mut out = vec![0; MAX + uri.len()];
        let again = report.encode(uri, &mut out).expect("it fits");
        assert_eq!(Report::decode(again), Ok((report, uri)));
    }
});
