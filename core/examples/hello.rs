//! Publishes one message and waits until the broker has it: `cargo run -p waft --example hello [127.0.0.1:1883]`
use std::{env, error::Error, io::Read, io::Write, net::TcpStream};
use waft::mqtt::client::{Client, Config, Event, InFlight};
use waft::mqtt::packet::{Connect, QoS};
use waft::{Input, Instant, Output, Peer, RxBuffer};

fn main() -> Result<(), Box<dyn Error>> {
    let mut stream = TcpStream::connect(env::args().nth(1).as_deref().unwrap_or("127.0.0.1:1883"))?;
    let (mut arena, mut table, mut memory, mut out) = ([0; 256], [InFlight::EMPTY; 4], [0; 256], [0; 256]);
    let (mut client, mut rx) = (Client::new(Config::default(), &mut arena, &mut table), RxBuffer::new(&mut memory));
    let (now, peer) = (Instant::ZERO, Peer(0));
    client.connect(now, peer, &Connect { client_id: "hello", clean_session: true, ..Connect::default() })?;
    client.publish(now, "greeting", b"hello", QoS::AtLeastOnce, false)?;
    loop {
        while let Output::Transmit { bytes, .. } = client.poll_output(now, &mut out) {
            stream.write_all(bytes)?;
        }
        let n = stream.read(rx.space())?;
        rx.filled(n);
        let handled = client.handle_input(now, Input { peer, bytes: rx.data() })?;
        if let Some(Event::Acknowledged { .. }) = handled.event {
            println!("the broker has it");
            return Ok(());
        }
        let consumed = handled.consumed;
        rx.consume(consumed);
    }
}
