//! Who wants what: a trie of topic filters.
//!
//! One node for each level of a filter, so that finding the subscribers of a topic costs as much as the topic has
//! levels, whatever the number of subscriptions. Nodes stand in one vector and name each other by their places there:
//! nothing is recursive, however deep a filter is. A node's children are found by hashing, all in one table; the hash
//! is keyed, so that nobody can choose filters that collide.

use super::SessionKey;
use crate::mqtt::QoS;
use alloc::{collections::BTreeMap, sync::Arc, vec, vec::Vec};
use core::hash::Hasher;

/// Place of the root, which is no node's child: as a child it says that there is none.
const ROOT: u32 = 0;

/// Slots of the table of children at the least; always a power of two.
const SLOTS: usize = 16;

#[derive(Debug, Default)]
struct Node {
    parent: u32,
    /// What it is called in its parent.
    level: Arc<str>,
    /// Of `parent` and `level`.
    key: u64,
    /// How many children it has in the table.
    children: u32,
    /// The child for `+`.
    plus: u32,
    /// The child for `#`.
    hash: u32,
    subscribers: BTreeMap<SessionKey, QoS>,
}

impl Node {
    fn is_useless(&self) -> bool {
        self.subscribers.is_empty() && self.children == 0 && self.plus == ROOT && self.hash == ROOT
    }
}

/// All subscriptions of all sessions.
#[derive(Debug)]
pub(super) struct Subscriptions {
    nodes: Vec<Node>,
    free: Vec<u32>,
    /// Places of nodes that are children by name, each at its `key` or in the next slots that were free. At least half
    /// of the slots are empty, which [`ROOT`] says.
    table: Vec<u32>,
    filled: usize,
    seed: (u64, u64),
    count: usize,
}

impl Subscriptions {
    pub(super) fn new(seed: (u64, u64)) -> Self {
        Self { nodes: vec![Node::default()], free: Vec::new(), table: vec![ROOT; SLOTS], filled: 0, seed, count: 0 }
    }

    pub(super) const fn len(&self) -> usize {
        self.count
    }

    fn node(&self, at: u32) -> Option<&Node> {
        self.nodes.get(usize::try_from(at).ok()?)
    }

    fn node_mut(&mut self, at: u32) -> Option<&mut Node> {
        self.nodes.get_mut(usize::try_from(at).ok()?)
    }

    // ---- the table of children

    fn key(&self, parent: u32, level: &str) -> u64 {
        #[expect(deprecated, reason = "std has a newer name for it, core has not")]
        let mut hasher = core::hash::SipHasher::new_with_keys(self.seed.0, self.seed.1);
        hasher.write_u32(parent);
        hasher.write(level.as_bytes());
        hasher.finish()
    }

    const fn mask(&self) -> usize {
        self.table.len().saturating_sub(1)
    }

    #[expect(clippy::cast_possible_truncation, reason = "the mask leaves what fits")]
    const fn slot(&self, key: u64) -> usize {
        key as usize & self.mask()
    }

    const fn next(&self, slot: usize) -> usize {
        slot.wrapping_add(1) & self.mask()
    }

    /// The slot of the child `level` of `parent`, or the empty one where it would go.
    fn find(&self, parent: u32, level: &str, key: u64) -> usize {
        let mut slot = self.slot(key);
        while let Some(node) = self.table.get(slot).filter(|at| **at != ROOT).and_then(|at| self.node(*at)) {
            if node.key == key && node.parent == parent && *node.level == *level {
                break;
            }
            slot = self.next(slot);
        }
        slot
    }

    fn named(&self, parent: u32, level: &str) -> u32 {
        if self.node(parent).is_none_or(|node| node.children == 0) {
            return ROOT;
        }
        self.table.get(self.find(parent, level, self.key(parent, level))).copied().unwrap_or(ROOT)
    }

    /// Moves all children to a table of `len` slots.
    fn resize(&mut self, len: usize) {
        let old = core::mem::replace(&mut self.table, vec![ROOT; len]);
        for at in old.into_iter().filter(|at| *at != ROOT) {
            let Some(key) = self.node(at).map(|node| node.key) else { continue };
            let mut slot = self.slot(key);
            while self.table.get(slot).is_some_and(|taken| *taken != ROOT) {
                slot = self.next(slot);
            }
            if let Some(empty) = self.table.get_mut(slot) {
                *empty = at;
            }
        }
    }

    /// Adds a node to the table.
    fn enter(&mut self, at: u32) {
        self.filled = self.filled.saturating_add(1);
        if self.filled.saturating_mul(2) > self.table.len() {
            self.resize(self.table.len().saturating_mul(2));
        }
        let Some(Node { parent, level, key, .. }) = self.node(at) else { return };
        let slot = self.find(*parent, level, *key);
        if let Some(empty) = self.table.get_mut(slot) {
            *empty = at;
        }
    }

    /// Takes a node out of the table. Those behind it move up, so that each is found from its own slot on.
    fn strike(&mut self, parent: u32, level: &str, key: u64) {
        let mut hole = self.find(parent, level, key);
        let mut slot = hole;
        loop {
            slot = self.next(slot);
            let Some(at) = self.table.get(slot).copied().filter(|at| *at != ROOT) else { break };
            let Some(home) = self.node(at).map(|node| self.slot(node.key)) else { break };
            // How far it is from home, and how far the hole is from here, going round.
            if slot.wrapping_sub(home) & self.mask() >= slot.wrapping_sub(hole) & self.mask() {
                if let Some(empty) = self.table.get_mut(hole) {
                    *empty = at;
                }
                hole = slot;
            }
        }
        if let Some(empty) = self.table.get_mut(hole) {
            *empty = ROOT;
        }
        self.filled = self.filled.saturating_sub(1);
        if self.table.len() > SLOTS && self.filled.saturating_mul(8) < self.table.len() {
            self.resize(self.table.len().wrapping_shr(1));
        }
    }

    // ---- subscriptions

    fn child(&self, at: u32, level: &str) -> u32 {
        match level {
            "+" => self.node(at).map_or(ROOT, |node| node.plus),
            "#" => self.node(at).map_or(ROOT, |node| node.hash),
            _ => self.named(at, level),
        }
    }

    /// Subscribes `session` to `filter`, or gives its subscription another QoS (`[MQTT-3.8.4-3]`).
    pub(super) fn insert(&mut self, filter: &str, session: SessionKey, qos: QoS) {
        let mut at = ROOT;
        for level in filter.split('/') {
            let child = match self.child(at, level) {
                ROOT => self.grow(at, level),
                child => child,
            };
            if child == ROOT {
                return;
            }
            at = child;
        }
        if let Some(node) = self.node_mut(at)
            && node.subscribers.insert(session, qos).is_none()
        {
            self.count = self.count.saturating_add(1);
        }
    }

    /// A new child of `parent`.
    fn grow(&mut self, parent: u32, level: &str) -> u32 {
        let node = Node { parent, level: level.into(), key: self.key(parent, level), ..Node::default() };
        let at = match self.free.pop() {
            Some(at) => at,
            // Four billion nodes do not fit into memory.
            None => u32::try_from(self.nodes.len()).unwrap_or(ROOT),
        };
        match self.node_mut(at) {
            _ if at == ROOT => return ROOT,
            Some(place) => *place = node,
            None => self.nodes.push(node),
        }
        if let Some(parent) = self.node_mut(parent) {
            match level {
                "+" => parent.plus = at,
                "#" => parent.hash = at,
                _ => {
                    parent.children = parent.children.saturating_add(1);
                    self.enter(at);
                }
            }
        }
        at
    }

    /// Ends the subscription of `session` to exactly this filter (`[MQTT-3.10.4-1]`).
    pub(super) fn remove(&mut self, filter: &str, session: SessionKey) {
        let mut at = ROOT;
        for level in filter.split('/') {
            at = self.child(at, level);
            if at == ROOT {
                return;
            }
        }
        if self.node_mut(at).is_some_and(|node| node.subscribers.remove(&session).is_some()) {
            self.count = self.count.saturating_sub(1);
        }
        // Whatever led only there goes as well.
        while at != ROOT && self.node(at).is_some_and(Node::is_useless) {
            let Some((above, level, key)) = self.node(at).map(|node| (node.parent, node.level.clone(), node.key))
            else {
                return;
            };
            if !matches!(&*level, "+" | "#") {
                self.strike(above, &level, key);
            }
            if let Some(parent) = self.node_mut(above) {
                match &*level {
                    "+" => parent.plus = ROOT,
                    "#" => parent.hash = ROOT,
                    _ => parent.children = parent.children.saturating_sub(1),
                }
            }
            if let Some(node) = self.node_mut(at) {
                *node = Node::default();
            }
            self.free.push(at);
            at = above;
        }
    }

    /// The sessions subscribed to the topic `name`, each once, with the highest QoS of all its subscriptions that match
    /// (`[MQTT-3.3.5-1]`).
    pub(super) fn matching(&self, name: &str) -> Vec<(SessionKey, QoS)> {
        let mut found = Vec::new();
        // Where to look, and for which rest of the name; none is left below its last level.
        let mut open = vec![(ROOT, Some(name))];
        while let Some((at, rest)) = open.pop() {
            let Some(node) = self.node(at) else { continue };
            // [MQTT-4.7.2-1]: a wildcard in the first level does not match `$`.
            let wild = at != ROOT || !name.starts_with('$');
            if wild && node.hash != ROOT {
                found.extend(self.node(node.hash).into_iter().flat_map(|node| &node.subscribers));
            }
            let Some(rest) = rest else {
                found.extend(&node.subscribers);
                continue;
            };
            let (level, rest) = rest.split_once('/').map_or((rest, None), |(level, rest)| (level, Some(rest)));
            let child = self.named(at, level);
            if child != ROOT {
                open.push((child, rest));
            }
            if wild && node.plus != ROOT {
                open.push((node.plus, rest));
            }
        }
        let mut found: Vec<_> = found.into_iter().map(|(session, qos)| (*session, *qos)).collect();
        // The highest QoS of a session comes first, and the others go.
        found.sort_unstable_by_key(|(session, qos)| (*session, core::cmp::Reverse(*qos)));
        found.dedup_by_key(|(session, _)| *session);
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mqtt::topic;
    use proptest::prelude::*;
    use std::{collections::BTreeMap as Map, format, string::String};

    fn level() -> impl Strategy<Value = &'static str> {
        prop_oneof![Just("a"), Just("b"), Just(""), Just("$x"), Just("+")]
    }

    fn filter() -> impl Strategy<Value = String> {
        (prop::collection::vec(level(), 1..5), any::<bool>()).prop_map(|(mut levels, hash)| {
            if hash {
                levels.push("#");
            }
            levels.join("/")
        })
    }

    proptest! {
        #[test]
        fn finds_what_comparing_with_every_filter_finds(
            changes in prop::collection::vec((filter(), 0_u64..4, 0_u8..3, any::<bool>()), 0..60),
            name in prop::collection::vec(level(), 1..5),
        ) {
            let name = name.join("/").replace('+', "c");
            let mut trie = Subscriptions::new((1, 2));
            let mut list = Map::new();
            for (filter, session, qos, insert) in changes {
                if !topic::valid_filter(&filter) {
                    continue;
                }
                let qos = QoS::from_u8(qos).unwrap();
                if insert {
                    trie.insert(&filter, session, qos);
                    list.insert((filter, session), qos);
                } else {
                    trie.remove(&filter, session);
                    list.remove(&(filter, session));
                }
            }
            let mut expected = Map::new();
            for ((filter, session), qos) in &list {
                if topic::matches(filter, &name) {
                    let best = expected.entry(*session).or_insert(*qos);
                    *best = (*best).max(*qos);
                }
            }
            prop_assert_eq!(trie.matching(&name), expected.into_iter().collect::<Vec<_>>());
            prop_assert_eq!(trie.len(), list.len());
        }
    }

    #[test]
    fn what_is_unsubscribed_leaves_nothing_behind() {
        let mut trie = Subscriptions::new((1, 2));
        for session in 0..10 {
            for filter in ["a/b/c", "a/+/c", "a/#", "#", "+", "//"] {
                trie.insert(filter, session, QoS::AtLeastOnce);
            }
        }
        let nodes = trie.nodes.len();
        for session in 0..10 {
            for filter in ["a/b/c", "a/+/c", "a/#", "#", "+", "//", "not/there"] {
                trie.remove(filter, session);
            }
        }
        assert_eq!((trie.len(), trie.free.len()), (0, nodes - 1));
        trie.insert("x/y", 1, QoS::AtMostOnce);
        assert_eq!(trie.nodes.len(), nodes);
    }

    #[test]
    fn children_are_found_while_the_table_grows_and_shrinks() {
        let mut trie = Subscriptions::new((3, 4));
        for n in 0..2_000_u64 {
            trie.insert(&format!("a/{n}"), n, QoS::AtMostOnce);
        }
        assert!(trie.filled * 2 <= trie.table.len() && trie.filled * 8 > trie.table.len());
        for n in (0..2_000).filter(|n| n % 3 != 0) {
            trie.remove(&format!("a/{n}"), n);
            let name = format!("a/{}", n / 3 * 3);
            assert_eq!(trie.matching(&name), [(n / 3 * 3, QoS::AtMostOnce)]);
            assert_eq!(trie.matching(&format!("a/{n}")), []);
        }
        for n in (0..2_000).step_by(3) {
            trie.remove(&format!("a/{n}"), n);
        }
        assert_eq!((trie.filled, trie.table.len(), trie.len()), (0, SLOTS, 0));
    }

    #[test]
    fn the_deepest_filter_there_is_is_no_recursion() {
        let filter = "/".repeat(65_535);
        let mut trie = Subscriptions::new((1, 2));
        trie.insert(&filter, 1, QoS::AtMostOnce);
        assert_eq!(trie.matching(&filter), [(1, QoS::AtMostOnce)]);
        trie.remove(&filter, 1);
        assert_eq!(trie.len(), 0);
    }
}
