//! From what machines return to what Python sees: dataclasses of `waft._machine` and of the protocols' modules.

use pyo3::prelude::*;
use pyo3::types::PyBytes;
use waft::{Instant, Output, Peer};

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

pub(crate) fn bytes<'py>(py: Python<'py>, data: &[u8]) -> Bound<'py, PyBytes> {
    PyBytes::new(py, data)
}

/// The time that Python gives: microseconds.
pub(crate) fn at(now: u64) -> Instant {
    Instant::from_micros(now)
}

/// `Handled(consumed, needed, event)`.
pub(crate) fn handled(py: Python<'_>, consumed: usize, needed: usize, event: Option<Object>) -> PyResult<Object> {
    make!(py, "waft._machine", "Handled", (consumed, needed, event))
}

/// `Transmit`, `BufferTooSmall`, `Timeout`, or the event itself.
pub(crate) fn output<E>(
    py: Python<'_>,
    output: Output<'_, E>,
    event: impl FnOnce(E) -> PyResult<Object>,
) -> PyResult<Object> {
    match output {
        Output::Transmit { peer: Peer(peer), bytes: data } => {
            make!(py, "waft._machine", "Transmit", (peer, bytes(py, data)))
        }
        Output::Event(e) => event(e),
        Output::BufferTooSmall { needed } => make!(py, "waft._machine", "BufferTooSmall", (needed,)),
        Output::Timeout(until) => make!(py, "waft._machine", "Timeout", (until.map(Instant::as_micros),)),
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
