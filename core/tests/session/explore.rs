//! Every run of bounded length.

use super::{Action, Scene, World};
use std::{
    collections::HashSet,
    fmt::{self, Write as _},
    hash::{DefaultHasher, Hasher},
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
};

/// What an exploration came to.
#[derive(Debug, Clone, Copy)]
pub struct Explored {
    /// Different states.
    pub states: usize,
    /// Steps taken between them.
    pub steps: usize,
    /// How many steps lead to the state that is furthest away.
    pub depth: usize,
    /// There is nothing behind it: all runs with so many messages and faults, whatever their length.
    pub complete: bool,
}

struct Sum(DefaultHasher);

impl fmt::Write for Sum {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.write(text.as_bytes());
        Ok(())
    }
}

fn fingerprint(world: &World) -> u64 {
    let mut sum = Sum(DefaultHasher::new());
    write!(sum, "{world:?}").unwrap();
    sum.0.finish()
}

fn replay(scene: Scene, path: &[u8]) -> World {
    let mut world = World::new(scene);
    for n in path {
        world.act(Action::ALL[usize::from(*n)]);
    }
    world
}

/// Takes every step that is possible in every state that `depth` steps reach, breadth first. In each new state nothing
/// has arrived twice or out of order, and from there, without further faults, all of it arrives.
pub fn explore(scene: Scene, depth: usize) -> Explored {
    let mut seen = HashSet::from([fingerprint(&World::new(scene))]);
    let mut edge: Vec<Vec<u8>> = vec![Vec::new()];
    let mut explored = Explored { states: 1, steps: 0, depth: 0, complete: false };
    for length in 1..=depth {
        let mut further = Vec::new();
        for path in &edge {
            for n in 0..Action::ALL.len() {
                let mut path = path.clone();
                let run = catch_unwind(AssertUnwindSafe(|| {
                    let mut world = replay(scene, &path);
                    if !world.act(Action::ALL[n]) {
                        return None;
                    }
                    let found = fingerprint(&world);
                    if !seen.contains(&found) {
                        world.check();
                        world.settle();
                    }
                    Some(found)
                }));
                path.push(n as u8);
                match run {
                    Ok(None) => {}
                    Ok(Some(found)) => {
                        explored.steps += 1;
                        if seen.insert(found) {
                            further.push(path);
                        }
                    }
                    Err(panic) => {
                        let steps: Vec<Action> = path.iter().map(|n| Action::ALL[usize::from(*n)]).collect();
                        eprintln!("{scene:?}\nafter {steps:?}");
                        resume_unwind(panic);
                    }
                }
            }
        }
        edge = further;
        if edge.is_empty() {
            explored.complete = true;
            break;
        }
        explored.depth = length;
    }
    explored.states = seen.len();
    explored
}
