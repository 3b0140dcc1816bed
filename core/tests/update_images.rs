//! Releases of several images: all of them become active, or none does.

mod flash;

use flash::bench::{Bench, GEOMETRY};
use flash::{Flash, author, envelope, envelope_of_two, image, release};
use waft::ota::author::{Extra, List, More, Release, SecretKey};
use waft::ota::boot;
use waft::ota::chunks;
use waft::ota::manifest::{Component, Ed25519, Image};
use waft::ota::refusal::Refusal;
use waft::ota::update::{Area, Config, State, Update};
use waft::{Error, Instant, Misuse};

const FIRMWARE: usize = 1001;
const RADIO: usize = 700;

/// A device with a firmware and a radio.
fn bench() -> Bench {
    with(|_| {})
}

fn with(change: impl FnOnce(&mut Config<'static>)) -> Bench {
    let flash = Flash::of(GEOMETRY, &[&image(0, 500), &image(100, 300)]);
    Bench::with(flash, |config| {
        config.more_slots[0] = GEOMETRY.slot;
        change(config);
    })
}

/// Firmware and radio of a release.
fn pair(sequence: u64) -> (Vec<u8>, Vec<u8>) {
    (image(sequence, FIRMWARE), image(sequence + 100, RADIO))
}

fn slot(image: u8, slot: u8) -> Area {
    Area::Slot { image, slot }
}

impl Bench {
    /// Announces the release and gives both images, as far as they are wanted.
    fn deliver(&mut self, sequence: u64) {
        let (firmware, radio) = pair(sequence);
        self.announce(&envelope_of_two(sequence, &firmware, &radio)).unwrap();
        self.feed(&firmware, FIRMWARE, 100);
        self.feed(&radio, RADIO, 100);
    }

    /// The slots hold these images.
    fn holds(&self, slots: u8, images: [&[u8]; 2]) -> bool {
        (0..).zip(images).all(|(n, bytes)| self.flash.read(slot(n, slots >> n & 1), 0, bytes.len()) == bytes)
    }
}

#[test]
fn two_images_come_one_after_the_other_and_become_active_by_one_record() {
    let mut bench = bench();
    let (firmware, radio) = pair(2);
    bench.announce(&envelope_of_two(2, &firmware, &radio)).unwrap();
    assert_eq!((bench.update.component(), bench.update.progress().1), (Component::Image(0), FIRMWARE as u32));
    assert_eq!(bench.update.payload().unwrap().uri, "image/1");
    bench.feed(&firmware, FIRMWARE, 100);
    assert_eq!((bench.state(), bench.update.component()), (State::Fetching, Component::Image(1)));
    assert_eq!((bench.update.image(), bench.update.progress()), (1, (0, RADIO as u32)));
    assert_eq!(bench.update.payload().unwrap().uri, "image/2");
    bench.feed(&radio, RADIO, 100);
    assert_eq!((bench.state(), bench.activated), (State::Ready, Some(0b11)));
    assert_eq!(bench.fetches, [0, 0]);
    use State::*;
    assert_eq!(bench.states, [Announced, Verified, Fetching, Fetched, Validated, Ready]);
    bench.reboot();
    assert_eq!((bench.state(), bench.config.running, bench.update.active_slots()), (Trial, 0b11, 0));
    assert!(bench.holds(0b11, [&firmware, &radio]) && bench.holds(0, [&image(0, 500), &image(100, 300)]));
    bench.confirm();
    assert_eq!((bench.update.active_slots(), bench.update.floor()), (0b11, 2));
    bench.reboot();
    assert_eq!((bench.state(), bench.config.running), (Confirmed, 0b11));
    // And back to the slots that they came from.
    bench.deliver(3);
    bench.reboot();
    bench.confirm();
    let (firmware, radio) = pair(3);
    assert_eq!(bench.update.active_slots(), 0);
    assert!(bench.holds(0, [&firmware, &radio]));
}

#[test]
fn images_that_a_release_does_not_bring_stay_where_they_are() {
    let mut bench = bench();
    bench.deliver(2);
    bench.reboot();
    bench.confirm();
    let (firmware, (_, radio)) = (image(3, 800), pair(2));
    bench.announce(&envelope(3, &firmware)).unwrap();
    bench.feed(&firmware, 800, 100);
    assert_eq!(bench.activated, Some(0b10));
    bench.reboot();
    bench.confirm();
    assert_eq!(bench.update.active_slots(), 0b10);
    assert!(bench.holds(0b10, [&firmware, &radio]));
    // Both again: each goes to its own inactive slot.
    bench.deliver(4);
    assert_eq!(bench.activated, Some(0b01));
    bench.reboot();
    bench.confirm();
    let (firmware, radio) = pair(4);
    assert!(bench.holds(0b01, [&firmware, &radio]));
}

#[test]
fn a_release_may_bring_an_image_without_the_firmware() {
    let mut bench = bench();
    let radio = image(102, RADIO);
    let images = [Extra { number: 1, image: Image::of(&radio).unwrap(), uri: "image/2", content: None }];
    let more = More { images: &images, ..More::default() };
    let without = Release { image: Image::NONE, uri: "", more, ..release(2, &[]) };
    bench.announce(&without.sign(&author()).unwrap()).unwrap();
    assert_eq!(bench.update.component(), Component::Image(1));
    bench.feed(&radio, 600, 8);
    // One image is all there is to validate: as with a firmware, the manifest is not needed for that after a reboot.
    let now = bench.time();
    bench.update.data(now, 600, &radio[600..]).unwrap().event.unwrap();
    bench.flash.write(slot(1, 1), 600, &radio[600..], true);
    bench.update.done(now).unwrap();
    while bench.state() != State::Fetched {
        assert!(bench.step());
    }
    for _ in 0..6 {
        bench.step();
    }
    bench.reboot();
    assert_eq!((bench.state(), bench.activated), (State::Ready, Some(0b10)));
    bench.reboot();
    assert_eq!((bench.state(), bench.config.running), (State::Trial, 0b10));
    bench.confirm();
    assert!(bench.holds(0b10, [&image(0, 500), &radio]));
}

#[test]
fn a_release_that_fails_its_trial_takes_all_images_back() {
    let mut bench = bench();
    bench.deliver(2);
    bench.reboot();
    bench.reject();
    assert_eq!((bench.state(), bench.activated), (State::Reverted, Some(0)));
    bench.reboot();
    assert_eq!((bench.config.running, bench.update.active_slots()), (0, 0));
    assert!(bench.holds(0, [&image(0, 500), &image(100, 300)]));
    // So does one whose boots are used up.
    bench.deliver(3);
    let slots: Vec<_> = (0..5).map(|_| bench.flash.boot().slots).collect();
    assert_eq!(slots, [0b11, 0b11, 0b11, 0, 0]);
}

#[test]
fn a_second_image_that_is_wrong_fails_the_release() {
    let mut bench = bench();
    let (firmware, radio) = pair(2);
    bench.announce(&envelope_of_two(2, &firmware, &radio)).unwrap();
    bench.feed(&firmware, FIRMWARE, 100);
    bench.feed(&image(9, RADIO), RADIO, 100);
    assert_eq!((bench.state(), bench.update.reason()), (State::Failed, Some(Refusal::ImageDigest)));
    assert_eq!((bench.activated, bench.flash.boot().slots), (None, 0));
    // It is tried again after its pause, from the first image on.
    bench.wait();
    assert_eq!((bench.state(), bench.update.image(), bench.update.attempts()), (State::Fetching, 0, 1));
    bench.feed(&firmware, FIRMWARE, 100);
    bench.feed(&radio, RADIO, 100);
    assert_eq!((bench.state(), bench.update.attempts()), (State::Ready, 0));
}

#[test]
fn what_flash_changes_in_any_image_is_found_when_they_are_read_back() {
    for (damaged, offset) in [(0, 600), (1, 300)] {
        let mut bench = bench();
        let (firmware, radio) = pair(2);
        bench.announce(&envelope_of_two(2, &firmware, &radio)).unwrap();
        bench.feed(&firmware, FIRMWARE, 100);
        bench.feed(&radio, 600, 100);
        bench.flash.flip(slot(damaged, 1), offset);
        bench.feed(&radio, RADIO, 100);
        assert_eq!((bench.state(), bench.update.reason()), (State::Failed, Some(Refusal::ImageDigest)), "{damaged}");
        assert_eq!(bench.activated, None);
    }
}

#[test]
fn a_download_goes_on_after_a_reboot_in_the_image_it_had_come_to() {
    let mut bench = bench();
    let (firmware, radio) = pair(2);
    let manifest = envelope_of_two(2, &firmware, &radio);
    bench.announce(&manifest).unwrap();
    bench.feed(&firmware, FIRMWARE, 100);
    bench.feed(&radio, 550, 50);
    bench.reboot();
    assert_eq!(bench.state(), State::Idle);
    bench.announce(&manifest).unwrap();
    assert_eq!((bench.update.image(), bench.fetches.last()), (1, Some(&512)));
    bench.feed(&radio, RADIO, 50);
    assert_eq!((bench.state(), bench.activated), (State::Ready, Some(0b11)));
    // A newer one begins with the first again.
    bench.update.veto(Instant::from_micros(bench.now)).unwrap_err();
    bench.reboot();
    bench.confirm();
    let (firmware, radio) = pair(5);
    bench.announce(&envelope_of_two(4, &image(4, 900), &image(104, 900))).unwrap();
    bench.feed(&image(4, 900), 900, 100);
    bench.feed(&image(104, 900), 300, 100);
    assert_eq!(bench.update.image(), 1);
    bench.announce(&envelope_of_two(5, &firmware, &radio)).unwrap();
    assert_eq!((bench.update.image(), bench.update.wanted().unwrap().offset), (0, 0));
    bench.feed(&firmware, FIRMWARE, 100);
    bench.feed(&radio, RADIO, 100);
    assert_eq!(bench.activated, Some(0));
}

#[test]
fn what_was_fetched_before_a_reboot_is_validated_when_its_manifest_comes_again() {
    let mut bench = bench();
    let (firmware, radio) = pair(2);
    let manifest = envelope_of_two(2, &firmware, &radio);
    bench.announce(&manifest).unwrap();
    bench.feed(&firmware, FIRMWARE, 100);
    bench.feed(&radio, 600, 8);
    let now = bench.time();
    bench.update.data(now, 600, &radio[600..]).unwrap().event.unwrap();
    bench.flash.write(slot(1, 1), 600, &radio[600..], true);
    bench.update.done(now).unwrap();
    // Its record is written, and little of what follows.
    while bench.state() != State::Fetched {
        assert!(bench.step());
    }
    for _ in 0..6 {
        bench.step();
    }
    let fetches = bench.fetches.len();
    for damage in [false, true] {
        if damage {
            bench.flash.flip(slot(0, 1), 900);
        }
        let before = bench.flash.clone();
        bench.reboot();
        assert_eq!((bench.state(), bench.config.running), (State::Idle, 0));
        bench.states.clear();
        bench.announce(&manifest).unwrap();
        use State::*;
        let last: &[_] = if damage { &[Failed] } else { &[Validated, Ready] };
        assert_eq!(bench.states, [&[Announced, Verified, Fetching, Fetched][..], last].concat());
        assert_eq!(bench.fetches.len(), fetches, "nothing is fetched again");
        bench.flash = before;
    }
}

#[test]
fn images_that_the_device_has_not_or_has_no_room_for_are_refused() {
    let refused = |bench: &mut Bench, manifest: &[u8], reason| {
        assert_eq!(bench.announce(manifest), Err(Error::Peer(reason)));
        assert_eq!((bench.state(), bench.flash.steps), (State::Idle, 0));
    };
    let two = envelope_of_two(2, &image(2, 900), &image(3, 900));
    refused(&mut Bench::new(), &two, Refusal::Component);
    let large = envelope_of_two(2, &image(2, 900), &image(3, 2049));
    refused(&mut bench(), &large, Refusal::Size);
    refused(&mut with(|config| config.more_slots = [0, 2048, 0]), &two, Refusal::Component);
}

#[test]
fn slots_that_cannot_be_are_no_configuration() {
    let bench = bench();
    let starts = |change: fn(&mut Config<'static>)| {
        let mut config = bench.config;
        change(&mut config);
        Update::new(config, vec![0; 64]).start(Instant::ZERO)
    };
    assert_eq!(starts(|config| config.running = 0b11), Ok(()));
    // An image that a firmware has given up keeps its bit.
    assert_eq!(starts(|config| config.running = 0b1000), Ok(()));
    for change in [
        |config: &mut Config<'static>| config.running = 0x10,
        |config: &mut Config<'static>| config.more_slots[2] = 100,
        |config: &mut Config<'static>| config.slot_size = 0,
    ] {
        assert_eq!(starts(change), Err(Error::Misuse(Misuse::OutOfRange)));
    }
}

#[test]
fn a_bootloader_that_boots_another_mixture_is_believed() {
    let mut bench = bench();
    bench.deliver(2);
    bench.config.running = 0b01;
    bench.update = Update::new(bench.config, vec![0; 512]);
    let now = bench.time();
    bench.update.start(now).unwrap();
    bench.drain();
    assert_eq!((bench.state(), bench.update.active_slots(), bench.update.floor()), (State::Idle, 0b01, 0));
    // What runs is not written.
    bench.deliver(3);
    assert_eq!(bench.activated, Some(0b10));
}

/// A release of two images whose parts come as `more` says.
fn sign(more: More<'_>, chunk: Option<u32>, firmware: &[u8], uri: &str) -> Vec<u8> {
    Release { more, chunk, uri, image: Image::of(firmware).unwrap(), ..release(2, firmware) }.sign(&author()).unwrap()
}

#[test]
fn the_firmware_may_have_chunk_digests_and_the_other_image_none() {
    let (firmware, radio) = pair(2);
    let list = chunks::list(&firmware, 256);
    let images = [Extra { number: 1, image: Image::of(&radio).unwrap(), uri: "image/2", content: None }];
    for uri in ["list/1", "#list"] {
        let more = More { list: Some(List { bytes: &list, uri }), images: &images, ..More::default() };
        let manifest = sign(more, Some(256), &firmware, "image/1");
        let mut bench = bench();
        bench.update = Update::new(bench.config, vec![0; 1024]);
        bench.update.start(Instant::from_micros(bench.now)).unwrap();
        bench.drain();
        bench.announce(&manifest).unwrap();
        if uri == "list/1" {
            assert_eq!(bench.update.component(), Component::Chunks(0));
            bench.feed(&list, list.len(), 64);
        }
        // A bad chunk alone comes again.
        bench.feed(&firmware, 256, 64);
        for at in (256..512).step_by(64) {
            let mut part = firmware[at..at + 64].to_vec();
            part[0] ^= u8::from(at == 320);
            let now = bench.time();
            let handled = bench.update.data(now, at as u32, &part).unwrap();
            assert!(handled.event.is_some(), "{at}");
            bench.flash.write(slot(0, 1), at as u32, &part, false);
            bench.update.done(now).unwrap();
            bench.drain();
        }
        assert_eq!(bench.update.wanted().map(|wanted| wanted.offset), Some(256), "{uri}");
        bench.feed(&firmware, FIRMWARE, 64);
        assert_eq!(bench.update.component(), Component::Image(1));
        bench.feed(&radio, RADIO, 64);
        assert_eq!((bench.state(), bench.activated), (State::Ready, Some(0b11)), "{uri}");
        assert!(bench.holds(0b11, [&firmware, &radio]));
    }
}

#[test]
fn images_may_be_in_the_envelope() {
    let (firmware, radio) = pair(2);
    for enclosed in [[true, false], [false, true], [true, true]] {
        let uri = |n: usize| if enclosed[n] { ["#one", "#two"][n] } else { ["image/1", "image/2"][n] };
        let content = enclosed[1].then_some(&radio[..]);
        let images = [Extra { number: 1, image: Image::of(&radio).unwrap(), uri: uri(1), content }];
        let more = More { content: enclosed[0].then_some(&firmware[..]), images: &images, ..More::default() };
        let manifest = sign(more, None, &firmware, uri(0));
        let mut bench = bench();
        bench.update = Update::new(bench.config, vec![0; 4096]);
        bench.update.start(Instant::from_micros(bench.now)).unwrap();
        bench.drain();
        bench.announce(&manifest).unwrap();
        for (n, bytes) in [&firmware, &radio].into_iter().enumerate() {
            if !enclosed[n] {
                assert_eq!(usize::from(bench.update.image()), n);
                bench.feed(bytes, bytes.len(), 100);
            }
        }
        assert_eq!((bench.state(), bench.activated), (State::Ready, Some(0b11)), "{enclosed:?}");
        assert!(bench.holds(0b11, [&firmware, &radio]));
        assert_eq!(bench.fetches.len(), enclosed.iter().filter(|enclosed| !**enclosed).count());
    }
}

/// The envelope of that name in `tests/vectors`.
fn vector(name: &str) -> Vec<u8> {
    let path = format!("{}/../tests/vectors/suit/{name}.suit.hex", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(path).unwrap();
    let byte = |n| u8::from_str_radix(&text[2 * n..2 * n + 2], 16).unwrap();
    (0..text.trim().len() / 2).map(byte).collect()
}

/// `tests/c/test_update.c` and `python/tests/test_update_images.py` do the same.
#[test]
fn releases_of_several_images_are_the_same_to_all_languages() {
    // RFC 8032 §7.1 TEST 1.
    let seed = [
        0x9d, 0x61, 0xb1, 0x9d, 0xef, 0xfd, 0x5a, 0x60, 0xba, 0x84, 0x4a, 0xf4, 0x92, 0xec, 0x2c, 0xc4, 0x44, 0x49,
        0xc5, 0x69, 0x7b, 0x32, 0x69, 0x19, 0x70, 0x3b, 0xac, 0x03, 0x1c, 0xae, 0x7f, 0x60,
    ];
    let keys: &'static _ = Box::leak(Box::new([SecretKey::from_seed(&seed).unwrap().key()]));
    let (firmware, radio) = ([5; 1000], b"for the radio");
    let mut bench = Bench::with(Flash::of(GEOMETRY, &[&[], &[], &[]]), |config| {
        config.vendor = [1; 16];
        config.class = [2; 16];
        config.keys = keys;
        config.verifier = &Ed25519;
        config.more_slots = [GEOMETRY.slot, GEOMETRY.slot, 0];
    });
    bench.update = Update::new(bench.config, vec![0; 1024]);
    bench.update.start(Instant::from_micros(bench.now)).unwrap();
    bench.drain();
    bench.announce(&vector("waft-parts")).unwrap();
    bench.feed(&firmware, 1000, 100);
    assert_eq!((bench.update.image(), bench.update.payload().unwrap().uri), (1, "image/radio"));
    bench.feed(radio, radio.len(), 100);
    assert_eq!((bench.state(), bench.activated), (State::Ready, Some(0b111)));
    assert_eq!(bench.flash.boot().slots, 0b111);
    for (n, bytes) in [(0, &firmware[..]), (1, radio), (2, radio)] {
        assert_eq!(bench.flash.read(slot(n, 1), 0, bytes.len()), bytes);
    }
    bench.reboot();
    bench.confirm();

    // And then one without the firmware: that image alone changes its slot.
    bench.announce(&vector("waft-image")).unwrap();
    assert_eq!(bench.update.component(), Component::Image(1));
    bench.feed(radio, radio.len(), 100);
    assert_eq!((bench.state(), bench.activated), (State::Ready, Some(0b101)));
    bench.reboot();
    assert_eq!((bench.state(), bench.config.running), (State::Trial, 0b101));
    bench.confirm();
    assert_eq!((bench.update.floor(), bench.update.active_slots()), (8, 0b101));
    for (n, slot_of, bytes) in [(0, 1, &firmware[..]), (1, 0, radio), (2, 1, radio)] {
        assert_eq!(bench.flash.read(slot(n, slot_of), 0, bytes.len()), bytes);
    }
}

#[test]
fn a_download_that_is_deferred_between_two_images_goes_on_with_the_second() {
    let mut bench = bench();
    let (firmware, radio) = pair(2);
    bench.announce(&envelope_of_two(2, &firmware, &radio)).unwrap();
    bench.feed(&firmware, 1000, 8);
    let now = bench.time();
    bench.update.data(now, 1000, &firmware[1000..]).unwrap().event.unwrap();
    bench.flash.write(slot(0, 1), 1000, &firmware[1000..], true);
    // While the last bytes of the first are written.
    bench.update.veto(now).unwrap();
    bench.update.done(now).unwrap();
    bench.drain();
    assert_eq!((bench.state(), bench.update.image()), (State::Deferred, 1));
    bench.update.resume(now).unwrap();
    bench.drain();
    bench.feed(&radio, RADIO, 100);
    assert_eq!(bench.activated, Some(0b11));
}

#[test]
fn a_bootloader_learns_what_the_first_image_is() {
    let mut bench = bench();
    bench.deliver(2);
    let decision = bench.flash.boot();
    let Image { size, digest } = Image::of(&pair(2).0).unwrap();
    assert_eq!(decision.image, Some(boot::BootImage { image: 0, size, digest }));
}
