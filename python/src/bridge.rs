//! From what machines return to what Python sees: classes of [`crate::events`], and dataclasses of the protocols'
//! modules where they need not be fast.

use pyo3::prelude::*;
use pyo3::types::PyBytes;
use pyo3::{PyClass, PyClassInitializer};
use waft::{Instant, Output, Peer};

use crate::events::machine;

/// A new object of a class that is written in Python: `make!(py, "waft.mqtt", "Connected", (false,))`.
macro_rules! make {
    ($py:expr, $module:literal, $class:literal, $args:expr) => {{
        static CLASS: pyo3::sync::PyOnceLock<pyo3::Py<pyo3::PyAny>> = pyo3::sync::PyOnceLock::new();
        $crate::bridge::build($py, &CLASS, $module, $class, $args)
    }};
}
pub(crate) use make;

pub(crate) type Object = Py<PyAny>;

pub(crate) fn build<'py, A: pyo3::call::PyCallArgs<'py>>(
    py: Python<'py>,
    class: &pyo3::sync::PyOnceLock<Py<PyAny>>,
    module: &str,
    name: &str,
    args: A,
) -> PyResult<Object> {
    Ok(class.import(py, module, name)?.call1(args)?.unbind())
}

/// A new object of a class that is written in Rust.
pub(crate) fn object<T: PyClass>(py: Python<'_>, value: impl Into<PyClassInitializer<T>>) -> PyResult<Object> {
    Ok(Py::new(py, value)?.into_any())
}

pub(crate) fn bytes<'py>(py: Python<'py>, data: &[u8]) -> Bound<'py, PyBytes> {
    PyBytes::new(py, data)
}

/// The time that Python gives: microseconds.
pub(crate) fn at(now: u64) -> Instant {
    Instant::from_micros(now)
}

/// `Handled(consumed, needed, event)`.
pub(crate) fn handled(py: Python<'_>, consumed: usize, needed: usize, event: Option<Object>) -> PyResult<Object> {
    object(py, machine::Handled { consumed, needed, event })
}

/// `Transmit`, `BufferTooSmall`, `Timeout`, or the event itself.
pub(crate) fn output<E>(
    py: Python<'_>,
    output: Output<'_, E>,
    event: impl FnOnce(E) -> PyResult<Object>,
) -> PyResult<Object> {
    match output {
        Output::Transmit { peer: Peer(peer), bytes: data } => {
            object(py, machine::Transmit { peer, data: bytes(py, data).unbind() })
        }
        Output::Event(e) => event(e),
        Output::BufferTooSmall { needed } => object(py, machine::BufferTooSmall { needed }),
        Output::Timeout(until) => object(py, machine::Timeout { at: until.map(Instant::as_micros) }),
    }
}

/// The memory for one output: as many bytes as the caller allows, kept from call to call.
#[derive(Default)]
pub(crate) struct Scratch(Vec<u8>);

impl Scratch {
    /// No more than this is ever set aside, whatever the caller allows: no packet is longer.
    const MOST: usize = 1 << 28;

    pub(crate) fn of(&mut self, max: usize) -> &mut [u8] {
        let max = max.min(Self::MOST);
        if self.0.len() < max {
            self.0.resize(max, 0);
        }
        self.0.get_mut(..max).unwrap_or(&mut [])
    }
}
