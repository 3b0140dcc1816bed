//! Keys are replaced by a release that brings a table of them, for good.

mod flash;

use flash::bench::{Bench, Fault};
use flash::chunked::Chunked;
use flash::{Flash, envelope, envelope_by, image};
use waft::Error;
use waft::ota::author::SecretKey;
use waft::ota::keys::KeyTable;
use waft::ota::manifest::Key;
use waft::ota::refusal::Refusal;
use waft::ota::update::State;

fn successor() -> SecretKey {
    SecretKey::from_seed(&[10; 32]).unwrap()
}

fn since(epoch: u32, key: Key) -> Key {
    Key { epoch, ..key }
}

/// A device whose keys can be replaced, and the codec that reads the images 100 and 101 as tables: one that adds a key,
/// and one that has it alone.
fn bench() -> Bench {
    let codec: &'static Chunked = Box::leak(Box::new(Chunked::new(0, false)));
    let both = KeyTable::of(1, &[flash::key(), since(1, successor().key())]).unwrap();
    let alone = KeyTable::of(2, &[since(1, successor().key())]).unwrap();
    codec.add_table(&image(100, 9), &both);
    codec.add_table(&image(101, 9), &alone);
    Bench::with(Flash::new(flash::bench::GEOMETRY, &image(0, 500)), |config| {
        config.codec = codec;
        config.rotation = true;
    })
}

#[test]
fn a_key_is_replaced_in_two_steps_and_the_old_one_is_not_trusted_again() {
    let mut bench = bench();
    bench.announce(&envelope(2, &image(100, 9))).unwrap();
    assert_eq!((bench.state(), bench.update.epoch(), bench.update.floor()), (State::Confirmed, 1, 2));
    assert_eq!(bench.states, [State::Announced, State::Verified, State::Confirmed]);
    assert_eq!(bench.announce(&envelope(3, &image(101, 9))), Err(Error::Peer(Refusal::KeyRevokesItself)));
    bench.announce(&envelope_by(&successor(), 3, &image(101, 9))).unwrap();
    for _ in 0..2 {
        assert_eq!((bench.update.epoch(), bench.update.floor()), (2, 3));
        assert_eq!(bench.update.keys(), [since(1, successor().key())]);
        assert_eq!(bench.announce(&envelope(9, &image(9, 400))), Err(Error::Peer(Refusal::UnknownKey)));
        bench.reboot();
    }
    let new = image(4, 400);
    bench.announce(&envelope_by(&successor(), 4, &new)).unwrap();
    bench.feed(&new, 400, 100);
    assert_eq!((bench.state(), bench.activated), (State::Ready, Some(1)));
}

#[test]
fn a_table_leaves_the_image_what_it_was() {
    let mut bench = bench();
    bench.install(2, &image(2, 700));
    bench.confirm();
    let before = bench.flash.clone().boot();
    bench.announce(&envelope(3, &image(100, 9))).unwrap();
    let after = bench.flash.clone().boot();
    assert_eq!((before.slots, before.image), (after.slots, after.image));
    assert_eq!((bench.update.active_slots(), bench.update.floor()), (1, 3));
    assert_eq!(bench.announce(&envelope(2, &image(2, 700))), Err(Error::Peer(Refusal::Rollback)));
    bench.announce(&envelope(3, &image(100, 9))).unwrap();
    assert_eq!((bench.state(), bench.update.epoch()), (State::Confirmed, 1));
}

#[test]
fn a_table_waits_for_the_end_of_a_trial() {
    let mut bench = bench();
    bench.install(2, &image(2, 700));
    bench.announce(&envelope(3, &image(100, 9))).unwrap();
    assert_eq!((bench.state(), bench.update.epoch()), (State::Trial, 0));
    bench.confirm();
    assert_eq!((bench.state(), bench.update.epoch(), bench.update.floor()), (State::Confirmed, 1, 3));
}

#[test]
fn a_device_without_room_for_tables_refuses_them() {
    let mut bench = bench();
    bench.config.rotation = false;
    bench.reboot();
    assert_eq!(bench.announce(&envelope(2, &image(100, 9))), Err(Error::Peer(Refusal::Component)));
}

#[test]
fn a_table_that_cannot_be_written_changes_nothing() {
    for fault in [Fault::Erase, Fault::Store, Fault::Record] {
        let mut bench = bench();
        bench.faults = Some((fault, u32::MAX));
        bench.announce(&envelope(2, &image(100, 9))).unwrap();
        assert_eq!((bench.state(), bench.update.reason()), (State::Failed, Some(Refusal::Storage)), "{fault:?}");
        assert_eq!(bench.update.floor(), 0);
        bench.faults = None;
        bench.announce(&envelope(2, &image(100, 9))).unwrap();
        assert_eq!((bench.state(), bench.update.epoch()), (State::Confirmed, 1), "{fault:?}");
    }
}
