//! Power may fail at any byte of any write and of any erase. Whenever it does, the device boots an old or a new image
//! whole, its floor does not sink, it needs nobody's help, and while power stays it ends updated.

mod flash;

use flash::device::{Arrival, Device, Life, Release, WHOLE};
use flash::{Geometry, envelope, image};
use waft::Rng;
use waft::ota::update::State;

const GEOMETRIES: [(Geometry, Arrival); 3] = [
    (Geometry { erase: 256, write: 4, slot: 1024 }, Arrival::Pieces(100)),
    (Geometry { erase: 512, write: 32, slot: 1024 }, Arrival::Blocks(64)),
    (Geometry { erase: 384, write: 1, slot: 768 }, Arrival::Pieces(1000)),
];

/// A whole life: an update that is superseded before it is whole, one that is superseded when it is, one that is
/// confirmed, one that fails its trial, and a last.
fn releases() -> Vec<Release> {
    let release = |sequence: u64, len: usize, good: bool, superseded_at: Option<u32>| {
        let image = image(sequence, len);
        Release { envelope: envelope(sequence, &image), sequence, image, good, superseded_at }
    };
    vec![
        release(0, 600, true, None),
        release(3, 700, true, Some(300)),
        release(4, 650, true, Some(WHOLE)),
        release(5, 500, true, None),
        release(6, 600, false, None),
        release(7, 701, true, None),
    ]
}

fn live(geometry: Geometry, arrival: Arrival, releases: &[Release], cuts: &[u64]) -> (Life, u64) {
    let mut device = Device::new(geometry, releases, arrival, cuts.to_vec());
    device.live();
    (device.life, device.flash.steps)
}

/// Lives through these cuts and checks what has to hold after any. Gives whether they all happened.
fn check(geometry: Geometry, arrival: Arrival, releases: &[Release], cuts: &[u64], undisturbed: &Life) -> bool {
    let (life, _) = live(geometry, arrival, releases, cuts);
    let what = format!("{geometry:?} {arrival:?} cut at {cuts:?}");
    assert_eq!(life.floor, 7, "{what}: the last release was not confirmed");
    assert_eq!(life.states.last(), Some(&State::Confirmed), "{what}");
    let ahead = if let Arrival::Blocks(block) = arrival { u64::from(block) * 4 } else { 0 };
    let repeated = life.taken.saturating_sub(undisturbed.taken);
    let bound = u64::from(life.cuts) * (u64::from(geometry.erase) + ahead);
    assert!(repeated <= bound, "{what}: {repeated} bytes were fetched twice");
    life.cuts as usize == cuts.len()
}

#[test]
fn an_undisturbed_life_goes_through_every_state_once_per_release() {
    let releases = releases();
    for (geometry, arrival) in GEOMETRIES {
        let (life, _) = live(geometry, arrival, &releases, &[]);
        assert_eq!((life.floor, life.cuts), (7, 0));
        let count = |state| life.states.iter().filter(|s| **s == state).count();
        assert_eq!(count(State::Announced), 5, "{:?}", life.states);
        assert_eq!(count(State::Validated), 4);
        assert_eq!(count(State::Failed), 0);
        assert!(count(State::Reverted) >= 1);
    }
}

/// A short life on one geometry; all of them, and long lives, are in the run that takes minutes.
#[test]
fn power_may_fail_at_any_byte() {
    let (geometry, arrival) = GEOMETRIES[0];
    let releases = [&releases()[..1], &releases()[5..]].concat();
    let (undisturbed, steps) = live(geometry, arrival, &releases, &[]);
    for cut in 1..=steps {
        assert!(check(geometry, arrival, &releases, &[cut], &undisturbed));
    }
}

#[test]
fn power_may_fail_twice() {
    let releases = releases();
    let mut rng = Rng::new(1);
    for (geometry, arrival) in GEOMETRIES {
        let (undisturbed, steps) = live(geometry, arrival, &releases, &[]);
        for _ in 0..500 {
            let first = 1 + rng.below(steps);
            // Half of the pairs close together: the second in what mends the first.
            let second = if rng.below(2) == 0 { first + 1 + rng.below(400) } else { 1 + rng.below(steps) };
            check(geometry, arrival, &releases, &[first, second.max(first + 1)], &undisturbed);
        }
    }
}

/// All of it: `cargo test --release -p waft --features author --test powercut -- --ignored`.
#[test]
#[ignore = "takes minutes"]
fn every_single_cut_and_many_pairs() {
    let releases = releases();
    let mut runs = 0_u64;
    for (geometry, arrival) in GEOMETRIES {
        let (undisturbed, steps) = live(geometry, arrival, &releases, &[]);
        for first in 1..=steps {
            check(geometry, arrival, &releases, &[first], &undisturbed);
            for second in (first + 1..first + 600).step_by(29) {
                check(geometry, arrival, &releases, &[first, second], &undisturbed);
                runs += 1;
            }
            runs += 1;
        }
    }
    println!("{runs} runs, no failure");
}
