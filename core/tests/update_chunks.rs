//! Chunk digests: what arrives is authenticated chunk by chunk, in any order, and a bad chunk alone is fetched again.

mod flash;

use flash::bench::Bench;
use flash::chunked::Chunked;
use flash::{Flash, Geometry, envelope, image};
use proptest::prelude::*;
use waft::Error;
use waft::ota::manifest::Component;
use waft::ota::refusal::Refusal;
use waft::ota::update::{Area, Event, State};

const GEOMETRY: Geometry = Geometry { erase: 256, write: 8, slot: 8192 };
const BLOCK: u32 = 64;

/// A device that takes blocks in any order, and the codec that knows the chunks of `image`.
fn bench(image: &[u8], chunk: u32, integrated: bool) -> (Bench, &'static Chunked) {
    let codec: &'static Chunked = Box::leak(Box::new(Chunked::new(chunk, integrated)));
    codec.add(image);
    let bench = Bench::with(Flash::new(GEOMETRY, &flash::image(0, 500)), |config| {
        config.codec = codec;
        config.block = BLOCK;
        config.ahead = 4096;
    });
    (bench, codec)
}

/// What is to be delivered of the payload that is fetched now.
fn content(bench: &Bench, codec: &Chunked, image: &[u8]) -> Vec<u8> {
    let payload = bench.update.payload().expect("something is fetched");
    match payload.component {
        Component::Chunks(0) => chunk_list(codec, image),
        Component::Image(0) => image.to_vec(),
        other => panic!("{other:?}"),
    }
}

fn chunk_list(codec: &Chunked, image: &[u8]) -> Vec<u8> {
    waft::ota::chunks::list(image, codec.chunk)
}

/// Gives this list, once.
fn give_list(bench: &mut Bench, list: &[u8]) {
    for offset in (0..list.len() as u32).step_by(BLOCK as usize) {
        assert_eq!(bench.update.payload().unwrap().component, Component::Chunks(0));
        give(bench, list, offset);
    }
}

/// Gives the list, where it is to be fetched.
fn feed_list(bench: &mut Bench, codec: &Chunked, image: &[u8]) {
    if bench.update.payload().is_some_and(|p| p.component == Component::Chunks(0)) {
        assert_eq!(bench.update.progress(), (0, image.len() as u32));
        assert_eq!(bench.update.payload().unwrap().uri, "list/1");
        give_list(bench, &content(bench, codec, image));
    }
    assert_eq!(bench.update.payload().unwrap().component, Component::Image(0));
}

/// Gives the block at `offset`: how many bytes of it were stored.
fn give(bench: &mut Bench, image: &[u8], offset: u32) -> usize {
    let (mut at, end) = (offset as usize, (offset as usize + BLOCK as usize).min(image.len()));
    let mut stored = 0;
    while at < end && bench.state() == State::Fetching {
        let now = bench.time();
        let handled = match bench.update.data(now, at as u32, &image[at..end]) {
            Ok(handled) => handled,
            Err(Error::Capacity(_)) => break,
            Err(other) => panic!("{other:?}"),
        };
        if let Some(Event::Store { area, offset, bytes }) = handled.event {
            bench.flash.write(area, offset, bytes, offset as usize + bytes.len() == image.len());
            stored += bytes.len();
            bench.update.done(now).unwrap();
        }
        bench.drain();
        if handled.consumed == 0 {
            break;
        }
        at += handled.consumed;
    }
    stored
}

/// Gives what is missing, the block chosen by `choose` of those that are, until the image is whole: how many bytes were stored.
fn feed_any(bench: &mut Bench, image: &[u8], mut choose: impl FnMut(usize) -> usize) -> usize {
    let mut stored = 0;
    for _ in 0..100_000 {
        if bench.state() != State::Fetching {
            return stored;
        }
        let mut blocks = vec![];
        let mut from = 0;
        while let Some((offset, len)) = bench.update.missing(from) {
            blocks.extend((offset..offset + len).step_by(BLOCK as usize));
            from = offset + len;
        }
        assert!(!blocks.is_empty(), "it fetches, and nothing is missing");
        let offset = blocks[choose(blocks.len())];
        stored += give(bench, image, offset);
    }
    panic!("it never ends");
}

#[test]
fn the_list_comes_first_and_then_the_image_in_any_order() {
    for (chunk, integrated) in [(256, true), (256, false), (512, false), (64, false), (128, true)] {
        let new = image(2, 5001);
        let (mut bench, codec) = bench(&new, chunk, integrated);
        bench.announce(&envelope(2, &new)).unwrap();
        feed_list(&mut bench, codec, &new);
        let stored = feed_any(&mut bench, &new, |n| n - 1);
        assert_eq!((bench.state(), bench.activated, stored), (State::Ready, Some(1), 5001), "chunk {chunk}");
        assert_eq!(bench.flash.read(Area::Slot { image: 0, slot: 1 }, 0, new.len()), new);
        bench.reboot();
        bench.confirm();
    }
}

#[test]
fn a_bad_chunk_alone_is_fetched_again() {
    for (chunk, again) in [(256, 256), (512, 512), (64, 256)] {
        for in_order in [true, false] {
            let new = image(2, 4000);
            let (mut bench, codec) = bench(&new, chunk, false);
            bench.announce(&envelope(2, &new)).unwrap();
            feed_list(&mut bench, codec, &new);
            let mut bad = new.clone();
            bad[1030] ^= 4;
            let mut stored = 0;
            if in_order {
                for offset in (0..2048).step_by(BLOCK as usize) {
                    stored += give(&mut bench, if offset == 1024 { &bad } else { &new }, offset);
                }
            } else {
                // From the end on, the first block last.
                for offset in (0..2048).step_by(BLOCK as usize).rev() {
                    stored += give(&mut bench, if offset == 1024 { &bad } else { &new }, offset);
                }
            }
            let told: Vec<_> = bench.reports.iter().filter_map(|report| report.reason).collect();
            assert_eq!(told, [Refusal::ChunkDigest], "chunk {chunk}");
            stored += feed_any(&mut bench, &new, |_| 0);
            // In order, nothing behind the bad chunk in its erase block had been stored when it was found.
            let again = if in_order && chunk < 256 { chunk as usize } else { again };
            assert_eq!((bench.state(), stored), (State::Ready, 4000 + again), "chunk {chunk}, in order: {in_order}");
            assert_eq!(bench.flash.read(Area::Slot { image: 0, slot: 1 }, 0, new.len()), new);
        }
    }
}

#[test]
fn who_sends_a_bad_chunk_again_and_again_is_not_asked_for_ever() {
    let new = image(2, 4000);
    let (mut bench, codec) = bench(&new, 256, false);
    bench.announce(&envelope(2, &new)).unwrap();
    feed_list(&mut bench, codec, &new);
    let mut bad = new.clone();
    bad[1030] ^= 4;
    let stored = feed_any(&mut bench, &bad, |_| 0);
    assert_eq!((bench.state(), bench.update.reason()), (State::Failed, Some(Refusal::ChunkDigest)));
    assert_eq!(stored, 1024 + 4 * 256, "no byte behind the bad chunk was taken");
}

#[test]
fn a_list_that_was_not_signed_for_is_refused() {
    let new = image(2, 4000);
    let (mut bench, codec) = bench(&new, 256, false);
    bench.announce(&envelope(2, &new)).unwrap();
    let mut list = chunk_list(codec, &new);
    list[40] ^= 1;
    for _ in 0..4 {
        assert_eq!(bench.state(), State::Fetching);
        give_list(&mut bench, &list);
    }
    assert_eq!((bench.state(), bench.update.reason()), (State::Failed, Some(Refusal::ChunkList)));
}

#[test]
fn a_kill_costs_at_most_the_chunk_that_was_coming() {
    let mut most = 0;
    for chunk in [256, 512] {
        for at in (64..4000).step_by(64) {
            let new = image(2, 4000);
            let (mut bench, codec) = bench(&new, chunk, false);
            bench.announce(&envelope(2, &new)).unwrap();
            feed_list(&mut bench, codec, &new);
            let mut stored = 0;
            for offset in (0..at).step_by(BLOCK as usize) {
                stored += give(&mut bench, &new, offset);
            }
            bench.reboot();
            bench.announce(&envelope(2, &new)).unwrap();
            assert_eq!(bench.update.payload().unwrap().component, Component::Image(0), "the list is there");
            stored += feed_any(&mut bench, &new, |_| 0);
            assert_eq!(bench.state(), State::Ready);
            assert!(stored - 4000 <= chunk as usize, "killed at {at}, {} bytes came twice", stored - 4000);
            if chunk == 512 {
                most = most.max(stored - 4000);
            }
        }
    }
    println!("refetched {most} of chunks of 512");
}

#[test]
fn chunks_that_came_early_are_kept_over_a_reboot() {
    let new = image(2, 4000);
    let (mut bench, codec) = bench(&new, 256, false);
    bench.announce(&envelope(2, &new)).unwrap();
    feed_list(&mut bench, codec, &new);
    // All but the first block of chunk 0, and one block of chunk 5.
    let stored: usize = (1..24).filter(|n| *n != 21).map(|n| give(&mut bench, &new, n * BLOCK)).sum();
    bench.reboot();
    bench.announce(&envelope(2, &new)).unwrap();
    assert_eq!(bench.update.missing(0), Some((0, 256)));
    assert_eq!(bench.update.missing(256).map(|(offset, _)| offset), Some(1280), "chunks 1 to 4 were found");
    let rest = feed_any(&mut bench, &new, |_| 0);
    assert_eq!((bench.state(), stored + rest), (State::Ready, 4000 + 192 + 192));
}

#[test]
fn without_room_for_the_list_the_digest_of_the_image_has_to_do() {
    let new = image(2, 8190);
    let (mut bench, _) = bench(&new, 256, false);
    bench.announce(&envelope(2, &new)).unwrap();
    assert_eq!(bench.update.payload().unwrap().component, Component::Image(0));
    assert_eq!(feed_any(&mut bench, &new, |_| 0), 8190);
    assert_eq!(bench.state(), State::Ready);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn any_order_any_kill_any_bad_block_ends_with_the_image(
        len in 1usize..6000,
        chunk in prop::sample::select(vec![0u32, 64, 128, 256, 512, 768, 192, 2048]),
        integrated: bool,
        choices in proptest::collection::vec(any::<u16>(), 1..400),
    ) {
        let new = image(2, len);
        let mut bad = new.clone();
        bad[len / 2] ^= 1;
        let (mut bench, codec) = bench(&new, chunk.max(1), integrated);
        bench.announce(&envelope(2, &new)).unwrap();
        let mut choices = choices.iter().cycle();
        let mut kills = 5;
        let list = chunk_list(codec, &new);
        // Without room for the list there is only the digest of the whole.
        let room = integrated || len.next_multiple_of(256) + (len.div_ceil(64) * 32).next_multiple_of(256) <= 8192;
        let mut spoiled = chunk.max(1) >= 64 && !chunk.is_multiple_of(192) && room;
        for _ in 0..2000 {
            if bench.state() != State::Fetching {
                break;
            }
            let choice = usize::from(*choices.next().unwrap());
            let listing = bench.update.payload().unwrap().component == Component::Chunks(0);
            let body = if listing { &list } else { &new };
            let mut blocks = vec![];
            let mut from = 0;
            while let Some((offset, len)) = bench.update.missing(from) {
                blocks.extend((offset..offset + len).step_by(BLOCK as usize));
                from = offset + len;
            }
            let offset = blocks[choice % blocks.len()];
            let is_bad = spoiled && !listing && choice % 3 == 0 && offset / BLOCK == (len / 2) as u32 / BLOCK;
            if is_bad {
                spoiled = false;
            }
            give(&mut bench, if is_bad { &bad } else { body }, offset);
            if choice % 97 == 0 && kills > 0 {
                kills -= 1;
                bench.reboot();
                if bench.state() == State::Idle {
                    bench.announce(&envelope(2, &new)).unwrap();
                }
                if bench.state() == State::Deferred {
                    bench.wait();
                }
            }
        }
        prop_assert!(matches!(bench.state(), State::Ready | State::Trial), "{:?} {:?}", bench.state(), bench.update.reason());
        prop_assert_eq!(bench.flash.read(Area::Slot { image: 0, slot: 1 }, 0, len), new);
    }
}

#[test]
fn an_image_in_the_envelope_is_stored_from_there() {
    let new = image(2, 301);
    let release = waft::ota::author::Release {
        uri: "#firmware",
        more: waft::ota::author::More { content: Some(&new), ..waft::ota::author::More::default() },
        ..flash::release(2, &new)
    };
    let envelope = release.sign(&flash::author()).unwrap();
    for kill in [false, true] {
        let mut bench = Bench::with(Flash::new(GEOMETRY, &flash::image(0, 500)), |config| config.running = 0);
        bench.room = 1024;
        bench.reboot();
        if kill {
            let now = bench.time();
            bench.update.announce(now, &envelope).unwrap();
            for _ in 0..12 {
                bench.step();
            }
            bench.reboot();
        }
        bench.announce(&envelope).unwrap();
        assert_eq!((bench.state(), bench.activated, bench.fetches.len()), (State::Ready, Some(1), 0));
        assert_eq!(bench.flash.read(Area::Slot { image: 0, slot: 1 }, 0, new.len()), new);
        bench.reboot();
        bench.confirm();
    }
}
