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
