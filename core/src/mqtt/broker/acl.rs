//! Who may publish and subscribe to what.

use crate::mqtt::topic::valid_filter;
use alloc::{boxed::Box, string::String, sync::Arc, vec::Vec};
use core::fmt;
use nom::{
    IResult, Parser,
    branch::alt,
    bytes::complete::tag,
    character::complete::space1,
    combinator::{map, opt, rest, value, verify},
    sequence::{preceded, terminated},
};

/// Whom a rule is about.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Who {
    Everybody,
    Anonymous,
    User(Box<str>),
    Client(Box<str>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Access {
    Read,
    Write,
    Both,
    Deny,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Rule {
    who: Who,
    access: Access,
    filter: Box<str>,
    /// `%c` and `%u` stand for the client's own.
    pattern: bool,
}

/// A table of rights, written as mosquitto's `acl_file` is:
///
/// ```text
/// # Rules before the first section: for clients that give no user name.
/// topic read public/#
/// user ann
/// topic readwrite lab/#
/// topic deny lab/secret
/// client pump7
/// topic write pumps/7/state
/// # For everybody, wherever it stands. Each of %c (client identifier) and %u (user name) is a level of its own.
/// pattern write devices/%c/report
/// ```
///
/// `read`, `write`, `readwrite` (also when nothing is said) or `deny`, then a topic filter. What no rule allows is
/// denied, and so is what one denies, whatever others allow. An identifier or user name that holds `/`, `+` or `#` is
/// no level of any topic, so that a pattern gives it nothing; nor does a pattern that begins with it, if it begins with
/// `$`.
///
/// A client calls itself what it likes: `client` and `%c` are worth as much as the host's answer to
/// [`Event::Authenticate`](super::Event::Authenticate) makes of them, `user` and `%u` as much as the password. Who comes
/// back to a session under another name, or with other rights, gets of what waited there what it may read now.
///
/// - **PUBLISH** to a topic that may not be written: acknowledged as any other, but not passed on and not retained
///   (`[MQTT-3.3.5-2]`); counted in [`Stats::denied`](super::Stats::denied).
/// - **SUBSCRIBE** to a filter none of whose topics may be read: 0x80 in the SUBACK. To one that reaches further than
///   the rights do: granted; of the messages, those arrive that may be read.
/// - **CONNECT** with a will that may not be published: return code 5, not authorized.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Acl {
    text: String,
    rules: Vec<Rule>,
}

/// What is wrong with the text of an [`Acl`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AclError {
    /// In this line, counted from 1.
    pub line: usize,
    /// This.
    pub reason: &'static str,
}

impl fmt::Display for AclError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.reason)
    }
}

impl core::error::Error for AclError {}

impl fmt::Debug for Acl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Acl({} rules)", self.rules.len())
    }
}

#[derive(Clone)]
enum Line<'a> {
    Section(Who),
    Rule { pattern: bool, access: Access, filter: &'a str },
}

fn access(input: &str) -> IResult<&str, Access> {
    let word = alt((
        value(Access::Both, tag("readwrite")),
        value(Access::Read, tag("read")),
        value(Access::Write, tag("write")),
        value(Access::Deny, tag("deny")),
    ));
    terminated(word, space1).parse(input)
}

fn line(input: &str) -> IResult<&str, Line<'_>> {
    let named = || verify(rest, |name: &str| !name.is_empty());
    let rule = |keyword, pattern| {
        map(preceded((tag(keyword), space1), (opt(access), named())), move |(access, filter)| Line::Rule {
            pattern,
            access: access.unwrap_or(Access::Both),
            filter,
        })
    };
    alt((
        map(preceded((tag("user"), space1), named()), |name: &str| Line::Section(Who::User(name.into()))),
        map(preceded((tag("client"), space1), named()), |name: &str| Line::Section(Who::Client(name.into()))),
        rule("topic", false),
        rule("pattern", true),
    ))
    .parse(input)
}

impl Acl {
    /// Reads a table.
    ///
    /// # Errors
    /// [`AclError`]: the first line that says nothing known, or whose topic filter is not valid.
    pub fn parse(text: &str) -> Result<Self, AclError> {
        let mut rules = Vec::new();
        let mut section = Who::Anonymous;
        for (number, text) in (1..).zip(text.lines()) {
            let wrong = |reason| AclError { line: number, reason };
            let text = text.trim();
            if text.is_empty() || text.starts_with('#') {
                continue;
            }
            match line(text).map_err(|_| wrong("not a user, client, topic or pattern"))?.1 {
                Line::Section(who) => section = who,
                Line::Rule { pattern, access, filter } => {
                    if !valid_filter(filter) {
                        return Err(wrong("not a topic filter"));
                    }
                    let alone =
                        |level: &str| matches!(level, "%c" | "%u") || !(level.contains("%c") || level.contains("%u"));
                    if pattern && !filter.split('/').all(alone) {
                        return Err(wrong("%c and %u are levels of their own"));
                    }
                    let who = if pattern { Who::Everybody } else { section.clone() };
                    rules.push(Rule { who, access, filter: filter.into(), pattern });
                }
            }
        }
        Ok(Self { text: text.into(), rules })
    }

    /// The text it was read from.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }
}

/// What one client may do.
#[derive(Debug, Clone)]
pub(super) struct Rights {
    acl: Arc<Acl>,
    /// The rules about this client, by their places.
    rules: Vec<usize>,
    client_id: Arc<str>,
    username: Option<Arc<str>>,
}

/// A level of a rule, for one client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Level<'a> {
    Name(&'a str),
    Plus,
    Hash,
    /// No level of any topic.
    Nothing,
}

fn level(level: &str) -> Level<'_> {
    match level {
        "+" => Level::Plus,
        "#" => Level::Hash,
        name => Level::Name(name),
    }
}

impl Rights {
    pub(super) fn new(acl: Arc<Acl>, client_id: Arc<str>, username: Option<Arc<str>>) -> Self {
        let about = |who: &Who| match who {
            Who::Everybody => true,
            Who::Anonymous => username.is_none(),
            Who::User(name) => username.as_deref() == Some(name),
            Who::Client(id) => *client_id == **id,
        };
        let rules = acl.rules.iter().enumerate().filter(|(_, rule)| about(&rule.who)).map(|(at, _)| at).collect();
        Self { acl, rules, client_id, username }
    }

    pub(super) fn acl(&self) -> &Arc<Acl> {
        &self.acl
    }

    fn rules(&self) -> impl Iterator<Item = &Rule> {
        self.rules.iter().filter_map(|at| self.acl.rules.get(*at))
    }

    fn levels<'a>(&'a self, rule: &'a Rule) -> impl Iterator<Item = Level<'a>> {
        let own = |name: &'a str, first: bool| {
            // [MQTT-4.7.2-1]: what begins with `$` is the server's, and nobody becomes that by a name.
            let taken = name.contains(['/', '+', '#']) || (first && name.starts_with('$'));
            if taken { Level::Nothing } else { Level::Name(name) }
        };
        rule.filter.split('/').enumerate().map(move |(at, text)| match text {
            "%c" if rule.pattern => own(&self.client_id, at == 0),
            "%u" if rule.pattern => self.username.as_deref().map_or(Level::Nothing, |name| own(name, at == 0)),
            text => level(text),
        })
    }

    fn may(&self, wanted: Access, topic: &str) -> bool {
        let mut allowed = false;
        for rule in self.rules() {
            if (rule.access == Access::Deny || rule.access == Access::Both || rule.access == wanted)
                && overlap(self.levels(rule), topic)
            {
                if rule.access == Access::Deny {
                    return false;
                }
                allowed = true;
            }
        }
        allowed
    }

    /// Whether it may publish to the topic name `topic`.
    pub(super) fn may_write(&self, topic: &str) -> bool {
        self.may(Access::Write, topic)
    }

    /// Whether it may get messages of the topic name `topic`.
    pub(super) fn may_read(&self, topic: &str) -> bool {
        self.may(Access::Read, topic)
    }

    /// Whether it may get any of the messages that `filter` asks for.
    pub(super) fn may_subscribe(&self, filter: &str) -> bool {
        let denied = self.rules().any(|rule| rule.access == Access::Deny && covers(self.levels(rule), filter));
        let reads = |rule: &Rule| matches!(rule.access, Access::Read | Access::Both);
        !denied && self.rules().any(|rule| reads(rule) && overlap(self.levels(rule), filter))
    }
}

/// `[MQTT-4.7.2-1]`: a wildcard in the first level stands for nothing that starts with `$`.
fn hides(first: Option<&Level<'_>>, filter: &str) -> bool {
    match first {
        Some(Level::Plus | Level::Hash) => filter.starts_with('$'),
        Some(Level::Name(name)) => name.starts_with('$') && filter.starts_with(['+', '#']),
        _ => false,
    }
}

/// Whether some topic name matches both.
fn overlap<'a>(rule: impl Iterator<Item = Level<'a>>, filter: &str) -> bool {
    let mut rule = rule.peekable();
    if hides(rule.peek(), filter) {
        return false;
    }
    let mut filter = filter.split('/').map(level);
    loop {
        match (rule.next(), filter.next()) {
            (None, None) => return true,
            (Some(Level::Nothing), _) => return false,
            (Some(Level::Hash), _) => return true,
            (rest, Some(Level::Hash)) => {
                // Any depth will do, unless the rule asks for what no topic has.
                return rest != Some(Level::Nothing) && rule.all(|level| level != Level::Nothing);
            }
            (Some(a), Some(b)) if a == b || a == Level::Plus || b == Level::Plus => {}
            _ => return false,
        }
    }
}

/// Whether all topic names that match `filter` match the rule.
fn covers<'a>(rule: impl Iterator<Item = Level<'a>>, filter: &str) -> bool {
    let mut rule = rule.peekable();
    if hides(rule.peek(), filter) {
        return false;
    }
    let mut filter = filter.split('/').map(level);
    loop {
        match (rule.next(), filter.next()) {
            (Some(Level::Hash), _) | (None, None) => return true,
            (Some(Level::Plus), Some(Level::Plus | Level::Name(_))) => {}
            (Some(Level::Name(a)), Some(Level::Name(b))) if a == b => {}
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mqtt::topic;
    use proptest::prelude::*;

    const TABLE: &str = "
        # anonymous
        topic read public/#
        topic $SYS/broker/version

        user ann
        topic readwrite lab/#
        topic deny lab/secret/#
        topic read a topic with spaces
        client pump7
        topic write pumps/7/state
        pattern write devices/%c/report
        pattern read users/%u/#
    ";

    fn rights(client_id: &str, username: Option<&str>) -> Rights {
        Rights::new(Arc::new(Acl::parse(TABLE).unwrap()), client_id.into(), username.map(Into::into))
    }

    #[test]
    fn rules_are_about_the_anonymous_a_user_a_client_or_everybody() {
        let nobody = rights("x", None);
        assert!(nobody.may_read("public/a") && !nobody.may_write("public/a"));
        assert!(nobody.may_read("$SYS/broker/version") && nobody.may_write("$SYS/broker/version"));
        assert!(!nobody.may_read("lab/1") && !nobody.may_write("pumps/7/state"));
        let ann = rights("pump7", Some("ann"));
        assert!(ann.may_read("lab/1") && ann.may_write("lab") && !ann.may_read("public/a"));
        assert!(ann.may_write("pumps/7/state") && !ann.may_read("pumps/7/state"));
        assert!(ann.may_read("a topic with spaces") && !ann.may_write("a topic with spaces"));
        assert!(!rights("pump7", Some("bob")).may_read("lab/1"));
    }

    #[test]
    fn what_is_denied_is_denied_whatever_is_allowed() {
        let ann = rights("x", Some("ann"));
        assert!(!ann.may_read("lab/secret") && !ann.may_write("lab/secret/1") && ann.may_read("lab/secretary"));
        assert!(!ann.may_subscribe("lab/secret/+") && ann.may_subscribe("lab/+") && ann.may_subscribe("#"));
    }

    #[test]
    fn patterns_stand_for_the_clients_own_level_and_nothing_else() {
        assert!(rights("d1", None).may_write("devices/d1/report"));
        assert!(!rights("d1", None).may_write("devices/d2/report"));
        for id in ["+", "#", "d1/x", "a+b"] {
            assert!(!rights(id, None).may_write("devices/d1/report"), "{id}");
            assert!(!rights(id, None).may_write("devices/d1/x/report"), "{id}");
            assert!(!rights("x", Some(id)).may_subscribe("users/#"), "{id}");
        }
        assert!(rights("x", Some("bob")).may_read("users/bob/inbox"));
        assert!(!rights("x", Some("bob")).may_read("users/ann/inbox"));
        assert!(!rights("x", None).may_read("users//inbox"));
        assert!(rights("x", Some("bob")).may_subscribe("users/+/inbox"));
    }

    #[test]
    fn nobody_becomes_the_server_by_a_name() {
        let table = Arc::new(Acl::parse("pattern %c/#\npattern %u/#\npattern of/%c").unwrap());
        let named = Rights::new(table.clone(), "$SYS".into(), Some("$x".into()));
        assert!(!named.may_read("$SYS/broker/version") && !named.may_subscribe("$SYS/#") && !named.may_read("$x/a"));
        assert!(named.may_read("of/$SYS"));
        assert!(Rights::new(table, "c".into(), None).may_read("c/1"));
    }

    #[test]
    fn a_hash_hides_what_starts_with_a_dollar() {
        let all = Rights::new(Arc::new(Acl::parse("topic #\ntopic read $x/#").unwrap()), "c".into(), None);
        assert!(all.may_read("a") && !all.may_write("$x/a") && all.may_read("$x/a") && !all.may_read("$SYS/a"));
        assert!(all.may_subscribe("$x/+") && !all.may_subscribe("$SYS/#"));
    }

    #[test]
    fn a_table_that_says_something_else_is_refused_by_its_line() {
        for (text, line) in [
            ("topic", 1),
            ("\ntopicread a", 2),
            ("topic read a/#/b", 1),
            ("user ann\npattern a/x%c", 2),
            ("user", 1),
            ("allow all", 1),
        ] {
            assert_eq!(Acl::parse(text).unwrap_err().line, line, "{text}");
        }
        // A topic may be called like an access.
        let acl = Acl::parse("topic read").unwrap();
        assert!(Rights::new(Arc::new(acl), "c".into(), None).may_write("read"));
        assert_eq!(Acl::parse(TABLE).unwrap().text(), TABLE);
    }

    proptest! {
        #[test]
        fn filters_overlap_and_cover_as_their_topics_do(
            rule in prop::collection::vec(prop_oneof![Just("a"), Just("b"), Just("+"), Just("$x")], 1..4),
            filter in prop::collection::vec(prop_oneof![Just("a"), Just("b"), Just("+"), Just("$x")], 1..4),
            hashes in any::<(bool, bool)>(),
        ) {
            let join = |mut levels: Vec<&'static str>, hash| { if hash { levels.push("#"); } levels.join("/") };
            let (rule, filter) = (join(rule, hashes.0), join(filter, hashes.1));
            // All names of up to five levels of three characters, which is more than the filters have.
            let names = ["a", "b", "$x", "z"];
            let mut all: Vec<String> = names.iter().map(|name| String::from(*name)).collect();
            let mut last = all.clone();
            for _ in 0..4 {
                last = last.iter().flat_map(|name| names.iter().map(move |level| std::format!("{name}/{level}"))).collect();
                all.extend(last.clone());
            }
            let hits = |filter: &str| -> Vec<bool> { all.iter().map(|name| topic::matches(filter, name)).collect() };
            let (ours, theirs) = (hits(&rule), hits(&filter));
            let both = ours.iter().zip(&theirs).any(|(a, b)| *a && *b);
            let within = ours.iter().zip(&theirs).all(|(a, b)| *a || !*b);
            prop_assert_eq!(overlap(rule.split('/').map(level), &filter), both, "{} {}", rule, filter);
            prop_assert_eq!(covers(rule.split('/').map(level), &filter), within, "{} {}", rule, filter);
        }
    }
}
