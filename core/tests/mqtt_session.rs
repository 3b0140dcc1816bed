//! Exactly once over disconnects, reboots and power cuts: every run of bounded length, and long ones at random.

mod session;

use proptest::prelude::*;
use proptest_state_machine::prop_state_machine;
use session::{Broken, Scene, World, explore::explore, random::Run, server::Kind};

const REUSE: Kind = Kind::Model { window: 2, lowest_id: true };
const WIDE: Kind = Kind::Model { window: 3, lowest_id: false };
const NONE: Scene = Scene::BLANK;

/// What is explored, how deep in `make test`, and how many faults more `make explore` allows, which goes to the end of
/// every run.
const SCENES: &[(&str, Scene, usize, u8)] = &[
    ("sender, QoS 2", Scene { publish: &[2], ..NONE }, 20, 4),
    ("sender, QoS 2 2", Scene { publish: &[2, 2], ..NONE }, 14, 2),
    ("sender, QoS 1 2 1", Scene { publish: &[1, 2, 1], ..NONE }, 11, 1),
    ("sender, QoS 2 2 2", Scene { publish: &[2, 2, 2], ..NONE }, 10, 2),
    ("receiver, QoS 2", Scene { receive: &[2], repeats: 1, ..NONE }, 20, 4),
    ("receiver, QoS 2 2", Scene { receive: &[2, 2], repeats: 1, ..NONE }, 12, 1),
    ("receiver, QoS 2 2 2", Scene { receive: &[2, 2, 2], kind: WIDE, ..NONE }, 10, 2),
    ("receiver, QoS 2 2 2, identifiers used again", Scene { receive: &[2, 2, 2], kind: REUSE, ..NONE }, 12, 1),
    ("receiver, QoS 2 2, manual", Scene { receive: &[2, 2], manual_ack: true, repeats: 1, ..NONE }, 12, 1),
    ("receiver, QoS 1 2 1, manual", Scene { receive: &[1, 2, 1], manual_ack: true, ..NONE }, 12, 1),
    ("both ways, QoS 2", Scene { publish: &[2], receive: &[2], ..NONE }, 12, 1),
    ("both ways, QoS 2, manual", Scene { publish: &[2], receive: &[2], manual_ack: true, ..NONE }, 11, 2),
    ("sender, the server forgets", Scene { publish: &[2, 1], forgets: 1, ..NONE }, 11, 1),
    ("receiver, the server forgets", Scene { receive: &[2, 1], forgets: 1, ..NONE }, 11, 1),
    ("through the broker, QoS 2", Scene { publish: &[2], kind: Kind::Broker, faults: 1, ..NONE }, 14, 2),
    ("through the broker, QoS 2 2", Scene { publish: &[2, 2], kind: Kind::Broker, faults: 1, ..NONE }, 8, 1),
    ("through the broker, QoS 2 1", Scene { publish: &[2, 1], kind: Kind::Broker, faults: 1, ..NONE }, 8, 0),
    ("through a broker that loses power, QoS 2", Scene { publish: &[2], kind: Kind::KeptBroker, ..NONE }, 8, 0),
    (
        "through a broker that loses power, QoS 2 1",
        Scene { publish: &[2, 1], kind: Kind::KeptBroker, faults: 1, ..NONE },
        8,
        0,
    ),
];

fn run(deep: bool) {
    let (mut states, mut steps) = (0, 0);
    println!("{:>9} {:>10} {:>6}", "states", "steps", "depth");
    for (name, scene, smoke, more) in SCENES {
        let depth = if deep { usize::MAX } else { *smoke };
        let scene = Scene { faults: scene.faults + if deep { *more } else { 0 }, ..*scene };
        let found = explore(scene, depth);
        let all = if found.complete { ", all there is" } else { "" };
        println!("{:>9} {:>10} {:>6}  {name}; {} faults{all}", found.states, found.steps, found.depth, scene.faults);
        states += found.states;
        steps += found.steps;
    }
    println!("{states:>9} {steps:>10}         in all: nothing twice, nothing lost, nothing out of order");
}

#[test]
fn every_short_run_delivers_exactly_once() {
    run(false);
}

#[test]
#[ignore = "make explore: minutes, in a release build"]
fn every_run_delivers_exactly_once() {
    run(true);
}

/// The power fails at each byte of every write of a session, and of every erasure; then again at each byte (`stride`: at
/// each so many) of what follows.
fn cut_everywhere(stride: usize) -> usize {
    let both = Scene { publish: &[2, 1, 2], receive: &[2, 1, 2], ..NONE };
    let scenes = [
        both,
        Scene { manual_ack: true, ..both },
        Scene { kind: REUSE, ..both },
        Scene { publish: &[2, 1, 2], kind: Kind::Broker, ..NONE },
    ];
    let mut runs = 0;
    for scene in scenes {
        for first in 0.. {
            let mut second = 0;
            let cut = loop {
                let mut world = World::with_flash(scene, (first, Some(second)));
                world.settle();
                runs += 1;
                if world.cuts < 2 {
                    break world.cuts;
                }
                second += stride;
            };
            if cut == 0 {
                break;
            }
        }
    }
    runs
}

#[test]
fn a_power_cut_at_every_byte_of_a_write_loses_and_repeats_nothing() {
    println!("{} runs", cut_everywhere(400));
}

#[test]
#[ignore = "make explore: minutes, in a release build"]
fn two_power_cuts_at_every_byte_lose_and_repeat_nothing() {
    println!("{} runs with the power cut at every byte, and again at every byte", cut_everywhere(1));
}

prop_state_machine! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    /// Long runs: twelve messages each way, any window, faults without end.
    #[test]
    fn long_runs_deliver_exactly_once(sequential 1..300 => Run);
}

/// The exploration can fail: it finds what goes wrong without the rules.
#[test]
fn without_the_rules_the_exploration_fails() {
    for (scene, broken) in [
        (Scene { publish: &[2, 2], ..Scene::BLANK }, Broken::SendsBeforeItWrites),
        (Scene { receive: &[2], ..Scene::BLANK }, Broken::SendsBeforeItWrites),
        (Scene { receive: &[2], ..Scene::BLANK }, Broken::ForgetsWhatItReceived),
    ] {
        let run = std::panic::catch_unwind(|| explore(Scene { broken, ..scene }, 14));
        assert!(run.is_err(), "{broken:?} was not noticed");
    }
}
