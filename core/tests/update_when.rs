//! When an update goes on: turns, windows, times, the battery, and how far a release may be ahead.

mod flash;

use flash::bench::{Bench, GEOMETRY};
use flash::{Flash, author, image};
use waft::ota::manifest::{Facts, Requires, Wait};
use waft::ota::refusal::Refusal;
use waft::ota::update::{Config, State, Window};
use waft::{Duration, Error};

/// Noon of a day.
const NOON: u64 = 20_000 * 86_400 + 43_200;

fn bench(change: impl FnOnce(&mut Config<'static>)) -> Bench {
    Bench::with(Flash::new(GEOMETRY, &image(0, 500)), change)
}

fn envelope(sequence: u64, requires: Requires) -> Vec<u8> {
    let image = image(sequence, 700);
    waft::ota::author::Release { requires, ..flash::release(sequence, &image) }.sign(&author()).unwrap()
}

fn tell(bench: &mut Bench, time: Option<u64>, battery: Option<u32>) {
    let now = bench.time();
    let version = "1.0".parse().ok();
    bench.update.tell(now, &Facts { time, battery, version, device: Some([7; 16]) }).unwrap();
    bench.drain();
}

fn pass(bench: &mut Bench, seconds: u64) {
    bench.now += seconds * 1_000_000;
    bench.drain();
}

#[test]
fn devices_of_a_fleet_begin_one_after_the_other() {
    let begins: Vec<u64> = (0..40)
        .map(|n| {
            let mut bench = bench(|config| {
                config.device = [n; 16];
                config.jitter = Duration::from_secs(3600);
            });
            bench.announce(&envelope(2, Requires::default())).unwrap();
            assert_eq!(bench.state(), State::Deferred, "device {n}");
            let at = bench.update.next_timeout().unwrap().as_micros();
            assert!(at <= 3_601_000_000);
            bench.now = at;
            bench.drain();
            assert_eq!((bench.state(), bench.fetches.len()), (State::Fetching, 1));
            at / 360_000_000
        })
        .collect();
    for tenth in 0..10 {
        let count = begins.iter().filter(|n| **n == tenth).count();
        assert!(count <= 12, "{count} of 40 begin in one tenth of the hour");
    }
}

#[test]
fn a_download_keeps_to_its_window() {
    // From 13:00 for an hour.
    let mut bench = bench(|config| config.window = Some(Window { start: 46_800, len: 3_600 }));
    tell(&mut bench, Some(NOON), None);
    bench.announce(&envelope(2, Requires::default())).unwrap();
    assert_eq!(bench.state(), State::Deferred);
    pass(&mut bench, 3_500);
    assert_eq!(bench.state(), State::Deferred);
    pass(&mut bench, 101);
    assert_eq!((bench.state(), bench.fetches.clone()), (State::Fetching, vec![0]));
    let image = image(2, 700);
    bench.feed(&image, 400, 100);
    pass(&mut bench, 3_600);
    assert_eq!(bench.state(), State::Deferred, "it is closed");
    pass(&mut bench, 82_800);
    assert_eq!((bench.state(), bench.fetches.clone()), (State::Fetching, vec![0, 448]));
    bench.feed(&image, 700, 100);
    assert_eq!(bench.state(), State::Ready);
}

#[test]
fn without_a_clock_there_is_no_window() {
    let mut bench = bench(|config| config.window = Some(Window { start: 46_800, len: 3_600 }));
    bench.announce(&envelope(2, Requires::default())).unwrap();
    assert_eq!(bench.state(), State::Fetching);
}

#[test]
fn the_owner_may_begin_at_once() {
    let mut bench = bench(|config| config.jitter = Duration::from_secs(1 << 20));
    bench.announce(&envelope(2, Requires::default())).unwrap();
    let now = bench.time();
    bench.update.resume(now).unwrap();
    bench.drain();
    assert_eq!(bench.state(), State::Fetching);
}

#[test]
fn a_low_battery_holds_the_download_and_the_reboot() {
    let mut bench = bench(|config| config.battery = 100);
    tell(&mut bench, None, Some(150));
    let asking = Requires { battery: Some(200), ..Requires::default() };
    bench.announce(&envelope(2, asking)).unwrap();
    assert_eq!((bench.state(), bench.update.reason()), (State::Deferred, Some(Refusal::Battery)));
    tell(&mut bench, None, Some(200));
    assert_eq!((bench.state(), bench.update.reason()), (State::Fetching, None));
    tell(&mut bench, None, Some(199));
    bench.feed(&image(2, 700), 700, 100);
    assert_eq!((bench.state(), bench.activated, bench.update.reason()), (State::Ready, None, Some(Refusal::Battery)));
    assert_eq!(bench.reports.last().unwrap().reason, Some(Refusal::Battery));
    tell(&mut bench, None, Some(250));
    assert_eq!((bench.state(), bench.activated), (State::Ready, Some(1)));
}

#[test]
fn what_only_the_device_can_decide_is_decided() {
    let refused = |time, requires: Requires, reason| {
        let mut bench = bench(|_| {});
        tell(&mut bench, time, None);
        assert_eq!(bench.announce(&envelope(2, requires)), Err(Error::Peer(reason)));
    };
    let none = Requires::default();
    refused(Some(NOON), Requires { use_before: Some(NOON), ..none }, Refusal::Expired);
    refused(None, Requires { battery: Some(1), ..none }, Refusal::Condition);
    refused(None, Requires { device: Some([8; 16]), ..none }, Refusal::Device);
    refused(None, Requires { wait: Some(Wait { time: Some(1), ..Wait::default() }), ..none }, Refusal::Condition);
    refused(Some(1), Requires { wait: Some(Wait { power: Some(1), ..Wait::default() }), ..none }, Refusal::Condition);
    let mut bench = bench(|_| {});
    tell(&mut bench, Some(NOON), None);
    let fine = Requires { use_before: Some(NOON + 2), device: Some([7; 16]), ..none };
    bench.announce(&envelope(2, fine)).unwrap();
    assert_eq!(bench.state(), State::Fetching);
    pass(&mut bench, 3);
    bench.feed(&image(2, 700), 700, 100);
    assert_eq!((bench.state(), bench.update.reason()), (State::Failed, Some(Refusal::Expired)), "it was over by then");
}

#[test]
fn a_time_that_was_believed_is_believed_after_a_reboot_and_locks_nobody_out() {
    let mut bench = bench(|_| {});
    tell(&mut bench, Some(NOON), None);
    bench.install(2, &image(2, 700));
    bench.confirm();
    let over = Requires { use_before: Some(NOON - 1), ..Requires::default() };
    assert_eq!(bench.announce(&envelope(3, over)), Err(Error::Peer(Refusal::Expired)));
    // Whatever a clock says later.
    tell(&mut bench, Some(5), None);
    assert_eq!(bench.announce(&envelope(3, over)), Err(Error::Peer(Refusal::Expired)));
    bench.announce(&envelope(4, Requires::default())).unwrap();
    assert_eq!(bench.state(), State::Fetching);
}

#[test]
fn a_manifest_may_name_a_time_to_begin() {
    let mut bench = bench(|_| {});
    tell(&mut bench, Some(NOON), None);
    let wait = Some(Wait { time: Some(NOON + 600), ..Wait::default() });
    bench.announce(&envelope(2, Requires { wait, ..Requires::default() })).unwrap();
    assert_eq!(bench.state(), State::Deferred);
    for _ in 0..9 {
        pass(&mut bench, 60);
        assert_eq!(bench.state(), State::Deferred);
    }
    pass(&mut bench, 61);
    assert_eq!(bench.state(), State::Fetching);
}

#[test]
fn a_sequence_number_cannot_run_away() {
    let mut bench = bench(|config| config.step = 1000);
    bench.install(1_700_000_000, &image(1_700_000_000, 700));
    bench.confirm();
    let far = envelope(1_700_001_001, Requires::default());
    assert_eq!(bench.announce(&far), Err(Error::Peer(Refusal::FastForward)));
    bench.announce(&envelope(1_700_001_000, Requires::default())).unwrap();
    assert_eq!(bench.state(), State::Fetching);
}
