//! `waft.coap`: URIs (RFC 7252 §6).

use crate::{coap::encoded, errors};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use waft::Misuse;
use waft::coap::{Options, Scheme, Uri, compose, resolve};

/// Scheme, host, port, target (path and query), and whether the host is an address.
type Parts = (&'static str, String, u16, String, bool);

/// Takes an absolute `coap` or `coaps` URI apart.
#[pyfunction]
pub(crate) fn parse_uri(py: Python<'_>, uri: &str) -> PyResult<Parts> {
    let uri = Uri::parse(uri).map_err(|e| errors::misuse(py, e))?;
    let scheme = if uri.scheme() == Scheme::Coap { "coap" } else { "coaps" };
    Ok((scheme, uri.host().to_owned(), uri.port(), uri.target().to_owned(), uri.is_literal()))
}

/// The URI of a request: from its options and, where they do not name them, the host and port it was sent to.
#[pyfunction]
pub(crate) fn compose_uri(
    py: Python<'_>,
    scheme: &str,
    host: &str,
    port: u16,
    options: Vec<(u16, Vec<u8>)>,
) -> PyResult<String> {
    let scheme = match scheme {
        "coap" => Scheme::Coap,
        "coaps" => Scheme::Coaps,
        _ => return Err(PyValueError::new_err("a scheme is coap or coaps")),
    };
    let options = encoded(py, options)?;
    let options = Options::from_parts(&options, 0);
    let mut out = Vec::new();
    if let Err(needed) = compose(scheme, host, port, options, &mut out) {
        out.resize(needed, 0);
    }
    compose(scheme, host, port, options, &mut out)
        .map(str::to_owned)
        .map_err(|_| PyValueError::new_err("the host is no text"))
}

/// Resolves a reference against an absolute URI (RFC 3986 §5.2), without its fragment.
#[pyfunction]
pub(crate) fn resolve_uri(py: Python<'_>, base: &str, reference: &str) -> PyResult<String> {
    // Nothing is longer than both, with a slash and a colon between.
    let mut out = vec![0; base.len().saturating_add(reference.len()).saturating_add(8)];
    resolve(base, reference, &mut out).map(str::to_owned).map_err(|e: Misuse| errors::misuse(py, e))
}
