//! Files fetched by CoAP, several blocks side by side: how long it takes, and what is left to those who share the link.

use std::fmt::Write;
use waft::{
    Duration, Handled, Input, Instant, Machine, Output, Peer,
    coap::{Config, Endpoint, Policy},
};
use waft_sim::{
    App, Context, Link, Network, NodeId,
    fetch::{Client, Fetch, Run, Server, endpoint, file},
};

/// 20 kbit/s, 100 ms each way, and room for 20 blocks before the link.
const NARROW: Link = Link {
    delay: Duration::from_millis(100),
    jitter: Duration::ZERO,
    loss: 0.0,
    duplicate: 0.0,
    reorder: 0.0,
    corrupt: 0.0,
    rate: 20_000,
    queue: 20 * 1072,
    mtu: 1472,
};

/// One client fetches these from one server, over one link.
fn share(link: Link, seed: u64, fetches: Vec<Fetch>) -> (Network, NodeId, NodeId) {
    let mut net = Network::new(seed, link);
    let server = net.add(endpoint(Config::DEFAULT, seed), Server { file: file(256 * 1024), requests: 0 });
    let client = net.add(endpoint(Config::DEFAULT, !seed), Client { server, fetches });
    (net, server, client)
}

fn arrived(net: &mut Network, client: NodeId) -> Vec<usize> {
    net.with(client, |_, _: &mut Endpoint<'static>, c: &mut Client| c.fetches.iter().map(Fetch::arrived).collect())
        .unwrap()
}

fn whole() -> usize {
    256 * 1024
}

#[test]
fn the_figures_hold_over_a_few_seeds() {
    let lossy = |loss: f64| Link { delay: Duration::from_millis(25), loss, ..Link::default() };
    let mut table = String::new();
    for (loss, most) in [(0.0, 0.6), (0.01, 0.7), (0.05, 1.0), (0.1, 1.3)] {
        let run = Run { link: lossy(loss), len: 128 * 1024, policy: Policy::Windowed, window: 16 };
        let (seconds, exact) = run.median(9);
        writeln!(table, "128 KiB, {loss}: {seconds:.2} s").unwrap();
        assert!(seconds <= most && exact == 9, "{table}");
    }
    for (loss, most) in [(0.0, 9.95 / 0.9), (0.01, 10.04 / 0.88), (0.05, 10.43 / 0.8)] {
        let link = Link { delay: Duration::from_millis(400), rate: 60_000, loss, ..Link::default() };
        let (seconds, exact) = Run { link, len: 64 * 1024, policy: Policy::Windowed, window: 16 }.median(9);
        writeln!(table, "64 KiB, {loss}: {seconds:.2} s").unwrap();
        assert!(seconds <= most && exact == 9, "{table}");
    }
}

#[test]
fn each_policy_brings_the_file_and_each_is_faster_than_the_one_before() {
    let link = Link { delay: Duration::from_millis(25), loss: 0.05, ..Link::default() };
    let run = |policy, window| Run { link, len: 64 * 1024, policy, window }.median(9);
    let (standard, cocoa, window) = (run(Policy::Standard, 1), run(Policy::Cocoa, 1), run(Policy::Windowed, 16));
    assert!(standard.0 > 2.0 * cocoa.0 && cocoa.0 > 4.0 * window.0, "{standard:?} {cocoa:?} {window:?}");
    assert_eq!((standard.1, cocoa.1, window.1), (9, 9, 9));
}

#[test]
fn a_bad_network_costs_time_and_no_byte() {
    for seed in 1..8 {
        for link in [Link::hostile(0.05), Link::hostile(0.2), Link { rate: 30_000, ..Link::lossy(0.2) }] {
            let run = Run { link, len: 20_001, policy: Policy::Windowed, window: 16 };
            assert!(run.seconds(seed).is_ok(), "{seed} {link:?}: {:?}", run.seconds(seed));
        }
    }
}

#[test]
fn a_narrow_link_is_full_and_its_queue_short() {
    let (mut net, server, client) = share(NARROW, 1, vec![Fetch::new(64, Duration::ZERO, whole())]);
    net.run_for(Duration::from_secs(100)).unwrap();
    let bytes = arrived(&mut net, client)[0];
    // 2,332 bytes of blocks a second at most.
    assert!(bytes > 95 * 2_332, "{bytes} bytes in 100 s");
    let asked = net.with(server, |_, _: &mut Endpoint<'static>, s: &mut Server| s.requests).unwrap();
    let told = (bytes / 1024) as u64;
    assert!(asked <= told + 8, "{asked} answered, {told} arrived: the rest waits in the queue, three blocks and a few");
}

#[test]
fn two_fetches_share_a_narrow_link() {
    for seed in 1..6 {
        // The second begins when the first is well under way.
        let fetches = [0, 20].map(|at| Fetch::new(32, Duration::from_secs(at), whole()));
        let (mut net, server, client) = share(NARROW, seed, fetches.into());
        net.run_for(Duration::from_secs(30)).unwrap();
        let before = arrived(&mut net, client);
        net.run_for(Duration::from_secs(80)).unwrap();
        let after = arrived(&mut net, client);
        let got = [after[0] - before[0], after[1] - before[1]];
        let all = got[0] + got[1];
        assert!(all > 80 * 2_332 * 9 / 10, "the link is used: {got:?}");
        assert!(got.iter().all(|n| *n > all / 4), "each has a quarter at least: {got:?}");
        let asked = net.with(server, |_, _: &mut Endpoint<'static>, s: &mut Server| s.requests).unwrap();
        let told = ((after[0] + after[1]) / 1024) as u64;
        assert!(asked <= told + told / 20 + 16, "nothing is sent in vain: {asked} for {told}");
    }
}

#[test]
fn a_fetch_of_one_block_at_a_time_gets_on_beside_a_window() {
    // Alone, it has a block each 632 ms; behind four or five blocks of the other, one each 2.5 s.
    let (mut net, _, client) = share(
        NARROW,
        3,
        vec![Fetch::new(32, Duration::ZERO, whole()), Fetch::new(1, Duration::from_secs(20), whole())],
    );
    net.run_for(Duration::from_secs(30)).unwrap();
    let repeated = |net: &mut Network| {
        net.with(client, |_, e: &mut Endpoint<'static>, _: &mut Client| e.stats().retransmitted).unwrap()
    };
    let (before, sent) = (arrived(&mut net, client), repeated(&mut net));
    net.run_for(Duration::from_secs(60)).unwrap();
    let after = arrived(&mut net, client);
    let blocks = (after[1] - before[1]) / 1024;
    assert!(blocks >= 20, "{blocks} blocks in a minute");
    let repeated = repeated(&mut net) - sent;
    assert!(repeated <= 12, "{repeated} of both sent again, whose answers were waited for in the queue");
}

#[test]
fn thousands_fetch_side_by_side_from_a_server_that_keeps_nothing_of_them() {
    const CLIENTS: u64 = 2_000;
    let link = Link { delay: Duration::from_millis(25), loss: 0.02, ..Link::default() };
    let mut net = Network::new(1, link);
    let content = file(8 * 1024);
    // Eight places for what was received, and none for transfers.
    let memory = waft::coap::Resources::owned(16 * 1024, 0, 2, 8, 0);
    let open = Config { unproven: u32::MAX, ..Config::DEFAULT };
    let server = net.add(Endpoint::new(open, 7, memory), Server { file: content.clone(), requests: 0 });
    let clients: Vec<NodeId> = (0..CLIENTS)
        .map(|seed| {
            let memory = waft::coap::Resources::owned(256, 1, 10, 2, 0);
            let fetches = vec![Fetch::new(8, Duration::from_millis(seed % 1000), content.len())];
            net.add(Endpoint::new(Config::DEFAULT, seed, memory), Client { server, fetches })
        })
        .collect();
    net.run_for(Duration::from_secs(60)).unwrap();
    for client in clients {
        let done = net.with(client, |_, _: &mut Endpoint<'static>, c: &mut Client| c.fetches[0].is(&content)).unwrap();
        assert!(done);
    }
}

// ---- a flow of TCP's kind -----------------------------------------------------------------------------------------

/// Sends segments of 1,000 bytes to a peer as Reno does: slow start, congestion avoidance, fast retransmit at three
/// duplicates, a time-out of the mean and four deviations, at least a second (RFC 5681, RFC 6298).
#[derive(Debug, Default)]
struct Reno {
    to: Option<Peer>,
    now: Instant,
    next: u32,
    acknowledged: u32,
    window: f64,
    threshold: f64,
    duplicates: u32,
    recover: u32,
    mean: f64,
    deviation: f64,
    timeout: f64,
    timer: Option<Instant>,
    /// A segment whose round trip is measured, and when it went.
    timed: Option<(u32, Instant)>,
    resend: bool,
    /// As a receiver: what came, and whether an acknowledgement is due.
    got: std::collections::BTreeSet<u32>,
    due: Option<(Peer, u32)>,
}

impl Reno {
    fn sender(to: Peer) -> Self {
        Self { to: Some(to), window: 2.0, threshold: 64.0, timeout: 1.0, ..Self::default() }
    }

    fn arm(&mut self) {
        let span = Duration::from_micros((self.timeout * 1e6) as u64);
        self.timer = (self.acknowledged < self.next).then(|| self.now.after(span));
    }

    fn on_ack(&mut self, ack: u32) {
        if ack > self.acknowledged {
            if let Some((_, at)) = self.timed.take_if(|(n, _)| ack > *n) {
                let rtt = self.now.since(at).as_micros() as f64 / 1e6;
                if self.mean == 0.0 {
                    (self.mean, self.deviation) = (rtt, rtt / 2.0);
                } else {
                    self.deviation += ((self.mean - rtt).abs() - self.deviation) / 4.0;
                    self.mean += (rtt - self.mean) / 8.0;
                }
                self.timeout = (self.mean + 4.0 * self.deviation).max(1.0);
            }
            self.acknowledged = ack;
            self.next = self.next.max(ack);
            if self.duplicates >= 3 {
                if ack >= self.recover { self.window = self.threshold } else { self.resend = true }
            } else {
                self.window += if self.window < self.threshold { 1.0 } else { 1.0 / self.window };
            }
            if ack >= self.recover || self.duplicates < 3 {
                self.duplicates = 0;
            }
            self.arm();
        } else {
            self.duplicates += 1;
            if self.duplicates == 3 {
                self.threshold = (self.window / 2.0).max(2.0);
                self.window = self.threshold;
                self.recover = self.next;
                self.resend = true;
                self.timed = None;
            }
        }
    }
}

impl Machine for Reno {
    type Event<'e> = ();
    type Error = core::convert::Infallible;

    fn handle_input<'i>(&mut self, now: Instant, input: Input<'i>) -> Result<Handled<()>, Self::Error> {
        self.now = self.now.max(now);
        let n = u32::from_be_bytes(input.bytes[..4].try_into().unwrap());
        if self.to.is_some() {
            self.on_ack(n);
        } else {
            self.got.insert(n);
            let missing = (0..).find(|n| !self.got.contains(n)).unwrap();
            // Only what is ahead is kept.
            self.due = Some((input.peer, missing));
        }
        Ok(Handled::quiet(input.bytes.len()))
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.now = self.now.max(now);
        if self.timer.is_some_and(|at| at <= self.now) {
            self.threshold = (self.window / 2.0).max(2.0);
            (self.window, self.duplicates, self.timed) = (1.0, 0, None);
            self.next = self.acknowledged;
            self.timeout = (self.timeout * 2.0).min(60.0);
            self.timer = None;
        }
    }

    fn poll_output<'o>(&mut self, now: Instant, out: &'o mut [u8]) -> Output<'o, ()> {
        self.handle_timeout(now);
        let (peer, n, len) = match (self.to, self.due) {
            (None, Some((peer, n))) => (peer, n, 12),
            (Some(peer), _) if self.resend => (peer, self.acknowledged, 1000),
            (Some(peer), _) if f64::from(self.next - self.acknowledged) < self.window.floor() => {
                (peer, self.next, 1000)
            }
            _ => return Output::Timeout(self.timer),
        };
        let Some(bytes) = out.get_mut(..len) else { return Output::BufferTooSmall { needed: len } };
        bytes[..4].copy_from_slice(&n.to_be_bytes());
        if self.to.is_none() {
            self.due = None;
        } else if self.resend {
            self.resend = false;
            self.arm();
        } else {
            self.timed.get_or_insert((n, self.now));
            self.next += 1;
            if self.timer.is_none() {
                self.arm();
            }
        }
        Output::Transmit { peer, bytes }
    }

    fn next_timeout(&self) -> Option<Instant> {
        self.timer
    }
}

/// Has nothing to say.
struct Quiet;

impl App<Reno> for Quiet {
    fn start(&mut self, cx: &mut Context<'_>, _: &mut Reno) {
        cx.wake_in(Duration::ZERO);
    }
    fn event(&mut self, _: &mut Context<'_>, _: &mut Reno, (): ()) {}
}

#[test]
fn a_flow_like_tcps_is_not_starved_and_starves_nobody() {
    for begins in [0, 30] {
        let (mut net, server, client) = share(NARROW, 5, vec![Fetch::new(32, Duration::from_secs(begins), whole())]);
        let receiver = net.add(Reno::default(), Quiet);
        let sender = net.add(Reno::sender(receiver.peer()), Quiet);
        net.share((server, client), (sender, receiver));
        net.run_for(Duration::from_secs(60)).unwrap();
        let look = |net: &mut Network| {
            let tcp = net.with(receiver, |_, r: &mut Reno, _: &mut Quiet| r.got.len() * 1000).unwrap();
            (tcp, arrived(net, client)[0])
        };
        let before = look(&mut net);
        net.run_for(Duration::from_secs(180)).unwrap();
        let after = look(&mut net);
        let (tcp, ours) = (after.0 - before.0, after.1 - before.1);
        assert!(tcp + ours > 180 * 2_332 * 8 / 10, "the link is used: {tcp} and {ours}");
        assert!(tcp * 2 > tcp + ours, "TCP has half of it at least: {tcp} and {ours}");
        assert!(ours * 20 > tcp + ours, "and the fetch a twentieth: {tcp} and {ours}");
    }
}
