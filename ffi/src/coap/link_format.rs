//! Link format (RFC 6690): what `/.well-known/core` answers.
#![allow(non_camel_case_types, reason = "C's names")]

use super::message::waft_coap_options_t;
use crate::{
    error::{Fail, found, result},
    handle::{Out, lent, lent_mut, lent_one},
    types::waft_str_t,
};
use waft::{
    Capacity, Misuse,
    coap::{
        link_format::{Link, Links, append, matches},
        option,
    },
};

/// A link. Pointers in it point into the document.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct waft_coap_link_t {
    /// The URI reference between the angle brackets.
    pub target: waft_str_t,
    /// Its attributes as they stand in the document, for waft_coap_link_attribute().
    pub attributes: waft_str_t,
}

/// An attribute of a link.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct waft_coap_attribute_t {
    /// Its name: "rt", "if", "ct", "sz", "obs", "title", or any other.
    pub name: waft_str_t,
    /// Its value. Empty where it has none (`obs`).
    pub value: waft_str_t,
}

/// Takes the next link out of `document`, the body of an answer of Content-Format WAFT_COAP_FORMAT_LINK_FORMAT. 1 where there
/// was one, 0 at the end; then `*link` is left alone.
///
/// WAFT_ERROR_INVALID_STRING: what is left of `document` does not begin with a link, or is not UTF-8.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn waft_coap_links_next(document: *mut waft_str_t, link: *mut waft_coap_link_t) -> i32 {
    found((|| {
        // SAFETY: C lends the document and its place, and the place of the link.
        unsafe {
            let out = Out::new(link)?;
            let mut links = Links::new(lent_one(document)?.lent()?);
            let Some(next) = links.next() else {
                return if links.rest().is_empty() { Ok(false) } else { Err(Misuse::InvalidString.into()) };
            };
            out.set(waft_coap_link_t {
                target: waft_str_t::of(next.target),
                attributes: waft_str_t::of(next.raw_attributes()),
            });
            document.write(waft_str_t::of(links.rest()));
        }
        Ok(true)
    })())
}

/// Reads attribute number `n` of a link, from 0 on. 1 where there is one, else 0; then `*attribute` is left alone. The value of a
/// quoted string comes without its quotes, escapes left as they are. `obs` comes once, whatever is written (RFC 7641 §6).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn waft_coap_link_attribute(
    link: *const waft_coap_link_t,
    n: usize,
    attribute: *mut waft_coap_attribute_t,
) -> i32 {
    found((|| {
        // SAFETY: C lends the link, the document it is of, and the place of the attribute.
        unsafe {
            let out = Out::new(attribute)?;
            let link = lent_one(link)?;
            let link = Link::from_parts(link.target.lent()?, link.attributes.lent()?);
            let Some((name, value)) = link.attributes().nth(n) else { return Ok(false) };
            out.set(waft_coap_attribute_t { name: waft_str_t::of(name), value: waft_str_t::of(value) });
        }
        Ok(true)
    })())
}

/// Writes one more link behind the `*len` bytes of a document in `buffer`, which may be none, and raises `*len`. Where `options` is not
/// NULL, they are those of a request to `/.well-known/core`, and a link that its filter (the Uri-Query options; RFC 6690 §4.1)
/// leaves out is not written. So a server begins with a length of 0, adds all its links, and answers with what is in the buffer.
///
/// A value of digits stands unquoted (`sz`, `ct`), an empty one leaves the name alone (`obs`), all others are quoted.
///
/// WAFT_ERROR_BUFFER: the link does not fit; the document is what it was. WAFT_ERROR_OUT_OF_RANGE: it is longer than the buffer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn waft_coap_links_add(
    target: waft_str_t,
    attributes: *const waft_coap_attribute_t,
    count: usize,
    options: *const waft_coap_options_t,
    buffer: *mut u8,
    buffer_len: usize,
    len: *mut usize,
) -> i32 {
    result((|| {
        // SAFETY: C lends the texts, the options and what they were received in, the buffer, and the place of the length.
        unsafe {
            let out = Out::new(len)?;
            let (target, attributes, used) = (target.lent()?, lent(attributes, count)?, *lent_one(len)?);
            for attribute in attributes {
                attribute.name.lent()?;
                attribute.value.lent()?;
            }
            let texts = || attributes.iter().filter_map(|a| Some((a.name.lent().ok()?, a.value.lent().ok()?)));
            let options = if options.is_null() { None } else { Some(lent_one(options)?.lent()?) };
            let mut filters = options.iter().flat_map(|options| options.all(option::URI_QUERY));
            if filters.any(|filter| core::str::from_utf8(filter).is_ok_and(|filter| !matches(target, texts(), filter)))
            {
                return Ok(());
            }
            let buffer = lent_mut(buffer, buffer_len)?;
            if used > buffer.len() {
                return Err(Misuse::OutOfRange.into());
            }
            out.set(append(buffer, used, target, texts()).map_err(|_| Capacity::Buffer)?);
        }
        Ok::<_, Fail>(())
    })())
}
