//! Manifests for tools: all that is well-formed, whether or not the device profile can apply it, and shown as it is read.

use super::envelope::{Envelope, Layout};
use super::parameters::Noted;
use super::sequence::{Processor, Section};
use super::{COMPONENTS, Key, Verifier};
use crate::ota::cbor::Reader;
use crate::ota::cose::{authenticate, read_digest};
use crate::ota::digest::Sha256;
use crate::ota::refusal::Refusal;

/// Checks the signature, the digests, that the encoding is canonical, and that all sequences consist of known commands
/// with proper arguments, whether or not the device profile can apply them: several components, load sequences and
/// severed members pass here.
///
/// # Errors
/// The rule that it breaks.
pub fn verify_envelope<'a>(
    envelope: &'a [u8],
    keys: &[Key],
    verifier: &(impl Verifier + ?Sized),
) -> Result<Envelope<'a>, Refusal> {
    authenticate(envelope, keys, verifier)?;
    inspect(envelope, &mut ())
}

/// As [`verify_envelope`] but without the signature, showing to `visit` all that it reads: for tools that print.
///
/// # Errors
/// The rule that it breaks; `visit` has then seen what comes before.
pub fn inspect<'a>(envelope: &'a [u8], visit: &mut impl Visit<'a>) -> Result<Envelope<'a>, Refusal> {
    let reader = Reader::new(envelope);
    let mut layout = Layout::new(&reader);
    layout.read(visit);
    reader.check()?;
    let mut referred = Referred { layout: &layout, named: 0, described: 0, visit };
    Processor::new(&reader, false, None, layout.components, &mut Noted::default()).pass(&layout, 0, &mut referred);
    // Nothing else says that an integrated payload is what was signed for.
    let all = (1_u32 << COMPONENTS).wrapping_sub(1).checked_shr(unused(layout.payload_count)).unwrap_or(0);
    reader.unless(layout.payload_count <= COMPONENTS && referred.named & referred.described == all, Refusal::Payload);
    reader.check()?;
    Ok(layout.envelope())
}

/// Of as many integrated payloads as there may be, how many there are not.
fn unused(payloads: usize) -> u32 {
    u32::try_from(COMPONENTS.saturating_sub(payloads)).unwrap_or(u32::MAX)
}

/// Looks for what refers to the integrated payloads, and hands on what it sees.
struct Referred<'l, 'a, 'r, 'v, V> {
    layout: &'l Layout<'a, 'r>,
    /// One bit for each payload whose key is the URI of something.
    named: u32,
    /// One bit for each that has the digest of something.
    described: u32,
    visit: &'v mut V,
}

impl<'a, V: Visit<'a>> Visit<'a> for Referred<'_, 'a, '_, '_, V> {
    fn sequence(&mut self, section: Section, depth: usize, alternative: bool) {
        self.visit.sequence(section, depth, alternative);
    }

    fn command(&mut self, depth: usize, code: i32, argument: &'a [u8]) {
        self.visit.command(depth, code, argument);
    }

    fn parameter(&mut self, depth: usize, key: i32, value: &'a [u8]) {
        let reader = Reader::new(value);
        let uri = if key == 21 { reader.text() } else { "" };
        let digest = (key == 3).then(|| {
            reader.enter();
            read_digest(&reader)
        });
        // It is in the middle of a sequence.
        let cursor = self.layout.reader().cursor();
        for n in 0..self.layout.payload_count.min(COMPONENTS) {
            let Some((key, bytes)) = self.layout.payload_at(n) else { break };
            let bit = 1_u32.wrapping_shl(u32::try_from(n).unwrap_or(0));
            if !uri.is_empty() && key == uri {
                self.named |= bit;
            }
            if digest.is_some_and(|digest| *digest == Sha256::of(bytes)) {
                self.described |= bit;
            }
        }
        self.layout.reader().go_back(cursor);
        self.visit.parameter(depth, key, value);
    }

    fn text(&mut self, language: &'a str, component: Option<&'a [u8]>, key: i32, text: &'a str) {
        self.visit.text(language, component, key, text);
    }
}

/// Sees what a manifest says, in the order in which it says it.
pub trait Visit<'a> {
    /// A sequence begins. Those in other sequences have a `depth` above 0 and may be one `alternative` of a try-each.
    fn sequence(&mut self, section: Section, depth: usize, alternative: bool) {
        let _ = (section, depth, alternative);
    }

    /// A command in the sequence at that depth. `argument` is encoded; it is empty where parameters or sequences follow.
    fn command(&mut self, depth: usize, code: i32, argument: &'a [u8]) {
        let _ = (depth, code, argument);
    }

    /// A parameter that is set, with its encoded value.
    fn parameter(&mut self, depth: usize, key: i32, value: &'a [u8]) {
        let _ = (depth, key, value);
    }

    /// A text, on the component with that encoded identifier or on the manifest.
    fn text(&mut self, language: &'a str, component: Option<&'a [u8]>, key: i32, text: &'a str) {
        let _ = (language, component, key, text);
    }
}

/// Looks at nothing.
impl Visit<'_> for () {}
