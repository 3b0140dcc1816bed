//! Stores firmware before it acknowledges it, then sends it back, over however many connections and power cuts it takes:
//! `cargo run -p waft --example store 127.0.0.1:1883 FOLDER`
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant as Clock};
use std::{env, error::Error, net::TcpStream, path::PathBuf, thread};
use waft::mqtt::client::{Client, Config, Event, InFlight, session::Journal};
use waft::mqtt::packet::{Connect, PacketId, QoS};
use waft::{Code, Error as Failure, Input, Instant, Output, Peer, RxBuffer};

type Done<T> = Result<T, Box<dyn Error>>;
type Mqtt = Client<'static>;
const PAGE: usize = 4096;

struct Store {
    started: Clock,
    image: File,
    flash: File,
    journal: Journal,
    record: Vec<u8>,
    message: Option<PacketId>,
    len: u64,
    /// What the session led to.
    note: [u8; 2],
}

const SUBSCRIBED: usize = 0;
/// And on its way back.
const STORED: usize = 1;

impl Store {
    fn now(&self) -> Instant {
        Instant::from_micros(self.started.elapsed().as_micros() as u64)
    }

    /// Before anything is sent: what has changed of the session, where no power cut reaches the record before.
    fn save(&mut self, client: &Mqtt) -> Done<()> {
        if !client.is_exported_in(&self.record) {
            let place = self.journal.place(client.export_len(self.note.len()))?;
            self.record.resize(client.export_len(self.note.len()), 0);
            client.export(place.sequence, &self.note, &mut self.record)?;
            if place.erase {
                self.flash.write_all_at(&[0xFF; PAGE], (place.page * PAGE) as u64)?;
            }
            self.flash.write_all_at(&self.record, (place.page * PAGE + place.offset) as u64)?;
            self.flash.sync_data()?;
        }
        Ok(())
    }

    /// What the client tells; whether all is done.
    fn told(&mut self, client: &mut Mqtt, event: &Event<'_>) -> Done<bool> {
        let now = self.now();
        match *event {
            Event::Connected { session_present } if !session_present || self.note[SUBSCRIBED] == 0 => {
                client.subscribe(now, &[("fw/#", QoS::AtLeastOnce)])?;
            }
            Event::Subscribed { .. } => self.note[SUBSCRIBED] = 1,
            Event::Publish(message) if message.topic == "fw/image" && self.note[STORED] == 0 => {
                (self.message, self.len) = (message.id, 0);
                self.image.set_len(0)?;
            }
            Event::Publish(message) if message.payload_len > 0 => {
                client.refuse(now)?; // the rest of it is passed over, and it is acknowledged
                println!("{} refused", message.topic);
            }
            // Longer than `max_payload`.
            Event::Skipped { payload_len, .. } => println!("{payload_len} bytes refused"),
            Event::Payload { bytes, last } => {
                self.image.write_all_at(bytes, self.len)?;
                self.len += bytes.len() as u64;
                if let (true, Some(id)) = (last, self.message) {
                    self.image.sync_data()?;
                    client.acknowledge(now, id)?; // not before it is safe
                    client.publish_streamed(now, "report", self.len as u32, QoS::AtLeastOnce, true)?;
                    self.note[STORED] = 1;
                }
            }
            Event::PayloadWanted { offset, len, .. } => {
                let mut piece = vec![0; len as usize];
                self.image.read_exact_at(&mut piece, offset.into())?;
                client.payload(now, &piece)?;
            }
            Event::Acknowledged { .. } => return Ok(true),
            Event::Refused { code } => return Err(format!("{code:?}").into()),
            Event::Closed { reason } => return Err(format!("{reason:?}").into()),
            _ => {}
        }
        Ok(false)
    }

    /// One connection; an error where it ends.
    fn run(&mut self, client: &mut Mqtt, address: &str) -> Done<()> {
        let mut stream = TcpStream::connect(address)?;
        let (mut memory, mut out) = ([0; 1024], [0; 1024]);
        let mut rx = RxBuffer::new(&mut memory);
        let connect = Connect { client_id: "store", clean_session: false, keep_alive: 30, ..Connect::default() };
        client.connect(self.now(), Peer(0), &connect)?;
        loop {
            let deadline = loop {
                match client.poll_output(self.now(), &mut out) {
                    Output::Transmit { bytes, .. } => {
                        let len = bytes.len();
                        self.save(client)?;
                        stream.write_all(&out[..len])?;
                    }
                    Output::Event(Event::PayloadWanted { id, offset, len }) => {
                        self.told(client, &Event::PayloadWanted { id, offset, len })?;
                    }
                    Output::Event(event) => return Err(format!("{event:?}").into()),
                    Output::BufferTooSmall { .. } => return Err("a buffer that is too small".into()),
                    Output::Timeout(at) => break at,
                }
            };
            let handled = client.handle_input(self.now(), Input { peer: Peer(0), bytes: rx.data() })?;
            let (consumed, idle) = (handled.consumed, handled.consumed == 0 && handled.event.is_none());
            if let Some(event) = handled.event
                && self.told(client, &event)?
            {
                return Ok(());
            }
            rx.consume(consumed);
            if idle {
                let wait = deadline.map(|at| at.as_micros().saturating_sub(self.now().as_micros()).max(1));
                stream.set_read_timeout(wait.map(Duration::from_micros))?;
                match stream.read(rx.space()) {
                    Ok(0) => return Err("closed by the broker".into()),
                    Ok(n) => rx.filled(n),
                    Err(late) if late.kind() == ErrorKind::WouldBlock => client.handle_timeout(self.now()),
                    Err(lost) => return Err(lost.into()),
                }
            }
        }
    }
}

fn main() -> Done<()> {
    let (address, folder) =
        (env::args().nth(1).expect("HOST:PORT"), PathBuf::from(env::args().nth(2).expect("FOLDER")));
    let open = |name| OpenOptions::new().read(true).write(true).create(true).truncate(false).open(folder.join(name));
    let (image, flash) = (open("image")?, open("session")?);
    let config = Config { manual_ack: true, max_payload: 1 << 20, window: 512, ..Config::default() };
    let mut client = Client::new(config, vec![0; 1024], vec![InFlight::EMPTY; 8]);
    let mut pages = Vec::new();
    (&flash).read_to_end(&mut pages)?;
    pages.resize(2 * PAGE, 0xFF);
    let (journal, newest) = Journal::open([&pages[..PAGE], &pages[PAGE..]], 1);
    let note = match newest {
        Some(record) => client.import(record.as_bytes())?.note.try_into()?,
        None => [0; 2],
    };
    let started = Clock::now();
    let mut store = Store { started, image, flash, journal, record: Vec::new(), message: None, len: 0, note };
    while let Err(lost) = store.run(&mut client, &address) {
        if let Some(Failure::Peer(violation)) = lost.downcast_ref::<waft::mqtt::Error>() {
            return Err(format!("the broker broke MQTT: {} ({})", violation.name(), violation.code()).into());
        }
        println!("once more: {lost}");
        client.connection_lost(store.now());
        thread::sleep(Duration::from_millis(200));
    }
    println!("sent back");
    Ok(())
}
