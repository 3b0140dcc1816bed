//! Manifests that name chunk digests or bring key tables, for tests of the machine: the envelopes of [`super::envelope`],
//! read with a list for some images, and a table in the place of others.

use super::remembered::Remembered;
use std::collections::HashMap;
use std::sync::Mutex;
use waft::ota::chunks::{self, ChunkDigests};
use waft::ota::digest::Sha256;
use waft::ota::keys::{self, KeyTable};
use waft::ota::manifest::{Codec, Component, Image, Payload, Take, Verifier};
use waft::ota::refusal::Refusal;

/// A codec that knows the lists of some images, and whether they come in the envelope.
pub struct Chunked {
    pub chunk: u32,
    pub integrated: bool,
    suit: Remembered,
    lists: Mutex<HashMap<[u8; 32], &'static [u8]>>,
    tables: Mutex<HashMap<[u8; 32], &'static [u8]>>,
}

impl Chunked {
    pub fn new(chunk: u32, integrated: bool) -> Self {
        Self { chunk, integrated, suit: Remembered::default(), lists: Mutex::default(), tables: Mutex::default() }
    }

    /// Lets manifests of that image bring a key table instead of it.
    pub fn add_table(&self, image: &[u8], table: &KeyTable) {
        let mut out = [0; keys::PAYLOAD];
        let payload = Box::leak(table.encode(&mut out).unwrap().to_vec().into_boxed_slice());
        self.tables.lock().unwrap().insert(Sha256::of(image), payload);
    }

    /// Lets manifests of that image name chunk digests: gives their list.
    pub fn add(&self, image: &[u8]) -> &'static [u8] {
        let list = Box::leak(chunks::list(image, self.chunk).into_boxed_slice());
        self.lists.lock().unwrap().insert(Sha256::of(image), list);
        list
    }

    /// The list of such an image.
    pub fn list(&self, image: &[u8]) -> &'static [u8] {
        self.lists.lock().unwrap()[&Sha256::of(image)]
    }
}

impl Codec for Chunked {
    fn verify<'a>(
        &self,
        envelope: &'a [u8],
        keys: &[waft::ota::manifest::Key],
        verifier: &dyn Verifier,
        slot: Option<u32>,
        take: &mut Take<'_, 'a>,
    ) -> Result<(), Refusal> {
        self.suit.verify(envelope, keys, verifier, slot, take)
    }

    fn read<'a>(&self, envelope: &'a [u8], slot: Option<u32>, take: &mut Take<'_, 'a>) -> Result<(), Refusal> {
        self.suit.read(envelope, slot, take)
    }

    fn payloads<'a>(
        &self,
        envelope: &'a [u8],
        slot: Option<u32>,
        visit: &mut dyn FnMut(&Payload<'a>),
    ) -> Result<(), Refusal> {
        let mut first = true;
        self.suit.payloads(envelope, slot, &mut |payload| {
            // Other images have neither.
            if !std::mem::take(&mut first) {
                return visit(payload);
            }
            let image = *payload;
            if let Some(table) = self.tables.lock().unwrap().get(&image.image.digest) {
                return visit(&Payload { component: Component::Keys, content: Some(table), ..image });
            }
            let list = self.lists.lock().unwrap().get(&image.image.digest).copied();
            let Some(list) = list else { return visit(payload) };
            let content = self.integrated.then_some(list);
            let described = Image::of(list).unwrap();
            visit(&Payload { component: Component::Chunks(0), image: described, uri: "list/1", content, chunks: None });
            visit(&Payload { chunks: ChunkDigests::new(self.chunk, image.image.size, described.digest), ..image });
        })
    }
}
