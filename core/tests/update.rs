//! What the update machine does, behaviour by behaviour, on flash that works and on flash that does not.

mod flash;

use flash::bench::{Bench, Fault, GEOMETRY};
use flash::{CLASS, Flash, VENDOR, author, envelope, image};
use proptest::prelude::*;
use waft::ota::author::Release;
use waft::ota::manifest::{Ed25519, Image, Requires};
use waft::ota::policy::{Severity, UpdateType};
use waft::ota::refusal::Refusal;
use waft::ota::update::table::TRANSITIONS;
use waft::ota::update::{Area, Event, State, Update};
use waft::{Capacity, Error, Handled, Input, Instant, Misuse, Output, Peer};

fn release(image: &[u8]) -> Release<'static> {
    Release {
        sequence: 2,
        vendor: VENDOR,
        class: CLASS,
        image: Image::of(image).unwrap(),
        uri: "image/1",
        version: None,
        kind: UpdateType::Software,
        severity: Severity::Low,
        chunk: None,
        reference_uri: None,
        requires: Requires::default(),
        text: None,
        more: Default::default(),
    }
}

#[test]
fn a_signed_release_goes_all_the_way_and_tells_every_step() {
    let new = image(2, 1001);
    let flash = Flash::new(GEOMETRY, &image(0, 500));
    let mut bench = Bench::with(flash, |config| config.verifier = &Ed25519);
    bench.install(2, &new);
    assert_eq!(bench.flash.read(Area::Slot { image: 0, slot: 1 }, 0, new.len()), new);
    assert_eq!((bench.update.floor(), bench.update.active_slots()), (0, 0), "not before the confirmation");
    bench.confirm();
    assert_eq!((bench.update.floor(), bench.update.active_slots()), (2, 1));
    use State::*;
    let way = [Announced, Verified, Fetching, Fetched, Validated, Ready, Trial, Confirmed];
    assert_eq!(bench.states, way);
    assert_eq!(bench.reports.iter().map(|r| r.state).collect::<Vec<_>>(), way);
    assert!(bench.reports.iter().skip(1).all(|r| r.sequence == 2 && r.reason.is_none()));
    assert_eq!(bench.reports[4].version, Some("1.2.0".parse().unwrap()));
    assert_eq!(bench.fetches, [0]);
    bench.reboot();
    assert_eq!((bench.state(), bench.config.running), (Confirmed, 1));
}

#[test]
fn what_is_not_meant_for_this_device_is_refused_with_its_reason() {
    let new = image(2, 300);
    let refused = |change: fn(&mut Release<'_>), reason| {
        let mut bench = Bench::new();
        let mut other = release(&new);
        change(&mut other);
        assert_eq!(bench.announce(&other.sign(&author()).unwrap()), Err(Error::Peer(reason)));
        assert_eq!(bench.state(), State::Idle);
        assert_eq!(bench.reports.iter().map(|r| r.reason).collect::<Vec<_>>(), [Some(reason)]);
        assert_eq!(bench.flash.steps, 0, "nothing was written");
    };
    refused(|r| r.vendor[3] = 0, Refusal::Vendor);
    refused(|r| r.class[3] = 0, Refusal::Class);
    refused(|r| r.image.size = 2049, Refusal::Size);
    refused(|r| r.sequence = 0, Refusal::Rollback);
    refused(|r| r.requires.battery = Some(5), Refusal::Condition);
}

#[test]
fn a_manifest_longer_than_its_storage_is_refused() {
    assert_eq!(Bench::new().announce(&[0; 513]), Err(Capacity::Manifest.into()));
}

#[test]
fn an_older_release_is_refused_and_the_same_one_is_welcome() {
    let new = image(5, 300);
    let mut bench = Bench::new();
    bench.install(5, &new);
    bench.confirm();
    let before = bench.flash.steps;
    assert_eq!(bench.announce(&envelope(4, &image(4, 300))), Err(Error::Peer(Refusal::Rollback)));
    assert_eq!(bench.announce(&envelope(5, &image(4, 300))), Err(Error::Peer(Refusal::Rollback)));
    assert_eq!(bench.state(), State::Confirmed);
    bench.states.clear();
    assert_eq!(bench.announce(&envelope(5, &new)), Ok(()));
    assert_eq!(bench.states, [State::Confirmed]);
    assert_eq!(bench.flash.steps, before);
    bench.install(6, &image(6, 300));
}

#[test]
fn a_download_goes_on_after_a_reboot_where_the_last_erase_block_ended() {
    let new = image(2, 1500);
    let mut bench = Bench::new();
    bench.announce(&envelope(2, &new)).unwrap();
    bench.feed(&new, 800, 64);
    bench.reboot();
    assert_eq!((bench.state(), bench.update.wanted()), (State::Idle, None));
    bench.announce(&envelope(2, &new)).unwrap();
    assert_eq!(bench.fetches, [0, 768]);
    bench.feed(&new, 1500, 64);
    assert_eq!(bench.state(), State::Ready);
}

#[test]
fn the_same_manifest_again_asks_for_the_bytes_again() {
    let new = image(2, 1500);
    let mut bench = Bench::new();
    bench.announce(&envelope(2, &new)).unwrap();
    bench.feed(&new, 300, 64);
    bench.announce(&envelope(2, &new)).unwrap();
    assert_eq!(bench.fetches, [0, 320]);
    assert_eq!(bench.states.iter().filter(|s| **s == State::Announced).count(), 1);
}

#[test]
fn a_whole_image_needs_no_manifest_to_be_validated_after_a_reboot() {
    let new = image(2, 700);
    let mut bench = Bench::new();
    bench.announce(&envelope(2, &new)).unwrap();
    bench.feed(&new, 600, 8);
    let now = bench.time();
    let handled = bench.update.data(now, 600, &new[600..]).unwrap();
    let Some(Event::Store { area, offset, bytes }) = handled.event else { panic!("{handled:?}") };
    bench.flash.write(area, offset, bytes, true);
    bench.update.done(now).unwrap();
    while bench.state() != State::Fetched || bench.update.sequence() != 2 {
        assert!(bench.step());
    }
    for _ in 0..6 {
        bench.step();
    }
    bench.reboot();
    assert!(matches!(bench.state(), State::Ready | State::Trial), "{:?}", bench.state());
    assert!(bench.states.contains(&State::Validated));
}

#[test]
fn a_wrong_image_fails_and_a_new_try_starts_from_nothing() {
    let new = image(2, 700);
    let mut bench = Bench::new();
    bench.announce(&envelope(2, &new)).unwrap();
    bench.feed(&image(3, 700), 700, 100);
    assert_eq!((bench.state(), bench.update.reason()), (State::Failed, Some(Refusal::ImageDigest)));
    bench.reboot();
    assert_eq!((bench.state(), bench.update.reason()), (State::Failed, Some(Refusal::ImageDigest)));
    bench.announce(&envelope(2, &new)).unwrap();
    assert_eq!((bench.state(), bench.fetches.len()), (State::Deferred, 1), "not at once");
    bench.wait();
    bench.feed(&new, 700, 100);
    assert_eq!((bench.state(), bench.fetches), (State::Ready, vec![0, 0]));
}

#[test]
fn what_the_flash_changes_after_the_download_is_found_when_it_is_read_back() {
    let new = image(2, 700);
    let mut bench = Bench::new();
    bench.announce(&envelope(2, &new)).unwrap();
    bench.feed(&new, 512, 64);
    bench.flash.flip(Area::Slot { image: 0, slot: 1 }, 300);
    bench.feed(&new, 700, 64);
    assert_eq!((bench.state(), bench.update.reason()), (State::Failed, Some(Refusal::ImageDigest)));
    assert_eq!(bench.activated, None);
}

#[test]
fn what_the_flash_changes_before_the_reboot_is_found_after_it() {
    let new = image(2, 700);
    let mut bench = Bench::new();
    bench.announce(&envelope(2, &new)).unwrap();
    let now = bench.time();
    bench.feed(&new, 640, 64);
    bench.update.data(now, 640, &new[640..]).unwrap().event.unwrap();
    bench.flash.write(Area::Slot { image: 0, slot: 1 }, 640, &new[640..], true);
    bench.update.done(now).unwrap();
    // Held, so that the journal says it is whole and no more.
    bench.update.veto(now).unwrap();
    bench.drain();
    assert_eq!((bench.state(), bench.activated), (State::Ready, None));
    bench.flash.flip(Area::Slot { image: 0, slot: 1 }, 3);
    bench.reboot();
    assert_eq!((bench.config.running, bench.state()), (0, State::Failed));
}

#[test]
fn a_deferred_download_waits_for_its_time() {
    let new = image(2, 700);
    let mut bench = Bench::new();
    let now = bench.time();
    bench.update.announce(now, &envelope(2, &new)).unwrap();
    let until = Instant::from_micros(bench.now + 1_000_000);
    bench.update.defer(now, until).unwrap();
    bench.drain();
    assert_eq!((bench.state(), bench.update.next_timeout()), (State::Deferred, Some(until)));
    assert_eq!(bench.update.data(now, 0, &new), Ok(Handled::quiet(0)));
    bench.now += 1_000_000;
    bench.drain();
    assert_eq!((bench.state(), bench.fetches.clone()), (State::Fetching, vec![0]));
    let now = bench.time();
    bench.update.veto(now).unwrap();
    bench.now += 1 << 40;
    bench.drain();
    assert_eq!((bench.state(), bench.update.next_timeout()), (State::Deferred, None));
    let now = bench.time();
    bench.update.resume(now).unwrap();
    bench.drain();
    bench.feed(&new, 700, 700);
    assert_eq!(bench.state(), State::Ready);
}

#[test]
fn a_reboot_can_be_vetoed_until_it_is_asked_for() {
    let new = image(2, 700);
    let mut bench = Bench::new();
    bench.announce(&envelope(2, &new)).unwrap();
    bench.feed(&new, 640, 64);
    let now = bench.time();
    assert!(bench.update.data(now, 640, &new[640..]).unwrap().event.is_some());
    bench.flash.write(Area::Slot { image: 0, slot: 1 }, 640, &new[640..], true);
    bench.update.done(now).unwrap();
    while bench.states.last() != Some(&State::Ready) {
        assert!(bench.step());
    }
    let now = bench.time();
    bench.update.veto(now).unwrap();
    bench.drain();
    assert_eq!((bench.state(), bench.activated), (State::Ready, None));
    assert!(!bench.flash.clone().boot().trial, "a power cut does not override the veto");
    let now = bench.time();
    bench.update.resume(now).unwrap();
    bench.drain();
    assert_eq!(bench.activated, Some(1));
    let now = bench.time();
    assert_eq!(bench.update.veto(now), Err(Misuse::WrongState.into()));
    assert_eq!(bench.update.cancel(now), Err(Misuse::WrongState.into()));
}

#[test]
fn an_update_that_wants_authorization_waits_for_it() {
    let new = image(2, 700);
    let mut asking = release(&new);
    asking.requires.authorization = true;
    let mut bench = Bench::new();
    bench.announce(&asking.sign(&author()).unwrap()).unwrap();
    assert_eq!((bench.state(), bench.fetches.len()), (State::Deferred, 0));
    let now = bench.time();
    bench.update.resume(now).unwrap();
    bench.drain();
    assert_eq!((bench.state(), bench.fetches.len()), (State::Fetching, 1));
}

#[test]
fn a_cancelled_update_can_be_announced_again() {
    let new = image(2, 700);
    let mut bench = Bench::new();
    bench.announce(&envelope(2, &new)).unwrap();
    bench.feed(&new, 300, 100);
    let now = bench.time();
    bench.update.cancel(now).unwrap();
    bench.drain();
    assert_eq!((bench.state(), bench.update.wanted()), (State::Idle, None));
    assert_eq!(bench.update.data(now, 304, &new), Err(Misuse::WrongState.into()));
    bench.install(2, &new);
}

#[test]
fn a_newer_release_replaces_the_one_that_is_fetched() {
    let (new, newer) = (image(2, 700), image(3, 900));
    let mut bench = Bench::new();
    bench.announce(&envelope(2, &new)).unwrap();
    bench.feed(&new, 300, 100);
    // While a store waits for its answer.
    let now = bench.time();
    let offset = bench.update.wanted().unwrap().offset;
    let handled = bench.update.data(now, offset, &new[offset as usize..]).unwrap();
    bench.flash.write(Area::Slot { image: 0, slot: 1 }, offset, &new[offset as usize..][..handled.consumed], false);
    bench.update.announce(now, &envelope(3, &newer)).unwrap();
    bench.update.done(now).unwrap();
    bench.drain();
    assert_eq!(bench.announce(&envelope(2, &new)), Err(Error::Peer(Refusal::Rollback)));
    bench.feed(&newer, 900, 100);
    assert_eq!((bench.state(), bench.update.sequence()), (State::Ready, 3));
    assert_eq!(bench.flash.read(Area::Slot { image: 0, slot: 1 }, 0, 900), newer);
}

#[test]
fn a_newer_release_waits_for_the_end_of_a_trial() {
    let (new, newer) = (image(2, 700), image(3, 900));
    let mut bench = Bench::new();
    bench.install(2, &new);
    assert_eq!(bench.announce(&envelope(3, &newer)), Ok(()));
    assert_eq!(bench.announce(&envelope(2, &new)), Ok(()));
    assert_eq!(bench.state(), State::Trial);
    assert_eq!(
        bench.flash.read(Area::Slot { image: 0, slot: 0 }, 0, 500),
        image(0, 500),
        "there is a way back until the confirmation"
    );
    bench.confirm();
    assert_eq!((bench.state(), bench.update.sequence(), bench.update.floor()), (State::Fetching, 3, 2));
    bench.feed(&newer, 900, 100);
    bench.reboot();
    bench.confirm();
    assert_eq!((bench.update.floor(), bench.update.active_slots()), (3, 0));
}

#[test]
fn a_newer_release_waits_where_the_reboot_was_asked_for() {
    let mut bench = Bench::new();
    bench.announce(&envelope(2, &image(2, 700))).unwrap();
    bench.feed(&image(2, 700), 700, 100);
    let steps = bench.flash.steps;
    assert_eq!(bench.announce(&envelope(3, &image(3, 900))), Ok(()));
    assert_eq!((bench.state(), bench.flash.steps), (State::Ready, steps), "the slot may be booted at any time");
    bench.reboot();
    bench.reject();
    assert_eq!((bench.state(), bench.config.running), (State::Reverted, 1));
    let steps = bench.flash.steps;
    assert_eq!(bench.announce(&envelope(3, &image(3, 900))), Ok(()));
    assert_eq!((bench.state(), bench.flash.steps), (State::Reverted, steps), "it still runs");
}

#[test]
fn the_slot_that_runs_is_never_written_whatever_the_journal_says() {
    let mut bench = Bench::new();
    bench.install(2, &image(2, 700));
    bench.confirm();
    // The bootloader boots slot 0 against the journal.
    bench = Bench::with(bench.flash, |_| {});
    assert_eq!((bench.update.active_slots(), bench.update.floor()), (0, 2));
    bench.announce(&envelope(3, &image(3, 700))).unwrap();
    bench.feed(&image(3, 700), 700, 100);
    assert_eq!(bench.activated, Some(1));
    assert_eq!(bench.flash.read(Area::Slot { image: 0, slot: 0 }, 0, 500), image(0, 500));
}

#[test]
fn a_rejected_image_is_left_and_not_taken_again() {
    let new = image(2, 700);
    let mut bench = Bench::new();
    bench.install(2, &new);
    bench.reject();
    assert_eq!((bench.state(), bench.activated), (State::Reverted, Some(0)));
    bench.reboot();
    assert_eq!((bench.config.running, bench.state(), bench.update.floor()), (0, State::Reverted, 0));
    assert_eq!(bench.announce(&envelope(2, &new)), Err(Error::Peer(Refusal::Trial)));
    bench.install(3, &image(3, 400));
}

#[test]
fn silence_in_a_trial_reverts() {
    let mut bench = Bench::new();
    bench.install(2, &image(2, 700));
    let at = bench.update.next_timeout().unwrap();
    bench.now = at.as_micros();
    bench.drain();
    assert_eq!((bench.state(), bench.activated), (State::Reverted, Some(0)));
    assert_eq!(bench.update.next_timeout(), None);
}

#[test]
fn an_image_that_hangs_is_booted_three_times() {
    let mut bench = Bench::new();
    bench.announce(&envelope(2, &image(2, 700))).unwrap();
    bench.feed(&image(2, 700), 700, 100);
    let slots: Vec<u8> = (0..5).map(|_| bench.flash.boot().slots).collect();
    assert_eq!(slots, [1, 1, 1, 0, 0]);
    bench.reboot();
    assert_eq!((bench.state(), bench.update.reason()), (State::Reverted, Some(Refusal::Trial)));
}

#[test]
fn a_bootloader_that_ignores_the_request_is_asked_a_bounded_number_of_times() {
    let mut bench = Bench::new();
    bench.announce(&envelope(2, &image(2, 700))).unwrap();
    bench.feed(&image(2, 700), 700, 100);
    for _ in 0..4 {
        assert_eq!((bench.state(), bench.activated), (State::Ready, Some(1)));
        // Boots what it always boots.
        bench = Bench::with(bench.flash, |_| {});
    }
    assert_eq!((bench.state(), bench.activated), (State::Reverted, None));
}

#[test]
fn a_bootloader_of_another_kind_counts_too() {
    let mut bench = Bench::new();
    bench.announce(&envelope(2, &image(2, 700))).unwrap();
    bench.feed(&image(2, 700), 700, 100);
    bench = Bench::with(bench.flash, |config| config.running = 1);
    assert_eq!(bench.state(), State::Trial);
    bench = Bench::with(bench.flash, |_| {});
    assert_eq!((bench.state(), bench.activated), (State::Reverted, None), "it went back by itself");
}

#[test]
fn flash_that_fails_now_and_then_is_asked_again() {
    let new = image(2, 700);
    for fault in [Fault::Load, Fault::Erase, Fault::Store, Fault::Record, Fault::Activate] {
        for nth in 1..=3 {
            let mut bench = Bench::new();
            bench.announce(&envelope(2, &new)).unwrap();
            bench.feed(&new, 300, 64);
            bench.faults = Some((fault, nth));
            bench.feed(&new, 700, 64);
            assert_eq!((bench.state(), bench.faults), (State::Ready, Some((fault, 0))), "{fault:?}");
            assert_eq!(bench.flash.read(Area::Slot { image: 0, slot: 1 }, 0, 700), new);
            bench.reboot();
            bench.faults = Some((Fault::Record, nth));
            bench.confirm();
            assert_eq!(bench.state(), State::Confirmed);
        }
    }
}

#[test]
fn flash_that_always_fails_ends_the_update() {
    let new = image(2, 700);
    for fault in [Fault::Load, Fault::Erase, Fault::Store, Fault::Record, Fault::Activate] {
        let mut bench = Bench::new();
        bench.announce(&envelope(2, &new)).unwrap();
        bench.feed(&new, 300, 64);
        bench.faults = Some((fault, u32::MAX));
        bench.feed(&new, 700, 64);
        assert_eq!((bench.state(), bench.update.reason()), (State::Failed, Some(Refusal::Storage)), "{fault:?}");
        bench.faults = None;
        bench.wait();
        bench.install(2, &new);
    }
}

#[test]
fn a_store_that_failed_is_erased_and_fetched_again() {
    let new = image(2, 700);
    let mut bench = Bench::new();
    bench.announce(&envelope(2, &new)).unwrap();
    bench.feed(&new, 400, 64);
    bench.faults = Some((Fault::Store, 1));
    bench.feed(&new, 700, 64);
    assert_eq!(bench.fetches, [0, 256]);
}

#[test]
fn a_journal_that_cannot_be_read_is_not_guessed() {
    let mut bench = Bench::new();
    bench.install(5, &image(5, 300));
    bench.confirm();
    let mut other = Bench::with(bench.flash, |config| config.running = 1);
    other.update = Update::new(other.config, vec![0; 512]);
    other.faults = Some((Fault::Load, u32::MAX));
    let now = other.time();
    other.update.start(now).unwrap();
    other.drain();
    assert_eq!(other.state(), State::Failed);
    assert_eq!(other.announce(&envelope(4, &image(4, 300))), Err(Misuse::WrongState.into()));
    other.faults = None;
    other.update.start(now).unwrap();
    other.drain();
    assert_eq!((other.state(), other.update.floor()), (State::Confirmed, 5));
}

#[test]
fn a_confirmation_that_cannot_be_written_can_be_given_again() {
    let mut bench = Bench::new();
    bench.install(2, &image(2, 300));
    bench.faults = Some((Fault::Record, u32::MAX));
    bench.confirm();
    assert_eq!((bench.state(), bench.update.floor()), (State::Trial, 0));
    assert_eq!(bench.reports.last().unwrap().reason, Some(Refusal::Storage));
    bench.faults = None;
    bench.confirm();
    assert_eq!((bench.state(), bench.update.floor()), (State::Confirmed, 2));
}

#[test]
fn commands_out_of_turn_change_nothing() {
    let mut update = Update::new(Bench::new().config, vec![0; 512]);
    let (now, wrong) = (Instant::ZERO, Err(Misuse::WrongState.into()));
    assert_eq!(update.announce(now, &[]), wrong);
    assert_eq!(update.done(now), wrong);
    assert_eq!(update.poll_output(now, &mut []), Output::Timeout(None));
    update.start(now).unwrap();
    assert_eq!(update.start(now), wrong);
    assert_eq!(update.announce(now, &[]), Err(Capacity::Busy.into()));
    assert!(matches!(update.poll_output(now, &mut []), Output::Event(Event::Load { .. })));
    assert_eq!(update.done(now), wrong);
    assert_eq!(update.loaded(now, &[0; 127]), Err(Misuse::OutOfRange.into()));
    let mut bench = Bench::new();
    assert_eq!(bench.update.confirm(now), wrong);
    assert_eq!(bench.update.reject(now), wrong);
    assert_eq!(bench.update.resume(now), wrong);
    assert_eq!(bench.update.cancel(now), wrong);
    assert_eq!(bench.update.veto(now), wrong);
    assert_eq!(bench.update.failed(now), wrong);
    assert_eq!((bench.state(), bench.states.len()), (State::Idle, 0));
}

#[test]
fn flash_that_no_journal_fits_is_refused_at_start() {
    for (erase, write, slot) in [(128, 1, 1024), (300, 4, 1200), (256, 3, 1024), (256, 64, 1024), (256, 4, 1000)] {
        let mut config = Bench::new().config;
        (config.erase_size, config.write_size, config.slot_size) = (erase, write, slot);
        assert_eq!(Update::new(config, vec![]).start(Instant::ZERO), Err(Misuse::OutOfRange.into()));
    }
}

#[test]
fn a_record_waits_for_a_buffer_that_holds_it() {
    let mut bench = Bench::new();
    let now = bench.time();
    bench.update.announce(now, &envelope(2, &image(2, 300))).unwrap();
    for _ in 0..5 {
        assert!(matches!(
            bench.update.poll_output(now, &mut []),
            Output::Event(Event::State(_) | Event::Report(_) | Event::Erase { .. })
        ));
        let _ = bench.update.done(now);
    }
    assert_eq!(bench.update.poll_output(now, &mut [0; 127]), Output::BufferTooSmall { needed: 128 });
    assert!(matches!(bench.update.poll_output(now, &mut [0; 128]), Output::Event(Event::Record { offset: 0, .. })));
}

#[test]
fn data_that_is_stored_already_or_too_far_ahead() {
    let new = image(2, 1500);
    let mut bench = Bench::new();
    bench.announce(&envelope(2, &new)).unwrap();
    bench.feed(&new, 96, 32);
    let now = bench.time();
    assert_eq!(bench.update.data(now, 0, &new[..64]), Ok(Handled::quiet(64)));
    assert_eq!(bench.update.data(now, 64, &new[64..128]), Ok(Handled::quiet(32)));
    assert_eq!(bench.update.data(now, 128, &new[128..192]), Err(Capacity::Window.into()));
    assert_eq!(bench.update.data(now, 96, &new[96..99]), Ok(Handled::incomplete(5)));
    bench.feed(&new, 1500, 100);
    assert_eq!(bench.update.data(now, 64, &new[64..128]), Ok(Handled::quiet(64)), "a copy that comes late");
}

#[test]
fn the_memory_is_the_same_for_every_image() {
    fn is_send<T: Send>() {}
    is_send::<Update<'static>>();
    assert!(size_of::<Update<'_>>() <= 1536, "{}", size_of::<Update<'_>>());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn any_split_of_the_image_stores_the_same(
        len in 1usize..1500,
        pieces in proptest::collection::vec(1usize..400, 1..20),
    ) {
        let new = image(2, len);
        let mut bench = Bench::new();
        bench.announce(&envelope(2, &new)).unwrap();
        let (mut offset, mut end) = (0, 0);
        for piece in pieces.iter().cycle() {
            end = (end + piece).min(len);
            for _ in 0..100 {
                let now = bench.time();
                let input = Input { peer: Peer(0), bytes: &new[offset..end] };
                let handled = bench.update.handle_input(now, input).unwrap();
                if let Some(Event::Store { area, offset: at, bytes }) = handled.event {
                    bench.flash.write(area, at, bytes, at as usize + bytes.len() == len);
                    bench.update.done(now).unwrap();
                }
                bench.drain();
                offset += handled.consumed;
                if handled.consumed == 0 {
                    break;
                }
            }
            if bench.state() != State::Fetching {
                break;
            }
        }
        prop_assert_eq!(bench.state(), State::Ready);
        prop_assert_eq!(bench.flash.read(Area::Slot { image: 0, slot: 1 }, 0, len), new);
    }

    #[test]
    fn any_junk_in_the_journal_leaves_a_machine_that_works(
        junk in proptest::collection::vec(any::<u8>(), 512),
        running in 0u8..2,
    ) {
        let mut flash = Flash::new(GEOMETRY, &image(0, 500));
        flash.fill(Area::Journal, &junk);
        let mut bench = Bench::with(flash, |config| config.running = running);
        prop_assert_eq!(bench.state(), State::Idle);
        let new = image(2, 700);
        bench.announce(&envelope(2, &new)).unwrap();
        bench.feed(&new, 700, 100);
        prop_assert_eq!((bench.state(), bench.activated), (State::Ready, Some(1 - running)));
    }

    #[test]
    fn any_commands_and_answers_follow_the_table(
        steps in proptest::collection::vec((0u8..14, any::<u16>()), 1..200),
    ) {
        let images: Vec<_> = (0..4).map(|n| image(n, 300 + 200 * n as usize)).collect();
        let envelopes: Vec<_> = (0..4).map(|n| envelope(n, &images[n as usize])).collect();
        let mut bench = Bench::new();
        let mut last = State::Idle;
        for (what, how) in steps {
            let now = bench.time();
            let n = usize::from(how % 4);
            match what {
                0 | 1 => drop(bench.update.announce(now, &envelopes[n])),
                2 => drop(bench.update.defer(now, Instant::from_micros(bench.now + 5000))),
                3 => drop(bench.update.veto(now)),
                4 => drop(bench.update.resume(now)),
                5 if how % 8 == 0 => drop(bench.update.cancel(now)),
                6 => drop(bench.update.confirm(now)),
                7 => drop(bench.update.reject(now)),
                8 => bench.faults = Some(([Fault::Load, Fault::Erase, Fault::Store, Fault::Record][n], u32::from(how % 6))),
                9 if how % 4 == 0 => {
                    bench.faults = None;
                    bench.drain();
                    bench.reboot();
                    last = bench.state();
                    bench.states.clear();
                }
                10 => {}
                _ => {
                    bench.drain();
                    let sequence = bench.update.sequence() as usize;
                    if bench.update.wanted().is_some() {
                        bench.feed(&images[sequence], bench.update.progress().0 as usize + usize::from(how % 200), 64);
                    }
                }
            }
            // What a command can bring to tell.
            for _ in 0..6 {
                bench.step();
            }
            for state in bench.states.drain(..) {
                let linked = TRANSITIONS.iter().any(|(from, _, to)| (*from, *to) == (last, state));
                prop_assert!(linked, "{:?} → {:?} is not in the table", last, state);
                last = state;
            }
        }
    }
}

#[test]
fn bytes_behind_the_end_of_the_image_are_not_stored() {
    let new = image(2, 701);
    let mut bench = Bench::new();
    bench.announce(&envelope(2, &new)).unwrap();
    bench.feed(&new, 640, 64);
    let mut longer = new[640..].to_vec();
    longer.extend_from_slice(&[0xEE; 400]);
    let now = bench.time();
    let handled = bench.update.data(now, 640, &longer).unwrap();
    let Some(Event::Store { area, offset, bytes }) = handled.event else { panic!("{handled:?}") };
    assert_eq!((offset, bytes), (640, &new[640..]));
    bench.flash.write(area, offset, bytes, true);
    bench.update.done(now).unwrap();
    assert_eq!(bench.update.data(now, 701, &longer[61..]), Ok(Handled::quiet(400)), "taken, and dropped");
    assert_eq!(bench.update.data(now, 100_000, &[0xEE; 64]), Ok(Handled::quiet(64)));
    bench.drain();
    assert_eq!(
        (bench.state(), bench.flash.read(Area::Slot { image: 0, slot: 1 }, 704, 64)),
        (State::Ready, &[0xFF; 64][..])
    );
}
