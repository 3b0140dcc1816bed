//! Downloads that come to nothing are made again, later each time; how often they did is remembered over reboots.

mod flash;

use flash::bench::{Bench, Fault, GEOMETRY};
use flash::{Flash, envelope, image};
use waft::ota::refusal::Refusal;
use waft::ota::update::{Config, State};
use waft::{Duration, Instant};

const SECOND: u64 = 1_000_000;
const DAY: u64 = 86_400 * SECOND;

fn bench(change: impl FnOnce(&mut Config<'static>)) -> Bench {
    Bench::with(Flash::new(GEOMETRY, &image(0, 500)), change)
}

/// Delivers something else than what was signed for, to the end.
fn feed_wrong(bench: &mut Bench) {
    bench.feed(&image(99, 700), 700, 100);
    assert_eq!((bench.state(), bench.update.reason()), (State::Failed, Some(Refusal::ImageDigest)));
}

#[test]
fn a_download_that_failed_is_made_again_later_each_time_and_at_least_once_a_day() {
    let mut bench = bench(|config| config.device = [3; 16]);
    bench.announce(&envelope(2, &image(2, 700))).unwrap();
    let mut full = 60 * SECOND;
    for n in 1..=16_u8 {
        assert_eq!((bench.state(), bench.fetches.len()), (State::Fetching, usize::from(n)));
        feed_wrong(&mut bench);
        assert_eq!((bench.update.attempts(), bench.reports.last().unwrap().attempts), (n, n));
        let pause = bench.wait();
        assert!((full / 2 - SECOND..=full).contains(&pause), "{pause} µs after failure {n}");
        full = (full * 2).min(DAY);
    }
    bench.feed(&image(2, 700), 700, 100);
    assert_eq!((bench.state(), bench.update.attempts()), (State::Ready, 0), "all is well at last");
}

#[test]
fn flash_that_fails_is_given_time_too() {
    let mut bench = bench(|_| {});
    bench.faults = Some((Fault::Erase, 4));
    bench.announce(&envelope(2, &image(2, 700))).unwrap();
    assert_eq!((bench.state(), bench.update.reason()), (State::Failed, Some(Refusal::Storage)));
    assert!(bench.wait() >= 29 * SECOND);
    bench.feed(&image(2, 700), 700, 100);
    assert_eq!(bench.state(), State::Ready);
}

#[test]
fn a_reboot_forgets_no_failure() {
    let mut bench = bench(|_| {});
    let announced = envelope(2, &image(2, 700));
    bench.announce(&announced).unwrap();
    for _ in 0..3 {
        feed_wrong(&mut bench);
        bench.wait();
    }
    feed_wrong(&mut bench);
    bench.reboot();
    assert_eq!((bench.state(), bench.update.attempts()), (State::Failed, 4));
    assert_eq!(bench.update.next_timeout(), None, "without the manifest there is nothing to try");
    bench.announce(&announced).unwrap();
    assert_eq!((bench.state(), bench.fetches.len()), (State::Deferred, 4));
    assert!((239 * SECOND..=480 * SECOND).contains(&bench.wait()));
    assert_eq!((bench.state(), bench.fetches.len()), (State::Fetching, 5));
    bench.feed(&image(2, 700), 700, 100);
    bench.reboot();
    bench.confirm();
    assert_eq!((bench.state(), bench.update.attempts()), (State::Confirmed, 0));
}

/// It crashes as soon as it asks for the image, and boots, and hears of the same manifest.
#[test]
fn a_device_that_crashes_without_end_asks_less_and_less_often() {
    let mut bench = bench(|_| {});
    let announced = envelope(2, &image(2, 700));
    let mut asked = vec![];
    for boot in 0..20 {
        bench.announce(&announced).unwrap();
        if boot < 2 {
            assert_eq!(bench.state(), State::Fetching, "the first tries are made at once");
        } else {
            asked.push(bench.wait());
        }
        assert_eq!((bench.state(), bench.fetches.len()), (State::Fetching, boot + 1));
        bench.reboot();
        assert_eq!(bench.update.attempts(), boot as u8 + 1);
    }
    assert!(asked.windows(2).all(|pair| pair[0] < pair[1] || pair[1] > DAY / 3), "{asked:?}");
    assert!(asked[11..].iter().all(|pause| (DAY / 2 - SECOND..=DAY).contains(pause)));
}

#[test]
fn what_arrives_takes_back_that_nothing_did() {
    let mut bench = bench(|_| {});
    let (announced, image) = (envelope(2, &image(2, 700)), image(2, 700));
    for _ in 0..3 {
        bench.announce(&announced).unwrap();
        if bench.state() == State::Deferred {
            bench.wait();
        }
        bench.reboot();
    }
    assert_eq!(bench.update.attempts(), 3);
    bench.announce(&announced).unwrap();
    bench.wait();
    bench.feed(&image, 300, 100);
    assert_eq!(bench.update.attempts(), 0);
    bench.reboot();
    bench.announce(&announced).unwrap();
    assert_eq!((bench.state(), bench.fetches.last()), (State::Fetching, Some(&256)), "it resumes at once");
}

#[test]
fn a_source_out_of_reach_is_asked_again_later() {
    let mut bench = bench(|_| {});
    let announced = envelope(2, &image(2, 700));
    let now = bench.time();
    assert!(bench.update.unreachable(now).is_err(), "nothing is being fetched");
    bench.announce(&announced).unwrap();
    let mut full = 60 * SECOND;
    for n in 1..=4 {
        let now = bench.time();
        bench.update.unreachable(now).unwrap();
        bench.drain();
        assert_eq!((bench.state(), bench.update.reason()), (State::Deferred, Some(Refusal::Unreachable)));
        let report = bench.reports.last().unwrap();
        assert_eq!((report.state, report.reason, report.attempts), (State::Deferred, Some(Refusal::Unreachable), n));
        // The same manifest changes nothing.
        bench.announce(&announced).unwrap();
        assert_eq!((bench.state(), bench.fetches.len()), (State::Deferred, usize::from(n)));
        let pause = bench.wait();
        assert!((full / 2 - SECOND..=full).contains(&pause), "{pause} µs after try {n}");
        assert_eq!((bench.state(), bench.update.reason()), (State::Fetching, None));
        full *= 2;
    }
    bench.feed(&image(2, 700), 700, 100);
    assert_eq!((bench.state(), bench.update.attempts()), (State::Ready, 0));
}

#[test]
fn the_owner_need_not_wait() {
    let mut bench = bench(|_| {});
    bench.announce(&envelope(2, &image(2, 700))).unwrap();
    let now = bench.time();
    bench.update.unreachable(now).unwrap();
    bench.update.resume(now).unwrap();
    bench.drain();
    assert_eq!(bench.state(), State::Fetching);
    feed_wrong(&mut bench);
    let now = bench.time();
    bench.update.cancel(now).unwrap();
    bench.drain();
    assert_eq!((bench.state(), bench.update.next_timeout(), bench.update.attempts()), (State::Idle, None, 0));
}

#[test]
fn a_newer_release_begins_at_once_and_from_nothing() {
    let mut bench = bench(|_| {});
    bench.announce(&envelope(2, &image(2, 700))).unwrap();
    feed_wrong(&mut bench);
    bench.announce(&envelope(3, &image(3, 600))).unwrap();
    assert_eq!((bench.state(), bench.update.attempts()), (State::Fetching, 0));
    assert_eq!(bench.update.next_timeout(), None, "what failed is not tried again");
}

#[test]
fn devices_of_a_fleet_do_not_come_back_as_one() {
    let pauses: Vec<u64> = (0..20)
        .map(|n| {
            let mut bench = bench(|config| config.device = [n; 16]);
            bench.announce(&envelope(2, &image(2, 700))).unwrap();
            feed_wrong(&mut bench);
            bench.wait() / SECOND
        })
        .collect();
    let mut different = pauses.clone();
    different.sort_unstable();
    different.dedup();
    assert!(different.len() > 10, "{pauses:?}");
}

#[test]
fn without_a_pause_the_host_alone_decides() {
    let mut bench = bench(|config| config.backoff = Duration::ZERO);
    let announced = envelope(2, &image(2, 700));
    bench.announce(&announced).unwrap();
    feed_wrong(&mut bench);
    assert_eq!(bench.update.next_timeout(), None);
    bench.announce(&announced).unwrap();
    assert_eq!((bench.state(), bench.update.attempts()), (State::Fetching, 1));
    assert_eq!(bench.update.next_timeout(), None::<Instant>);
}
