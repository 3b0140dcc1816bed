//! The gateway under datagrams from several peers, fetches that come late or never, time and small output buffers.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use waft::{
    Duration, Input, Instant, Output, Peer,
    coap::Code,
    gateway::{Config, Event, Gateway},
};

fuzz_target!(|data: &[u8]| {
    let mut data = data.iter().copied();
    let config =
        Config { max_entries: 4, max_bytes: 8192, max_waiting: 4, max_mounts: 1, observers: 4, unproven: 64 << 10 };
    let mut gateway = Gateway::new(config, 1);
    gateway.mount("/f/", "http://p/").expect("the first mount");
    gateway.put(Instant::ZERO, "/a", 42, Bytes::from_static(&[7; 3000])).expect("room");
    let mut now = Instant::ZERO;
    let mut asked: Vec<String> = Vec::new();

    while let Some(op) = data.next() {
        let mut byte = || data.next().unwrap_or(0);
        match op % 8 {
            0 | 1 => {
                let peer = Peer(u32::from(byte() % 4));
                let n = byte();
                let datagram: Vec<u8> = (0..n).map(|_| byte()).collect();
                let Ok(handled) = gateway.handle_input(now, Input { peer, bytes: &datagram });
                assert_eq!(handled.consumed, datagram.len());
                if let Some(Event::Fetch { path, .. }) = handled.event {
                    assert!(!asked.contains(&path), "asked for twice");
                    asked.push(path);
                }
            }
            // GETs that fit, so that the fuzzer need not find them.
            2 => {
                let (id, observe, block) = (byte(), byte() % 3, byte());
                let mut get = vec![0x41, 1, 0, id, id];
                let mut last = 0;
                if observe < 2 {
                    get.extend([0x61, observe]);
                    last = 6;
                }
                get.extend([(11 - last) << 4 | 1, b'a', 0xC1, block]);
                let Ok(handled) = gateway.handle_input(now, Input { peer: Peer(u32::from(id % 4)), bytes: &get });
                assert!(handled.event.is_none());
            }
            3 => now = now.after(Duration::from_millis(u64::from(byte()) * 200)),
            4 => {
                if let Some(path) = asked.pop() {
                    match byte() % 2 {
                        0 => {
                            let len = usize::from(byte()) * 16;
                            if gateway.put(now, &path, 42, Bytes::from(vec![1; len])).is_err() {
                                gateway.failed(now, &path, Code::BAD_GATEWAY);
                            }
                        }
                        _ => gateway.failed(now, &path, Code::BAD_GATEWAY),
                    }
                }
            }
            5 => {
                let len = usize::from(byte()) * 16;
                let _ = gateway.put(now, "/a", 42, Bytes::from(vec![2; len]));
            }
            6 => {
                gateway.remove(now, "/a");
            }
            _ => {}
        }
        gateway.handle_timeout(now);
        let mut out = vec![0; usize::from(op)];
        for round in 0.. {
            assert!(round < 10_000, "an output that never ends");
            match gateway.poll_output(now, &mut out) {
                Output::Transmit { bytes, .. } => assert!(!bytes.is_empty()),
                Output::Event(_) => {}
                Output::BufferTooSmall { needed } => {
                    assert!(needed > out.len());
                    out = vec![0; needed];
                }
                Output::Timeout(at) => {
                    assert!(at.is_none_or(|at| at > now), "a deadline in the past");
                    break;
                }
            }
        }
    }
});
