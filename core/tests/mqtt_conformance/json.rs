//! As much JSON as the cases are made of.

use std::{collections::BTreeMap, iter::Peekable, str::Chars};

#[derive(Debug, Clone, PartialEq)]
pub enum Json {
    Null,
    Bool(bool),
    Number(i64),
    Text(String),
    List(Vec<Json>),
    Map(BTreeMap<String, Json>),
}

impl Json {
    pub fn parse(text: &str) -> Self {
        let mut rest = text.chars().peekable();
        let value = value(&mut rest);
        assert_eq!(rest.find(|c| !c.is_whitespace()), None, "behind the end");
        value
    }

    pub fn text(&self) -> &str {
        let Self::Text(text) = self else { panic!("{self:?} is no text") };
        text
    }

    pub fn number(&self) -> i64 {
        let Self::Number(number) = self else { panic!("{self:?} is no number") };
        *number
    }

    pub fn bool(&self) -> bool {
        let Self::Bool(bool) = self else { panic!("{self:?} is no truth") };
        *bool
    }

    pub fn list(&self) -> &[Json] {
        let Self::List(list) = self else { panic!("{self:?} is no list") };
        list
    }

    /// Null where there is none.
    pub fn get(&self, key: &str) -> &Json {
        let Self::Map(map) = self else { panic!("{self:?} is no map") };
        map.get(key).unwrap_or(&Self::Null)
    }
}

fn value(rest: &mut Peekable<Chars<'_>>) -> Json {
    match next(rest) {
        '[' => {
            let mut list = Vec::new();
            while !is_over(rest, ']') {
                list.push(value(rest));
            }
            Json::List(list)
        }
        '{' => {
            let mut map = BTreeMap::new();
            while !is_over(rest, '}') {
                let Json::Text(key) = value(rest) else { panic!("a key is a text") };
                assert_eq!(next(rest), ':');
                map.insert(key, value(rest));
            }
            Json::Map(map)
        }
        '"' => Json::Text(text(rest)),
        first => {
            let mut word = String::from(first);
            while let Some(c) = rest.next_if(|c| c.is_alphanumeric()) {
                word.push(c);
            }
            match &*word {
                "null" => Json::Null,
                "true" => Json::Bool(true),
                "false" => Json::Bool(false),
                number => Json::Number(number.parse().unwrap()),
            }
        }
    }
}

fn next(rest: &mut Peekable<Chars<'_>>) -> char {
    rest.find(|c| !c.is_whitespace()).expect("something more")
}

/// Past a comma, or the end of what `close` closes.
fn is_over(rest: &mut Peekable<Chars<'_>>, close: char) -> bool {
    while rest.next_if(|c| c.is_whitespace() || *c == ',').is_some() {}
    rest.next_if_eq(&close).is_some()
}

fn text(rest: &mut Peekable<Chars<'_>>) -> String {
    let mut units = Vec::new();
    loop {
        let c = match rest.next().unwrap() {
            '"' => return String::from_utf16(&units).unwrap(),
            '\\' => match rest.next().unwrap() {
                'u' => {
                    let hex: String = rest.by_ref().take(4).collect();
                    units.push(u16::from_str_radix(&hex, 16).unwrap());
                    continue;
                }
                'n' => '\n',
                't' => '\t',
                c => c,
            },
            c => c,
        };
        units.extend_from_slice(c.encode_utf16(&mut [0; 2]));
    }
}
