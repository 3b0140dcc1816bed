//! Messages kept for those who subscribe later (§3.3.1.3).
//!
//! They stand sorted by topic. A filter is walked through them by jumping: from each topic that does not match to the
//! first that may, so that a walk costs about as many steps as it finds messages. It can be left after any step and
//! taken up again, whatever has been retained or removed meanwhile.

use super::Message;
use crate::mqtt::topic;
use alloc::{collections::BTreeMap, string::String, sync::Arc};
use core::ops::Bound;

/// All retained messages, bounded.
#[derive(Debug)]
pub(super) struct Retained {
    messages: BTreeMap<Arc<str>, Arc<Message>>,
    bytes: usize,
    max: usize,
    max_bytes: usize,
}

/// How far a walk has come.
#[derive(Debug, Clone)]
pub(super) struct Walk {
    filter: Arc<str>,
    /// Later messages than the one of this number went to the subscriber when they came.
    until: u64,
    /// Where it goes on.
    from: Bound<String>,
    /// It began before a restart: what is kept over none may have been found already, and is passed over.
    pub(super) again: bool,
}

impl Walk {
    pub(super) fn new(filter: Arc<str>, until: u64) -> Self {
        Self { filter, until, from: Bound::Included(String::new()), again: false }
    }

    /// One that is taken up after a restart.
    pub(super) fn again(filter: Arc<str>, until: u64) -> Self {
        Self { again: true, ..Self::new(filter, until) }
    }

    pub(super) const fn until(&self) -> u64 {
        self.until
    }

    /// Whether it has looked at a topic, and which; or else at which it looks next.
    pub(super) fn position(&self) -> (bool, &str) {
        match &self.from {
            Bound::Included(from) => (false, from),
            Bound::Excluded(from) => (true, from),
            Bound::Unbounded => (false, ""),
        }
    }

    /// Goes on behind a topic, or with it.
    pub(super) fn go_on(&mut self, behind: bool, topic: &str) {
        self.from = if behind { Bound::Excluded(topic.into()) } else { Bound::Included(topic.into()) };
    }

    /// Whether it is still going to find `message`.
    pub(super) fn is_to_find(&self, message: &Message) -> bool {
        let ahead = match &self.from {
            Bound::Included(from) => *message.topic >= **from,
            Bound::Excluded(from) => *message.topic > **from,
            Bound::Unbounded => false,
        };
        ahead && message.serial <= self.until && topic::matches(&self.filter, &message.topic)
    }

    /// Finds `message` again.
    pub(super) fn back_to(&mut self, message: &Message) {
        self.from = Bound::Included((*message.topic).into());
    }

    pub(super) fn filter(&self) -> &Arc<str> {
        &self.filter
    }
}

/// What a step of a walk came to.
pub(super) enum Step<'a> {
    /// A message whose topic matches.
    Found(&'a Arc<Message>),
    /// A topic that does not match.
    Passed,
    /// There are no more.
    Over,
}

impl Retained {
    pub(super) const fn new(max: usize, max_bytes: usize) -> Self {
        Self { messages: BTreeMap::new(), bytes: 0, max, max_bytes }
    }

    pub(super) fn len(&self) -> usize {
        self.messages.len()
    }

    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Keeps `message` in place of what was kept for its topic; an empty one is not kept (`[MQTT-3.3.1-10]`,
    /// `[MQTT-3.3.1-11]`). Whether there was room; where there was none, nothing changes.
    pub(super) fn retain(&mut self, message: &Arc<Message>) -> bool {
        let old = self.messages.get(&message.topic).map(|old| old.size());
        let left = self.bytes.saturating_sub(old.unwrap_or(0));
        if message.payload.is_empty() {
            self.messages.remove(&message.topic);
            self.bytes = left;
            return true;
        }
        let bytes = left.saturating_add(message.size());
        if bytes > self.max_bytes || (old.is_none() && self.messages.len() >= self.max) {
            return false;
        }
        self.bytes = bytes;
        self.messages.insert(message.topic.clone(), message.clone());
        true
    }

    /// All of them.
    pub(super) fn all(&self) -> impl Iterator<Item = &Arc<Message>> {
        self.messages.values()
    }

    /// What is kept for `topic`.
    pub(super) fn get(&self, topic: &str) -> Option<&Arc<Message>> {
        self.messages.get(topic)
    }

    /// Forgets what is kept for `topic`.
    pub(super) fn remove(&mut self, topic: &str) {
        if let Some(old) = self.messages.remove(topic) {
            self.bytes = self.bytes.saturating_sub(old.size());
        }
    }

    /// One step of a walk.
    pub(super) fn step(&self, walk: &mut Walk) -> Step<'_> {
        let from = match &walk.from {
            Bound::Included(from) => Bound::Included(from.as_str()),
            Bound::Excluded(from) => Bound::Excluded(from.as_str()),
            Bound::Unbounded => return Step::Over,
        };
        let next = self.messages.range::<str, _>((from, Bound::Unbounded)).next();
        let Some((topic, message)) = next else {
            walk.from = Bound::Unbounded;
            return Step::Over;
        };
        match compare(&walk.filter, topic) {
            Verdict::Matches => {
                walk.from = Bound::Excluded((**topic).into());
                if message.serial > walk.until { Step::Passed } else { Step::Found(message) }
            }
            Verdict::Next => {
                walk.from = Bound::Excluded((**topic).into());
                Step::Passed
            }
            Verdict::From(from) => {
                walk.from = Bound::Included(from);
                Step::Passed
            }
            Verdict::Over => {
                walk.from = Bound::Unbounded;
                Step::Over
            }
        }
    }
}

/// What a topic says about where in the order those that match a filter stand.
enum Verdict {
    Matches,
    /// It does not; the next one may.
    Next,
    /// It does not, nor does any that is less than this.
    From(String),
    /// It does not, nor does any greater one.
    Over,
}

/// What follows `/` in the order of characters: all topics that start with `a/` are less than `a0`.
const AFTER_SEPARATOR: &str = "0";
/// Likewise for `$`.
const AFTER_DOLLAR: &str = "%";

fn compare(filter: &str, topic: &str) -> Verdict {
    if filter.starts_with(['+', '#']) && topic.starts_with('$') {
        return Verdict::From(AFTER_DOLLAR.into()); // [MQTT-4.7.2-1]
    }
    // All of the topic up to and with the level that the last `+` stood for: past the topics below that one the search
    // goes on where the same levels of the filter do not match.
    let mut last_plus = None;
    let past = |last_plus: Option<&str>| match last_plus {
        Some(level) => Verdict::From([level, AFTER_SEPARATOR].concat()),
        None => Verdict::Over,
    };
    let mut rest = Some(topic);
    let mut wanted = filter.split('/').peekable();
    while let Some(level) = wanted.next() {
        if level == "#" {
            return Verdict::Matches; // The parent too (§4.7.1.2).
        }
        // Topics below this one do not follow it at once: `a!` stands between `a` and `a/b`.
        let Some(here) = rest else { return Verdict::Next };
        let before = topic.get(..topic.len().saturating_sub(here.len())).unwrap_or_default();
        let (found, below) = here.split_once('/').map_or((here, None), |(found, below)| (found, Some(below)));
        let up_to = topic.get(..before.len().saturating_add(found.len())).unwrap_or_default();
        if level == "+" {
            last_plus = Some(up_to);
        } else if level != found {
            // All that match with the levels before start with `before`, and so do all between them and this topic.
            let alone = [before, level].concat();
            let parent = [before, level, "/"].concat();
            let follows = wanted.peek();
            return if topic < alone.as_str() && follows.is_none_or(|next| *next == "#") {
                Verdict::From(alone)
            } else if topic < parent.as_str() && follows.is_some() {
                Verdict::From(parent)
            } else {
                past(last_plus)
            };
        }
        rest = below;
    }
    if rest.is_none() { Verdict::Matches } else { past(last_plus) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mqtt::QoS;
    use proptest::prelude::*;
    use std::{format, vec::Vec};

    fn message(topic: &str, payload: &'static [u8]) -> Arc<Message> {
        Arc::new(Message { topic: topic.into(), payload: payload.into(), qos: QoS::AtMostOnce, serial: 0 })
    }

    fn walk(retained: &Retained, filter: &str) -> (Vec<String>, usize) {
        let (mut walk, mut found, mut steps) = (Walk::new(filter.into(), 0), Vec::new(), 0);
        loop {
            steps += 1;
            match retained.step(&mut walk) {
                Step::Found(message) => found.push((*message.topic).into()),
                Step::Passed => {}
                Step::Over => return (found, steps),
            }
        }
    }

    // Characters on either side of the separator in the order, which is where jumping could go wrong.
    fn name() -> impl Strategy<Value = String> {
        prop::collection::vec(prop_oneof![Just("a"), Just("!"), Just("/"), Just("/"), Just("0"), Just("$")], 1..7)
            .prop_map(|parts| parts.concat())
    }

    fn filter() -> impl Strategy<Value = String> {
        let level = prop_oneof![Just("a"), Just("a!"), Just(""), Just("0"), Just("$"), Just("+"), Just("+"), Just("!")];
        (prop::collection::vec(level, 1..5), any::<bool>()).prop_map(|(levels, hash)| {
            let filter = levels.join("/");
            if hash { format!("{filter}/#") } else { filter }
        })
    }

    proptest! {
        #[test]
        fn a_walk_finds_what_looking_at_every_topic_finds(
            names in prop::collection::btree_set(name(), 0..60),
            filter in filter().prop_filter("not empty", |filter| !filter.is_empty()),
        ) {
            let mut retained = Retained::new(100, 10_000);
            for name in &names {
                prop_assert!(retained.retain(&message(name, b"x")));
            }
            let expected: Vec<_> = names.into_iter().filter(|name| topic::matches(&filter, name)).collect();
            prop_assert_eq!(walk(&retained, &filter).0, expected);
        }
    }

    #[test]
    fn a_walk_jumps_over_what_cannot_match() {
        let mut retained = Retained::new(usize::MAX, usize::MAX);
        for class in 0..20 {
            for n in 0..500 {
                retained.retain(&message(&format!("waft/{class:02}/image/x/{n}"), b"x"));
            }
            retained.retain(&message(&format!("waft/{class:02}/manifest"), b"x"));
        }
        let (found, steps) = walk(&retained, "waft/+/manifest");
        assert_eq!(found.len(), 20);
        assert!(steps <= 3 * 20 + 2, "{steps}");
    }

    #[test]
    fn bytes_are_counted_and_bounded() {
        let mut retained = Retained::new(2, 10);
        assert!(retained.retain(&message("a", b"1234")));
        assert!(!retained.retain(&message("b", b"123456")));
        assert!(retained.retain(&message("a", b"123456789")));
        assert!(!retained.retain(&message("b", b"1")));
        assert!(retained.retain(&message("a", b"")));
        assert_eq!((retained.len(), retained.bytes()), (0, 0));
        assert!(retained.retain(&message("a", b"1")) && retained.retain(&message("b", b"1")));
        assert!(!retained.retain(&message("c", b"1")));
        retained.remove("a");
        assert_eq!((retained.len(), retained.bytes()), (1, 2));
    }
}
