//! The manifest verifier against vectors from elsewhere, against every small change of them, and against envelopes that
//! are signed properly and still break a rule.

mod suit;

use proptest::prelude::*;
use suit::{
    Change, array, bytes, command, envelope, known, map, nested, resign, run_sequence, seq, set, text, try_each,
};
use suit::{int, uint};
use waft::ota::author::{More, Release, SecretKey, Text};
use waft::ota::manifest::{
    Comparison, Ed25519, Image, Key, Requires, Verifier, Version, VersionMatch, verify, verify_envelope,
    verify_for_slot,
};
use waft::ota::policy::{Severity, UpdateType};
use waft::ota::refusal::Refusal;

/// The vectors signed with Ed25519 under algorithm -19, and what the device profile makes of them.
const VECTORS: [(&str, u64, Result<&str, Refusal>); 7] = [
    ("example0_1", 0, Err(Refusal::Image)),
    ("example1_1", 1, Ok("http://example.com/file.bin")),
    ("example2_1", 2, Err(Refusal::Severed)),
    ("example2_2", 2, Ok("http://example.com/very/long/path/to/file/file.bin")),
    ("example3_1", 3, Err(Refusal::Condition)),
    ("example4_1", 4, Err(Refusal::UnknownMember)),
    ("example5_1", 5, Ok("http://example.com/file1.bin")),
];

fn vector(name: &str) -> Vec<u8> {
    let path = format!("{}/../tests/vectors/suit/{name}.suit.hex", env!("CARGO_MANIFEST_DIR"));
    suit::hex(&std::fs::read_to_string(path).unwrap())
}

fn alg19(name: &str) -> Vec<u8> {
    vector(&format!("{name}.ed25519.alg19"))
}

/// The key of RFC 8032 §7.1 TEST 1, which signed the vectors.
fn secret() -> SecretKey {
    let seed = suit::hex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60");
    SecretKey::from_seed(&seed.try_into().unwrap()).unwrap()
}

fn keys() -> [Key; 1] {
    [secret().key()]
}

fn release() -> Release<'static> {
    Release {
        sequence: 7,
        vendor: [0x11; 16],
        class: [0x22; 16],
        image: Image { digest: [0x33; 32], size: 200_000 },
        uri: "image/3333333333333333",
        version: "1.2.0".parse().ok(),
        kind: UpdateType::Security,
        severity: Severity::High,
        chunk: Some(4096),
        reference_uri: Some("https://example.com/m"),
        requires: Requires::default(),
        text: Some(Text {
            language: "en",
            description: Some("closes a hole"),
            vendor: Some("waft"),
            model: None,
            version: Some("1.2.0"),
        }),
        more: More::default(),
    }
}

#[test]
fn the_drafts_examples_signed_with_ed25519_are_authentic_and_well_formed() {
    for (name, sequence, _) in VECTORS {
        let bytes = alg19(name);
        let envelope = verify_envelope(&bytes, &keys(), &Ed25519).unwrap_or_else(|e| panic!("{name}: {e:?}"));
        assert_eq!(envelope.sequence, sequence, "{name}");
        assert_eq!(envelope.key_id, None);
        assert_eq!(suit::encode_again(&bytes), bytes, "{name}");
    }
}

#[test]
fn the_device_profile_takes_what_it_can_apply_and_says_why_not() {
    for (name, sequence, expected) in VECTORS {
        let bytes = alg19(name);
        let found = verify(&bytes, &keys(), &Ed25519);
        assert_eq!(found.map(|manifest| manifest.uri), expected, "{name}");
        if let Ok(manifest) = found {
            assert_eq!(manifest.sequence, sequence);
            assert_eq!(manifest.vendor.to_vec(), suit::hex("fa6b4a53d5ad5fdfbe9de663e4d41ffe"));
            assert_eq!(manifest.class.to_vec(), suit::hex("1492af1425695e48bf429b2d51f2ab45"));
            assert_eq!(manifest.image.size, 34768);
            assert_eq!((manifest.kind, manifest.severity), (UpdateType::Software, Severity::Medium));
            assert!(manifest.requires.is_empty());
        }
    }
}

#[test]
fn a_slot_chooses_among_the_alternatives() {
    let bytes = alg19("example3_1");
    let take = |slot| verify_for_slot(&bytes, &keys(), &Ed25519, slot);
    let first = take(Some(0)).unwrap();
    assert_eq!((first.uri, first.image.size), ("http://example.com/file1.bin", 34768));
    let second = take(Some(1)).unwrap();
    assert_eq!((second.uri, second.image.size), ("http://example.com/file2.bin", 76834));
    assert_eq!(take(Some(2)), Err(Refusal::Condition));
}

#[test]
fn other_algorithms_and_missing_signatures_are_refused() {
    for (name, ..) in VECTORS {
        let deprecated = vector(&format!("{name}.ed25519.alg8"));
        assert_eq!(verify_envelope(&deprecated, &keys(), &Ed25519), Err(Refusal::Algorithm), "{name}");
        assert_eq!(verify_envelope(&vector(name), &keys(), &Ed25519), Err(Refusal::Algorithm), "{name}: ES256");
    }
    for n in 0..=5 {
        let unsigned = vector(&format!("example{n}_0"));
        assert_eq!(verify_envelope(&unsigned, &keys(), &Ed25519), Err(Refusal::Authentication), "{n}");
    }
}

#[test]
fn only_trusted_keys_count() {
    let other = SecretKey::from_seed(&[9; 32]).unwrap();
    let bytes = alg19("example1_1");
    assert_eq!(verify(&bytes, &[], &Ed25519), Err(Refusal::UnknownKey));
    assert_eq!(verify(&bytes, &[other.key()], &Ed25519), Err(Refusal::Signature));
    assert!(verify(&bytes, &[other.key(), secret().key()], &Ed25519).is_ok());

    // A signature that names its key is tried with that key only.
    let bytes = release().sign(&secret()).unwrap();
    assert_eq!(verify(&bytes, &[other.key()], &Ed25519), Err(Refusal::UnknownKey));
    let impostor = Key { id: secret().key().id, ..other.key() };
    assert_eq!(verify(&bytes, &[impostor], &Ed25519), Err(Refusal::Signature));
    assert!(verify(&bytes, &[impostor, secret().key()], &Ed25519).is_ok());
}

#[test]
fn wycheproofs_ed25519_cases_are_judged_as_wycheproof_judges() {
    let path = format!("{}/../tests/vectors/wycheproof/ed25519_test.json", env!("CARGO_MANIFEST_DIR"));
    let json = std::fs::read_to_string(path).unwrap();
    let (mut public, mut message, mut signature) = (Vec::new(), Vec::new(), Vec::new());
    let (mut valid, mut invalid) = (0, 0);
    // One field a line.
    for line in json.lines() {
        let Some((name, value)) = line.trim().trim_end_matches(',').split_once(": ") else { continue };
        let value = value.trim_matches('"');
        match name {
            "\"pk\"" => public = suit::hex(value),
            "\"msg\"" => message = suit::hex(value),
            "\"sig\"" => signature = suit::hex(value),
            "\"result\"" => {
                let public: [u8; 32] = public.as_slice().try_into().unwrap();
                // A signature of another length never reaches a verifier: the envelope has no room for it.
                let signature: Result<&[u8; 64], _> = signature.as_slice().try_into();
                let good = signature.is_ok_and(|signature| Ed25519.verify(&public, &message, signature));
                assert_eq!(good, value == "valid", "{public:02x?} {message:02x?} {signature:02x?}");
                *(if good { &mut valid } else { &mut invalid }) += 1;
            }
            _ => {}
        }
    }
    assert_eq!((valid, invalid), (88, 63));
}

/// Takes exactly the digest and the signature of one envelope: what an unforgeable scheme comes to, for the price of a
/// comparison.
struct Only<'a>(&'a [u8]);

impl Verifier for Only<'_> {
    fn verify(&self, _: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> bool {
        // `d8 6b a_ 02 58 LL`, the block: `82 58 24`, 36 bytes of digest, `58 LL d2 84`, protected header, …, signature.
        let block = &self.0[6..][..usize::from(self.0[5])];
        // Signed are the protected header, after "Signature1", and the digest, at the end.
        let (start, payload) = message.split_at(message.len() - 36);
        payload == &block[3..39] && block[43..].starts_with(&start[12..start.len() - 3]) && block.ends_with(signature)
    }
}

/// All envelopes that are to be broken: the vectors and one of our own.
fn good() -> Vec<Vec<u8>> {
    let mut all: Vec<_> = VECTORS.iter().map(|(name, ..)| alg19(name)).collect();
    all.push(release().sign(&secret()).unwrap());
    all
}

#[test]
fn every_change_of_a_byte_is_refused() {
    for original in good() {
        let verifier = Only(&original);
        let own = original == release().sign(&secret()).unwrap();
        let mut bytes = original.clone();
        assert!(verify_envelope(&bytes, &keys(), &verifier).is_ok());
        for n in 0..bytes.len() {
            // Every value in our own, every bit in the others.
            for change in (1..=255u8).filter(|change| own || change.is_power_of_two()) {
                bytes[n] ^= change;
                assert!(verify_envelope(&bytes, &keys(), &verifier).is_err(), "byte {n} ^ {change:02x}");
                bytes[n] ^= change;
            }
        }
    }
}

#[test]
fn changes_are_refused_by_the_real_verifier_too() {
    let bytes = release().sign(&secret()).unwrap();
    assert!(verify(&bytes, &keys(), &Ed25519).is_ok());
    for n in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[n] ^= 1 << (n % 8);
        assert!(verify(&changed, &keys(), &Ed25519).is_err(), "byte {n}");
    }
}

#[test]
fn every_truncation_and_every_insertion_is_refused() {
    for original in good() {
        let verifier = Only(&original);
        for n in 0..original.len() {
            assert!(verify_envelope(&original[..n], &keys(), &verifier).is_err(), "cut at {n}");
        }
        for n in 0..=original.len() {
            for byte in [0, 1, 0x17, 0x18, 0x20, 0x40, 0x58, 0x60, 0x80, 0xa0, 0xd8, 0xf6, 0xff] {
                let mut longer = original.clone();
                longer.insert(n, byte);
                assert!(verify_envelope(&longer, &keys(), &verifier).is_err(), "{byte:02x} at {n}");
            }
        }
        let longer = [&original[..], &[0]].concat();
        assert_eq!(verify_envelope(&longer, &keys(), &verifier), Err(Refusal::TrailingBytes));
    }
}

#[test]
fn parts_of_one_envelope_do_not_fit_another() {
    let one = release().sign(&secret()).unwrap();
    let two = Release { sequence: 8, ..release() }.sign(&secret()).unwrap();
    let [(head, manifest, rest), (_, other_manifest, other_rest)] = [&one, &two].map(|e| suit::split(e));
    assert_eq!([head, manifest, rest].concat(), one);
    let mixed = [head, other_manifest, rest].concat();
    assert_eq!(verify(&mixed, &keys(), &Ed25519), Err(Refusal::ManifestDigest));
    // The same text is the same member; another one is not.
    assert_eq!(rest, other_rest);
    let text = Text { description: Some("opens a hole"), ..release().text.unwrap() };
    let three = Release { text: Some(text), ..release() }.sign(&secret()).unwrap();
    let mixed = [head, manifest, suit::split(&three).2].concat();
    assert_eq!(verify(&mixed, &keys(), &Ed25519), Err(Refusal::MemberDigest));
}

#[test]
fn text_can_be_severed_and_sequences_cannot() {
    let bytes = release().sign(&secret()).unwrap();
    let (head, manifest, _) = suit::split(&bytes);
    let mut severed = [head, manifest].concat();
    // A map of two.
    severed[2] = 0xa2;
    assert_eq!(verify(&severed, &keys(), &Ed25519), verify(&bytes, &keys(), &Ed25519));
    assert_eq!(verify(&alg19("example2_1"), &keys(), &Ed25519), Err(Refusal::Severed));
}

#[test]
fn a_member_that_the_manifest_has_no_digest_of_is_refused() {
    let manifest = map(&known(Change::None));
    let plain = envelope(&secret(), &manifest);
    let mut unknown = Vec::new();
    for member in [
        [uint(16), nested(&seq(&[command(14, 15)]))].concat(),
        [uint(20), nested(&seq(&[command(14, 15)]))].concat(),
        [uint(23), nested(&map(&[]))].concat(),
        [uint(14), nested(&map(&[]))].concat(),
        [int(-1), uint(0)].concat(),
        [text("#payload"), bytes(&[1, 2, 3])].concat(),
    ] {
        let mut more = [&plain[..], &member].concat();
        more[2] = 0xa3;
        unknown.push(verify(&more, &keys(), &Ed25519).unwrap_err());
        assert_eq!(verify_envelope(&more, &keys(), &Ed25519).unwrap_err(), *unknown.last().unwrap(), "{member:02x?}");
    }
    assert_eq!(unknown[..5], [Refusal::UnknownMember; 5]);
    assert_eq!(unknown[5..], [Refusal::Payload]);
}

/// Signs a manifest of these members and gives what `verify` says.
fn judge(members: &[(i64, Vec<u8>)]) -> Result<(), Refusal> {
    judge_raw(&map(members))
}

fn judge_raw(manifest: &[u8]) -> Result<(), Refusal> {
    verify(&envelope(&secret(), manifest), &keys(), &Ed25519).map(drop)
}

fn shared(commands: &[Vec<u8>]) -> Result<(), Refusal> {
    judge(&known(Change::Shared(seq(commands))))
}

fn validate(commands: &[Vec<u8>]) -> Result<(), Refusal> {
    judge(&known(Change::Member(7, nested(&seq(commands)))))
}

fn invoke(commands: &[Vec<u8>]) -> Result<(), Refusal> {
    judge(&known(Change::Member(9, nested(&seq(commands)))))
}

/// The URI that the manifest with this install sequence comes to.
fn install(commands: &[Vec<u8>]) -> Result<String, Refusal> {
    let members = known(Change::Member(20, nested(&seq(commands))));
    let bytes = envelope(&secret(), &map(&members));
    verify(&bytes, &keys(), &Ed25519).map(|manifest| manifest.uri.to_string())
}

fn uri(uri: &str) -> Vec<u8> {
    set(&[(21, text(uri))])
}

#[test]
fn each_broken_rule_of_the_structure_has_its_reason() {
    let with = |change: Change| judge(&known(change));
    assert_eq!(with(Change::None), Ok(()));
    assert_eq!(with(Change::Member(1, uint(2))), Err(Refusal::ManifestVersion));
    assert_eq!(with(Change::Member(2, text("1"))), Err(Refusal::Malformed));
    assert_eq!(with(Change::Member(5, uint(1))), Err(Refusal::UnknownMember));
    assert_eq!(with(Change::Member(14, bytes(&[]))), Err(Refusal::UnknownMember));
    assert_eq!(with(Change::Member(8, nested(&seq(&[command(3, 15)])))), Err(Refusal::UnknownMember));
    assert_eq!(with(Change::Member(-1, uint(1))), Err(Refusal::UnknownMember));
    assert_eq!(with(Change::Member(6, nested(&array(&[])))), Err(Refusal::Argument));
    for required in 1..=3 {
        assert_eq!(with(Change::Without(required)), Err(Refusal::MissingMember), "{required}");
    }
    assert_eq!(with(Change::Without(7)), Err(Refusal::ImageMatch));
    assert_eq!(with(Change::Without(9)), Ok(()));
    assert_eq!(with(Change::Without(20)), Err(Refusal::Image));

    let common = |members: &[(i64, Vec<u8>)]| with(Change::Member(3, nested(&map(members))));
    let shared = || (4, nested(&suit::shared(&suit::identity())));
    let components = |components: &[&[u8]]| {
        let components: Vec<_> = components.iter().map(|name| array(&[bytes(name)])).collect();
        common(&[(2, array(&components)), shared()])
    };
    assert_eq!(components(&[&[0]]), Ok(()));
    assert_eq!(components(&[]), Err(Refusal::Component));
    assert_eq!(components(&[&[0], &[1]]), Err(Refusal::Component), "each sequence has to say which");
    assert_eq!(components(&[&[1]]), Ok(()), "for the device to decide");
    assert_eq!(components(&[&[7]]), Err(Refusal::Component));
    assert_eq!(components(&[&[0, 0]]), Err(Refusal::Component));
    let one = || (2, array(&[array(&[bytes(&[0])])]));
    assert_eq!(common(&[one()]), Err(Refusal::IdentityCheck));
    assert_eq!(common(&[(1, uint(1)), one()]), Err(Refusal::MissingMember));
    assert_eq!(common(&[one(), (3, uint(1))]), Err(Refusal::UnknownMember));
    assert_eq!(common(&[one(), shared(), (5, uint(1))]), Err(Refusal::UnknownMember));
    assert_eq!(common(&[shared()]), Err(Refusal::MissingMember));
}

#[test]
fn what_is_not_canonical_is_refused_though_signed() {
    let members = known(Change::None);
    let good = map(&members);
    let starts = |start: &[u8], skip: usize| judge_raw(&[start, &good[skip..]].concat());
    assert_eq!(starts(&[], 0), Ok(()));

    // Longer heads: of the map, of a key, of a value in each width.
    assert_eq!(starts(&[0xb8, 6], 1), Err(Refusal::NotCanonical));
    assert_eq!(starts(&[0xa6, 0x18, 1], 2), Err(Refusal::NotCanonical));
    assert_eq!(starts(&[0xa6, 1, 0x18, 1], 3), Err(Refusal::NotCanonical));
    assert_eq!(starts(&[0xa6, 1, 0x19, 0, 1], 3), Err(Refusal::NotCanonical));
    assert_eq!(starts(&[0xa6, 1, 0x1a, 0, 0, 0, 1], 3), Err(Refusal::NotCanonical));
    assert_eq!(starts(&[0xa6, 1, 0x1b, 0, 0, 0, 0, 0, 0, 0, 1], 3), Err(Refusal::NotCanonical));
    // Indefinite length; heads that mean nothing; a float.
    assert_eq!(judge_raw(&[&[0xbf][..], &good[1..], &[0xff]].concat()), Err(Refusal::NotCanonical));
    assert_eq!(starts(&[0xbc], 1), Err(Refusal::Malformed));
    assert_eq!(starts(&[0xa6, 1, 0xf9, 0x3c, 0], 3), Err(Refusal::Malformed));

    let mut swapped = members.clone();
    swapped.swap(3, 4);
    assert_eq!(judge(&swapped), Err(Refusal::KeyOrder));
    let mut twice = members;
    twice.insert(4, twice[3].clone());
    assert_eq!(judge(&twice), Err(Refusal::KeyOrder));
    assert_eq!(judge_raw(&[&good[..], &[0]].concat()), Err(Refusal::TrailingBytes));
    let not_utf8 = Change::Member(4, vec![0x62, 0xc3, 0x28]);
    assert_eq!(judge(&known(not_utf8)), Err(Refusal::Malformed));
}

#[test]
fn each_broken_rule_of_the_signature_block_has_its_reason() {
    let manifest = map(&known(Change::None));
    let judge = |protected: &[u8], rest: &[Vec<u8>], signatures: usize| {
        verify(&resign(&secret(), &manifest, protected, rest, signatures), &keys(), &Ed25519).map(drop)
    };
    let (empty, nil) = (map(&[]), vec![0xf6]);
    let id = secret().key().id;
    let header = |protected: &[u8]| judge(protected, &[empty.clone(), nil.clone()], 1);
    let plain = [0xa1, 1, 0x32];
    assert_eq!(header(&plain), Ok(()));
    let alg = (1, int(-19));
    assert_eq!(header(&map(&[alg.clone(), (4, bytes(&id))])), Ok(()));
    assert_eq!(header(&map(&[alg.clone(), (4, bytes(&id[..7]))])), Err(Refusal::UnknownKey));
    assert_eq!(header(&map(&[alg.clone(), (4, bytes(&[0; 8]))])), Err(Refusal::UnknownKey));
    assert_eq!(header(&map(&[alg.clone(), (3, uint(0))])), Err(Refusal::Authentication));
    assert_eq!(header(&map(&[alg, (4, bytes(&id)), (5, uint(0))])), Err(Refusal::Authentication));
    assert_eq!(header(&map(&[(4, bytes(&id))])), Err(Refusal::Authentication));
    assert_eq!(header(&empty), Err(Refusal::Authentication));
    assert_eq!(header(&[]), Err(Refusal::Malformed));
    assert_eq!(header(&[0xa1, 1, 0x32, 0]), Err(Refusal::TrailingBytes));
    assert_eq!(header(&[0xa1, 1, 0x39, 0, 0x12]), Err(Refusal::NotCanonical));
    for alg in [-7, -8, -9, 19] {
        assert_eq!(header(&map(&[(1, int(alg))])), Err(Refusal::Algorithm), "{alg}");
    }
    // An unprotected header, an attached payload, a second signature, none.
    assert_eq!(judge(&plain, &[map(&[(4, bytes(&id))]), nil.clone()], 1), Err(Refusal::Authentication));
    assert_eq!(judge(&plain, &[empty.clone(), bytes(&[])], 1), Err(Refusal::Authentication));
    assert_eq!(judge(&plain, &[empty.clone(), nil.clone()], 2), Err(Refusal::Authentication));
    assert_eq!(judge(&plain, &[empty, nil], 0), Err(Refusal::Authentication));
}

#[test]
fn vendor_and_class_are_checked_in_any_case() {
    let (vendor, class) = (command(1, 15), command(2, 15));
    let who = set(&suit::identity());
    assert_eq!(shared(&[who.clone(), vendor.clone(), class.clone()]), Ok(()));
    assert_eq!(shared(&[who.clone(), vendor.clone()]), Err(Refusal::IdentityCheck));
    assert_eq!(shared(&[who.clone(), class.clone()]), Err(Refusal::IdentityCheck));
    assert_eq!(shared(std::slice::from_ref(&who)), Err(Refusal::IdentityCheck));
    assert_eq!(shared(&[vendor.clone(), class.clone()]), Err(Refusal::Condition));
    let both = seq(&[vendor.clone(), class.clone()]);
    let maybe = try_each(&[both.clone(), both.clone()], false);
    assert_eq!(shared(&[who.clone(), maybe]), Err(Refusal::IdentityCheck));
    assert_eq!(shared(&[who.clone(), run_sequence(&both)]), Ok(()));
    // Nobody is of two vendors.
    let other = set(&[(1, bytes(&[9; 16]))]);
    assert_eq!(shared(&[who, vendor.clone(), class, other, vendor]), Err(Refusal::Condition));
}

#[test]
fn commands_stand_only_where_they_make_sense() {
    let matches = command(3, 15);
    let who = [set(&suit::identity()), command(1, 15), command(2, 15)];
    for code in [21, 22, 23, 31] {
        assert_eq!(shared(&[&who[..], &[command(code, 2)]].concat()), Err(Refusal::Command), "{code}");
    }
    assert_eq!(validate(&[matches.clone(), command(21, 2)]), Err(Refusal::Command));
    assert_eq!(validate(&[matches.clone(), command(23, 2)]), Err(Refusal::Command));
    assert_eq!(invoke(&[command(21, 2)]), Err(Refusal::Command));
    assert_eq!(invoke(&[matches.clone(), command(23, 2)]), Ok(()));
    for code in [0, 6, 18, 25, 33, 34, 35] {
        assert_eq!(validate(&[matches.clone(), command(code, 2)]), Err(Refusal::Command), "{code}");
    }
    assert_eq!(validate(&[matches.clone(), [int(-300), uint(0)].concat()]), Err(Refusal::Command));
    // A wait comes before what is fetched and installed.
    let wait = set(&[(29, nested(&map(&[(5, uint(1))])))]);
    assert_eq!(validate(&[matches.clone(), wait, command(29, 2)]), Err(Refusal::Command));
    for code in [22, 31] {
        assert_eq!(install(&[uri("x"), command(code, 2)]), Err(Refusal::Image));
    }

    assert_eq!(validate(&[command(3, 16)]), Err(Refusal::Argument));
    let raw = |sequence: &[u8]| judge(&known(Change::Member(7, nested(sequence))));
    assert_eq!(raw(&array(&[])), Err(Refusal::Malformed));
    assert_eq!(raw(&array(&[uint(3)])), Err(Refusal::Malformed));
    assert_eq!(raw(&[seq(std::slice::from_ref(&matches)), vec![0]].concat()), Err(Refusal::TrailingBytes));
    let index = |argument: Vec<u8>| validate(&[[uint(12), argument].concat(), matches.clone()]);
    assert_eq!(index(uint(0)), Ok(()));
    assert_eq!(index(vec![0xf5]), Ok(()));
    assert_eq!(index(array(&[uint(0)])), Ok(()));
    assert_eq!(index(uint(1)), Err(Refusal::Component));
    assert_eq!(index(array(&[uint(0), uint(1)])), Err(Refusal::Component));
    assert_eq!(index(array(&[])), Err(Refusal::Argument));
    assert_eq!(index(vec![0xf4]), Err(Refusal::Malformed));
}

#[test]
fn one_image_is_fetched_and_checked_twice() {
    let (fetch, matches) = (command(21, 2), command(3, 15));
    let x = || uri("x");
    assert_eq!(install(&[x(), fetch.clone(), matches.clone()]).as_deref(), Ok("x"));
    assert_eq!(install(&[fetch.clone(), matches.clone()]), Err(Refusal::Image));
    assert_eq!(install(&[x(), fetch.clone()]), Err(Refusal::ImageMatch));
    assert_eq!(install(&[x(), matches.clone(), fetch.clone()]), Err(Refusal::ImageMatch));
    assert_eq!(install(&[x()]), Err(Refusal::Image));
    let twice = [x(), fetch.clone(), matches.clone(), fetch.clone(), matches.clone()];
    assert_eq!(install(&twice), Err(Refusal::Image));
    let another = set(&[(3, nested(&array(&[int(-16), bytes(&[8; 32])])))]);
    assert_eq!(install(&[x(), fetch.clone(), another.clone(), matches.clone()]), Err(Refusal::ImageMatch));
    assert_eq!(install(&[x(), another.clone(), fetch.clone(), matches.clone()]), Err(Refusal::ImageMatch));
    assert_eq!(validate(&[another.clone(), matches.clone()]), Err(Refusal::ImageMatch));
    assert_eq!(validate(&[matches.clone(), another, matches.clone()]), Err(Refusal::ImageMatch));
    assert_eq!(validate(&[x()]), Err(Refusal::ImageMatch));
    let who = set(&suit::identity());
    assert_eq!(shared(&[who, matches.clone(), command(1, 15), command(2, 15)]), Err(Refusal::ImageMatch));
    // A check that may be passed over is none.
    let maybe = try_each(&[seq(&[fetch, matches.clone()])], true);
    assert_eq!(install(&[x(), maybe]), Err(Refusal::Condition));
    // It may be fetched by the sequence made for that.
    let mut members = known(Change::Without(20));
    members.push((16, nested(&seq(&[x(), command(21, 2), matches]))));
    assert_eq!(judge(&members), Ok(()));
}

#[test]
fn parameters_are_known_and_of_their_type() {
    let with = |key: i64, value: Vec<u8>| validate(&[set(&[(key, value)]), command(3, 15)]);
    for key in [0, 6, 12, 13, 18, 19, 23, 25, 30, -1, -256, -258] {
        assert_eq!(with(key, uint(1)), Err(Refusal::Parameter), "{key}");
    }
    assert_eq!(with(1, bytes(&suit::VENDOR[..15])), Err(Refusal::Argument));
    assert_eq!(with(1, [vec![0xd8, 112], bytes(&[1])].concat()), Err(Refusal::Malformed));
    assert_eq!(with(3, nested(&array(&[int(-43), bytes(&suit::DIGEST)]))), Err(Refusal::Algorithm));
    assert_eq!(with(3, nested(&array(&[int(-16), bytes(&suit::CLASS)]))), Err(Refusal::Malformed));
    assert_eq!(with(14, uint(1 << 32)), Err(Refusal::Argument));
    for uri in ["", "a b", "a\u{e4}", "a\nb"] {
        assert_eq!(with(21, text(uri)), Err(Refusal::Argument), "{uri:?}");
    }
    assert_eq!(with(22, uint(1)), Err(Refusal::Component));
    assert_eq!(with(28, nested(&array(&[uint(6), array(&[uint(1)])]))), Err(Refusal::Argument));
    for private in [
        array(&[uint(2)]),
        array(&[uint(256)]),
        array(&[uint(0), uint(0)]),
        array(&[uint(0), uint(1 << 32)]),
        array(&[uint(0), uint(1), bytes(&suit::CLASS)]),
        array(&[uint(0), uint(1), bytes(&suit::DIGEST), uint(1)]),
    ] {
        assert_eq!(with(-257, nested(&private)), Err(Refusal::Argument), "{private:02x?}");
    }
    let longer = [array(&[uint(0)]), vec![0]].concat();
    assert_eq!(with(-257, nested(&longer)), Err(Refusal::TrailingBytes));
    assert_eq!(validate(&[[uint(20), map(&[])].concat(), command(3, 15)]), Err(Refusal::Argument));
}

#[test]
fn alternatives_are_tried_in_order_and_all_are_checked() {
    let (abort, fetch, matches) = (command(14, 15), command(21, 2), command(3, 15));
    let chosen = |alternatives: &[Vec<u8>], nil| {
        install(&[uri("before"), try_each(alternatives, nil), fetch.clone(), matches.clone()])
    };
    let fails = || seq(&[uri("failed"), abort.clone()]);
    let (a, b) = (seq(&[uri("a")]), seq(&[uri("b")]));
    assert_eq!(chosen(&[a.clone(), b.clone()], false).as_deref(), Ok("a"));
    assert_eq!(chosen(&[fails(), b.clone()], false).as_deref(), Ok("b"));
    // The draft has no undoing: what a failed alternative set stays set.
    assert_eq!(chosen(&[fails(), fails()], true).as_deref(), Ok("failed"));
    assert_eq!(chosen(&[fails(), fails()], false), Err(Refusal::Condition));
    assert_eq!(chosen(std::slice::from_ref(&a), false), Err(Refusal::Argument));
    assert_eq!(chosen(std::slice::from_ref(&a), true).as_deref(), Ok("a"));
    // After a failure nothing in the sequence has an effect any more.
    assert_eq!(
        chosen(&[seq(&[abort.clone(), uri("late")]), seq(std::slice::from_ref(&abort))], true).as_deref(),
        Ok("before")
    );
    // An alternative that is not taken is still read.
    assert_eq!(chosen(&[a, seq(&[command(99, 0)])], false), Err(Refusal::Command));
    // A sequence that fails, fails what runs it.
    assert_eq!(install(&[run_sequence(&fails()), fetch.clone(), matches.clone()]), Err(Refusal::Condition));
    assert_eq!(chosen(&[seq(&[run_sequence(&fails())]), b], false).as_deref(), Ok("b"));

    // Four deep, the install sequence included, and no deeper.
    let deep = |n: usize| (1..n).fold(seq(&[uri("deep")]), |inner, _| seq(&[run_sequence(&inner)]));
    let at = |n| install(&[run_sequence(&deep(n)), fetch.clone(), matches.clone()]);
    assert_eq!(at(3).as_deref(), Ok("deep"));
    assert_eq!(at(4), Err(Refusal::TooDeep));
    assert_eq!(at(400), Err(Refusal::TooDeep));
}

#[test]
fn conditions_for_the_device_are_noted_where_they_are_certain() {
    let version = |comparison, text: &str| Some(VersionMatch { comparison, version: text.parse().unwrap() });
    let requires = Requires {
        use_before: Some(1_900_000_000),
        battery: Some(500),
        authorization: true,
        version: [version(Comparison::GreaterEqual, "1.0"), version(Comparison::Lesser, "1.10-rc.2")],
        device: Some([0x44; 16]),
        wait: None,
    };
    let signed = Release { requires, ..release() }.sign(&secret()).unwrap();
    assert_eq!(verify(&signed, &keys(), &Ed25519).unwrap().requires, requires);

    // Two of a kind: the stricter.
    let limits = |time, charge| set(&[(4, uint(time)), (26, uint(charge))]);
    let (before, battery) = (command(4, 15), command(26, 15));
    let commands = [limits(10, 10), before.clone(), battery.clone(), limits(20, 20), before, battery, command(3, 15)];
    let signed = envelope(&secret(), &map(&known(Change::Member(7, nested(&seq(&commands))))));
    let found = verify(&signed, &keys(), &Ed25519).unwrap().requires;
    assert_eq!((found.use_before, found.battery), (Some(10), Some(20)));

    // As a condition of an alternative none can be decided beforehand; without its parameter none holds.
    let version = nested(&array(&[uint(3), array(&[uint(1)])]));
    for (code, parameter) in [(4, uint(1)), (24, bytes(&[7; 16])), (26, uint(1)), (27, uint(1)), (28, version)] {
        let set = set(&[(code, parameter)]);
        let check = command(u64::try_from(code).unwrap(), 15);
        assert_eq!(validate(&[set.clone(), check.clone(), command(3, 15)]), Ok(()), "{code}");
        assert_eq!(validate(&[check.clone(), command(3, 15)]), Err(Refusal::Condition), "{code}");
        let maybe = try_each(&[seq(&[check])], true);
        assert_eq!(validate(&[set, maybe, command(3, 15)]), Err(Refusal::Condition), "{code}");
    }
}

#[test]
fn an_author_does_not_sign_what_no_device_would_take() {
    use waft::Misuse;
    let sign = |release: Release<'_>| release.sign(&secret()).map(drop);
    assert_eq!(sign(release()), Ok(()));
    for uri in ["", "a b", "\u{e4}"] {
        assert_eq!(sign(Release { uri, ..release() }), Err(Misuse::InvalidUri));
    }
    assert_eq!(sign(Release { chunk: Some(0), ..release() }), Err(Misuse::OutOfRange));
    assert!(SecretKey::from_seed(&[0; 32]).is_none());
    assert!(!format!("{:?}", secret()).contains("9d61"), "what is printed of a key is public");
}

#[test]
fn what_an_author_writes_never_changes() {
    let signed = release().sign(&secret()).unwrap();
    assert_eq!(suit::to_hex(&signed), suit::to_hex(&vector("waft-release")));
}

fn version() -> impl Strategy<Value = Version> {
    let pre = proptest::option::of((-3..0, proptest::option::of(0..i32::MAX)));
    (proptest::collection::vec(0..i32::MAX, 1..=3), pre).prop_map(|(mut numbers, pre)| {
        if let Some((class, n)) = pre {
            numbers.push(class);
            numbers.extend(n);
        }
        Version::new(&numbers).unwrap()
    })
}

fn requires() -> impl Strategy<Value = Requires> {
    let comparison = proptest::sample::select(vec![
        Comparison::Greater,
        Comparison::GreaterEqual,
        Comparison::Equal,
        Comparison::LesserEqual,
        Comparison::Lesser,
    ]);
    let wanted = (comparison, version()).prop_map(|(comparison, version)| VersionMatch { comparison, version });
    let versions = proptest::collection::vec(wanted, 0..=2).prop_map(|wanted| {
        let first = wanted.first().copied();
        [first, wanted.get(1).copied().filter(|second| Some(*second) != first)]
    });
    let (use_before, battery) = (any::<Option<u64>>(), any::<Option<u32>>());
    (use_before, battery, any::<bool>(), versions, any::<Option<[u8; 16]>>()).prop_map(
        |(use_before, battery, authorization, version, device)| Requires {
            use_before,
            battery,
            authorization,
            version,
            device,
            wait: None,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_authored_is_verified_to_the_same(
        (sequence, vendor, class) in any::<(u64, [u8; 16], [u8; 16])>(),
        (digest, size) in any::<([u8; 32], u32)>(),
        uri in "[$-~][!-~]{0,299}",
        version in proptest::option::of(version()),
        kind in proptest::sample::select(&UpdateType::ALL[..]),
        severity in proptest::sample::select(&Severity::ALL[..]),
        chunk in proptest::option::of(1..=u32::MAX),
        reference in proptest::option::of("\\PC{0,40}"),
        requires in requires(),
        (description, model) in any::<(Option<String>, Option<String>)>(),
    ) {
        let text = Text {
            language: "de-CH",
            description: description.as_deref(),
            vendor: None,
            model: model.as_deref(),
            version: None,
        };
        let release = Release {
            sequence, vendor, class, image: Image { digest, size }, uri: &uri, version, kind, severity, chunk,
            reference_uri: reference.as_deref(), requires, text: description.is_some().then_some(text), more: More::default(),
        };
        let signed = release.sign(&secret()).unwrap();
        prop_assert_eq!(&signed, &release.sign(&secret()).unwrap());
        let found = verify(&signed, &keys(), &Ed25519).unwrap();
        prop_assert_eq!(found.sequence, sequence);
        prop_assert_eq!((found.vendor, found.class), (vendor, class));
        prop_assert_eq!(found.image, Image { digest, size });
        prop_assert_eq!((found.uri, found.reference_uri), (&*uri, reference.as_deref()));
        prop_assert_eq!((found.version, found.kind, found.severity, found.chunk), (version, kind, severity, chunk));
        prop_assert_eq!(found.requires, requires);
        prop_assert_eq!(suit::encode_again(&signed), signed);
    }
}

/// Takes any signature: for what is about structure alone.
struct Any;

impl Verifier for Any {
    fn verify(&self, _: &[u8; 32], _: &[u8], _: &[u8; 64]) -> bool {
        true
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    /// Manifests that were changed and then signed properly: whatever is accepted is canonical.
    #[test]
    fn what_is_accepted_encodes_again_to_the_same_bytes(
        which in 0..8usize,
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..3u8), 1..4),
    ) {
        let mut manifest = suit::content(&suit::cached(good)[which]);
        for (place, byte, how) in changes {
            let n = place.index(manifest.len());
            match how {
                0 => manifest[n] = byte,
                1 => manifest[n] ^= 1 << (byte & 7),
                _ => manifest.insert(n, byte),
            }
        }
        let changed = suit::unsigned(&manifest);
        if verify_envelope(&changed, &keys(), &Any).is_ok() {
            prop_assert_eq!(suit::encode_again(&changed), changed);
        }
    }
}
