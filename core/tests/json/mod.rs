//! As much JSON as test vectors need: no escapes but the simplest, no fractions.

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Json {
    Number(i64),
    Text(String),
    List(Vec<Json>),
    /// In the order in which it is written.
    Object(Vec<(String, Json)>),
}

impl Json {
    pub(crate) fn parse(text: &str) -> Self {
        let mut rest = text;
        let value = value(&mut rest);
        assert!(rest.trim().is_empty(), "something follows: {rest}");
        value
    }

    pub(crate) fn get(&self, key: &str) -> Option<&Self> {
        let Self::Object(members) = self else { panic!("no object: {self:?}") };
        members.iter().find(|(name, _)| name == key).map(|(_, value)| value)
    }

    pub(crate) fn text(&self) -> &str {
        let Self::Text(text) = self else { panic!("no text: {self:?}") };
        text
    }

    pub(crate) fn number(&self) -> i64 {
        let Self::Number(n) = self else { panic!("no number: {self:?}") };
        *n
    }

    pub(crate) fn list(&self) -> &[Self] {
        let Self::List(list) = self else { panic!("no list: {self:?}") };
        list
    }
}

fn skip(rest: &mut &str, token: char) -> bool {
    let found = rest.trim_start().strip_prefix(token);
    *rest = found.unwrap_or(rest.trim_start());
    found.is_some()
}

fn value(rest: &mut &str) -> Json {
    if skip(rest, '{') {
        let mut members = Vec::new();
        while !skip(rest, '}') {
            let Json::Text(key) = value(rest) else { panic!("no key") };
            assert!(skip(rest, ':'));
            members.push((key, value(rest)));
            skip(rest, ',');
        }
        Json::Object(members)
    } else if skip(rest, '[') {
        let mut items = Vec::new();
        while !skip(rest, ']') {
            items.push(value(rest));
            skip(rest, ',');
        }
        Json::List(items)
    } else if skip(rest, '"') {
        let mut text = String::new();
        let mut chars = rest.char_indices();
        loop {
            match chars.next().expect("a text ends") {
                (end, '"') => {
                    *rest = &rest[end + 1..];
                    return Json::Text(text);
                }
                (_, '\\') => match chars.next() {
                    Some((_, c @ ('"' | '\\' | '/'))) => text.push(c),
                    other => panic!("an escape that is not known: {other:?}"),
                },
                (_, c) => text.push(c),
            }
        }
    } else {
        let end = rest.find(|c: char| c != '-' && !c.is_ascii_digit()).unwrap_or(rest.len());
        let (number, left) = rest.split_at(end);
        *rest = left;
        Json::Number(number.parse().unwrap_or_else(|_| panic!("no JSON: {left:.20}")))
    }
}
