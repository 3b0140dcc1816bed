//! Envelopes by hand: an encoder that does what it is told, and a reader that is not waft's own.

use minicbor::data::{Tag, Type};
use minicbor::{Decoder, Encoder};
use sha2::{Digest, Sha256};
use std::sync::OnceLock;
use waft::ota::author::SecretKey;

pub(crate) const VENDOR: [u8; 16] = [1; 16];
pub(crate) const CLASS: [u8; 16] = [2; 16];
pub(crate) const DIGEST: [u8; 32] = [3; 32];

pub(crate) fn hex(text: &str) -> Vec<u8> {
    let text = text.trim();
    assert!(text.len().is_multiple_of(2));
    (0..text.len()).step_by(2).map(|n| u8::from_str_radix(&text[n..n + 2], 16).unwrap()).collect()
}

pub(crate) fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn encode(
    items: impl FnOnce(&mut Encoder<Vec<u8>>) -> Result<(), minicbor::encode::Error<core::convert::Infallible>>,
) -> Vec<u8> {
    let mut encoder = Encoder::new(Vec::new());
    items(&mut encoder).unwrap();
    encoder.into_writer()
}

pub(crate) fn uint(value: u64) -> Vec<u8> {
    encode(|e| e.u64(value).map(drop))
}

pub(crate) fn int(value: i64) -> Vec<u8> {
    encode(|e| e.i64(value).map(drop))
}

pub(crate) fn bytes(value: &[u8]) -> Vec<u8> {
    encode(|e| e.bytes(value).map(drop))
}

pub(crate) fn nested(value: &[u8]) -> Vec<u8> {
    bytes(value)
}

pub(crate) fn text(value: &str) -> Vec<u8> {
    encode(|e| e.str(value).map(drop))
}

pub(crate) fn array(items: &[Vec<u8>]) -> Vec<u8> {
    [encode(|e| e.array(items.len() as u64).map(drop)), items.concat()].concat()
}

/// The pairs in the order given.
pub(crate) fn map(pairs: &[(i64, Vec<u8>)]) -> Vec<u8> {
    let mut out = encode(|e| e.map(pairs.len() as u64).map(drop));
    for (key, value) in pairs {
        out.extend(int(*key));
        out.extend(value);
    }
    out
}

/// A command with its reporting policy.
pub(crate) fn command(code: u64, policy: u64) -> Vec<u8> {
    [uint(code), uint(policy)].concat()
}

/// override-parameters.
pub(crate) fn set(parameters: &[(i64, Vec<u8>)]) -> Vec<u8> {
    [uint(20), map(parameters)].concat()
}

pub(crate) fn try_each(alternatives: &[Vec<u8>], nil: bool) -> Vec<u8> {
    let mut items: Vec<_> = alternatives.iter().map(|sequence| nested(sequence)).collect();
    items.extend(nil.then(|| vec![0xf6]));
    [uint(15), array(&items)].concat()
}

pub(crate) fn run_sequence(sequence: &[u8]) -> Vec<u8> {
    [uint(32), nested(sequence)].concat()
}

/// A sequence of commands, each of two items.
pub(crate) fn seq(commands: &[Vec<u8>]) -> Vec<u8> {
    [encode(|e| e.array(2 * commands.len() as u64).map(drop)), commands.concat()].concat()
}

/// The parameters that the shared sequence of [`known`] sets.
pub(crate) fn identity() -> Vec<(i64, Vec<u8>)> {
    let digest = nested(&array(&[int(-16), bytes(&DIGEST)]));
    vec![(1, bytes(&VENDOR)), (2, bytes(&CLASS)), (3, digest), (14, uint(1000))]
}

pub(crate) fn shared(parameters: &[(i64, Vec<u8>)]) -> Vec<u8> {
    seq(&[set(parameters), command(1, 15), command(2, 15)])
}

/// How a manifest differs from the one that is known to be good.
pub(crate) enum Change {
    None,
    /// This member is this.
    Member(i64, Vec<u8>),
    /// This member is not there.
    Without(i64),
    /// The shared sequence is this.
    Shared(Vec<u8>),
}

/// The members of a manifest that is good but for that change.
pub(crate) fn known(change: Change) -> Vec<(i64, Vec<u8>)> {
    let common = |shared: &[u8]| nested(&map(&[(2, array(&[array(&[bytes(&[0])])])), (4, nested(shared))]));
    let install = seq(&[set(&[(21, text("image"))]), command(21, 2), command(3, 15)]);
    let mut members = vec![
        (1, uint(1)),
        (2, uint(5)),
        (3, common(&shared(&identity()))),
        (7, nested(&seq(&[command(3, 15)]))),
        (9, nested(&seq(&[command(23, 2)]))),
        (20, nested(&install)),
    ];
    let (key, value) = match change {
        Change::None => return members,
        Change::Without(key) => (key, None),
        Change::Member(key, value) => (key, Some(value)),
        Change::Shared(sequence) => (3, Some(common(&sequence))),
    };
    members.retain(|(other, _)| *other != key);
    members.extend(value.map(|value| (key, value)));
    // In the order of their encoding.
    members.sort_by_key(|(key, _)| int(*key));
    members
}

/// An envelope with this manifest, signed.
pub(crate) fn envelope(secret: &SecretKey, manifest: &[u8]) -> Vec<u8> {
    resign(secret, manifest, &[0xa1, 1, 0x32], &[map(&[]), vec![0xf6]], 1)
}

/// An envelope with this manifest and so many signatures with this protected header and, in the COSE_Sign1, these items
/// between it and the signature.
pub(crate) fn resign(
    secret: &SecretKey,
    manifest: &[u8],
    protected: &[u8],
    rest: &[Vec<u8>],
    signatures: usize,
) -> Vec<u8> {
    let payload = array(&[int(-16), bytes(&Sha256::digest(nested(manifest)))]);
    let message = array(&[text("Signature1"), bytes(protected), bytes(&[]), bytes(&payload)]);
    let mut items = vec![bytes(protected)];
    items.extend_from_slice(rest);
    items.push(bytes(&secret.sign(&message)));
    let sign1 = [vec![0xd2], array(&items)].concat();
    let mut block = vec![nested(&payload)];
    block.extend(std::iter::repeat_n(nested(&sign1), signatures));
    [vec![0xd8, 107], map(&[(2, nested(&array(&block))), (3, nested(manifest))])].concat()
}

/// An envelope with this manifest and a signature of nothing.
pub(crate) fn unsigned(manifest: &[u8]) -> Vec<u8> {
    let payload = array(&[int(-16), bytes(&Sha256::digest(nested(manifest)))]);
    let sign1 = array(&[bytes(&[0xa1, 1, 0x32]), map(&[]), vec![0xf6], bytes(&[0; 64])]);
    let block = array(&[nested(&payload), nested(&[vec![0xd2], sign1].concat())]);
    [vec![0xd8, 107], map(&[(2, nested(&block)), (3, nested(manifest))])].concat()
}

/// An envelope's bytes up to the manifest's key, from there to its end, and the severed members.
pub(crate) fn split(envelope: &[u8]) -> (&[u8], &[u8], &[u8]) {
    let mut decoder = Decoder::new(envelope);
    decoder.tag().unwrap();
    decoder.map().unwrap();
    decoder.u8().unwrap();
    decoder.bytes().unwrap();
    let start = decoder.position();
    decoder.u8().unwrap();
    decoder.bytes().unwrap();
    let end = decoder.position();
    (&envelope[..start], &envelope[start..end], &envelope[end..])
}

/// The manifest in an envelope.
pub(crate) fn content(envelope: &[u8]) -> Vec<u8> {
    let mut decoder = Decoder::new(&split(envelope).1[1..]);
    decoder.bytes().unwrap().to_vec()
}

pub(crate) fn cached(make: fn() -> Vec<Vec<u8>>) -> &'static [Vec<u8>] {
    static CACHE: OnceLock<Vec<Vec<u8>>> = OnceLock::new();
    CACHE.get_or_init(make)
}

/// Decodes and encodes again, canonically, what is in byte strings too.
pub(crate) fn encode_again(input: &[u8]) -> Vec<u8> {
    let mut decoder = Decoder::new(input);
    let mut encoder = Encoder::new(Vec::new());
    item(&mut decoder, &mut encoder, false).expect("what is accepted is CBOR");
    assert_eq!(decoder.position(), input.len());
    encoder.into_writer()
}

/// `plain` byte strings are component identifiers; those of 8, 16, 32 and 64 bytes identifiers, digests and signatures.
/// Others hold CBOR, where what they hold looks so.
fn item(d: &mut Decoder<'_>, e: &mut Encoder<Vec<u8>>, plain: bool) -> Result<(), Box<dyn std::error::Error>> {
    match d.datatype()? {
        Type::U8 | Type::U16 | Type::U32 | Type::U64 => drop(e.u64(d.u64()?)?),
        Type::I8 | Type::I16 | Type::I32 | Type::I64 | Type::Int => drop(e.int(d.int()?)?),
        Type::Bool => drop(e.bool(d.bool()?)?),
        Type::Null => {
            d.null()?;
            e.null()?;
        }
        Type::String => drop(e.str(d.str()?)?),
        Type::Tag => {
            let tag: Tag = d.tag()?;
            e.tag(tag)?;
            item(d, e, plain)?;
        }
        Type::Bytes => {
            let content = d.bytes()?;
            let mut inner = Decoder::new(content);
            let mut again = Encoder::new(Vec::new());
            // An array or a map that fills the byte string is embedded CBOR.
            let embedded = !plain
                && !matches!(content.len(), 8 | 16 | 32 | 64)
                && matches!(inner.datatype(), Ok(Type::Array | Type::Map | Type::Tag))
                && item(&mut inner, &mut again, false).is_ok()
                && inner.position() == content.len();
            e.bytes(if embedded { again.writer() } else { content })?;
        }
        Type::Array => {
            let len = d.array()?.ok_or("indefinite")?;
            e.array(len)?;
            for _ in 0..len {
                item(d, e, plain)?;
            }
        }
        Type::Map => {
            let len = d.map()?.ok_or("indefinite")?;
            let mut pairs = std::collections::BTreeMap::new();
            for _ in 0..len {
                let (mut key, mut value) = (Encoder::new(Vec::new()), Encoder::new(Vec::new()));
                item(d, &mut key, true)?;
                // Member 2 of suit-common; nothing else with that key is an array.
                let components = key.writer() == &[2] && d.datatype()? == Type::Array;
                item(d, &mut value, components)?;
                pairs.insert(key.into_writer(), value.into_writer());
            }
            e.map(pairs.len() as u64)?;
            for (key, value) in pairs {
                e.writer_mut().extend(key);
                e.writer_mut().extend(value);
            }
        }
        other => return Err(format!("{other:?}").into()),
    }
    Ok(())
}
