//! Manifests of several components: images installed together, copies by way of a staging area, payloads in the envelope,
//! lists of chunk digests, tables of keys; and what each key may sign.

#[allow(dead_code, reason = "other tests use more of it")]
mod suit;

use sha2::{Digest, Sha256};
use suit::{array, bytes, command, int, map, nested, seq, set, text, uint};
use waft::Misuse;
use waft::ota::author::{self, Extra, KeyChange, List, More, Release, SecretKey};
use waft::ota::chunks::{self, ChunkDigests};
use waft::ota::keys::{KeyTable, Scope};
use waft::ota::manifest::{
    Codec, Component, Ed25519, Image, KEYS, Key, Manifest, Payload, Requires, Suit, Wait, payload, verify,
    verify_envelope,
};
use waft::ota::policy::{Severity, UpdateType};
use waft::ota::refusal::Refusal;

/// The key of RFC 8032 §7.1 TEST 1.
fn secret() -> SecretKey {
    let seed = suit::hex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60");
    SecretKey::from_seed(&seed.try_into().unwrap()).unwrap()
}

fn digest_of(content: &[u8]) -> [u8; 32] {
    Sha256::digest(content).into()
}

/// set-component-index.
fn index(argument: Vec<u8>) -> Vec<u8> {
    [uint(12), argument].concat()
}

fn digest(digest: &[u8; 32]) -> (i64, Vec<u8>) {
    (3, nested(&array(&[int(-16), bytes(digest)])))
}

/// A component: its identifier, and what its image has to be.
#[derive(Clone)]
struct Part {
    id: Vec<Vec<u8>>,
    digest: [u8; 32],
    size: u64,
    more: Vec<(i64, Vec<u8>)>,
    uri: String,
}

fn image(n: u8) -> Part {
    Part { id: vec![vec![n]], digest: [n + 1; 32], size: 1000 + u64::from(n), more: vec![], uri: format!("image/{n}") }
}

/// A payload that is in the envelope under `uri`.
fn content(id: &[&[u8]], content: &[u8], uri: &str) -> Part {
    Part {
        id: id.iter().map(|part| part.to_vec()).collect(),
        digest: digest_of(content),
        size: content.len() as u64,
        more: vec![],
        uri: uri.into(),
    }
}

/// The parts of a manifest before they are put together, for tests to change.
struct Draft {
    components: Vec<u8>,
    shared: Vec<Vec<u8>>,
    install: Vec<Vec<u8>>,
    validate: Vec<Vec<u8>>,
    /// Integrated payloads, in their order.
    payloads: Vec<(String, Vec<u8>)>,
}

impl Draft {
    fn of(parts: &[Part]) -> Self {
        let ids: Vec<_> =
            parts.iter().map(|part| array(&part.id.iter().map(|id| bytes(id)).collect::<Vec<_>>())).collect();
        let mut draft =
            Self { components: array(&ids), shared: vec![], install: vec![], validate: vec![], payloads: vec![] };
        draft.shared.push(index(uint(0)));
        draft.shared.push(set(&[(1, bytes(&suit::VENDOR)), (2, bytes(&suit::CLASS))]));
        draft.shared.extend([command(1, 15), command(2, 15)]);
        for (n, part) in parts.iter().enumerate() {
            let n = || index(uint(n as u64));
            let mut parameters = vec![digest(&part.digest), (14, uint(part.size))];
            parameters.extend(part.more.clone());
            draft.shared.extend([n(), set(&parameters)]);
            draft.install.extend([n(), set(&[(21, text(&part.uri))]), command(21, 2), command(3, 15)]);
            draft.validate.extend([n(), command(3, 15)]);
        }
        draft
    }

    fn with(mut self, uri: &str, content: &[u8]) -> Self {
        self.payloads.push((uri.into(), content.to_vec()));
        self
    }

    fn signed(&self) -> Vec<u8> {
        let manifest = map(&[
            (1, uint(1)),
            (2, uint(5)),
            (3, nested(&map(&[(2, self.components.clone()), (4, nested(&seq(&self.shared)))]))),
            (7, nested(&seq(&self.validate))),
            (20, nested(&seq(&self.install))),
        ]);
        let mut envelope = suit::envelope(&secret(), &manifest);
        envelope[2] += u8::try_from(self.payloads.len()).unwrap();
        for (key, content) in &self.payloads {
            envelope.extend(text(key));
            envelope.extend(bytes(content));
        }
        envelope
    }

    fn judge(&self) -> Result<(), Refusal> {
        let envelope = self.signed();
        let found = verify(&envelope, &[secret().key()], &Ed25519).map(drop);
        if found.is_ok() {
            verify_envelope(&envelope, &[secret().key()], &Ed25519).expect("what a device takes is well-formed");
            assert_eq!(suit::encode_again(&envelope), envelope);
        }
        found
    }
}

fn payloads(envelope: &[u8]) -> Vec<Payload<'_>> {
    (0..).map_while(|n| payload(envelope, None, n)).collect()
}

#[test]
fn several_images_are_one_update() {
    let envelope = Draft::of(&[image(0), image(1), image(2)]).signed();
    let manifest = verify(&envelope, &[secret().key()], &Ed25519).unwrap();
    assert_eq!(
        (manifest.payloads, manifest.image, manifest.uri),
        (3, Image { digest: [1; 32], size: 1000 }, "image/0")
    );
    let found = payloads(&envelope);
    assert_eq!(found.len(), 3);
    for (n, payload) in found.iter().enumerate() {
        let n8 = u8::try_from(n).unwrap();
        assert_eq!(payload.component, Component::Image(n8));
        assert_eq!(payload.image, Image { digest: [n8 + 1; 32], size: 1000 + u32::from(n8) });
        assert_eq!((payload.uri, payload.content), (format!("image/{n}").as_str(), None));
    }
    let codec: &dyn Codec = &Suit;
    let mut taken = Vec::new();
    let mut take = |manifest: &Manifest<'_>| {
        taken.push(format!("{manifest:?}"));
        Ok(())
    };
    assert_eq!(codec.verify(&envelope, &[secret().key()], &Ed25519, None, &mut take), Ok(()));
    assert_eq!(codec.read(&envelope, None, &mut take), Ok(()));
    assert_eq!(taken, [format!("{manifest:?}"), format!("{:?}", Manifest { signer: None, ..manifest })]);
    let mut visited = Vec::new();
    assert_eq!(codec.payloads(&envelope, None, &mut |payload| visited.push(*payload)), Ok(()));
    assert_eq!(visited, found);
    // What is wrong is not taken, and what is not to be taken is an error.
    let mut untaken = |_: &Manifest<'_>| Err(Refusal::Vendor);
    assert_eq!(codec.verify(&envelope, &[secret().key()], &Ed25519, None, &mut untaken), Err(Refusal::Vendor));
    let mut never = |_: &Manifest<'_>| unreachable!("nobody signed it");
    assert_eq!(codec.verify(&envelope, &[], &Ed25519, None, &mut never), Err(Refusal::UnknownKey));
}

#[test]
fn a_component_that_is_left_out_anywhere_is_refused() {
    let two = || Draft::of(&[image(0), image(1)]);
    assert_eq!(two().judge(), Ok(()));
    let without = |change: &dyn Fn(&mut Draft)| {
        let mut draft = two();
        change(&mut draft);
        draft.judge()
    };
    // Not fetched, not checked after that, not validated.
    assert_eq!(without(&|draft| draft.install.truncate(4)), Err(Refusal::Image));
    assert_eq!(without(&|draft| drop(draft.install.pop())), Err(Refusal::ImageMatch));
    assert_eq!(without(&|draft| draft.validate.truncate(2)), Err(Refusal::ImageMatch));
    // Each sequence begins by saying which component it is about.
    for change in [
        &(|draft: &mut Draft| drop(draft.validate.remove(0))) as &dyn Fn(&mut Draft),
        &|draft| drop(draft.install.remove(0)),
        &|draft| drop(draft.shared.remove(0)),
    ] {
        assert_eq!(without(change), Err(Refusal::Component));
    }
    // Not in a sequence that is run for others, where nobody could say how long it counts.
    let inner = seq(&[index(uint(1))]);
    assert_eq!(without(&|draft| draft.install.push(suit::run_sequence(&inner))), Err(Refusal::Command));
    assert_eq!(Draft::of(&[image(0), image(0)]).judge(), Err(Refusal::Component));
    assert_eq!(Draft::of(&(0..7).map(image).collect::<Vec<_>>()).judge(), Ok(()));
    let many: Vec<_> = (0..9).map(|n| Part { id: vec![vec![n]], ..image(0) }).collect();
    assert_eq!(Draft::of(&many).judge(), Err(Refusal::Component));
}

#[test]
fn an_index_may_name_several_or_all() {
    for (argument, fits) in
        [(vec![0xf5], true), (array(&[uint(0), uint(1)]), true), (array(&[uint(1)]), false), (uint(0), false)]
    {
        let mut draft = Draft::of(&[image(0), image(1)]);
        draft.validate = vec![index(argument), command(3, 15)];
        assert_eq!(draft.judge(), if fits { Ok(()) } else { Err(Refusal::ImageMatch) });
    }
    // A sequence is run once for each of them, with its own parameters.
    let mut draft = Draft::of(&[image(0), image(1)]);
    let run = suit::run_sequence(&seq(&[command(21, 2), command(3, 15)]));
    let uri = |n: u64, uri: &str| [index(uint(n)), set(&[(21, text(uri))])];
    draft.install = [&uri(0, "a")[..], &uri(1, "b"), &[index(vec![0xf5]), run]].concat();
    assert_eq!(draft.judge(), Ok(()));
    let envelope = draft.signed();
    assert_eq!(payloads(&envelope).iter().map(|payload| payload.uri).collect::<Vec<_>>(), ["a", "b"]);
}

/// Fetched to `[h'02']`, and from there copied, or swapped, to `[h'00']`.
fn staged(directive: u64) -> Draft {
    let staging = Part { digest: [1; 32], ..image(2) };
    let mut draft = Draft::of(&[image(0), staging]);
    let fetch = draft.install.split_off(4);
    draft.install = fetch;
    draft.install.extend([index(uint(0)), set(&[(22, uint(1))]), command(directive, 2), command(3, 15)]);
    draft.validate.truncate(2);
    draft
}

#[test]
fn an_image_may_come_by_way_of_a_staging_area() {
    for directive in [22, 31] {
        let draft = staged(directive);
        assert_eq!(draft.judge(), Ok(()));
        let envelope = draft.signed();
        let found = payloads(&envelope);
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].component, found[0].uri), (Component::Image(0), "image/2"));
        assert_eq!(found[0].image, Image { digest: [1; 32], size: 1000 });
    }
    let change = |change: &dyn Fn(&mut Draft)| {
        let mut draft = staged(22);
        change(&mut draft);
        draft.judge()
    };
    // Of itself; before it is there; of something else; without a source.
    assert_eq!(change(&|draft| draft.install[5] = set(&[(22, uint(0))])), Err(Refusal::Image));
    assert_eq!(change(&|draft| draft.install.rotate_left(4)), Err(Refusal::Image));
    let other = set(&[digest(&[9; 32]), (21, text("x"))]);
    assert_eq!(change(&|draft| draft.install[1] = other.clone()), Err(Refusal::Image));
    assert_eq!(change(&|draft| drop(draft.install.remove(5))), Err(Refusal::Image));
    assert_eq!(change(&|draft| drop(draft.install.pop())), Err(Refusal::ImageMatch));
    // What is staged and not used is not taken for staged.
    let mut draft = Draft::of(&[image(0), image(2)]);
    draft.validate.truncate(2);
    assert_eq!(draft.judge(), Err(Refusal::ImageMatch));
}

#[test]
fn a_payload_in_the_envelope_is_the_one_described_and_no_other_is_there() {
    let small = b"a small image".as_slice();
    let part = content(&[&[0]], small, "#firmware");
    let draft = || Draft::of(std::slice::from_ref(&part)).with("#firmware", small);
    assert_eq!(draft().judge(), Ok(()));
    let envelope = draft().signed();
    assert_eq!(payloads(&envelope)[0].content, Some(small));
    // One that was put there on the way, under its URI.
    let remote = content(&[&[0]], small, "coap://h/x");
    assert_eq!(Draft::of(std::slice::from_ref(&remote)).judge(), Ok(()));
    assert_eq!(Draft::of(&[remote]).with("coap://h/x", small).judge(), Ok(()));

    assert_eq!(Draft::of(std::slice::from_ref(&part)).judge(), Err(Refusal::Payload), "it is not there");
    for other in [&small[1..], b"a small imagf", b"a small image!"] {
        assert_eq!(Draft::of(std::slice::from_ref(&part)).with("#firmware", other).judge(), Err(Refusal::Payload));
    }
    assert_eq!(draft().with("#firmwarf", small).judge(), Err(Refusal::Payload), "nothing refers to it");
    assert_eq!(draft().with("#firmware", small).judge(), Err(Refusal::KeyOrder));
    assert_eq!(draft().with("#a", small).judge(), Err(Refusal::KeyOrder));
    for count in [9, 40] {
        let many = (0..count).fold(draft(), |draft, n| draft.with(&format!("#firmware{n:02}"), small));
        let mut envelope = many.signed();
        if count == 40 {
            // A head of two bytes.
            envelope.splice(2..3, [0xb8, 2 + 41]);
        }
        assert!(verify(&envelope, &[secret().key()], &Ed25519).is_err(), "{count}");
        assert!(verify_envelope(&envelope, &[secret().key()], &Ed25519).is_err(), "{count}");
    }
}

/// An image of 1,000 bytes in chunks of 300, and the list of their digests.
fn chunked() -> (Vec<u8>, Part, Part) {
    let list = chunks::list(&[5; 1000], 300);
    let private = nested(&array(&[uint(0), uint(300), bytes(&digest_of(&list))]));
    let image = Part { digest: digest_of(&[5; 1000]), more: vec![(-257, private)], ..image(0) };
    let part = content(&[&[0], b"chunks"], &list, "#chunks");
    (list, image, part)
}

#[test]
fn a_list_of_chunk_digests_is_signed_for_and_comes_first() {
    let (list, image, part) = chunked();
    let expected = ChunkDigests::new(300, 1000, digest_of(&list));
    for parts in [[image.clone(), part.clone()], [part.clone(), image.clone()]] {
        let draft = Draft::of(&parts).with("#chunks", &list);
        assert_eq!(draft.judge(), Ok(()));
        let envelope = draft.signed();
        let found = payloads(&envelope);
        assert_eq!((found[0].component, found[0].content), (Component::Chunks(0), Some(&list[..])));
        assert_eq!((found[1].component, found[1].chunks), (Component::Image(0), expected));
        let manifest = verify(&envelope, &[secret().key()], &Ed25519).unwrap();
        assert_eq!((manifest.chunk, manifest.payloads), (Some(300), 2));
    }
    // Fetched like any other payload.
    let remote = Part { uri: "chunks".into(), ..part.clone() };
    assert_eq!(Draft::of(&[image.clone(), remote]).judge(), Ok(()));

    assert_eq!(Draft::of(std::slice::from_ref(&image)).judge(), Err(Refusal::ChunkList), "no list");
    let plain = Part { more: vec![], ..image.clone() };
    assert_eq!(Draft::of(&[plain, part.clone()]).with("#chunks", &list).judge(), Err(Refusal::ChunkList), "no image");
    let other = Part { id: vec![vec![1], b"chunks".to_vec()], ..part.clone() };
    assert_eq!(Draft::of(&[image.clone(), other]).with("#chunks", &list).judge(), Err(Refusal::ChunkList));
    let shorter = content(&[&[0], b"chunks"], &list[32..], "#chunks");
    assert_eq!(Draft::of(&[image.clone(), shorter]).with("#chunks", &list[32..]).judge(), Err(Refusal::ChunkList));
    let misplaced = Part { more: image.more.clone(), ..part };
    let draft = Draft::of(&[Part { more: vec![], ..image }, misplaced]);
    assert_eq!(draft.with("#chunks", &list).judge(), Err(Refusal::ChunkList));
}

#[test]
fn a_key_table_comes_alone_and_in_the_envelope() {
    let table = b"as far as a manifest is concerned, any bytes".as_slice();
    let part = content(&[b"keys"], table, "#keys");
    let draft = Draft::of(std::slice::from_ref(&part)).with("#keys", table);
    assert_eq!(draft.judge(), Ok(()));
    let envelope = draft.signed();
    let manifest = verify(&envelope, &[secret().key()], &Ed25519).unwrap();
    assert_eq!((manifest.image, manifest.uri, manifest.signer), (Image::NONE, "", Some(secret().key().id)));
    assert_eq!(payloads(&envelope)[0].component, Component::Keys);
    assert_eq!(Component::read(KEYS), Some(Component::Keys));

    let with_image = Draft::of(&[part.clone(), image(0)]).with("#keys", table);
    assert_eq!(with_image.judge(), Err(Refusal::KeyTable));
    assert_eq!(Draft::of(&[Part { uri: "keys".into(), ..part }]).judge(), Err(Refusal::KeyTable));
}

#[test]
fn a_key_signs_what_is_in_its_scope() {
    let table = b"any bytes".as_slice();
    let keys = Draft::of(&[content(&[b"keys"], table, "#keys")]).with("#keys", table).signed();
    let (list, first, part) = chunked();
    let chunked = Draft::of(&[first, part]).with("#chunks", &list).signed();
    let firmware = Draft::of(&[image(0)]).signed();
    let both = Draft::of(&[image(0), image(1)]).signed();
    let may = |scope: Scope, envelope: &[u8]| {
        let key = Key { scope, ..secret().key() };
        match verify(envelope, &[key], &Ed25519) {
            Ok(_) => true,
            Err(Refusal::Scope) => false,
            Err(other) => panic!("{other:?}"),
        }
    };
    let judge = |scope| [&firmware, &chunked, &both, &keys].map(|envelope| may(scope, envelope));
    assert_eq!(judge(Scope::ALL), [true; 4]);
    assert_eq!(judge(Scope::FIRMWARE), [true, true, false, false]);
    assert_eq!(judge(Scope(2)), [false; 4]);
    assert_eq!(judge(Scope(3)), [true, true, true, false]);
    assert_eq!(judge(Scope::KEYS), [false, false, false, true]);
}

#[test]
fn a_wait_is_noted_and_local_time_is_not_known() {
    let with = |events: &[(i64, Vec<u8>)]| {
        let mut draft = Draft::of(&[image(0)]);
        draft.install.insert(1, set(&[(29, nested(&map(events)))]));
        draft.install.insert(2, command(29, 2));
        let envelope = draft.signed();
        verify(&envelope, &[secret().key()], &Ed25519).map(|manifest| manifest.requires)
    };
    let found = with(&[(1, int(-5)), (2, uint(1)), (3, int(-1)), (5, uint(1 << 40)), (8, uint(86_399)), (9, uint(6))]);
    let found = found.unwrap();
    let wait = Wait {
        power: Some(1),
        network: Some(-1),
        time: Some(1 << 40),
        time_of_day: Some(86_399),
        day_of_week: Some(6),
    };
    assert_eq!((found.wait, found.authorization), (Some(wait), true));
    for event in [
        vec![],
        vec![(4, uint(0))],
        vec![(6, uint(0))],
        vec![(7, uint(0))],
        vec![(8, uint(86_400))],
        vec![(9, uint(7))],
        vec![(2, uint(1 << 31))],
    ] {
        assert_eq!(with(&event), Err(Refusal::Argument), "{event:02x?}");
    }
}

fn release<'a>(firmware: &[u8], uri: &'a str, more: More<'a>) -> Release<'a> {
    Release {
        sequence: 7,
        vendor: suit::VENDOR,
        class: suit::CLASS,
        image: Image::of(firmware).unwrap(),
        uri,
        version: "1.2.0".parse().ok(),
        kind: UpdateType::Security,
        severity: Severity::Low,
        chunk: Some(300),
        reference_uri: None,
        requires: Requires::default(),
        text: None,
        more,
    }
}

#[test]
fn what_an_author_writes_of_several_components_is_read_back() {
    let firmware = [5; 1000];
    let list = chunks::list(&firmware, 300);
    let radio = Image::of(b"for the radio").unwrap();
    let wait = Wait { time: Some(2_000_000_000), ..Wait::default() };
    for uri in ["#chunks", "image/list"] {
        let images = [
            Extra { number: 1, image: radio, uri: "image/radio", content: None },
            Extra { number: 2, image: radio, uri: "#radio", content: Some(b"for the radio") },
        ];
        let more = More { content: None, list: Some(List { bytes: &list, uri }), images: &images };
        let requires = Requires { use_before: Some(1 << 40), wait: Some(wait), ..Requires::default() };
        let envelope = Release { requires, ..release(&firmware, "image/x", more) }.sign(&secret()).unwrap();
        assert_eq!(suit::encode_again(&envelope), envelope);
        let manifest = verify(&envelope, &[secret().key()], &Ed25519).unwrap();
        assert_eq!((manifest.payloads, manifest.severity, manifest.requires), (4, Severity::Low, requires));
        let found = payloads(&envelope);
        let components = [Component::Chunks(0), Component::Image(0), Component::Image(1), Component::Image(2)];
        assert_eq!(found.iter().map(|payload| payload.component).collect::<Vec<_>>(), components);
        assert_eq!(found[0].content, (uri == "#chunks").then_some(&list[..]));
        let chunks = found[1].chunks.unwrap();
        assert_eq!(chunks.check_list(&list), Ok(()));
        assert_eq!((found[2].image, found[3].content), (radio, Some(&b"for the radio"[..])));
    }
}

#[test]
fn a_release_may_do_without_firmware() {
    let radio = Image::of(b"for the radio").unwrap();
    let text = author::Text { language: "en", description: None, vendor: Some("waft"), model: None, version: None };
    let one = [Extra { number: 1, image: radio, uri: "image/radio", content: None }];
    let two = [Extra { number: 4, image: radio, uri: "#four", content: Some(b"for the radio") }, one[0]];
    for images in [&one[..], &two] {
        // What version is installed is asked of the firmware.
        let requires = Requires { version: [None; 2], ..requires() };
        let release = Release { text: Some(text), requires, ..without_firmware(images) };
        let envelope = release.sign(&secret()).unwrap();
        assert_eq!(suit::encode_again(&envelope), envelope);
        let manifest = verify(&envelope, &[secret().key()], &Ed25519).unwrap();
        assert_eq!((manifest.image, manifest.uri, manifest.payloads), (Image::NONE, "", images.len()));
        // What a release says as a whole stands with its first image.
        assert_eq!((manifest.kind, manifest.severity), (UpdateType::Security, Severity::Low));
        assert_eq!((manifest.chunk, manifest.requires), (Some(300), requires));
        for (extra, payload) in images.iter().zip(payloads(&envelope)) {
            assert_eq!((payload.component, payload.uri), (Component::Image(extra.number), extra.uri));
            assert_eq!((payload.image, payload.content), (extra.image, extra.content));
        }
        // A key that may sign for those images is enough.
        let scope = Scope(images.iter().fold(0, |scope, extra| scope | 1 << extra.number));
        assert!(verify(&envelope, &[Key { scope, ..secret().key() }], &Ed25519).is_ok());
        let firmware = Key { scope: Scope::FIRMWARE, ..secret().key() };
        assert_eq!(verify(&envelope, &[firmware], &Ed25519), Err(Refusal::Scope));
    }

    // Neither nothing at all, nor what belongs to a firmware.
    let list = List { bytes: &[0; 32], uri: "#chunks" };
    for wrong in [
        without_firmware(&[]),
        Release { uri: "image/x", ..without_firmware(&one) },
        Release { image: Image { size: 1, ..Image::NONE }, ..without_firmware(&one) },
        Release { requires: requires(), ..without_firmware(&one) },
        Release { more: More { content: Some(&[]), ..without_firmware(&one).more }, ..without_firmware(&one) },
        Release { more: More { list: Some(list), ..without_firmware(&one).more }, ..without_firmware(&one) },
    ] {
        assert!(wrong.sign(&secret()).is_err(), "{wrong:?}");
    }
}

#[test]
fn an_author_does_not_sign_parts_that_do_not_fit() {
    let firmware = [5; 1000];
    let list = chunks::list(&firmware, 300);
    let sign = |uri, more| release(&firmware, uri, more).sign(&secret()).map(drop);
    let content = |content| More { content: Some(content), ..More::default() };
    assert_eq!(sign("#firmware", content(&firmware[..])), Ok(()));
    assert_eq!(sign("#firmware", content(&firmware[1..])), Err(Misuse::OutOfRange));
    assert_eq!(sign("#firmware", More::default()), Err(Misuse::OutOfRange));
    let listed = |bytes| More { list: Some(List { bytes, uri: "#chunks" }), ..More::default() };
    assert_eq!(sign("x", listed(&list[..])), Ok(()));
    assert_eq!(sign("x", listed(&list[32..])), Err(Misuse::OutOfRange));
    let unsized_ = Release { chunk: None, ..release(&firmware, "x", listed(&list[..])) };
    assert_eq!(unsized_.sign(&secret()), Err(Misuse::OutOfRange));
    for number in [0, 7] {
        let images = [Extra { number, image: Image { digest: [1; 32], size: 1 }, uri: "y", content: None }];
        let more = More { images: &images, ..More::default() };
        assert_eq!(release(&firmware, "x", more).sign(&secret()), Err(Misuse::OutOfRange), "{number}");
    }
}

#[test]
fn keys_are_rotated_by_manifests() {
    let other = SecretKey::from_seed(&[8; 32]).unwrap();
    let change = |epoch, keys: &[Key], by: &SecretKey| {
        let table = KeyTable::of(epoch, keys).unwrap();
        KeyChange { sequence: u64::from(epoch), vendor: suit::VENDOR, class: suit::CLASS, table: &table }.sign(by)
    };
    let take = |table: &KeyTable, envelope: &[u8]| -> Result<KeyTable, Refusal> {
        let manifest = verify(envelope, table.keys(), &Ed25519)?;
        let payload = payload(envelope, None, 0).expect("there is one");
        assert_eq!(payload.component, Component::Keys);
        table.apply(payload.content.expect("in the envelope"), &manifest.signer.expect("verified"))
    };
    let factory = KeyTable::factory(&[secret().key()]).unwrap();
    let new = Key { epoch: 1, ..other.key() };
    let bring = change(1, &[secret().key(), new], &secret()).unwrap();
    let revoke = change(2, &[new], &other).unwrap();
    assert_eq!(suit::encode_again(&bring), bring);
    assert_eq!(take(&factory, &revoke), Err(Refusal::UnknownKey));
    let both = take(&factory, &bring).unwrap();
    assert_eq!(take(&both, &bring), Ok(both), "the same again is welcome");
    let last = take(&both, &revoke).unwrap();
    assert_eq!(take(&last, &bring), Err(Refusal::UnknownKey), "its key was revoked");
    assert_eq!(last.keys(), [new]);
    // Nobody signs his own revocation.
    assert_eq!(change(3, &[new], &secret()), Err(Misuse::OutOfRange));
}

/// A release of these images only.
fn without_firmware<'a>(images: &'a [Extra<'a>]) -> Release<'a> {
    let more = More { images, ..More::default() };
    Release { sequence: 8, image: Image::NONE, ..release(&[], "", more) }
}

/// All that can be required.
fn requires() -> Requires {
    let wait = Wait { power: Some(1), network: Some(-1), time: Some(9), time_of_day: Some(8), day_of_week: Some(6) };
    Requires {
        use_before: Some(2_000_000_000),
        battery: Some(500),
        authorization: true,
        version: [">=1.0".parse().ok(), "<2.0-alpha".parse().ok()],
        device: Some([4; 16]),
        wait: Some(wait),
    }
}

/// The envelopes that `tests/vectors` has of these, for other languages, by name.
fn vectors() -> Vec<(&'static str, Vec<u8>)> {
    let firmware = [5; 1000];
    let list = chunks::list(&firmware, 300);
    let radio = Image::of(b"for the radio").unwrap();
    let images = [
        Extra { number: 1, image: radio, uri: "image/radio", content: None },
        Extra { number: 2, image: radio, uri: "#radio", content: Some(b"for the radio") },
    ];
    let parts = More { content: None, list: Some(List { bytes: &list, uri: "#chunks" }), images: &images };
    let integrated = More { content: Some(&firmware), ..More::default() };
    let table =
        KeyTable::of(1, &[secret().key(), Key { scope: Scope::FIRMWARE, epoch: 1, ..Key::new([9; 32]) }]).unwrap();
    let keys = KeyChange { sequence: 8, vendor: suit::VENDOR, class: suit::CLASS, table: &table };

    let (_, chunked_image, _) = chunked();
    let small = b"a small image".as_slice();
    let part = content(&[&[0]], small, "#firmware");
    let mut nested_index = Draft::of(&[image(0), image(1)]);
    nested_index.install.push(suit::run_sequence(&seq(&[index(uint(1))])));
    let mut unchecked = Draft::of(&[image(0), image(1)]);
    unchecked.validate.truncate(2);
    let mut local_time = Draft::of(&[image(0)]);
    local_time.install.insert(1, set(&[(29, nested(&map(&[(6, uint(0))])))]));
    vec![
        ("waft-parts", release(&firmware, "image/x", parts).sign(&secret()).unwrap()),
        (
            "waft-requires",
            Release { requires: requires(), ..release(&firmware, "image/x", More::default()) }.sign(&secret()).unwrap(),
        ),
        ("waft-integrated", release(&firmware, "#firmware", integrated).sign(&secret()).unwrap()),
        ("waft-keys", keys.sign(&secret()).unwrap()),
        ("waft-image", without_firmware(&images[..1]).sign(&secret()).unwrap()),
        ("copied", staged(22).signed()),
        ("swapped", staged(31).signed()),
        ("no-list", Draft::of(&[chunked_image]).signed()),
        ("no-payload", Draft::of(std::slice::from_ref(&part)).signed()),
        ("other-payload", Draft::of(std::slice::from_ref(&part)).with("#firmware", b"a small imagf").signed()),
        ("more-payloads", Draft::of(&[part]).with("#firmware", small).with("#firmwarf", small).signed()),
        ("nested-index", nested_index.signed()),
        ("unchecked", unchecked.signed()),
        ("same-component", Draft::of(&[image(0), image(0)]).signed()),
        ("unknown-component", Draft::of(&[image(7)]).signed()),
        ("local-time", local_time.signed()),
        ("keys-and-image", Draft::of(&[content(&[b"keys"], small, "#keys"), image(0)]).with("#keys", small).signed()),
    ]
}

#[test]
fn other_languages_have_the_same_envelopes() {
    for (name, envelope) in vectors() {
        let path = format!("{}/../tests/vectors/suit/{name}.suit.hex", env!("CARGO_MANIFEST_DIR"));
        if std::env::var_os("WAFT_VECTORS").is_some() {
            std::fs::write(&path, suit::to_hex(&envelope) + "\n").unwrap();
        }
        assert_eq!(std::fs::read_to_string(&path).unwrap().trim(), suit::to_hex(&envelope), "{name}");
    }
}

#[test]
fn every_change_of_a_byte_of_them_is_refused() {
    /// Takes the signature of one message: what an unforgeable scheme comes to.
    struct Only(Vec<u8>, [u8; 64]);
    impl waft::ota::manifest::Verifier for Only {
        fn verify(&self, _: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> bool {
            self.0 == message && self.1 == *signature
        }
    }
    /// Remembers what it was asked.
    struct Ask(std::cell::RefCell<Option<Only>>);
    impl waft::ota::manifest::Verifier for Ask {
        fn verify(&self, _: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> bool {
            *self.0.borrow_mut() = Some(Only(message.to_vec(), *signature));
            true
        }
    }
    for (name, original) in vectors().into_iter().take(7) {
        let ask = Ask(std::cell::RefCell::new(None));
        verify(&original, &[secret().key()], &ask).unwrap();
        let only = ask.0.into_inner().unwrap();
        let refused = |bytes: &[u8]| {
            verify(bytes, &[secret().key()], &only).is_err()
                && verify_envelope(bytes, &[secret().key()], &only).is_err()
        };
        assert!(!refused(&original));
        let mut bytes = original.clone();
        for n in 0..bytes.len() {
            for bit in 0..8 {
                bytes[n] ^= 1 << bit;
                assert!(refused(&bytes), "{name}: byte {n}, bit {bit}");
                bytes[n] ^= 1 << bit;
            }
            assert!(refused(&original[..n]), "{name}: cut at {n}");
            for byte in [0, 0x40, 0x60, 0xf6] {
                bytes.insert(n, byte);
                assert!(refused(&bytes), "{name}: {byte:02x} at {n}");
                bytes.remove(n);
            }
        }
    }
}
