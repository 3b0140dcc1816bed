//! A CoAP endpoint, client and server at once, under any interleaving of datagrams, time, commands and small output
//! buffers. What it sends are well-formed messages, its deadlines lie in the future, it comes to rest, blocks are
//! told in order, and what is over stays over.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::collections::HashMap;
use waft::coap::{
    Body, Code, Config, ETag, Encoder, Endpoint, Event, Exchange, Flow, Message, Opt, Reply, Request, RequestId,
    Resource, Resources, Token, Type,
};
use waft::{Duration, Input, Instant, Output, Peer};

struct Data<'a>(&'a [u8]);

impl<'a> Data<'a> {
    fn byte(&mut self) -> u8 {
        match self.0.split_first() {
            Some((&byte, rest)) => {
                self.0 = rest;
                byte
            }
            None => 0,
        }
    }

    fn bytes(&mut self, len: usize) -> &'a [u8] {
        let (bytes, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        bytes
    }
}

/// What the host knows.
#[derive(Default)]
struct Host {
    /// Where the next block of each exchange belongs.
    open: HashMap<Exchange, u32>,
    wanted: Vec<(Exchange, u32)>,
    asked: Vec<RequestId>,
    last: Option<Exchange>,
}

impl Host {
    fn take(&mut self, event: &Event<'_>) {
        match *event {
            Event::Response { exchange, code, observe, offset, payload, last, .. } => {
                let next = self.open.get_mut(&exchange).expect("an open exchange");
                if code.is_success() && code != Code::VALID {
                    assert!(offset == *next || offset == 0);
                    *next = offset + payload.len() as u32;
                }
                if last && observe.is_none() {
                    self.open.remove(&exchange);
                }
            }
            Event::Failed { exchange, .. } => assert!(self.open.remove(&exchange).is_some()),
            Event::BodyWanted { exchange, len, .. } => {
                assert!(self.open.contains_key(&exchange) && len <= 1024);
                self.wanted.push((exchange, len));
            }
            Event::Request { id, .. } => self.asked.push(id),
            _ => {}
        }
    }
}

fuzz_target!(|data: &[u8]| {
    let mut data = Data(data);
    let config = Config { szx: data.byte() % 8, nstart: data.byte() % 4, ..Config::DEFAULT };
    let arena = 64 + usize::from(data.byte()) * 8;
    let mut endpoint = Endpoint::new(config, u64::from(data.byte()), Resources::owned(arena, 2, 3, 3, 2));
    let mut host = Host::default();
    let mut now = Instant::ZERO;
    let (mut sent, mut token) = ((Type::Confirmable, Code::EMPTY, 0), Token::EMPTY);
    let body = [7; 2000];
    while !data.0.is_empty() {
        let peer = Peer(u32::from(data.byte() & 1));
        match data.byte() % 12 {
            0..=3 => {
                // A datagram: garbage, or a message that answers what was sent last.
                let shape = data.byte();
                let mut buf = [0; 1200];
                let len = usize::from(data.byte());
                let datagram = if shape & 1 == 0 {
                    data.bytes(len)
                } else {
                    let ty = match shape >> 1 & 3 {
                        0 => Type::Confirmable,
                        1 => Type::NonConfirmable,
                        2 => Type::Acknowledgement,
                        _ => Type::Reset,
                    };
                    let id = if shape & 8 == 0 { sent.2 } else { u16::from(data.byte()) };
                    let code = Code(data.byte());
                    let mut encoder =
                        Encoder::new(&mut buf, ty, code, id, if code == Code::EMPTY { &Token::EMPTY } else { &token });
                    let mut number = 0;
                    for _ in 0..shape >> 5 {
                        number += u16::from(data.byte() % 16);
                        let len = usize::from(data.byte() % 5);
                        encoder.option(number, data.bytes(len)).expect("in order");
                    }
                    if code != Code::EMPTY && shape & 16 != 0 {
                        encoder.payload(&body[..(len * 4).min(1024)]);
                    }
                    encoder.finish().expect("room")
                };
                let Ok(handled) = endpoint.handle_input(now, Input { peer, bytes: datagram });
                assert_eq!(handled.consumed, datagram.len());
                if let Some(event) = &handled.event {
                    host.take(event);
                }
            }
            4 => now = now.after(Duration::from_millis(u64::from(data.byte()) * 40)),
            5 => now = endpoint.next_timeout().unwrap_or(now),
            6 => {
                let bits = data.byte();
                let offset = if bits & 1 == 0 { 0 } else { u32::from(data.byte()) * 16 };
                let payload = &body[..if bits & 8 == 0 { 0 } else { usize::from(data.byte()) * 4 }];
                let payload_len = (bits & 16 != 0).then(|| u32::from(data.byte()) * 100);
                // What answers it comes in order, as the host expects: a body of several blocks side by side.
                let several = payload.len().max(payload_len.unwrap_or(0) as usize) > 1024;
                let request = Request {
                    confirmable: bits & 2 == 0,
                    observe: bits & 4 != 0,
                    payload,
                    payload_len,
                    random_access: several,
                    window: if several { 3 } else { 1 },
                    szx: bits >> 5,
                    offset,
                    etag: ETag::new(data.bytes(usize::from(bits & 1))),
                    flow: if bits & 64 == 0 { Flow::Auto } else { Flow::Manual },
                    ..Request::new(Code(1 + bits % 7), "/a/b?c")
                };
                if let Ok(exchange) = endpoint.request(now, peer, &request) {
                    assert!(host.open.insert(exchange, offset).is_none());
                    host.last = Some(exchange);
                }
            }
            7 => {
                if let Some(id) = host.asked.pop() {
                    let bits = data.byte();
                    let (offset, size) = id.wanted();
                    let part = Body::Part { offset, bytes: &body[..size as usize], total: offset + size + 1 };
                    let reply = Reply {
                        observe: (bits & 1 == 0).then_some(Resource(u32::from(bits >> 7))),
                        options: &[Opt { number: 4, value: &[1] }],
                        body: if bits & 2 == 0 { part } else { Body::Whole(&body[..usize::from(bits) * 7]) },
                        ..Reply::new(if bits & 4 == 0 { Code::CONTENT } else { Code(bits) }, &[])
                    };
                    if bits & 8 != 0 {
                        let _ = endpoint.acknowledge(now, &id);
                    }
                    if endpoint.respond(now, &id, &reply).is_ok() {
                        assert!(endpoint.respond(now, &id, &reply).is_err());
                    }
                }
            }
            8 => {
                let bits = data.byte();
                let reply = Reply {
                    confirmable: bits & 1 == 0,
                    ..Reply::new(Code(0x40 | bits >> 1), &body[..usize::from(bits) * 7])
                };
                let _ = endpoint.notify(now, Resource(u32::from(bits >> 7)), &reply);
            }
            9 => {
                if let Some((exchange, len)) = host.wanted.pop() {
                    if host.open.contains_key(&exchange) {
                        let _ = endpoint.body(now, exchange, &body[..len as usize]);
                    }
                }
            }
            10 => {
                if let Some(exchange) = host.last {
                    if data.byte() & 1 == 0 {
                        let _ = endpoint.advance(now, exchange);
                    } else {
                        assert_eq!(endpoint.cancel(now, exchange).is_ok(), host.open.remove(&exchange).is_some());
                    }
                }
            }
            _ => {
                let _ = endpoint.ping(now, peer);
            }
        }
        // Drain, sometimes with too small a buffer first.
        let small = usize::from(data.byte() % 64);
        let mut rested = false;
        for turn in 0..200 {
            let mut buf = vec![0; if turn & 1 == 0 { small } else { 1400 }];
            match endpoint.poll_output(now, &mut buf) {
                Output::Transmit { bytes, .. } => {
                    let message = Message::decode(bytes).expect("well-formed");
                    sent = (message.ty, message.code, message.id);
                    if message.code != Code::EMPTY {
                        token = message.token;
                    }
                    assert!(message.payload.len() <= 1024);
                }
                Output::Event(event) => host.take(&event),
                Output::BufferTooSmall { needed } => assert!(needed > buf.len() && needed <= 1400),
                Output::Timeout(at) => {
                    assert_eq!(at, endpoint.next_timeout());
                    assert!(at.is_none_or(|at| at > now), "a deadline that is over");
                    rested = true;
                    break;
                }
            }
        }
        assert!(rested, "never at rest");
    }
});
