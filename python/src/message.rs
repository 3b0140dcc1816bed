//! `waft.coap`: one message, decoded and encoded.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList, PyString, PyTuple, PyType};
use pyo3::{IntoPyObjectExt, intern};
use waft::coap::{Code, Encoder, Message as Decoded, Token, Type};

use crate::bridge::{Object, bytes};
use crate::coap::{code, options};
use crate::errors;

/// What a type is called.
fn name<'py>(py: Python<'py>, ty: Type) -> &'py Bound<'py, PyString> {
    match ty {
        Type::Confirmable => intern!(py, "CON"),
        Type::NonConfirmable => intern!(py, "NON"),
        Type::Acknowledgement => intern!(py, "ACK"),
        Type::Reset => intern!(py, "RST"),
    }
}

/// The type of this name.
fn named(name: &str) -> Option<Type> {
    match name {
        "CON" => Some(Type::Confirmable),
        "NON" => Some(Type::NonConfirmable),
        "ACK" => Some(Type::Acknowledgement),
        "RST" => Some(Type::Reset),
        _ => None,
    }
}

/// A message (RFC 7252 §3), for tools and tests. ``type`` is CON, NON, ACK or RST.
///
/// It is frozen, printable, comparable, matched by position, copied and pickled. Only ``encode`` looks at what it is made of.
#[pyclass(frozen, subclass, module = "waft.coap")]
pub(crate) struct Message {
    #[pyo3(get, name = "type")]
    ty: Object,
    #[pyo3(get)]
    code: Object,
    #[pyo3(get)]
    id: Object,
    #[pyo3(get)]
    token: Object,
    #[pyo3(get)]
    options: Object,
    #[pyo3(get)]
    payload: Object,
}

impl Message {
    /// What it is made of, in order.
    fn fields<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(py, [&self.ty, &self.code, &self.id, &self.token, &self.options, &self.payload])
    }
}

#[pymethods]
impl Message {
    #[new]
    #[pyo3(signature = (r#type, code, id, token=None, options=None, payload=None))]
    fn new(
        py: Python<'_>,
        r#type: Object,
        code: Object,
        id: Object,
        token: Option<Object>,
        options: Option<Object>,
        payload: Option<Object>,
    ) -> Self {
        let nothing = || PyBytes::new(py, &[]).into_any().unbind();
        Self {
            ty: r#type,
            code,
            id,
            token: token.unwrap_or_else(nothing),
            options: options.unwrap_or_else(|| PyList::empty(py).into_any().unbind()),
            payload: payload.unwrap_or_else(nothing),
        }
    }

    /// Its datagram. The options have to be in ascending order of their numbers.
    fn encode<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let ty = named(self.ty.bind(py).extract::<&str>()?)
            .ok_or_else(|| PyValueError::new_err("a type is CON, NON, ACK or RST"))?;
        let token = Token::new(self.token.bind(py).extract()?)
            .ok_or_else(|| PyValueError::new_err("a token has at most 8 bytes"))?;
        let options: Vec<(u16, Vec<u8>)> = self.options.bind(py).extract()?;
        let payload: &[u8] = self.payload.bind(py).extract()?;
        let most = options.iter().map(|(_, value)| value.len().saturating_add(5)).fold(13, usize::saturating_add);
        let mut buffer = vec![0; most.saturating_add(payload.len())];
        let (code, id) = (Code(self.code.bind(py).extract()?), self.id.bind(py).extract()?);
        let mut encoder = Encoder::new(&mut buffer, ty, code, id, &token);
        for (number, value) in &options {
            encoder.option(*number, value).map_err(|e| errors::misuse(py, e))?;
        }
        encoder.payload(payload);
        let datagram = encoder.finish().map_err(|_| PyValueError::new_err("the message is too long"))?;
        Ok(bytes(py, datagram))
    }

    #[classattr]
    fn __match_args__() -> (&'static str, &'static str, &'static str, &'static str, &'static str, &'static str) {
        ("type", "code", "id", "token", "options", "payload")
    }

    fn __repr__(slf: &Bound<'_, Self>) -> PyResult<String> {
        let Self { ty, code, id, token, options, payload } = slf.get();
        let py = slf.py();
        Ok(format!(
            "{}(type={}, code={}, id={}, token={}, options={}, payload={})",
            slf.get_type().qualname()?,
            ty.bind(py).repr()?,
            code.bind(py).repr()?,
            id.bind(py).repr()?,
            token.bind(py).repr()?,
            options.bind(py).repr()?,
            payload.bind(py).repr()?,
        ))
    }

    /// Those of one class are equal whose fields are.
    fn __eq__(slf: &Bound<'_, Self>, other: &Bound<'_, PyAny>) -> PyResult<Object> {
        let py = slf.py();
        match other.cast::<Self>() {
            Ok(it) if it.get_type().is(slf.get_type()) => {
                slf.get().fields(py)?.eq(it.get().fields(py)?)?.into_py_any(py)
            }
            _ => Ok(py.NotImplemented()),
        }
    }

    fn __hash__(&self, py: Python<'_>) -> PyResult<isize> {
        self.fields(py)?.hash()
    }

    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<(Bound<'py, PyType>, Bound<'py, PyTuple>)> {
        Ok((slf.get_type(), slf.get().fields(slf.py())?))
    }
}

/// Decodes a datagram, for tools and tests: an endpoint does it by itself.
#[pyfunction]
pub(crate) fn decode_message(py: Python<'_>, datagram: &[u8]) -> PyResult<Py<Message>> {
    let m = Decoded::decode(datagram).map_err(|e| errors::peer(py, &e))?;
    let message = Message {
        ty: name(py, m.ty).clone().into_any().unbind(),
        code: code(py, m.code)?,
        id: m.id.into_py_any(py)?,
        token: bytes(py, m.token.as_bytes()).into_any().unbind(),
        options: PyList::new(py, options(py, m.options))?.into_any().unbind(),
        payload: bytes(py, m.payload).into_any().unbind(),
    };
    Py::new(py, message)
}
