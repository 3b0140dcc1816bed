//! `coap` URIs (RFC 7252 §6): taking them apart, putting them together, and resolving references (RFC 3986 §5).

use super::{
    option::{self, Options},
    text::{Text, part, split, split_once},
};
use crate::{error::Misuse, wire::Writer};
use nom::{
    IResult, Parser,
    branch::alt,
    bytes::complete::{tag, tag_no_case, take_while, take_while1},
    combinator::{all_consuming, map, opt, recognize, verify},
    sequence::{delimited, preceded, terminated},
};

/// `coap` or `coaps`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// Over UDP (RFC 7252 §6.1).
    Coap,
    /// Over DTLS (RFC 7252 §6.2).
    Coaps,
}

impl Scheme {
    /// The port where a URI names none.
    #[must_use]
    pub const fn default_port(self) -> u16 {
        match self {
            Self::Coap => 5683,
            Self::Coaps => 5684,
        }
    }
}

/// A URI in its parts, borrowed from the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Uri<'a> {
    scheme: Scheme,
    host: &'a str,
    literal: bool,
    port: u16,
    path: &'a str,
    query: Option<&'a str>,
    target: &'a str,
}

impl<'a> Uri<'a> {
    /// Takes an absolute `coap` or `coaps` URI apart (RFC 7252 §6.4).
    ///
    /// # Errors
    /// [`Misuse::InvalidUri`]: another scheme, no host, a fragment, a character or an escape that a URI cannot have, a
    /// port outside 0 to 65535, or a path segment or query argument past 255 bytes.
    pub fn parse(text: &'a str) -> Result<Self, Misuse> {
        let (_, uri) = all_consuming(uri).parse(Text(text)).map_err(|_| Misuse::InvalidUri)?;
        let fits = |part: Escaped<'_>| part.bytes().take(256).count() <= 255;
        if uri.segments().all(fits) && uri.arguments().all(fits) && fits(Escaped(uri.host)) {
            Ok(uri)
        } else {
            Err(Misuse::InvalidUri)
        }
    }

    /// `coap` or `coaps`.
    #[must_use]
    pub const fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The host as it is written: a name, an IPv4 address, or an IPv6 address without its brackets.
    #[must_use]
    pub const fn host(&self) -> &'a str {
        self.host
    }

    /// Whether the host is an address rather than a name. Then no Uri-Host is sent (RFC 7252 §6.4 step 5).
    #[must_use]
    pub fn is_literal(&self) -> bool {
        self.literal || is_ipv4(self.host)
    }

    /// The port; where it is not written, that of the scheme.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Path and query as they are written, what a [`Request`](super::Request) takes.
    #[must_use]
    pub const fn target(&self) -> &'a str {
        self.target
    }

    /// The segments of the path, one for each Uri-Path; none for `/` and for no path at all.
    pub fn segments(&self) -> impl Iterator<Item = Escaped<'a>> + Clone + use<'a> {
        segments(self.path)
    }

    /// The arguments of the query, one for each Uri-Query.
    pub fn arguments(&self) -> impl Iterator<Item = Escaped<'a>> + Clone + use<'a> {
        arguments(self.query)
    }
}

/// Percent-encoded text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Escaped<'a>(&'a str);

impl<'a> Escaped<'a> {
    /// The text, checked: only characters of a path or query, escapes complete (RFC 3986 §2.1, §3.4).
    #[must_use]
    pub fn new(raw: &'a str) -> Option<Self> {
        is_escaped(raw, is_query_char).then_some(Self(raw))
    }

    /// As it is written.
    #[must_use]
    pub const fn raw(self) -> &'a str {
        self.0
    }

    /// The bytes it stands for.
    pub fn bytes(self) -> impl Iterator<Item = u8> + Clone + use<'a> {
        let mut raw = self.0.bytes();
        core::iter::from_fn(move || match raw.next()? {
            b'%' => Some(hex(raw.next())? << 4 | hex(raw.next())?),
            byte => Some(byte),
        })
    }
}

impl PartialEq<str> for Escaped<'_> {
    /// Compares what it stands for.
    fn eq(&self, other: &str) -> bool {
        self.bytes().eq(other.bytes())
    }
}

pub(super) fn hex(digit: Option<u8>) -> Option<u8> {
    match digit? {
        digit @ b'0'..=b'9' => Some(digit & 0xF),
        digit @ (b'a'..=b'f' | b'A'..=b'F') => Some((digit & 0xF).wrapping_add(9)),
        _ => None,
    }
}

/// Path and query of a request target such as `/a/b?x=y`: checked, not decoded.
///
/// # Errors
/// [`Misuse::InvalidUri`]: the path does not begin with a slash, or a character or an escape is none that a URI has.
pub fn split_target(target: &str) -> Result<(&str, Option<&str>), Misuse> {
    let (path, query) = split_once(target, b'?');
    let path_ok = (path.is_empty() || path.starts_with("/")) && is_escaped(path, is_path_char);
    if path_ok && query.is_none_or(|q| is_escaped(q, is_query_char)) {
        Ok((path, query))
    } else {
        Err(Misuse::InvalidUri)
    }
}

pub(super) fn segments(path: &str) -> impl Iterator<Item = Escaped<'_>> + Clone {
    let path = path.strip_prefix("/").unwrap_or(path);
    split(path, b'/').filter(move |_| !path.is_empty()).map(Escaped)
}

pub(super) fn arguments(query: Option<&str>) -> impl Iterator<Item = Escaped<'_>> + Clone {
    query.into_iter().flat_map(|q| split(q, b'&')).map(Escaped)
}

/// Whether all of a text are characters that `plain` allows and whole escapes (RFC 3986 §2.1).
fn is_escaped(text: &str, plain: fn(u8) -> bool) -> bool {
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        let fine = if byte == b'%' { hex(bytes.next()).and(hex(bytes.next())).is_some() } else { plain(byte) };
        if !fine {
            return false;
        }
    }
    true
}

// The grammar (RFC 3986 appendix A), as far as `coap` has it.

type Parsed<'a, T> = IResult<Text<'a>, T>;

const fn is_name_char(c: u8) -> bool {
    let unreserved = c.is_ascii_alphanumeric() || matches!(c, b'-' | b'.' | b'_' | b'~');
    unreserved || matches!(c, b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'=')
}

const fn is_path_char(c: u8) -> bool {
    is_name_char(c) || matches!(c, b':' | b'@' | b'/')
}

/// Whether a byte stands for itself in a segment of a path (RFC 3986 §3.3, `pchar`).
pub(crate) const fn is_segment_char(c: u8) -> bool {
    is_path_char(c) && c != b'/'
}

pub(super) fn is_query_char(c: u8) -> bool {
    const fn word(first: u8) -> u32 {
        let (mut chars, mut n) = (0, 0_u8);
        while n < 32 {
            let c = first | n;
            if is_path_char(c) || c == b'?' {
                chars |= 1 << n;
            }
            n = n.wrapping_add(1);
        }
        chars
    }
    /// A bit for each of them: less than the comparisons take.
    const CHARS: [u32; 4] = [word(0), word(32), word(64), word(96)];
    CHARS.get(usize::from(c >> 5)).is_some_and(|word| word.wrapping_shr(c.into()) & 1 != 0)
}

/// Any number of characters that `plain` allows, and escapes.
fn chars<'a>(plain: fn(u8) -> bool) -> impl FnMut(Text<'a>) -> Parsed<'a, &'a str> {
    move |input| {
        let raw = take_while(move |c| plain(c) || c == b'%');
        verify(map(raw, |text: Text<'a>| text.0), |text: &str| is_escaped(text, plain)).parse(input)
    }
}

fn port(input: Text<'_>) -> Parsed<'_, Option<u16>> {
    let mut digits = preceded(tag(":"), take_while(|c: u8| c.is_ascii_digit()));
    let (rest, digits) = digits.parse(input)?;
    if digits.0.is_empty() {
        return Ok((rest, None));
    }
    match digits.0.parse() {
        Ok(port) => Ok((rest, Some(port))),
        Err(_) => Err(nom::Err::Error(nom::error::Error::new(input, nom::error::ErrorKind::Digit))),
    }
}

fn uri(input: Text<'_>) -> Parsed<'_, Uri<'_>> {
    let coaps = map(tag_no_case("coaps://"), |_| Scheme::Coaps);
    let coap = map(tag_no_case("coap://"), |_| Scheme::Coap);
    let (rest, scheme) = alt((coaps, coap)).parse(input)?;
    let address = take_while1(|c: u8| c.is_ascii_hexdigit() || matches!(c, b':' | b'.' | b'%' | b'~'));
    let bracketed = map(delimited(tag("["), address, tag("]")), |host: Text<'_>| (host.0, true));
    let name = map(verify(chars(is_name_char), |name: &str| !name.is_empty()), |host| (host, false));
    let (rest, (host, literal)) = alt((bracketed, name)).parse(rest)?;
    let (rest, port) = opt(port).parse(rest)?;
    let target = rest.0;
    let path = verify(chars(is_path_char), |path: &str| path.is_empty() || path.starts_with("/"));
    let (rest, (path, query)) = (path, opt(preceded(tag("?"), chars(is_query_char)))).parse(rest)?;
    let port = port.flatten().unwrap_or(scheme.default_port());
    Ok((rest, Uri { scheme, host, literal, port, path, query, target }))
}

fn is_ipv4(host: &str) -> bool {
    let mut parts = 0_u8;
    split(host, b'.').all(|part| {
        parts = parts.saturating_add(1);
        part.len() <= 3 && part.bytes().all(|b| b.is_ascii_digit()) && part.parse::<u8>().is_ok()
    }) && parts == 4
}

/// Puts the URI of a request together (RFC 7252 §6.5) in `out`, from its options and, where they do not name them, the
/// host and port it was sent to. An IPv6 `host` may come with or without brackets.
///
/// # Errors
/// The number of bytes it takes, where `out` is shorter.
pub fn compose<'o>(
    scheme: Scheme,
    host: &str,
    port: u16,
    options: Options<'_>,
    out: &'o mut [u8],
) -> Result<&'o str, usize> {
    let mut w = Writer::new(out);
    w.bytes(if scheme == Scheme::Coap { b"coap://" } else { b"coaps://" });
    let named = options.get(option::URI_HOST).unwrap_or(host.as_bytes());
    let bare = named.contains(&b':') && named.first() != Some(&b'[');
    if bare {
        w.u8(b'[');
    }
    escape(&mut w, named, |c| is_name_char(c) || matches!(c, b':' | b'[' | b']'));
    if bare {
        w.u8(b']');
    }
    let port = options.uint(option::URI_PORT).and_then(|p| u16::try_from(p).ok()).unwrap_or(port);
    if port != scheme.default_port() {
        w.u8(b':');
        decimal(&mut w, port);
    }
    if options.get(option::URI_PATH).is_none() {
        w.u8(b'/');
    }
    for segment in options.all(option::URI_PATH) {
        w.u8(b'/');
        escape(&mut w, segment, is_segment_char);
    }
    let mut mark = b'?';
    for argument in options.all(option::URI_QUERY) {
        w.u8(mark);
        mark = b'&';
        escape(&mut w, argument, |c| is_query_char(c) && c != b'&');
    }
    let needed = w.len();
    core::str::from_utf8(w.finish()?).map_err(|_| needed)
}

fn escape(w: &mut Writer<'_>, bytes: &[u8], plain: fn(u8) -> bool) {
    // [RFC7252-6.5-1]
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for &byte in bytes {
        if plain(byte) {
            w.u8(byte);
        } else {
            w.u8(b'%');
            for digit in [byte >> 4, byte & 0x0F] {
                w.u8(HEX.get(usize::from(digit)).copied().unwrap_or(b'0'));
            }
        }
    }
}

/// Appends a segment of a path or an argument of a query, percent-encoded where need be.
#[cfg(feature = "alloc")]
pub(super) fn escape_into(text: &mut alloc::string::String, bytes: &[u8], argument: bool) {
    for &byte in bytes {
        if if argument { is_query_char(byte) && byte != b'&' } else { is_segment_char(byte) } {
            text.push(char::from(byte));
        } else {
            text.push('%');
            for digit in [byte >> 4, byte & 0x0F] {
                text.push(char::from_digit(digit.into(), 16).unwrap_or('0').to_ascii_uppercase());
            }
        }
    }
}

/// Writes a number in decimal, without `core::fmt`.
pub(super) fn decimal(w: &mut Writer<'_>, number: u16) {
    let mut unit = 10_000_u16;
    while let Some(shifted) = number.checked_div(unit) {
        if shifted != 0 || unit == 1 {
            let [_, digit] = (shifted % 10).to_be_bytes();
            w.u8(b'0' | digit);
        }
        unit /= 10;
    }
}

/// Resolves `reference` against the absolute URI `base` (RFC 3986 §5.2, strict) into `out`. A fragment is left out:
/// `coap` URIs have none (RFC 7252 §6.4).
///
/// # Errors
/// [`Misuse::InvalidUri`]: `base` has no scheme, or one of them holds a character that no URI has.
/// [`Misuse::OutOfRange`]: `out` is too short. One byte more than both texts together have always does; the result alone may be shorter
/// than what it takes to get there.
pub fn resolve<'o>(base: &str, reference: &str, out: &'o mut [u8]) -> Result<&'o str, Misuse> {
    let base = Parts::of(base)?;
    let reference = Parts::of(reference)?;
    let scheme = reference.scheme.or(base.scheme).ok_or(Misuse::InvalidUri)?;
    let mut target = Target { buf: out, len: 0, floor: 0, full: false };
    target.push(scheme);
    target.push(":");
    let authority =
        if reference.scheme.is_some() || reference.authority.is_some() { reference.authority } else { base.authority };
    if let Some(authority) = authority {
        target.push("//");
        target.push(authority);
    }
    target.floor = target.len;
    let own = reference.scheme.is_some() || reference.authority.is_some();
    let query = if !own && reference.path.is_empty() {
        // §5.2.2: the base's path as it stands, and its query where the reference has none.
        target.push(base.path);
        reference.query.or(base.query)
    } else {
        // §5.2.3: all of the base's path but what follows its last slash.
        let (kept, slash) = match base.path.bytes().rposition(|b| b == b'/') {
            _ if own || reference.path.starts_with("/") => ("", ""),
            None => ("", if base.authority.is_some() { "/" } else { "" }),
            Some(at) => (part(base.path, at.saturating_add(1)).0, ""),
        };
        target.path(kept, slash, reference.path);
        reference.query
    };
    if let Some(query) = query {
        target.push("?");
        target.push(query);
    }
    let Target { buf, len, full, .. } = target;
    let buf: &'o [u8] = buf;
    let bytes = buf.get(..len).filter(|_| !full).ok_or(Misuse::OutOfRange)?;
    core::str::from_utf8(bytes).map_err(|_| Misuse::InvalidUri)
}

/// A URI reference in its five parts (RFC 3986 appendix B) without the fragment.
struct Parts<'a> {
    scheme: Option<&'a str>,
    authority: Option<&'a str>,
    path: &'a str,
    query: Option<&'a str>,
}

impl<'a> Parts<'a> {
    fn of(text: &'a str) -> Result<Self, Misuse> {
        if !text.bytes().all(|c| is_query_char(c) || matches!(c, b'[' | b']' | b'#' | b'%')) {
            return Err(Misuse::InvalidUri);
        }
        let (text, _fragment) = split_once(text, b'#');
        let (rest, (scheme, authority)) =
            (opt(scheme), opt(authority)).parse(Text(text)).map_err(|_| Misuse::InvalidUri)?;
        let (path, query) = split_once(rest.0, b'?');
        Ok(Self { scheme, authority, path, query })
    }
}

fn scheme(input: Text<'_>) -> Parsed<'_, &str> {
    let letter = take_while1(|c: u8| c.is_ascii_alphabetic());
    let tail = take_while(|c: u8| c.is_ascii_alphanumeric() || matches!(c, b'+' | b'-' | b'.'));
    map(terminated(recognize((letter, tail)), tag(":")), |name: Text<'_>| name.0).parse(input)
}

fn authority(input: Text<'_>) -> Parsed<'_, &str> {
    map(preceded(tag("//"), take_while(|c| !matches!(c, b'/' | b'?'))), |text: Text<'_>| text.0).parse(input)
}

/// A text that grows at its end and, where `..` wants it, shrinks again, never below `floor`.
struct Target<'o> {
    buf: &'o mut [u8],
    len: usize,
    floor: usize,
    full: bool,
}

impl Target<'_> {
    fn push(&mut self, text: &str) {
        let end = self.len.saturating_add(text.len());
        match self.buf.get_mut(self.len..end) {
            Some(place) => {
                place.iter_mut().zip(text.bytes()).for_each(|(to, byte)| *to = byte);
                self.len = end;
            }
            None => self.full = true,
        }
    }

    /// Forgets the last segment and the slash before it (RFC 3986 §5.2.4, 2C).
    fn pop(&mut self) {
        let path = self.buf.get(self.floor..self.len).unwrap_or(&[]);
        let keep = path.iter().rposition(|b| *b == b'/').unwrap_or(0);
        self.len = self.floor.saturating_add(keep);
    }

    /// Appends `base`, `slash` and `reference` as one path without its dot segments (RFC 3986 §5.2.4). Both halves end
    /// or begin at a slash, so that segments are whole in each.
    fn path(&mut self, base: &str, slash: &str, reference: &str) {
        let absolute = base.starts_with("/") || !slash.is_empty() || reference.starts_with("/");
        let mut first = true;
        // The base's folders, then the reference's segments, of which the last alone may end in a slash.
        let folders = base.strip_suffix("/").and_then(|b| b.strip_prefix("/")).filter(|b| !b.is_empty());
        let folders = folders.into_iter().flat_map(|f| split(f, b'/')).map(|segment| (segment, false));
        let mut rest = Some(reference.strip_prefix("/").unwrap_or(reference));
        let own = core::iter::from_fn(move || {
            let (segment, after) = split_once(rest?, b'/');
            rest = after;
            Some((segment, after.is_none()))
        });
        for (segment, last) in folders.chain(own) {
            match segment {
                "." | ".." => {
                    if segment == ".." {
                        self.pop();
                    }
                    if last {
                        self.push("/");
                    }
                }
                _ => {
                    if absolute || !first {
                        self.push("/");
                    }
                    self.push(segment);
                }
            }
            first = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::message::*, *};
    use proptest::prelude::*;

    fn parts(
        text: &str,
    ) -> (std::string::String, u16, std::vec::Vec<std::vec::Vec<u8>>, std::vec::Vec<std::vec::Vec<u8>>) {
        let uri = Uri::parse(text).unwrap();
        let collect = |e: Escaped<'_>| e.bytes().collect();
        (uri.host().into(), uri.port(), uri.segments().map(collect).collect(), uri.arguments().map(collect).collect())
    }

    #[test]
    fn uris_fall_into_options() {
        let none: &[&[u8]] = &[];
        for (text, host, port, path, query) in [
            ("coap://example.net/.well-known/core", "example.net", 5683, &[&b".well-known"[..], b"core"][..], none),
            ("coap://example.net", "example.net", 5683, none, none),
            ("coap://example.net/", "example.net", 5683, none, none),
            ("COAPS://[2001:db8::2:1]/", "2001:db8::2:1", 5684, none, none),
            (
                "coap://198.51.100.1:61616//%2F//?%2F%2F&?%26",
                "198.51.100.1",
                61616,
                &[b"", b"/", b"", b""],
                &[b"//", b"?&"],
            ),
            ("coap://xn--18j4d.example/%E3%81%93", "xn--18j4d.example", 5683, &["こ".as_bytes()], none),
            ("coap://h:/a/", "h", 5683, &[b"a", b""], none),
            ("coap://h?x=y", "h", 5683, none, &[b"x=y"]),
        ] {
            let got = parts(text);
            assert_eq!((&got.0[..], got.1), (host, port), "{text}");
            assert!(got.2.iter().eq(path.iter()), "{text} {:?}", got.2);
            assert!(got.3.iter().eq(query.iter()), "{text}");
        }
        assert!(Uri::parse("coap://[::1]/").unwrap().is_literal());
        assert!(Uri::parse("coap://10.0.0.1/").unwrap().is_literal());
        assert!(!Uri::parse("coap://10.0.0.256/").unwrap().is_literal());
        assert_eq!(Uri::parse("coap://h:1/a?b").unwrap().target(), "/a?b");
    }

    #[test]
    fn what_is_no_coap_uri_is_refused() {
        for text in [
            "",
            "coap",
            "coap:",
            "coap:/a",
            "coap://",
            "coap:///a",
            "http://h/",
            "coap://h/a#f",
            "coap://h/%4",
            "coap://h/%zz",
            "coap://h:65536/",
            "coap://h:x/",
            "coap://[::1",
            "coap://[]/",
            "coap://h/a b",
            "coap://h/é",
            "/a",
            "coap://u@h/",
        ] {
            assert_eq!(Uri::parse(text), Err(Misuse::InvalidUri), "{text}");
        }
    }

    #[test]
    fn references_resolve_as_the_standard_shows() {
        // RFC 3986 §5.4, without those whose answer differs by a fragment alone.
        for (reference, want) in [
            ("g:h", "g:h"),
            ("g", "http://a/b/c/g"),
            ("./g", "http://a/b/c/g"),
            ("g/", "http://a/b/c/g/"),
            ("/g", "http://a/g"),
            ("//g", "http://g"),
            ("?y", "http://a/b/c/d;p?y"),
            ("g?y", "http://a/b/c/g?y"),
            ("#s", "http://a/b/c/d;p?q"),
            ("g#s", "http://a/b/c/g"),
            (";x", "http://a/b/c/;x"),
            ("g;x", "http://a/b/c/g;x"),
            ("", "http://a/b/c/d;p?q"),
            (".", "http://a/b/c/"),
            ("./", "http://a/b/c/"),
            ("..", "http://a/b/"),
            ("../", "http://a/b/"),
            ("../g", "http://a/b/g"),
            ("../..", "http://a/"),
            ("../../", "http://a/"),
            ("../../g", "http://a/g"),
            ("../../../g", "http://a/g"),
            ("../../../../g", "http://a/g"),
            ("/./g", "http://a/g"),
            ("/../g", "http://a/g"),
            ("g.", "http://a/b/c/g."),
            (".g", "http://a/b/c/.g"),
            ("g..", "http://a/b/c/g.."),
            ("./../g", "http://a/b/g"),
            ("./g/.", "http://a/b/c/g/"),
            ("g/./h", "http://a/b/c/g/h"),
            ("g/../h", "http://a/b/c/h"),
            ("g;x=1/./y", "http://a/b/c/g;x=1/y"),
            ("g;x=1/../y", "http://a/b/c/y"),
            ("g?y/./x", "http://a/b/c/g?y/./x"),
            ("g?y/../x", "http://a/b/c/g?y/../x"),
            ("http:g", "http:g"),
            ("coap://h/x/../y", "coap://h/y"),
        ] {
            let mut out = [0; 64];
            assert_eq!(resolve("http://a/b/c/d;p?q", reference, &mut out), Ok(want), "{reference}");
        }
        let mut out = [0; 64];
        assert_eq!(
            resolve("coap://[::1]:5683/sensor/manifest", "image/00ff", &mut out),
            Ok("coap://[::1]:5683/sensor/image/00ff")
        );
        assert_eq!(resolve("coap://h", "image/x", &mut out), Ok("coap://h/image/x"));
        assert_eq!(resolve("coap://h/a", "x y", &mut out), Err(Misuse::InvalidUri));
        assert_eq!(resolve("/a", "b", &mut out), Err(Misuse::InvalidUri));
        assert_eq!(resolve("coap://host/abc", "d", &mut [0; 9]), Err(Misuse::OutOfRange));
    }

    /// [RFC7252-6.5-1] [RFC7252-6.1-1]: upper case in escapes; no host without a name
    #[test]
    fn options_compose_to_the_uri_again() {
        for text in [
            "coap://example.net/",
            "coap://[2001:db8::2:1]:99/a",
            "coap://198.51.100.1:61616//%2F//?//&?%26",
            "coap://h/%E3%81%93%20x?q=1",
        ] {
            let uri = Uri::parse(text).unwrap();
            let mut buf = [0; 128];
            let mut encoder = Encoder::new(&mut buf, Type::Confirmable, super::super::Code::GET, 0, &Token::EMPTY);
            for segment in uri.segments() {
                encoder.escaped(option::URI_PATH, segment).unwrap();
            }
            for argument in uri.arguments() {
                encoder.escaped(option::URI_QUERY, argument).unwrap();
            }
            let message = Message::decode(encoder.finish().unwrap()).unwrap();
            let mut out = [0; 128];
            assert_eq!(compose(uri.scheme(), uri.host(), uri.port(), message.options, &mut out), Ok(text));
            assert_eq!(compose(uri.scheme(), uri.host(), uri.port(), message.options, &mut out[..7]), Err(text.len()));
        }
    }

    proptest! {
        #[test]
        fn any_text_is_taken_or_refused(base in "\\PC{0,40}", reference in "[a-z:/?#.%0-9]{0,40}", len in 0..64_usize) {
            let mut out = [0; 64];
            let _ = Uri::parse(&base);
            let _ = Uri::parse(&reference);
            let _ = resolve(&base, &reference, &mut out[..len]);
            if let Ok(text) = resolve("coap://h/a/b", &reference, &mut out) {
                prop_assert!(!text.contains("/../") || text.contains('?'));
            }
        }
    }
}
