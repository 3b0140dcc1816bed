//! What machines return, as classes of their own: made in a tenth of the time that a dataclass takes, and otherwise as
//! one: frozen, printable, comparable, hashable, matched by position, copied and pickled.

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString};

/// A field, as Python sees it.
trait Field {
    fn field(&self, py: Python<'_>) -> PyResult<Py<PyAny>>;
}

macro_rules! plain {
    ($($ty:ty),*) => {$(
        impl Field for $ty {
            fn field(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
                Ok((*self).into_pyobject(py)?.to_owned().into_any().unbind())
            }
        }
    )*};
}
plain!(bool, u8, u16, u32, usize, Option<u16>, Option<u64>);

impl<T> Field for Py<T> {
    fn field(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        Ok(self.clone_ref(py).into_any())
    }
}

impl Field for Option<Py<PyAny>> {
    fn field(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        Ok(self.as_ref().map_or_else(|| py.None(), |it| it.clone_ref(py)))
    }
}

/// `events! { "module" /// doc  Name { field: Type, … } … }`; `Name: generic` may stand in brackets as `Name[Type]`.
macro_rules! events {
    ($module:literal $($(#[$about:meta])* $name:ident $(: $generic:ident)? { $($field:ident: $ty:ty),+ $(,)? })+) => {$(
        $(#[$about])*
        #[pyclass(frozen, get_all, $($generic,)? module = $module)]
        pub(crate) struct $name {
            $(pub(crate) $field: $ty,)+
        }

        #[pymethods]
        impl $name {
            #[new]
            fn new($($field: $ty),+) -> Self {
                Self { $($field),+ }
            }

            #[classattr]
            #[pyo3(name = "__match_args__")]
            fn match_args(py: Python<'_>) -> PyResult<Py<PyAny>> {
                Ok(pyo3::types::PyTuple::new(py, [$(stringify!($field)),+])?.into_any().unbind())
            }

            fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
                let fields = [$(format!("{}={}", stringify!($field), self.$field.field(py)?.bind(py).repr()?)),+];
                Ok(format!("{}({})", stringify!($name), fields.join(", ")))
            }

            fn __eq__(&self, py: Python<'_>, other: PyRef<'_, Self>) -> PyResult<bool> {
                Ok(true $(&& self.$field.field(py)?.bind(py).eq(other.$field.field(py)?)?)+)
            }

            fn __hash__(&self, py: Python<'_>) -> PyResult<isize> {
                pyo3::types::PyTuple::new(py, [$(self.$field.field(py)?),+])?.hash()
            }

            fn __reduce__(&self, py: Python<'_>) -> PyResult<(Py<PyAny>, Py<PyAny>)> {
                let fields = pyo3::types::PyTuple::new(py, [$(self.$field.field(py)?),+])?;
                Ok((py.get_type::<Self>().into_any().unbind(), fields.into_any().unbind()))
            }
        }
    )+};
}

/// Of all machines.
pub(crate) mod machine {
    use super::*;

    events! { "waft"
        /// What became of some input. Keep ``data[consumed:]`` and offer it again with more behind it.
        ///
        /// ``event`` is at most one thing a call; there may be more in the bytes that are left. With no event and bytes
        /// left, at least ``needed`` further bytes are missing; ``needed == 0`` says *not now*: drain ``poll_output`` and
        /// answer its events first.
        Handled: generic { consumed: usize, needed: usize, event: Option<Py<PyAny>> }

        /// What became of all the input that could be taken: as :class:`Handled`, with every event in order.
        HandledAll: generic { consumed: usize, needed: usize, events: Py<PyAny> }

        /// Send ``data`` to ``peer`` (your own number for it): one datagram, or the next bytes of the stream.
        Transmit { peer: u32, data: Py<PyBytes> }

        /// The next output takes ``needed`` bytes. It is kept: call again with that ``max``.
        BufferTooSmall { needed: usize }

        /// Nothing more for now. Call ``handle_timeout`` at ``at`` (microseconds), or wait for input only where it is
        /// None.
        Timeout { at: Option<u64> }
    }
}

/// Of the MQTT client.
pub(crate) mod mqtt {
    use super::*;

    events! { "waft.mqtt"
        /// The broker accepted the connection.
        Connected { session_present: bool }

        /// The broker refused the connection; close it. ``code`` is that of MQTT 3.1.1 §3.2.2.3.
        Refused { code: u8, name: Py<PyString> }

        /// A message begins. Its ``payload_len`` bytes follow as :class:`Payload` events (none when it is empty).
        Publish { topic: Py<PyString>, payload_len: u32, qos: u8, retain: bool, dup: bool, id: Option<u16> }

        /// The next bytes of the message that is arriving.
        Payload { data: Py<PyBytes>, last: bool }

        /// A message is passed over (and acknowledged): its topic is longer than ``max_packet`` allows, or its payload
        /// longer than ``max_payload``.
        Skipped { topic_len: u16, payload_len: u32 }

        /// A message of ours has arrived for good: PUBACK or PUBCOMP.
        Acknowledged { id: u16 }

        /// A SUBACK: one granted QoS, or 0x80, for each filter.
        Subscribed { id: u16, codes: Py<PyBytes> }

        /// An UNSUBACK.
        Unsubscribed { id: u16 }

        /// The next bytes of a streamed message are wanted: answer with ``payload()``.
        PayloadWanted { id: Option<u16>, offset: u32, len: u32 }

        /// The machine gave the connection up; close it.
        Closed { reason: Py<PyString> }
    }
}
