//! Files sent by CoAP, several blocks side by side.

use std::fmt::Write;
use waft::{Duration, coap::Policy};
use waft_sim::{
    Link,
    upload::{Takes, Upload},
};

fn run(loss: f64) -> Upload {
    let link = Link { delay: Duration::from_millis(25), loss, ..Link::default() };
    let policy = Policy::Windowed;
    Upload { link, len: 128 * 1024, policy, window: 16, random_access: true, takes: Takes::Each }
}

#[test]
fn the_figures_hold_over_a_few_seeds() {
    let mut table = String::new();
    for (loss, most) in [(0.0, 0.7), (0.01, 0.8), (0.05, 1.1), (0.1, 1.5)] {
        let (seconds, exact) = run(loss).median(9);
        writeln!(table, "128 KiB, {loss}: {seconds:.2} s").unwrap();
        assert!(seconds <= most && exact == 9, "{table}");
    }
}

#[test]
fn a_server_that_takes_them_in_order_gets_them_no_slower_than_if_it_had_been_known() {
    let run = Upload { len: 32 * 1024, takes: Takes::Ordered, ..run(0.05) };
    let known = Upload { random_access: false, ..run };
    let (found_out, told) = (run.median(9), known.median(9));
    assert!(found_out.0 <= told.0 && (found_out.1, told.1) == (9, 9), "{found_out:?} {told:?}");
}

#[test]
fn a_bad_network_costs_time_and_no_byte() {
    for seed in 1..8 {
        for takes in [Takes::Each, Takes::Ordered] {
            for link in [Link::hostile(0.05), Link::hostile(0.2), Link { rate: 30_000, ..Link::lossy(0.1) }] {
                let run = Upload { link, len: 20_001, takes, ..run(0.0) };
                assert!(run.seconds(seed).is_ok(), "{seed} {link:?}: {:?}", run.seconds(seed));
            }
        }
    }
}
