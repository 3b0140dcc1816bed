//! Errors of the core as exceptions: `waft.Misuse`, `waft.Capacity` and `waft.PeerError`, with number and name.

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyModule;
use waft::error::{Code, Error};
use waft::ota::refusal::Refusal;
use waft::{Capacity, Misuse, coap, mqtt};

static MODULE: PyOnceLock<Py<PyModule>> = PyOnceLock::new();

fn raise(py: Python<'_>, class: &str, code: i32, name: &str, text: &str) -> PyErr {
    let made = MODULE
        .get_or_try_init(py, || PyModule::import(py, "waft._errors").map(Bound::unbind))
        .and_then(|m| m.bind(py).getattr(class))
        .and_then(|c| c.call1((code, name, text)));
    match made {
        Ok(value) => PyErr::from_value(value),
        Err(e) => e,
    }
}

/// Something a peer can do wrong, or a reason for which a manifest or an image is refused.
pub(crate) trait Named: Code + core::fmt::Display {
    /// The exception's class in `waft._errors`.
    const CLASS: &'static str;
    /// The reason's name.
    fn name(&self) -> &'static str;
}

/// The caller broke a rule.
pub(crate) fn misuse(py: Python<'_>, e: Misuse) -> PyErr {
    raise(py, "Misuse", e.code(), e.name(), &e.to_string())
}

/// Storage is full.
pub(crate) fn capacity(py: Python<'_>, e: Capacity) -> PyErr {
    raise(py, "Capacity", e.code(), e.name(), &e.to_string())
}

/// The other side is to blame.
pub(crate) fn peer<P: Named>(py: Python<'_>, e: &P) -> PyErr {
    raise(py, P::CLASS, e.code(), e.name(), &e.to_string())
}

/// Whichever it is.
pub(crate) fn any<P: Named>(py: Python<'_>, e: &Error<P>) -> PyErr {
    match e {
        Error::Misuse(e) => misuse(py, *e),
        Error::Capacity(e) => capacity(py, *e),
        Error::Peer(e) => peer(py, e),
    }
}

/// Every error there is: (class, code, name, text).
#[pyfunction]
pub(crate) fn error_table() -> Vec<(&'static str, i32, &'static str, String)> {
    let mut table = Vec::new();
    table.extend(Misuse::ALL.iter().map(|e| ("Misuse", e.code(), e.name(), e.to_string())));
    table.extend(Capacity::ALL.iter().map(|e| ("Capacity", e.code(), e.name(), e.to_string())));
    table.extend(Refusal::ALL.iter().map(|e| ("Refusal", e.code(), Refusal::name(*e), e.to_string())));
    table
        .extend(mqtt::Violation::ALL.iter().map(|e| ("PeerError", e.code(), mqtt::Violation::name(*e), e.to_string())));
    table
        .extend(coap::Violation::ALL.iter().map(|e| ("PeerError", e.code(), coap::Violation::name(*e), e.to_string())));
    table
}
