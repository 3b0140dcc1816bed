//! The session as bytes.

use super::*;
use crate::mqtt::client::session::Record;
use proptest::prelude::*;

fn export(client: &Client<'_>, note: &[u8]) -> Vec<u8> {
    let mut record = vec![0xAA; client.export_len(note.len())];
    assert_eq!(client.export(3, note, &mut record), Ok(record.len()));
    assert!(client.is_exported_in(&record));
    record
}

/// A new client with the session of `record`, connected, and what it sends at once.
fn rebooted(config: Config, record: &[u8]) -> (Client<'static>, Vec<u8>) {
    let mut c = client(config, 512, 8);
    c.import(record).unwrap();
    assert!(c.is_exported_in(record));
    c.connect(T0, SERVER, &persistent()).unwrap();
    assert_eq!(sent(&mut c, T0)[0], 0x10);
    fed(&mut c, T0, &[0x20, 2, 1, 0]);
    let again = drain(&mut c, T0).0;
    (c, again)
}

/// All that a session can hold.
fn busy() -> Client<'static> {
    let mut c = connected(Config { manual_ack: true, window: 4, ..Config::default() }, 512, 12, &persistent());
    c.publish(T0, "a", b"1", QoS::AtLeastOnce, false).unwrap();
    c.publish(T0, "a", b"2", QoS::ExactlyOnce, true).unwrap();
    c.publish(T0, "a", b"3", QoS::ExactlyOnce, false).unwrap();
    c.subscribe(T0, &[("f/#", QoS::ExactlyOnce), ("g", QoS::AtMostOnce)]).unwrap();
    c.unsubscribe(T0, &["h"]).unwrap();
    sent(&mut c, T0);
    fed(&mut c, T0, b"\x50\x02\x00\x03"); // 3 goes on with PUBREL
    fed(&mut c, T0, b"\x34\x05\x00\x01a\x00\x01\x34\x05\x00\x01a\x00\x02\x32\x05\x00\x01a\x00\x03");
    c.acknowledge(T0, id(1)).unwrap();
    c.publish_streamed(T0, "s", 9, QoS::AtLeastOnce, false).unwrap();
    c.publish(T0, "a", b"0", QoS::AtMostOnce, false).unwrap();
    c
}

#[test]
fn a_reboot_goes_on_where_the_session_was() {
    let c = busy();
    let record = export(&c, b"note");
    let found = Record::read(&record).unwrap();
    assert_eq!((found.sequence, found.note, found.as_bytes()), (3, &b"note"[..], &record[..]));
    assert_eq!(
        record[16 + 4..record.len() - 4],
        *b"\x3a\x06\x00\x01a\x00\x011\x3d\x06\x00\x01a\x00\x022\x82\x0c\x00\x04\x00\x03f/#\x02\x00\x01g\x00\
            \xa2\x05\x00\x05\x00\x01h\x62\x02\x00\x03\x50\x02\x00\x01\xf0\x3a\x0e\x00\x01s\x00\x06"
    );
    let (mut c, again) = rebooted(Config { window: 4, ..Config::default() }, &record);
    assert_eq!(
        again,
        *b"\x3a\x06\x00\x01a\x00\x011\x3d\x06\x00\x01a\x00\x022\x82\x0c\x00\x04\x00\x03f/#\x02\x00\x01g\x00\
            \xa2\x05\x00\x05\x00\x01h\x62\x02\x00\x03\x3a\x0e\x00\x01s\x00\x06"
    );
    assert_eq!(drain(&mut c, T0).1, [""; 0], "asked for once");
    for part in [&b"abcd"[..], b"efgh", b"i"] {
        c.payload(T0, part).unwrap();
        drain(&mut c, T0);
    }
    // 1 was acknowledged; 2 was not, and comes as a new one.
    assert_eq!(fed(&mut c, T0, b"\x3c\x05\x00\x01a\x00\x01"), [""; 0]);
    assert_eq!(fed(&mut c, T0, b"\x3c\x05\x00\x01a\x00\x02"), ["publish a q2 #2 0"]);
    assert_eq!(sent(&mut c, T0), b"\x50\x02\x00\x01\x50\x02\x00\x02");
    fed(&mut c, T0, b"\x62\x02\x00\x01\x62\x02\x00\x02");
    assert_eq!(sent(&mut c, T0), b"\x70\x02\x00\x01\x70\x02\x00\x02");
    let answers =
        b"\x40\x02\x00\x01\x50\x02\x00\x02\x90\x04\x00\x04\x02\x00\xb0\x02\x00\x05\x70\x02\x00\x03\x40\x02\x00\x06";
    assert_eq!(
        fed(&mut c, T0, answers),
        ["acknowledged #1", "subscribed #4 [2, 0]", "unsubscribed #5", "acknowledged #3", "acknowledged #6"]
    );
    assert_eq!(sent(&mut c, T0), b"\x62\x02\x00\x02");
    assert_eq!(fed(&mut c, T0, b"\x70\x02\x00\x02"), ["acknowledged #2"]);
    assert_eq!((c.in_flight(), c.slots.kept == 0), (0, true));
    assert_eq!(c.subscribe(T0, &[("a", QoS::AtMostOnce)]), Ok(id(7)), "identifiers go on");
}

#[test]
fn a_message_in_flight_takes_four_bytes_besides_its_packet() {
    let mut c = connected(Config { manual_ack: true, ..Config::default() }, 512, 12, &persistent());
    let mut len = export(&c, b"").len();
    let mut grown = |c: &Client<'_>| {
        let now = export(c, b"").len();
        now - core::mem::replace(&mut len, now)
    };
    assert_eq!(grown(&c), 0);
    for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
        c.publish(T0, "topic", b"payload", qos, false).unwrap();
        assert_eq!(grown(&c), sent(&mut c, T0).len());
    }
    c.publish_streamed(T0, "topic", 50, QoS::ExactlyOnce, false).unwrap();
    assert_eq!(grown(&c), 2 + 7 + 2 + 1, "its header");
    fed(&mut c, T0, b"\x34\x05\x00\x01a\x00\x01");
    c.acknowledge(T0, id(1)).unwrap();
    assert_eq!(grown(&c), 4);
}

#[test]
fn damage_is_noticed_wherever_it_is() {
    let record = export(&busy(), b"n");
    let mut c = client(Config::default(), 512, 12);
    for cut in 0..record.len() {
        assert_eq!(c.import(&record[..cut]), Err(Misuse::InvalidSession.into()), "cut at {cut}");
        for filler in [0x00, 0xFF] {
            let mut torn = record.clone();
            torn[cut..].fill(filler);
            if torn != record {
                assert_eq!(c.import(&torn), Err(Misuse::InvalidSession.into()), "torn at {cut}");
            }
        }
    }
    for bit in 0..record.len() * 8 {
        let mut torn = record.clone();
        torn[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(c.import(&torn), Err(Misuse::InvalidSession.into()), "bit {bit}");
    }
    assert_eq!(c.in_flight(), 0);
    let mut longer = record.clone();
    longer.extend([0xFF; 9]);
    assert_eq!(c.import(&longer).unwrap().as_bytes(), record);
}

#[test]
fn a_record_of_a_larger_client_is_refused_whole() {
    let record = export(&busy(), b"");
    for (arena, table, error) in [(40, 12, Capacity::Arena), (512, 3, Capacity::InFlight)] {
        let mut c = client(Config::default(), arena, table);
        assert_eq!(c.import(&record), Err(error.into()));
        assert_eq!((c.in_flight(), c.slots.kept == 0), (0, true));
    }
    let mut c = connected(Config::default(), 512, 12, &persistent());
    assert_eq!(c.import(&record), Err(Misuse::WrongState.into()));
    let mut out = [0; 100];
    assert_eq!(c.export(0, &vec![0; 65_536], &mut out), Err(Misuse::OutOfRange.into()));
    assert_eq!(c.export(0, b"", &mut out[..19]), Err(Capacity::Buffer.into()));
}

#[test]
fn a_clean_session_leaves_nothing() {
    let mut c = connected(Config::default(), 512, 12, &Connect::default());
    c.publish(T0, "a", b"1", QoS::ExactlyOnce, false).unwrap();
    assert_eq!(export(&c, b"").len(), 20);
    let record = export(&busy(), b"");
    let mut c = client(Config::default(), 512, 12);
    c.import(&record).unwrap();
    c.connect(T0, SERVER, &Connect::default()).unwrap();
    assert_eq!(c.in_flight(), 0);
}

#[test]
fn a_record_is_out_of_date_when_the_session_went_on() {
    let mut c = connected(Config::default(), 512, 12, &persistent());
    let mut record = export(&c, b"");
    let mut changed = |c: &Client<'_>| {
        let changed = !c.is_exported_in(&record);
        record = export(c, b"");
        changed
    };
    c.publish(T0, "a", b"", QoS::AtMostOnce, false).unwrap();
    assert!(!changed(&c));
    c.publish(T0, "a", b"", QoS::ExactlyOnce, false).unwrap();
    assert!(changed(&c));
    sent(&mut c, T0);
    assert!(!changed(&c), "sent or not, it is the same");
    fed(&mut c, T0, b"\x50\x02\x00\x01");
    assert!(changed(&c), "before PUBREL leaves");
    sent(&mut c, T0);
    assert!(!changed(&c));
    fed(&mut c, T0, b"\x70\x02\x00\x01");
    assert!(changed(&c));
    fed(&mut c, T0, b"\x34\x05\x00\x01a\x00\x01");
    assert!(changed(&c), "before PUBREC leaves");
    sent(&mut c, T0);
    c.connection_lost(T0);
    assert!(!changed(&c));
    reconnected(&mut c, true);
    fed(&mut c, T0, b"\x62\x02\x00\x01");
    assert!(changed(&c), "before PUBCOMP leaves");
    assert!(!c.is_exported_in(b""));
}

/// A record with a checksum that fits, whatever the packets are.
fn sealed(packets: &[u8]) -> Vec<u8> {
    let mut record = b"wMS\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00".to_vec();
    record.extend(packets);
    let len = record.len() as u32 + 4;
    record[4..8].copy_from_slice(&len.to_be_bytes());
    record.extend(crate::crc::crc32(&record).to_be_bytes());
    record
}

#[test]
fn packets_that_no_client_wrote_are_refused() {
    let mut c = client(Config::default(), 512, 12);
    for packets in [
        &b"\x30\x03\x00\x01a"[..],                    // QoS 0
        b"\x32\x06\x00\x01a\x00\x01",                 // short
        b"\x32\x05\x00\x01+\x00\x01",                 // a wildcard
        b"\x32\x05\x00\x01a\x00\x00",                 // identifier 0
        b"\x62\x02\x00\x01\x3a\x05\x00\x01a\x00\x01", // twice
        b"\x50\x02\x00\x01\x50\x02\x00\x01",
        b"\xf0\x62\x02\x00\x01",
        b"\xf0\x82\x06\x00\x01\x00\x01a\x00",
        b"\x82\x02\x00\x01",
        b"\x82\x06\x00\x01\x00\x01a\x03",
        b"\x82\x07\x00\x01\x00\x01a\x00\x00",
        b"\xa2\xff\xff\xff\xff\xff",
        b"\xc0\x00",
        b"\x40\x02\x00\x01",
        b"\xf0",
        b"\x62\x02\x00",
    ] {
        assert_eq!(c.import(&sealed(packets)), Err(Misuse::InvalidSession.into()), "{packets:02x?}");
    }
    c.import(&sealed(b"\x50\x02\x00\x01\x62\x02\x00\x01")).unwrap();
    assert_eq!(c.in_flight(), 2);
}

proptest! {
    #[test]
    fn no_record_whatever_it_holds_does_harm(packets: Vec<u8>, known in proptest::collection::vec(0usize..9, 0..9)) {
        let parts: [&[u8]; 9] = [b"\x3a\x05\x00\x01a", b"\xf0\x3c\x8f\x01\x00\x01", b"\x62\x02", b"\x50\x02\x00", b"\x82\x06\x00",
            b"\xa2\x05\x00\x07\x00\x01", b"\x00\x01", b"\x00\x02", b"a"];
        let mut bytes: Vec<u8> = known.iter().flat_map(|n| parts[*n].to_vec()).collect();
        bytes.extend(packets);
        let mut c = client(Config::default(), 256, 4);
        if c.import(&sealed(&bytes)).is_ok() {
            assert!(c.is_exported_in(&export(&c, b"")));
            if c.connect(T0, SERVER, &persistent()).is_ok() {
                drain(&mut c, T0);
                fed(&mut c, T0, &[0x20, 2, 1, 0]);
                drain(&mut c, T0);
            }
        }
    }
}

mod journal {
    use super::*;
    use crate::mqtt::client::session::{Journal, Place};

    /// Two pages of flash: erased to FF, written in units from a page's front on, and never twice.
    struct Flash {
        pages: [Vec<u8>; 2],
        unit: usize,
    }

    impl Flash {
        fn new(len: usize, unit: usize) -> Self {
            Self { pages: [vec![0xFF; len], vec![0xFF; len]], unit }
        }

        fn open(&self) -> (Journal, Option<Record<'_>>) {
            Journal::open([&self.pages[0], &self.pages[1]], self.unit)
        }

        /// Erases and writes, unless the power goes off after `steps` bytes. Whether it stayed on.
        fn write(&mut self, place: Place, record: &[u8], mut steps: usize) -> bool {
            assert_eq!(place.offset % self.unit, 0);
            let page = &mut self.pages[place.page];
            if place.erase {
                for byte in page.iter_mut() {
                    if steps == 0 {
                        return false;
                    }
                    *byte = 0xFF;
                    steps -= 1;
                }
            }
            for (byte, new) in page[place.offset..].iter_mut().zip(record) {
                if steps == 0 {
                    return false;
                }
                assert_eq!(*byte, 0xFF, "written twice");
                *byte = *new;
                steps -= 1;
            }
            true
        }
    }

    fn record(sequence: u32, note: usize) -> Vec<u8> {
        let c = connected(Config::default(), 64, 2, &persistent());
        let mut record = vec![0; c.export_len(note)];
        c.export(sequence, &vec![7; note], &mut record).unwrap();
        record
    }

    /// A write is cut off at each byte of it, and of the erasure before it: what is found then is the record before, or
    /// the new one if all of it is there; and the next write goes well.
    #[test]
    fn a_cut_at_any_byte_leaves_the_newest_whole_record() {
        for (len, unit) in [(48, 1), (64, 8), (200, 4), (256, 32)] {
            for before in 0..12_u32 {
                let mut flash = Flash::new(len, unit);
                for n in 1..=before {
                    let record = record(n, n as usize % 7 * 4);
                    let place = flash.open().0.place(record.len()).unwrap();
                    assert_eq!(place.sequence, n);
                    assert!(flash.write(place, &record, usize::MAX));
                    assert_eq!(flash.open().1.unwrap().as_bytes(), record);
                }
                for cut in 0.. {
                    let mut torn = Flash { pages: flash.pages.clone(), unit };
                    let new = record(before + 1, 5);
                    let place = torn.open().0.place(new.len()).unwrap();
                    let whole = torn.write(place, &new, cut);
                    let (mut journal, found) = torn.open();
                    let found = found.map_or(0, |record| record.sequence);
                    assert_eq!(found, before + u32::from(whole), "cut at {cut}");
                    let place = journal.place(new.len()).unwrap();
                    assert_eq!(place.sequence, found + 1);
                    let next = record(found + 1, 5);
                    assert!(torn.write(place, &next, usize::MAX));
                    assert_eq!(torn.open().1.unwrap().as_bytes(), next);
                    if whole {
                        break;
                    }
                }
            }
        }
    }

    #[test]
    fn one_journal_places_as_often_as_it_is_asked() {
        let mut flash = Flash::new(100, 4);
        let mut journal = flash.open().0;
        let mut erased = 0;
        for n in 1..=30 {
            let record = record(n, 1);
            let place = journal.place(record.len()).unwrap();
            erased += u32::from(place.erase);
            flash.write(place, &record, usize::MAX);
            let (again, newest) = flash.open();
            assert_eq!((again, newest.unwrap().sequence), (journal, n));
        }
        assert_eq!(erased, 8, "four records to a page");
        assert_eq!(journal.place(101), Err(Capacity::Buffer));
    }

    #[test]
    fn older_records_behind_newer_ones_do_not_count() {
        // A memory that is not erased: the page was filled before.
        let mut page: Vec<u8> = [5, 6, 7].iter().flat_map(|n| record(*n, 0)).collect();
        page[..20].copy_from_slice(&record(11, 0));
        let other = record(10, 0).repeat(1);
        let mut second = vec![0; page.len()];
        second[..20].copy_from_slice(&other);
        let (mut journal, newest) = Journal::open([&page, &second], 1);
        assert_eq!(newest.unwrap().sequence, 11);
        let place = journal.place(20).unwrap();
        assert_eq!((place.page, place.offset, place.sequence), (1, 0, 12));
    }
}
