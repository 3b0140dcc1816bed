//! `waft.coap`: link format (RFC 6690).

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use waft::coap::link_format::{Entry, Links, write};

/// A target, and its attributes by name and value.
type Link = (String, Vec<(String, String)>);

/// The links that all of `filters` (`rt=firmware*`; RFC 6690 §4.1) let through, as one document.
#[pyfunction]
#[pyo3(signature = (links, filters=Vec::new()))]
pub(crate) fn write_links(links: Vec<Link>, filters: Vec<String>) -> PyResult<String> {
    let attributes: Vec<Vec<(&str, &str)>> =
        links.iter().map(|(_, a)| a.iter().map(|(name, value)| (&**name, &**value)).collect()).collect();
    let entries = links.iter().zip(&attributes).map(|((target, _), attributes)| Entry { target, attributes });
    let entries = entries.filter(|entry| filters.iter().all(|filter| entry.matches(filter)));
    let needed = match write(&mut [], entries.clone(), None) {
        Ok(_) => 0,
        Err(needed) => needed,
    };
    let mut out = vec![0; needed];
    let document = write(&mut out, entries, None).map_err(|_| PyValueError::new_err("the links are no text"))?;
    Ok(document.to_owned())
}

/// The links of a document; what is none raises `ValueError`. Values stand without their quotes, escapes as they are.
#[pyfunction]
pub(crate) fn read_links(document: &str) -> PyResult<Vec<Link>> {
    let mut links = Links::new(document);
    let own = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
    let found = links.by_ref().map(|link| (link.target.to_owned(), link.attributes().map(own).collect())).collect();
    match links.rest() {
        "" => Ok(found),
        rest => Err(PyValueError::new_err(format!("no link: {:.40}", rest))),
    }
}
