//! Who wants what: a trie of topic filters.
//!
//! One node for each level of a filter, so that finding the subscribers of a topic costs as much as the topic has
//! levels, whatever the number of subscriptions. Nodes stand in one vector and name each other by their places there:
//! nothing is recursive, however deep a filter is.

use super::SessionKey;
use crate::mqtt::QoS;
use alloc::{collections::BTreeMap, sync::Arc, vec, vec::Vec};

/// Place of the root, which is no node's child: as a child it says that there is none.
const ROOT: u32 = 0;

#[derive(Debug, Default)]
struct Node {
    parent: u32,
    /// What it is called in its parent.
    level: Arc<str>,
    children: BTreeMap<Arc<str>, u32>,
    /// The child for `+`.
    plus: u32,
    /// The child for `#`.
    hash: u32,
    subscribers: BTreeMap<SessionKey, QoS>,
}

impl Node {
    fn child(&self, level: &str) -> u32 {
        match level {
            "+" => self.plus,
            "#" => self.hash,
            _ => self.children.get(level).copied().unwrap_or(ROOT),
        }
    }

    fn is_useless(&self) -> bool {
        self.subscribers.is_empty() && self.children.is_empty() && self.plus == ROOT && self.hash == ROOT
    }
}

/// All subscriptions of all sessions.
#[derive(Debug)]
pub(super) struct Subscriptions {
    nodes: Vec<Node>,
    free: Vec<u32>,
    count: usize,
}

impl Subscriptions {
    pub(super) fn new() -> Self {
        Self { nodes: vec![Node::default()], free: Vec::new(), count: 0 }
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

    /// Subscribes `session` to `filter`, or gives its subscription another QoS (`[MQTT-3.8.4-3]`).
    pub(super) fn insert(&mut self, filter: &str, session: SessionKey, qos: QoS) {
        let mut at = ROOT;
        for level in filter.split('/') {
            let child = match self.node(at).map_or(ROOT, |node| node.child(level)) {
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
        let level: Arc<str> = level.into();
        let node = Node { parent, level: level.clone(), ..Node::default() };
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
            match &*level {
                "+" => parent.plus = at,
                "#" => parent.hash = at,
                _ => {
                    parent.children.insert(level, at);
                }
            }
        }
        at
    }

    /// Ends the subscription of `session` to exactly this filter (`[MQTT-3.10.4-1]`).
    pub(super) fn remove(&mut self, filter: &str, session: SessionKey) {
        let mut at = ROOT;
        for level in filter.split('/') {
            at = self.node(at).map_or(ROOT, |node| node.child(level));
            if at == ROOT {
                return;
            }
        }
        if self.node_mut(at).is_some_and(|node| node.subscribers.remove(&session).is_some()) {
            self.count = self.count.saturating_sub(1);
        }
        // Whatever led only there goes as well.
        while at != ROOT && self.node(at).is_some_and(Node::is_useless) {
            let Some(node) = self.node_mut(at) else { return };
            let Node { parent, level, .. } = core::mem::take(node);
            self.free.push(at);
            if let Some(parent) = self.node_mut(parent) {
                match &*level {
                    "+" => parent.plus = ROOT,
                    "#" => parent.hash = ROOT,
                    _ => {
                        parent.children.remove(&level);
                    }
                }
            }
            at = parent;
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
            if let Some(child) = node.children.get(level) {
                open.push((*child, rest));
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
    use std::{collections::BTreeMap as Map, string::String};

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
            let mut trie = Subscriptions::new();
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
        let mut trie = Subscriptions::new();
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
    fn the_deepest_filter_there_is_is_no_recursion() {
        let filter = "/".repeat(65_535);
        let mut trie = Subscriptions::new();
        trie.insert(&filter, 1, QoS::AtMostOnce);
        assert_eq!(trie.matching(&filter), [(1, QoS::AtMostOnce)]);
        trie.remove(&filter, 1);
        assert_eq!(trie.len(), 0);
    }
}
