//! The network does what its links say, and a machine that breaks the contract is caught.

use std::fmt;
use waft::{Duration, Handled, Input, Instant, Machine, Output, Peer};
use waft_sim::{App, Breach, Context, Link, Network, NodeId};

/// Sends what it is told to, tells what it gets; and can be told to misbehave.
#[derive(Default)]
struct Toy {
    queue: Vec<(Peer, Vec<u8>)>,
    timeout: Option<Instant>,
    fault: Option<Fault>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Fault {
    DeadlineInThePast,
    ConsumesTooMuch,
    LosesOutputWhenTheBufferIsSmall,
    NeverDrains,
    TwoOpinionsOnTheDeadline,
}

#[derive(Debug, Clone, Copy)]
struct Never;
impl fmt::Display for Never {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("never")
    }
}
impl std::error::Error for Never {}

impl Machine for Toy {
    type Event<'a> = &'a [u8];
    type Error = Never;

    fn handle_input<'i>(&mut self, _: Instant, input: Input<'i>) -> Result<Handled<&'i [u8]>, Never> {
        let extra = usize::from(self.fault == Some(Fault::ConsumesTooMuch));
        Ok(Handled::event(input.bytes.len() + extra, input.bytes))
    }

    fn handle_timeout(&mut self, now: Instant) {
        if self.timeout.is_some_and(|at| at <= now) {
            self.timeout = None;
        }
    }

    fn poll_output<'o>(&mut self, now: Instant, out: &'o mut [u8]) -> Output<'o, &'o [u8]> {
        match self.fault {
            Some(Fault::DeadlineInThePast) => self.timeout = Some(now),
            Some(Fault::NeverDrains) => self.queue.push((Peer(1), vec![1])),
            Some(Fault::TwoOpinionsOnTheDeadline) => return Output::Timeout(Some(now.after(Duration::from_secs(1)))),
            _ => {}
        }
        let Some((peer, bytes)) = self.queue.first().cloned() else { return Output::Timeout(self.timeout) };
        let Some(place) = out.get_mut(..bytes.len()) else {
            if self.fault == Some(Fault::LosesOutputWhenTheBufferIsSmall) {
                self.queue.clear();
            }
            return Output::BufferTooSmall { needed: bytes.len() };
        };
        self.queue.remove(0);
        place.copy_from_slice(&bytes);
        Output::Transmit { peer, bytes: place }
    }

    fn next_timeout(&self) -> Option<Instant> {
        self.timeout
    }
}

/// Keeps what arrived, and when.
#[derive(Default)]
struct Log {
    got: Vec<(Instant, Vec<u8>)>,
    opened: Vec<Peer>,
    closed: Vec<Peer>,
}

impl App<Toy> for Log {
    fn event(&mut self, cx: &mut Context<'_>, _: &mut Toy, event: &[u8]) {
        self.got.push((cx.now, event.to_vec()));
    }
    fn opened(&mut self, _: &mut Context<'_>, _: &mut Toy, peer: Peer) {
        self.opened.push(peer);
    }
    fn closed(&mut self, _: &mut Context<'_>, _: &mut Toy, peer: Peer) {
        self.closed.push(peer);
    }
}

fn pair(seed: u64, link: Link) -> (Network, NodeId, NodeId) {
    let mut net = Network::new(seed, link);
    let a = net.add(Toy::default(), Log::default());
    let b = net.add(Toy::default(), Log::default());
    (net, a, b)
}

fn got(net: &mut Network, node: NodeId) -> Vec<(Instant, Vec<u8>)> {
    net.with(node, |_, _: &mut Toy, log: &mut Log| log.got.clone()).unwrap()
}

/// Sends datagrams 0, 1, … of `len` bytes from the first node to the second, all at once.
fn burst(seed: u64, link: Link, count: u32, len: usize) -> Vec<(Instant, Vec<u8>)> {
    let (mut net, a, b) = pair(seed, link);
    net.with(a, |_, toy: &mut Toy, _: &mut Log| {
        for n in 0..count {
            let mut bytes = n.to_be_bytes().to_vec();
            bytes.resize(len, 0);
            toy.queue.push((b.peer(), bytes));
        }
    })
    .unwrap();
    net.run_for(Duration::from_secs(600)).unwrap();
    got(&mut net, b)
}

fn in_order(got: &[(Instant, Vec<u8>)]) -> bool {
    got.is_sorted_by(|a, b| a.1 < b.1)
}

#[test]
fn a_perfect_link_delivers_all_in_order_at_once() {
    let got = burst(1, Link::default(), 100, 4);
    assert_eq!(got.len(), 100);
    assert!(in_order(&got) && got.iter().all(|(at, _)| *at == Instant::ZERO));
}

#[test]
fn loss_duplication_and_reordering_happen_as_often_as_asked() {
    let lost = 2000 - burst(2, Link { loss: 0.2, ..Link::default() }, 2000, 4).len();
    assert!((320..480).contains(&lost), "{lost}");
    let twice = burst(3, Link { duplicate: 0.1, ..Link::default() }, 2000, 4).len() - 2000;
    assert!((150..250).contains(&twice), "{twice}");
    assert!(!in_order(&burst(4, Link { reorder: 0.1, ..Link::default() }, 100, 4)));
    assert!(burst(5, Link { corrupt: 1.0, ..Link::default() }, 1, 4)[0].1 != [0; 4]);
    assert!(burst(6, Link { mtu: 99, ..Link::default() }, 1, 100).is_empty());
}

#[test]
fn a_slow_link_takes_its_time() {
    // 100 datagrams of 97 bytes and 28 of headers are 100,000 bits.
    let link = Link { rate: 10_000, delay: Duration::from_millis(5), ..Link::default() };
    let got = burst(7, link, 100, 97);
    assert_eq!(got[99].0, Instant::from_millis(10_005));
}

#[test]
fn one_seed_is_one_run() {
    let run = |seed| burst(seed, Link::hostile(0.2), 200, 8);
    assert_eq!(run(8), run(8));
    assert_ne!(run(8), run(9));
}

#[test]
fn a_stream_is_in_order_and_whole_however_bad_the_link() {
    let (mut net, a, b) = pair(10, Link { rate: 1_000_000, ..Link::hostile(0.3) });
    let peer = net.with(a, |cx, _: &mut Toy, _: &mut Log| cx.open(b)).unwrap();
    net.run_for(Duration::from_secs(1)).unwrap();
    let sent: Vec<u8> = (0..20_000_u32).flat_map(u32::to_be_bytes).collect();
    let copy = sent.clone();
    net.with(a, move |cx, toy: &mut Toy, _: &mut Log| {
        for part in copy.chunks(1000) {
            toy.queue.push((peer, part.to_vec()));
        }
        cx.close(peer);
    })
    .unwrap();
    net.run_for(Duration::from_secs(10_000)).unwrap();
    let received: Vec<u8> = got(&mut net, b).into_iter().flat_map(|(_, bytes)| bytes).collect();
    assert!(received == sent);
    net.with(b, |_, _: &mut Toy, log: &mut Log| {
        assert_eq!((&log.opened[..], &log.closed[..]), (&[peer][..], &[peer][..]));
    })
    .unwrap();
}

#[test]
fn a_cut_loses_what_is_under_way_and_tells_both_ends() {
    let (mut net, a, b) = pair(11, Link { delay: Duration::from_millis(50), ..Link::default() });
    let peer = net.with(a, |cx, _: &mut Toy, _: &mut Log| cx.open(b)).unwrap();
    net.run_for(Duration::from_secs(1)).unwrap();
    net.with(a, |_, toy: &mut Toy, _: &mut Log| toy.queue.push((peer, vec![7; 10]))).unwrap();
    net.cut(a, b);
    net.run_for(Duration::from_secs(1)).unwrap();
    assert!(got(&mut net, b).is_empty());
    for end in [a, b] {
        net.with(end, |_, _: &mut Toy, log: &mut Log| assert_eq!(log.closed, [peer])).unwrap();
    }
}

/// What a machine with this fault is accused of.
fn breach(fault: Fault) -> Breach {
    let mut net = Network::new(12, Link::default());
    let queue = vec![(Peer(1), vec![0; 100]); 100];
    net.add(Toy { queue, ..Toy::default() }, Log::default());
    net.add(Toy { fault: Some(fault), queue: vec![(Peer(0), vec![0; 100]); 100], ..Toy::default() }, Log::default());
    net.run_for(Duration::from_secs(10)).expect_err(&format!("{fault:?} goes unnoticed"))
}

#[test]
fn a_machine_that_breaks_the_contract_is_caught() {
    for (fault, how) in [
        (Fault::DeadlineInThePast, "not in the future"),
        (Fault::ConsumesTooMuch, "consumed 101 of a datagram of 100"),
        (Fault::LosesOutputWhenTheBufferIsSmall, "needs 100 bytes, got them, and gave no output"),
        (Fault::NeverDrains, "without a pause"),
        (Fault::TwoOpinionsOnTheDeadline, "but next_timeout() is None"),
    ] {
        let breach = breach(fault);
        assert!(breach.how.contains(how) && breach.node.peer() == Peer(1), "{breach}");
    }
}
