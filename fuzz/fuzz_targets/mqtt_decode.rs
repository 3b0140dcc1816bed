//! The decoder of MQTT packets: never a panic, the same answer however the bytes are cut, and what it takes in comes
//! out of the encoder again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use waft::mqtt::packet::{Decoded, Packet, decode, decode_from_client, decode_from_server};
use waft::mqtt::topic;
use waft::wire::Writer;

fuzz_target!(|data: &[u8]| {
    let Some((&max, bytes)) = data.split_first() else { return };
    let max = u32::from(max) * 4;
    let whole = decode(bytes, max);

    // A shorter front either wants more, and no more than there is, or says the same.
    for end in 0..bytes.len() {
        match (decode(&bytes[..end], max), &whole) {
            (Ok(Decoded::Incomplete { needed }), Ok(Decoded::Packet { len, .. })) => {
                assert!(needed >= 1 && end + needed <= *len)
            }
            (Ok(Decoded::Incomplete { needed }), _) => assert!(needed >= 1),
            (Ok(Decoded::Packet { len, .. }), Ok(Decoded::Packet { len: all, .. })) => assert_eq!(len, *all),
            (Err(violation), Err(all)) => assert_eq!(violation, *all),
            (front, whole) => panic!("{front:?} of {whole:?}"),
        }
    }

    let (client, server) = (decode_from_client(bytes, max), decode_from_server(bytes, max));
    match whole {
        Ok(Decoded::Packet { packet, len }) => {
            assert!(client == whole || server == whole);
            let mut buf = vec![0; packet.encoded_len()];
            let mut writer = Writer::new(&mut buf);
            packet.encode(&mut writer);
            let again = writer.finish().expect("encoded_len is right");
            // A remaining length may have been written with more bytes than it takes.
            assert!(again.len() <= len);
            assert_eq!(decode(again, u32::MAX), Ok(Decoded::Packet { packet, len: again.len() }));
            match packet {
                Packet::Publish(publish) => {
                    assert!(topic::valid_name(publish.topic));
                    assert!(topic::matches("#", publish.topic) != publish.topic.starts_with('$'));
                }
                Packet::Subscribe { filters, .. } | Packet::Unsubscribe { filters, .. } => {
                    assert!(filters.count() > 0);
                    assert!(filters.into_iter().all(|(filter, _)| topic::valid_filter(filter)));
                }
                Packet::Connect(connect) => assert_eq!(connect.check(), Ok(())),
                _ => {}
            }
        }
        Ok(Decoded::Incomplete { .. }) | Err(_) => assert!(client.is_err() || server.is_err() || client == server),
    }
});
