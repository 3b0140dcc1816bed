//! Link format (RFC 6690): what `/.well-known/core` answers.

use super::text::{Text, split, split_once};
use crate::wire::Writer;
use nom::{
    IResult, Parser,
    branch::alt,
    bytes::complete::{tag, take_while, take_while1},
    combinator::{map, opt, recognize},
    multi::many0_count,
    sequence::{delimited, preceded},
};

/// The path of the list of resources (RFC 6690 §4).
pub const WELL_KNOWN_CORE: &str = "/.well-known/core";

/// A link read from a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Link<'a> {
    /// The URI reference between the angle brackets.
    pub target: &'a str,
    attributes: &'a str,
}

impl<'a> Link<'a> {
    /// From a target and attributes as they stand behind it: `;rt="x";obs`. What is no attribute ends them.
    #[must_use]
    pub const fn from_parts(target: &'a str, attributes: &'a str) -> Self {
        Self { target, attributes }
    }

    /// Its attributes as they stand in the document.
    #[must_use]
    pub const fn raw_attributes(self) -> &'a str {
        self.attributes
    }

    /// Its attributes in order: name and value. The value of a quoted string stands without its quotes, escapes left as
    /// they are; that of an attribute without `=` is empty. `obs` comes once and has no value, whatever is written
    /// (RFC 7641 §6).
    pub fn attributes(self) -> impl Iterator<Item = (&'a str, &'a str)> + Clone {
        let mut rest = self.attributes;
        let mut observable = false;
        core::iter::from_fn(move || {
            loop {
                let (after, (name, value)) = attribute(Text(rest)).ok()?;
                rest = after.0;
                // [RFC7641-6-1] [RFC7641-6-3]
                match name {
                    "obs" if core::mem::replace(&mut observable, true) => {}
                    "obs" => return Some((name, "")),
                    _ => return Some((name, value)),
                }
            }
        })
    }

    /// The value of the first attribute of that name.
    #[must_use]
    pub fn get(self, name: &str) -> Option<&'a str> {
        self.attributes().find(|(found, _)| *found == name).map(|(_, value)| value)
    }
}

/// Reads a document link by link. It ends at the first thing that is no link; [`Links::rest`] shows whether that is the
/// end of the document.
#[derive(Debug, Clone)]
pub struct Links<'a> {
    rest: &'a str,
}

impl<'a> Links<'a> {
    /// Of a document.
    #[must_use]
    pub const fn new(document: &'a str) -> Self {
        Self { rest: document }
    }

    /// What has not been read: empty at the end of a well-formed document.
    #[must_use]
    pub const fn rest(&self) -> &'a str {
        self.rest
    }
}

impl<'a> Iterator for Links<'a> {
    type Item = Link<'a>;

    fn next(&mut self) -> Option<Link<'a>> {
        let (after, link) = link(Text(self.rest)).ok()?;
        // A comma promises another link: without one, stay before it.
        self.rest = after.0.strip_prefix(",").filter(|more| !more.is_empty()).unwrap_or(after.0);
        Some(link)
    }
}

// The grammar (RFC 6690 §2). The values of attributes are taken more widely than it has them, as §2 asks of parsers.

fn link<'a>(input: Text<'a>) -> IResult<Text<'a>, Link<'a>> {
    let target = delimited(tag("<"), take_while(|c| c != b'>'), tag(">"));
    let link = |(target, attributes): (Text<'a>, Text<'a>)| Link { target: target.0, attributes: attributes.0 };
    map((target, recognize(many0_count(attribute))), link).parse(input)
}

fn attribute<'a>(input: Text<'a>) -> IResult<Text<'a>, (&'a str, &'a str)> {
    const fn ends(c: u8) -> bool {
        matches!(c, b';' | b',' | b'"' | b'<' | b'>') || c.is_ascii_whitespace()
    }
    let name = take_while1(|c| !ends(c) && c != b'=');
    let escaped = alt((tag("\\\""), tag("\\\\"), tag("\\")));
    let plain = take_while1(|c| !matches!(c, b'"' | b'\\'));
    let quoted = delimited(tag("\""), recognize(many0_count(alt((escaped, plain)))), tag("\""));
    let value = preceded(tag("="), alt((quoted, take_while(|c| !ends(c)))));
    let pair = |(name, value): (Text<'a>, Option<Text<'a>>)| (name.0, value.map_or("", |v| v.0));
    map(preceded(tag(";"), (name, opt(value))), pair).parse(input)
}

/// A link to be written.
#[derive(Debug, Clone, Copy)]
pub struct Entry<'e> {
    /// The URI reference, such as `/a/b`.
    pub target: &'e str,
    /// Names and values; an empty value writes the name alone (`obs`), one of digits stands unquoted (`sz`, `ct`), all
    /// others are quoted.
    pub attributes: &'e [(&'e str, &'e str)],
}

/// Writes the entries that `filter` (a query argument such as `rt=firmware*`; RFC 6690 §4.1) lets through, as one
/// document.
///
/// # Errors
/// The number of bytes it takes, where `out` is shorter.
pub fn write<'o, 'e>(
    out: &'o mut [u8],
    entries: impl IntoIterator<Item = Entry<'e>>,
    filter: Option<&str>,
) -> Result<&'o str, usize> {
    let mut w = Writer::new(out);
    for entry in entries {
        if filter.is_none_or(|filter| entry.matches(filter)) {
            if !w.is_empty() {
                w.u8(b',');
            }
            put(&mut w, entry.target, entry.attributes.iter().copied());
        }
    }
    let needed = w.len();
    core::str::from_utf8(w.finish()?).map_err(|_| needed)
}

/// Writes one more link to `out`, which begins with a document of `len` bytes, or none: gives its new length. For those who have
/// their links in another form than [`Entry`].
///
/// # Errors
/// The number of bytes it takes, where `out` is shorter; the document is what it was.
pub fn append<'e>(
    out: &mut [u8],
    len: usize,
    target: &str,
    attributes: impl IntoIterator<Item = (&'e str, &'e str)>,
) -> Result<usize, usize> {
    let mut w = Writer::new(out.get_mut(len..).unwrap_or_default());
    if len != 0 {
        w.u8(b',');
    }
    put(&mut w, target, attributes);
    let needed = len.saturating_add(w.len());
    w.finish().map(|_| needed).map_err(|_| needed)
}

fn put<'e>(w: &mut Writer<'_>, target: &str, attributes: impl IntoIterator<Item = (&'e str, &'e str)>) {
    w.u8(b'<');
    w.bytes(target.as_bytes());
    w.u8(b'>');
    for (name, value) in attributes {
        w.u8(b';');
        w.bytes(name.as_bytes());
        if value.is_empty() {
            continue;
        }
        w.u8(b'=');
        if value.bytes().all(|b| b.is_ascii_digit()) {
            w.bytes(value.as_bytes());
            continue;
        }
        w.u8(b'"');
        for byte in value.bytes() {
            if matches!(byte, b'"' | b'\\') {
                w.u8(b'\\');
            }
            w.u8(byte);
        }
        w.u8(b'"');
    }
}

impl Entry<'_> {
    /// Whether a filter lets it through: see [`matches()`].
    #[must_use]
    pub fn matches(&self, filter: &str) -> bool {
        matches(self.target, self.attributes.iter().copied(), filter)
    }
}

/// Whether `filter`, `name=value` with an optional `*` at its end, lets a link through (RFC 6690 §4.1): `href` looks at
/// the target, `rt`, `if` and `rel` at each word of their values, all else at the whole value. What is no filter lets all
/// through.
#[must_use]
pub fn matches<'l>(target: &str, attributes: impl IntoIterator<Item = (&'l str, &'l str)>, filter: &str) -> bool {
    let (name, Some(wanted)) = split_once(filter, b'=') else { return true };
    let fits = |value: &str| match wanted.strip_suffix("*") {
        Some(prefix) => value.starts_with(prefix),
        None => value == wanted,
    };
    if name == "href" {
        return fits(target);
    }
    let words = matches!(name, "rt" | "if" | "rel");
    attributes
        .into_iter()
        .filter(|(found, _)| *found == name)
        .any(|(_, value)| if words { split(value, b' ').any(fits) } else { fits(value) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ENTRIES: [Entry<'_>; 3] = [
        Entry { target: "/sensors/temp", attributes: &[("rt", "temperature-c light"), ("if", "sensor"), ("obs", "")] },
        Entry { target: "/fw", attributes: &[("sz", "65536"), ("title", "a \"b\" \\ ,;<x>")] },
        Entry { target: "/", attributes: &[] },
    ];

    #[test]
    fn links_are_read_as_they_were_written() {
        let mut out = [0; 256];
        let document = write(&mut out, ENTRIES, None).unwrap();
        assert_eq!(
            document,
            "</sensors/temp>;rt=\"temperature-c light\";if=\"sensor\";obs,</fw>;sz=65536;title=\"a \\\"b\\\" \\\\ ,;<x>\",</>"
        );
        let mut links = Links::new(document);
        let first = links.next().unwrap();
        assert_eq!(first.target, "/sensors/temp");
        assert!(first.attributes().eq([("rt", "temperature-c light"), ("if", "sensor"), ("obs", "")]));
        let second = links.next().unwrap();
        assert_eq!((second.get("sz"), second.get("title")), (Some("65536"), Some("a \\\"b\\\" \\\\ ,;<x>")));
        assert_eq!(links.next().unwrap().target, "/");
        assert_eq!(links.next(), None);
        assert_eq!(links.rest(), "");
        assert_eq!(write(&mut [0; 5], ENTRIES, None), Err(document.len()));
    }

    #[test]
    fn a_filter_lets_through_what_it_names() {
        for (filter, count) in [
            ("rt=temperature-c", 1),
            ("rt=light", 1),
            ("rt=temp*", 1),
            ("rt=temp", 0),
            ("href=/sensors/*", 1),
            ("href=/", 1),
            ("href=/*", 3),
            ("obs=", 1),
            ("sz=65536", 1),
            ("nothing=1", 0),
            ("odd", 3),
        ] {
            assert_eq!(ENTRIES.iter().filter(|e| e.matches(filter)).count(), count, "{filter}");
        }
        let mut out = [0; 64];
        assert_eq!(write(&mut out, ENTRIES, Some("href=/")), Ok("</>"));
    }

    #[test]
    fn the_examples_of_the_standard_are_read() {
        let document = "</sensors>;ct=40;title=\"Sensor Index\",</sensors/temp>;rt=\"temperature-c\";if=\"sensor\",\
            <http://www.example.com/sensors/t123>;anchor=\"/sensors/temp\";rel=\"describedby\",</t>;anchor=\"/sensors/temp\";rel=\"alternate\"";
        let mut links = Links::new(document);
        assert_eq!(links.by_ref().count(), 4);
        assert_eq!(links.rest(), "");
        let mut broken = Links::new("</a>;x=\"y,</b>");
        assert_eq!(broken.next().unwrap().target, "/a");
        assert_eq!(broken.next(), None);
        assert!(!broken.rest().is_empty());
        let mut trailing = Links::new("</a>,");
        assert!(trailing.next().is_some() && trailing.next().is_none());
        assert_eq!(trailing.rest(), ",");
    }

    /// [RFC7641-6-1] [RFC7641-6-3]
    #[test]
    fn obs_has_no_value_and_comes_once() {
        let link = Links::new("</a>;obs=\"1\";rt=\"x\";obs;obs=2").next().unwrap();
        assert!(link.attributes().eq([("obs", ""), ("rt", "x")]));
    }

    proptest! {
        #[test]
        fn any_text_ends(text in "[<>/a;=\",\\\\ ]{0,60}") {
            let mut links = Links::new(&text);
            prop_assert!(links.by_ref().flat_map(Link::attributes).count() <= text.len());
        }
    }
}
