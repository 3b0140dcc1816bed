//! What a gateway serves.

use alloc::{
    borrow::ToOwned,
    collections::BTreeMap,
    string::{String, ToString},
};

use bytes::Bytes;

use crate::{
    Capacity,
    coap::{
        Code, Opt, Reply, Resource, link_format,
        option::{self, Uint},
    },
};

/// One resource.
#[derive(Debug, Clone)]
pub struct Entry {
    body: Bytes,
    content_format: u16,
    etag: [u8; 8],
    resource: Resource,
}

impl Entry {
    /// Its representation.
    #[must_use]
    pub const fn body(&self) -> &Bytes {
        &self.body
    }

    /// Its content format (RFC 7252 §12.3).
    #[must_use]
    pub const fn content_format(&self) -> u16 {
        self.content_format
    }

    /// Its entity tag: a hash of the representation, so that several gateways give the same (RFC 7252 §5.10.6).
    #[must_use]
    pub const fn etag(&self) -> &[u8; 8] {
        &self.etag
    }

    pub(super) const fn resource(&self) -> Resource {
        self.resource
    }

    /// Hands out the reply that carries it; where the client has it already (`valid`), 2.03 without a body.
    pub(super) fn reply<R>(&self, valid: bool, with: impl FnOnce(&Reply<'_>) -> R) -> R {
        let format = Uint::new(u32::from(self.content_format));
        let both = [
            Opt { number: option::ETAG, value: &self.etag },
            Opt { number: option::CONTENT_FORMAT, value: format.as_bytes() },
        ];
        let (code, options, body) = if valid {
            (Code::VALID, both.get(..1).unwrap_or(&[]), &[][..])
        } else {
            (Code::CONTENT, &both[..], &self.body[..])
        };
        with(&Reply { options, observe: Some(self.resource), ..Reply::new(code, body) })
    }
}

/// Resources by path.
#[derive(Debug, Default)]
pub(super) struct Cache {
    entries: BTreeMap<String, Entry>,
    bytes: usize,
    resources: u32,
}

impl Cache {
    pub(super) fn get(&self, path: &str) -> Option<&Entry> {
        self.entries.get(path)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &Entry)> {
        self.entries.iter().map(|(path, entry)| (path.as_str(), entry))
    }

    pub(super) fn remove(&mut self, path: &str) -> Option<Entry> {
        let entry = self.entries.remove(path)?;
        self.bytes = self.bytes.saturating_sub(entry.body.len());
        Some(entry)
    }

    /// Puts a representation in. Gives its resource where there was another one before.
    pub(super) fn put(
        &mut self,
        path: &str,
        content_format: u16,
        body: Bytes,
        max_entries: usize,
        max_bytes: usize,
    ) -> Result<Option<Resource>, Capacity> {
        let before = self.entries.get(path).map(|entry| (entry.resource, entry.etag, entry.body.len()));
        let bytes = self.bytes.saturating_sub(before.map_or(0, |(_, _, len)| len)).saturating_add(body.len());
        if bytes > max_bytes || (before.is_none() && self.entries.len() >= max_entries) {
            return Err(Capacity::Buffer);
        }
        let etag = etag(&body);
        let resource = before.map_or_else(
            || {
                self.resources = self.resources.wrapping_add(1);
                Resource(self.resources)
            },
            |(resource, ..)| resource,
        );
        self.bytes = bytes;
        self.entries.insert(path.to_owned(), Entry { body, content_format, etag, resource });
        Ok(before.filter(|(_, old, _)| *old != etag).map(|(resource, ..)| resource))
    }

    /// A link-format document of the resources that `query` selects (RFC 6690 §4.1).
    pub(super) fn describe(&self, query: &str) -> String {
        let mut document = String::new();
        for (path, entry) in &self.entries {
            let (size, format) = (entry.body.len().to_string(), entry.content_format.to_string());
            let attributes = [("sz", size.as_str()), ("ct", format.as_str()), ("obs", "")];
            if !query.is_empty() && !link_format::matches(path, attributes, query) {
                continue;
            }
            if !document.is_empty() {
                document.push(',');
            }
            document.push('<');
            document.push_str(path);
            document.push('>');
            for (name, value) in attributes {
                document.push(';');
                document.push_str(name);
                if !value.is_empty() {
                    document.push('=');
                    document.push_str(value);
                }
            }
        }
        document
    }
}

/// FNV-1a, 64 bits: tells versions apart; the manifest's digest is what authenticates.
pub(super) fn etag(body: &[u8]) -> [u8; 8] {
    body.iter()
        .fold(0xCBF2_9CE4_8422_2325_u64, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01B3))
        .to_be_bytes()
}
