//! What fetching a file by CoAP takes, and sending it, by policy: `cargo run -p waft-sim --release --example fetch` prints the figures as a line
//! of JSON, `-- table` a table of policies.

use waft::{Duration, coap::Policy};
use waft_sim::{
    Link,
    fetch::Run,
    upload::{Takes, Upload},
};

/// 128 KiB, a round trip of 50 ms, `loss` percent lost each way.
fn lossy(loss: u32, policy: Policy, window: u8) -> Run {
    let link = Link { delay: Duration::from_millis(25), loss: f64::from(loss) / 100.0, ..Link::default() };
    Run { link, len: 128 * 1024, policy, window }
}

/// The same file sent, to a server that takes its blocks in any order or not.
fn upload(loss: u32, policy: Policy, window: u8, takes: Takes) -> Upload {
    let Run { link, len, .. } = lossy(loss, policy, window);
    Upload { link, len, policy, window, random_access: window > 1, takes }
}

/// 64 KiB at 60 kbit/s, a round trip of 800 ms.
fn slow(loss: u32, policy: Policy, window: u8) -> Run {
    let loss = f64::from(loss) / 100.0;
    let link = Link { delay: Duration::from_millis(400), rate: 60_000, loss, ..Link::default() };
    Run { link, len: 64 * 1024, policy, window }
}

/// The time in which a link that is never idle carries it: a round trip, and 1,072 bytes for each block, those that get
/// lost included.
fn bound(loss: u32) -> f64 {
    0.8 + 64.0 * 1072.0 * 8.0 / 60_000.0 * (1.0 + f64::from(loss) / 100.0 / (1.0 - f64::from(loss) / 100.0))
}

const WINDOW: u8 = 16;

fn figures(seeds: u64) {
    let (mut parts, mut exact) = (Vec::new(), 0);
    for loss in [0, 1, 5, 10] {
        let (seconds, whole) = lossy(loss, Policy::Windowed, WINDOW).median(seeds);
        exact += whole;
        parts.push(format!(r#""coap.fetch_128k_rtt50_loss{loss}.s":{seconds:.3}"#));
    }
    parts.push(format!(r#""coap.fetch_128k_rtt50.exact":{exact}"#));
    exact = 0;
    for loss in [0, 1, 5, 10] {
        let (seconds, whole) = upload(loss, Policy::Windowed, WINDOW, Takes::Each).median(seeds);
        exact += whole;
        parts.push(format!(r#""coap.upload_128k_rtt50_loss{loss}.s":{seconds:.3}"#));
    }
    parts.push(format!(r#""coap.upload_128k_rtt50.exact":{exact}"#));
    for loss in [0, 1, 5] {
        let (seconds, _) = slow(loss, Policy::Windowed, WINDOW).median(seeds);
        parts.push(format!(r#""coap.fetch_64k_60kbit_loss{loss}.ratio_to_bound":{:.3}"#, bound(loss) / seconds));
    }
    println!("{{{}}}", parts.join(","));
}

fn table(seeds: u64) {
    println!(
        "| median seconds of {seeds} (byte-exact) | RFC 7252 | CoCoA | window of {WINDOW} |\n| --- | ---: | ---: | ---: |"
    );
    let row = |what: String, median: &dyn Fn(Policy, u8) -> (f64, usize)| {
        let cells = [(Policy::Standard, 1), (Policy::Cocoa, 1), (Policy::Windowed, WINDOW)].map(|(policy, window)| {
            let (seconds, exact) = median(policy, window);
            format!("{seconds:.2} ({exact})")
        });
        println!("| {what} | {} |", cells.join(" | "));
    };
    for loss in [0, 1, 5, 10] {
        let what = format!("128 KiB, 50 ms, {loss} % loss each way");
        row(what, &|policy, window| lossy(loss, policy, window).median(seeds));
    }
    for (takes, how) in [(Takes::Each, ""), (Takes::Ordered, ", by a server that takes them in order")] {
        for loss in [0, 1, 5, 10] {
            let what = format!("128 KiB sent, 50 ms, {loss} %{how}");
            row(what, &|policy, window| upload(loss, policy, window, takes).median(seeds));
        }
    }
    for loss in [0, 1, 5] {
        let what = format!("64 KiB, 60 kbit/s, 800 ms, {loss} % (bound {:.2})", bound(loss));
        row(what, &|policy, window| slow(loss, policy, window).median(seeds));
    }
}

fn main() {
    if std::env::args().nth(1).as_deref() == Some("table") { table(20) } else { figures(100) }
}
