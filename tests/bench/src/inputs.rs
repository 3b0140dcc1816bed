//! What all are measured on.

/// 20 bytes.
pub const TOPIC: &str = "sensors/hall/climate";
pub const ID: u16 = 0x1234;
pub const PAYLOAD: &[u8; 1024] = &[0x5A; 1024];

// A CONNECT of 115 bytes.
pub const CLIENT_ID: &str = "sensor-0123456789abcdef";
pub const WILL_TOPIC: &str = "devices/sensor-01234567/status";
pub const WILL: &[u8; 8] = b"offline!";
pub const USERNAME: &str = "sensors@building";
pub const PASSWORD: &[u8; 16] = b"correct horse ba";
pub const KEEP_ALIVE: u16 = 60;

/// A SUBSCRIBE of four, at QoS 1.
pub const FILTERS: [&str; 4] = ["sensors/hall/climate", "sensors/+/climate/#", "devices/+/status", "sensors/hall/#"];

/// Packets of a stream, PUBLISH with 64 bytes of payload, cut into segments of a full Ethernet frame.
pub const PACKETS: usize = 10_000;
pub const SEGMENT: usize = 1_460;

fn string(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&u16::try_from(bytes.len()).unwrap().to_be_bytes());
    out.extend_from_slice(bytes);
}

fn framed(first: u8, rest: &[u8]) -> Vec<u8> {
    let mut out = vec![first];
    let mut left = rest.len();
    while left >= 0x80 {
        out.push((left & 0x7F) as u8 | 0x80);
        left >>= 7;
    }
    out.push(left as u8);
    out.extend_from_slice(rest);
    out
}

pub fn publish(payload: usize) -> Vec<u8> {
    let mut rest = Vec::new();
    string(&mut rest, TOPIC.as_bytes());
    rest.extend_from_slice(&ID.to_be_bytes());
    rest.extend_from_slice(&PAYLOAD[..payload]);
    framed(0x32, &rest)
}

pub fn connect() -> Vec<u8> {
    let mut rest = b"\0\x04MQTT\x04\xCE".to_vec(); // clean session, a will at QoS 1, user name and password
    rest.extend_from_slice(&KEEP_ALIVE.to_be_bytes());
    for field in [CLIENT_ID.as_bytes(), WILL_TOPIC.as_bytes(), &WILL[..], USERNAME.as_bytes(), &PASSWORD[..]] {
        string(&mut rest, field);
    }
    let packet = framed(0x10, &rest);
    assert_eq!(packet.len(), 115);
    packet
}

pub fn subscribe() -> Vec<u8> {
    let mut rest = ID.to_be_bytes().to_vec();
    for filter in FILTERS {
        string(&mut rest, filter.as_bytes());
        rest.push(1);
    }
    framed(0x82, &rest)
}

pub fn stream() -> Vec<u8> {
    publish(64).repeat(PACKETS)
}

// A CoAP GET of 32 bytes, with Observe and Block2, and a 2.05 with a block of 1,024.
pub const TOKEN: [u8; 4] = [0xA1, 0xB2, 0xC3, 0xD4];
pub const SEGMENTS: [&str; 3] = ["sensors", "hall", "climate"];
pub const ETAG: [u8; 8] = *b"version7";
pub const FORMAT: u16 = 42;
/// Block 0 of 1,024 bytes; of the response with more to come.
pub const BLOCK: u8 = 6;
pub const BLOCK_MORE: u8 = 14;

pub fn coap_get() -> Vec<u8> {
    let mut message = vec![0x44, 0x01, 0x12, 0x34];
    message.extend_from_slice(&TOKEN);
    message.push(0x60);
    for (segment, delta) in SEGMENTS.iter().zip([5, 0, 0]) {
        message.push(delta << 4 | segment.len() as u8);
        message.extend_from_slice(segment.as_bytes());
    }
    message.extend_from_slice(&[0xC1, BLOCK]);
    assert_eq!(message.len(), 32);
    message
}

pub fn coap_content() -> Vec<u8> {
    let mut message = vec![0x64, 0x45, 0x12, 0x34];
    message.extend_from_slice(&TOKEN);
    message.push(0x48);
    message.extend_from_slice(&ETAG);
    message.extend_from_slice(&[0x81, FORMAT as u8, 0xB1, BLOCK_MORE, 0xFF]);
    message.extend_from_slice(PAYLOAD);
    message
}
