//! What envelopes say, asked once: a manifest is a pure function of its bytes, and the power-cut proof asks the same few of them millions of
//! times.

use std::collections::HashMap;
use std::sync::Mutex;
use waft::ota::manifest::{Codec, Key, Payload, Suit, Take, Verifier};
use waft::ota::refusal::Refusal;

type Said = HashMap<Option<u32>, Result<Vec<Payload<'static>>, Refusal>>;

/// [`Suit`] with a memory of its answers.
#[derive(Default)]
pub struct Remembered {
    said: Mutex<Vec<(&'static [u8], Said)>>,
}

/// Envelopes it has a memory for; others are read each time.
const ENVELOPES: usize = 32;

impl Codec for Remembered {
    fn verify<'a>(
        &self,
        envelope: &'a [u8],
        keys: &[Key],
        verifier: &dyn Verifier,
        slot: Option<u32>,
        take: &mut Take<'_, 'a>,
    ) -> Result<(), Refusal> {
        Suit.verify(envelope, keys, verifier, slot, take)
    }

    fn read<'a>(&self, envelope: &'a [u8], slot: Option<u32>, take: &mut Take<'_, 'a>) -> Result<(), Refusal> {
        Suit.read(envelope, slot, take)
    }

    fn payloads<'a>(
        &self,
        envelope: &'a [u8],
        slot: Option<u32>,
        visit: &mut dyn FnMut(&Payload<'a>),
    ) -> Result<(), Refusal> {
        let mut said = self.said.lock().unwrap();
        let place = said.iter().position(|(known, _)| *known == envelope).or_else(|| {
            let place = said.len();
            (place < ENVELOPES).then(|| said.push((Box::leak(envelope.into()), Said::new())))?;
            Some(place)
        });
        let Some(place) = place else { return Suit.payloads(envelope, slot, visit) };
        let (known, said) = &mut said[place];
        let said = said.entry(slot).or_insert_with(|| {
            let mut payloads = Vec::new();
            Suit.payloads(known, slot, &mut |payload| payloads.push(*payload))?;
            Ok(payloads)
        });
        said.as_ref().map_err(|refusal| *refusal)?.iter().for_each(visit);
        Ok(())
    }
}
