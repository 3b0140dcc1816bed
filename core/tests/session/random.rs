//! Long runs at random, against a model of what the application may rely on: how many messages it has published and how
//! many of these a power cut leaves.

use super::{Action, Broken, Scene, World, server::Kind};
use proptest::{collection::vec, prelude::*};
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest};

/// What has to be so.
#[derive(Debug, Clone)]
pub struct Model {
    scene: Scene,
    up: [bool; 2],
    published: u8,
    /// What of it is in flash.
    written: u8,
}

impl ReferenceStateMachine for Model {
    type State = Self;
    type Transition = Action;

    fn init_state() -> BoxedStrategy<Self> {
        let kind = prop_oneof![
            Just(Kind::Broker),
            Just(Kind::KeptBroker),
            (1..5_usize, any::<bool>()).prop_map(|(window, lowest_id)| Kind::Model { window, lowest_id })
        ];
        (vec(0..3_u8, 0..12), vec(0..3_u8, 0..12), any::<bool>(), kind)
            .prop_map(|(publish, receive, manual_ack, kind)| {
                let id_is_unique = !matches!(kind, Kind::Model { lowest_id: true, .. });
                let scene = Scene {
                    publish: Box::leak(publish.into_boxed_slice()),
                    receive: Box::leak(receive.into_boxed_slice()),
                    manual_ack,
                    kind,
                    faults: u8::MAX,
                    repeats: if id_is_unique { 20 } else { 0 },
                    forgets: 0,
                    broken: Broken::Nothing,
                };
                Self { scene, up: [false, kind.is_broker()], published: 0, written: 0 }
            })
            .boxed()
    }

    fn transitions(_: &Self) -> BoxedStrategy<Action> {
        let device = || 0..2_usize;
        prop_oneof![
            3 => device().prop_map(Action::Connect),
            4 => Just(Action::Publish(0)),
            6 => device().prop_map(Action::Write),
            6 => device().prop_map(Action::Send),
            12 => device().prop_map(Action::ToServer),
            12 => device().prop_map(Action::ToClient),
            4 => device().prop_map(Action::Acknowledge),
            1 => device().prop_map(Action::LoseConnection),
            1 => device().prop_map(Action::LosePower),
            1 => Just(Action::Repeat),
            8 => Just(Action::ServerWrites),
            1 => Just(Action::ServerLosesPower),
        ]
        .boxed()
    }

    fn apply(mut state: Self, action: &Action) -> Self {
        match *action {
            Action::Connect(n) if n < state.scene.devices() => state.up[n] = true,
            Action::Publish(_) if state.up[0] && usize::from(state.published) < state.scene.publish.len() => {
                state.published += 1;
            }
            Action::Write(0) => state.written = state.published,
            Action::LoseConnection(n) => state.up[n] = false,
            Action::LosePower(n) => {
                state.up[n] = false;
                if n == 0 {
                    state.published = state.written;
                }
            }
            Action::ServerLosesPower if state.scene.kind == Kind::KeptBroker => state.up = [false, false],
            _ => {}
        }
        state
    }
}

/// The clients and the server.
#[derive(Debug)]
pub struct Run;

impl StateMachineTest for Run {
    type SystemUnderTest = World;
    type Reference = Model;

    fn init_test(model: &Model) -> World {
        World::new(model.scene)
    }

    fn apply(mut world: World, _: &Model, action: Action) -> World {
        world.act(action);
        world
    }

    fn check_invariants(world: &World, model: &Model) {
        world.check();
        assert_eq!(world.devices[0].published, model.published);
        for (device, up) in world.devices.iter().zip(model.up) {
            assert_eq!((device.up, device.client.is_connected()), (up, up));
        }
    }

    fn teardown(mut world: World, _: Model) {
        world.settle();
    }
}
