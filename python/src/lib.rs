//! The private module `waft._native`: the machines of `waft` as Python classes with the same verbs.
//!
//! Nothing here panics and nothing here does I/O. Events and errors are Python dataclasses and exceptions declared in
//! `waft._events` and `waft._errors`, so that they are typed and printable without stubs of their own.

#![forbid(unsafe_code)]

mod errors;

use pyo3::prelude::*;

/// The machines of waft; use them through `waft`, `waft.mqtt`, `waft.coap` and `waft.ota`.
#[pymodule]
mod _native {
    use pyo3::prelude::*;

    #[pymodule_export]
    use crate::errors::error_table;

    #[pymodule_init]
    fn init(m: &Bound<'_, PyModule>) -> PyResult<()> {
        m.add("__version__", env!("CARGO_PKG_VERSION"))
    }
}
