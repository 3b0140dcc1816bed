//! The MQTT client.
#![allow(non_camel_case_types, reason = "C's names")]

pub mod packet;
pub mod session;
pub mod topic;

use crate::{
    error::{Fail, result},
    handle::{Memory, Opaque, Out, check, fits, init_with, lent, lent_one, machine, machine_ref, place},
    types::{
        WAFT_NEVER, WAFT_OUTPUT_BUFFER_TOO_SMALL, WAFT_OUTPUT_EVENT, WAFT_OUTPUT_TIMEOUT, WAFT_OUTPUT_TRANSMIT,
        instant, millis, waft_bytes_t, waft_handled_t, waft_output_t, waft_str_t,
    },
};
use core::{
    mem::{MaybeUninit, offset_of},
    ptr, slice,
};
use waft::{
    Misuse, Peer,
    mqtt::{
        PacketId, QoS,
        client::{
            Client, Config, InFlight,
            raw::{PRESENT, Told, What},
        },
    },
};

/// Words of a handle; `sizeof(waft_mqtt_client_t)` is what to write.
#[cfg(target_pointer_width = "32")]
pub const WAFT_MQTT_CLIENT_WORDS: usize = 16;
/// Words of a handle; `sizeof(waft_mqtt_client_t)` is what to write.
#[cfg(not(target_pointer_width = "32"))]
pub const WAFT_MQTT_CLIENT_WORDS: usize = 26;

/// An MQTT 3.1.1 client: one connection to one server, and the session that outlives it.
///
/// When a stream to the server is open, call waft_mqtt_client_connect(); when it is closed,
/// waft_mqtt_client_connection_lost(). After a result of -64 to -83, WAFT_MQTT_EVENT_REFUSED or
/// WAFT_MQTT_EVENT_CLOSED, close the stream; the session is kept for the next connection.
#[repr(C)]
pub struct waft_mqtt_client_t {
    _priv: [u64; WAFT_MQTT_CLIENT_WORDS],
}

// SAFETY: `repr(C)` over words.
unsafe impl Opaque for waft_mqtt_client_t {
    type Machine = Client<'static>;
    const MAGIC: u32 = u32::from_be_bytes(*b"wMqC");
}
const _: () = assert!(fits::<waft_mqtt_client_t>(), "raise WAFT_MQTT_CLIENT_WORDS");

/// Bytes of memory that one message in flight takes in the table of waft_mqtt_client_init().
pub const WAFT_MQTT_IN_FLIGHT_SIZE: usize = 12;
const _: () = assert!(size_of::<InFlight>() <= WAFT_MQTT_IN_FLIGHT_SIZE, "raise WAFT_MQTT_IN_FLIGHT_SIZE");

/// How a client behaves. Begin with waft_mqtt_client_defaults().
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct waft_mqtt_client_config_t {
    /// Messages, subscriptions and handshakes in flight at once, both ways together (8). Each takes
    /// WAFT_MQTT_IN_FLIGHT_SIZE bytes of the memory; the rest of it keeps packets until they are acknowledged.
    pub in_flight: u16,
    /// Places in that table that commands leave free for reception, at least 1 (1).
    pub keep_free: u16,
    /// The largest packet received, without its fixed header, in bytes; of a PUBLISH, the largest topic and 4 bytes
    /// more (256). The receive buffer has to have 5 bytes more than this. Payloads take no memory.
    pub max_packet: u16,
    /// Bytes of memory that each waft_mqtt_client_publish_streamed() takes for its payload on the way (128).
    pub window: u16,
    /// How long the server may take to answer CONNECT and PINGREQ, in milliseconds (10,000), whatever else it sends
    /// meanwhile. One message whose payload is still arriving puts the end of the wait for PINGRESP off: each part of it
    /// begins the wait anew.
    pub answer_timeout: u32,
    /// The longest payload wanted, in bytes (268,435,455, the longest there is). A message with a longer one is passed
    /// over and acknowledged: WAFT_MQTT_EVENT_SKIPPED.
    pub max_payload: u32,
    /// Not 0: received messages of QoS 1 and 2 are acknowledged by waft_mqtt_client_acknowledge() only (0).
    pub manual_ack: u8,
}

/// What goes into CONNECT. All zero but `client_id` is good.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct waft_mqtt_connect_t {
    /// The client identifier; may be empty with a clean session.
    pub client_id: waft_str_t,
    /// The will's topic; `data` is NULL where there is no will.
    pub will_topic: waft_str_t,
    /// The will's payload. There is none without a topic.
    pub will_payload: waft_bytes_t,
    /// The user name; `data` is NULL where there is none.
    pub username: waft_str_t,
    /// The password; `data` is NULL where there is none.
    pub password: waft_bytes_t,
    /// The server is sent something at least so often, in seconds; 0 turns that off.
    pub keep_alive: u16,
    /// The will's QoS, 0 to 2.
    pub will_qos: u8,
    /// Not 0: the will is retained.
    pub will_retain: u8,
    /// Not 0: both ends forget the session of before.
    pub clean_session: u8,
}

/// A topic filter and the QoS wanted.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct waft_mqtt_filter_t {
    /// The filter.
    pub filter: waft_str_t,
    /// 0 to 2.
    pub qos: u8,
}

/// Nothing to tell.
pub const WAFT_MQTT_EVENT_NONE: u32 = 0;
/// The server accepted: `session_present`. Without a session present, earlier subscriptions are gone.
pub const WAFT_MQTT_EVENT_CONNECTED: u32 = 1;
/// The server refused: `code` (1 to 5, MQTT 3.1.1 Table 3.1). Close the stream.
pub const WAFT_MQTT_EVENT_REFUSED: u32 = 2;
/// A message begins: `topic`, `qos`, `retain`, `dup`, `id`, and `len` bytes of payload, which follow as
/// WAFT_MQTT_EVENT_PAYLOAD; no such event follows where `len` is 0.
pub const WAFT_MQTT_EVENT_PUBLISH: u32 = 3;
/// The next `bytes` of the payload; `last` says whether the message ends here.
pub const WAFT_MQTT_EVENT_PAYLOAD: u32 = 4;
/// The message published as `id` has arrived.
pub const WAFT_MQTT_EVENT_ACKNOWLEDGED: u32 = 5;
/// SUBACK for `id`: in `bytes`, for each filter, the QoS granted or 128.
pub const WAFT_MQTT_EVENT_SUBSCRIBED: u32 = 6;
/// UNSUBACK for `id`.
pub const WAFT_MQTT_EVENT_UNSUBSCRIBED: u32 = 7;
/// Call waft_mqtt_client_payload() with `len` bytes from `offset` on of the message being streamed (`id`).
pub const WAFT_MQTT_EVENT_PAYLOAD_WANTED: u32 = 8;
/// The connection is closed: close the stream. `code`: 0 as asked, 1 no CONNACK in time, 2 no PINGRESP in time,
/// 3 more messages at once than the table holds.
pub const WAFT_MQTT_EVENT_CLOSED: u32 = 9;
/// A message with too long a topic or payload is passed over; its payload has `len` bytes.
pub const WAFT_MQTT_EVENT_SKIPPED: u32 = 10;

/// What a client tells. Members that a kind does not name are 0 or empty.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct waft_mqtt_event_t {
    /// WAFT_MQTT_EVENT_...
    pub kind: u32,
    /// Where the payload wanted begins.
    pub offset: u32,
    /// A length in bytes.
    pub len: u32,
    /// A packet identifier; 0 for none.
    pub id: u16,
    /// 0 to 2.
    pub qos: u8,
    /// 1: retained.
    pub retain: u8,
    /// 1: perhaps sent before.
    pub dup: u8,
    /// 1: the server kept the session.
    pub session_present: u8,
    /// 1: the message ends here.
    pub last: u8,
    /// A reason.
    pub code: u8,
    /// A topic name.
    pub topic: waft_str_t,
    /// Bytes.
    pub bytes: waft_bytes_t,
}

// What comes before the topic is what the client tells in numbers, member by member.
const _: () = {
    assert!(offset_of!(waft_mqtt_event_t, topic) >= size_of::<What>());
    assert!(offset_of!(waft_mqtt_event_t, offset) == offset_of!(What, offset));
    assert!(offset_of!(waft_mqtt_event_t, len) == offset_of!(What, len));
    assert!(offset_of!(waft_mqtt_event_t, id) == offset_of!(What, id));
    assert!(offset_of!(waft_mqtt_event_t, qos) == offset_of!(What, qos));
    assert!(offset_of!(waft_mqtt_event_t, retain) == offset_of!(What, retain));
    assert!(offset_of!(waft_mqtt_event_t, dup) == offset_of!(What, dup));
    assert!(offset_of!(waft_mqtt_event_t, session_present) == offset_of!(What, session_present));
    assert!(offset_of!(waft_mqtt_event_t, last) == offset_of!(What, last));
    assert!(offset_of!(waft_mqtt_event_t, code) == offset_of!(What, code));
};

/// Writes what a client tells.
///
/// # Safety
/// `event` is not NULL and good for a write.
#[inline(never)]
unsafe fn tell(event: *mut waft_mqtt_event_t, told: &Told<'_>) {
    let some = |bytes: Option<&[u8]>| bytes.map_or(waft_bytes_t::EMPTY, waft_bytes_t::of);
    let (topic, bytes) = (some(told.topic), some(told.bytes));
    // SAFETY: the caller's; the event begins as `What` does.
    unsafe {
        event.cast::<What>().write(told.what);
        ptr::addr_of_mut!((*event).topic).write(waft_str_t { data: topic.data.cast(), len: topic.len });
        ptr::addr_of_mut!((*event).bytes).write(bytes);
    }
}

/// The client of a handle, which takes in the time.
///
/// # Safety
/// As for [`machine`].
#[inline(never)]
unsafe fn client<'h>(handle: *mut waft_mqtt_client_t, now: u64) -> Result<&'h mut Client<'static>, Fail> {
    // SAFETY: the caller's.
    let client = unsafe { machine(handle) }?;
    client.tick(instant(now));
    Ok(client)
}

fn qos(n: u8) -> Result<QoS, Fail> {
    QoS::from_u8(n).ok_or(Misuse::OutOfRange.into())
}

/// Writes the defaults, which the members' descriptions name in parentheses.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn waft_mqtt_client_defaults(config: *mut waft_mqtt_client_config_t) -> i32 {
    result((|| {
        let defaults = Config::default();
        let value = waft_mqtt_client_config_t {
            in_flight: 8,
            keep_free: defaults.keep_free,
            max_packet: defaults.max_packet,
            window: defaults.window,
            answer_timeout: 10_000,
            max_payload: defaults.max_payload,
            manual_ack: 0,
        };
        // SAFETY: C lends the place.
        unsafe { Out::new(config)?.set(value) };
        Ok(())
    })())
}

/// Makes a client in `handle`, of `size` = `sizeof *handle` bytes, that works in `memory`: the table of
/// `config->in_flight` places, and behind it packets until they are acknowledged. 512 bytes do for most.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn waft_mqtt_client_init(
    handle: *mut waft_mqtt_client_t,
    size: usize,
    config: *const waft_mqtt_client_config_t,
    memory: *mut u8,
    memory_len: usize,
) -> i32 {
    result((|| {
        place(handle, size)?;
        // SAFETY: C lends a configuration, or NULL.
        let config = unsafe { lent_one(config) }?;
        // SAFETY: C lends the memory for as long as the client is used.
        let mut memory = unsafe { Memory::new(memory, memory_len) }?;
        let table = memory.table(usize::from(config.in_flight), |_| InFlight::EMPTY)?;
        let client = || {
            Client::new(
                Config {
                    manual_ack: config.manual_ack != 0,
                    max_packet: config.max_packet,
                    max_payload: config.max_payload,
                    window: config.window,
                    keep_free: config.keep_free,
                    answer_timeout: millis(config.answer_timeout),
                },
                memory.rest(),
                table,
            )
        };
        // SAFETY: C lends the handle.
        unsafe { init_with(handle, size, client) }
    })())
}

/// A stream to the server is open; `peer` stands for it. Sends CONNECT.
///
/// WAFT_ERROR_WRONG_STATE: there is a connection. WAFT_ERROR_INVALID_STRING, WAFT_ERROR_INVALID_TOPIC,
/// WAFT_ERROR_OUT_OF_RANGE: about `connect`. WAFT_ERROR_ARENA: the memory is too small for it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn waft_mqtt_client_connect(
    handle: *mut waft_mqtt_client_t,
    now: u64,
    peer: u32,
    connect: *const waft_mqtt_connect_t,
) -> i32 {
    result((|| {
        // SAFETY: C lends the handle and `connect` for this call.
        let (client, c) = unsafe { (client(handle, now)?, lent_one(connect)?) };
        // SAFETY: this is how `connect` begins.
        let parts: &[waft_bytes_t; 5] = unsafe { &*ptr::from_ref(c).cast() };
        let mut strings = [const { MaybeUninit::uninit() }; 5];
        let mut flags = u8::from(c.clean_session != 0) << 1;
        for (index, ((string, part), flag)) in strings.iter_mut().zip(parts).zip(&PRESENT).enumerate() {
            let mut part = *part;
            if !part.data.is_null() {
                flags |= flag;
            } else if index != CLIENT_ID && index != WILL_PAYLOAD {
                // There is none, however long.
                part.len = 0;
            }
            // SAFETY: C lends what `connect` names, too.
            string.write(unsafe { part.lent() }?);
        }
        // SAFETY: all five have been written.
        let strings = unsafe { &*(&raw const strings).cast() };
        if flags & PRESENT[WILL_PAYLOAD] != 0 {
            flags |= (qos(c.will_qos)? as u8) << 3 | u8::from(c.will_retain != 0) << 5;
        }
        client.connect_raw(Peer(peer), strings, flags, c.keep_alive)
    })())
}

const CLIENT_ID: usize = 0;
const WILL_PAYLOAD: usize = 2;
const _: () = {
    const WORDS: usize = size_of::<waft_bytes_t>();
    assert!(size_of::<waft_str_t>() == WORDS && offset_of!(waft_mqtt_connect_t, client_id) == CLIENT_ID);
    assert!(offset_of!(waft_mqtt_connect_t, will_topic) == WORDS);
    assert!(offset_of!(waft_mqtt_connect_t, will_payload) == WILL_PAYLOAD * WORDS);
    assert!(offset_of!(waft_mqtt_connect_t, username) == 3 * WORDS);
    assert!(offset_of!(waft_mqtt_connect_t, password) == 4 * WORDS);
};

/// The stream is closed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn waft_mqtt_client_connection_lost(handle: *mut waft_mqtt_client_t, now: u64) -> i32 {
    // SAFETY: C lends the handle.
    result(unsafe { machine(handle) }.map(|client| client.connection_lost(instant(now))))
}

/// Sends what is queued, then DISCONNECT; then tells WAFT_MQTT_EVENT_CLOSED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn waft_mqtt_client_disconnect(handle: *mut waft_mqtt_client_t, now: u64) -> i32 {
    // SAFETY: C lends the handle.
    result(unsafe { machine(handle) }.and_then(|client| Ok(client.disconnect(instant(now))?)))
}

/// Publishes a message, which is copied into the memory until it is acknowledged. `*id` becomes its packet identifier,
/// 0 at QoS 0. `retain` is 0 or not.
///
/// WAFT_ERROR_INVALID_TOPIC, WAFT_ERROR_NOT_CONNECTED; WAFT_ERROR_ARENA, WAFT_ERROR_IN_FLIGHT: no room now.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn waft_mqtt_client_publish(
    handle: *mut waft_mqtt_client_t,
    now: u64,
    topic: waft_str_t,
    payload: waft_bytes_t,
    qos: u8,
    retain: u8,
    id: *mut u16,
) -> i32 {
    result((|| {
        // SAFETY: C lends the handle, the topic and the payload for this call, and the place of `id`.
        unsafe {
            let (client, out) = (client(handle, now)?, Out::new(id)?);
            let topic = topic.as_bytes();
            let (topic, payload) = (topic.lent_at(topic.check()?), payload.lent_at(payload.check()?));
            out.set(client.publish_raw(self::qos(qos)?, retain != 0, topic, payload)? as u16);
        }
        Ok(())
    })())
}

/// Publishes a message of `len` bytes that are asked for when they can be sent: WAFT_MQTT_EVENT_PAYLOAD_WANTED. So a
/// message may be larger than any memory. `*id` as above.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn waft_mqtt_client_publish_streamed(
    handle: *mut waft_mqtt_client_t,
    now: u64,
    topic: waft_str_t,
    len: u32,
    qos: u8,
    retain: u8,
    id: *mut u16,
) -> i32 {
    result((|| {
        // SAFETY: as for `waft_mqtt_client_publish`.
        unsafe {
            let (client, out) = (client(handle, now)?, Out::new(id)?);
            let topic = topic.as_bytes().lent()?;
            out.set(client.publish_streamed_raw(self::qos(qos)?, retain != 0, topic, len)? as u16);
        }
        Ok(())
    })())
}

/// Gives the bytes that WAFT_MQTT_EVENT_PAYLOAD_WANTED asked for. `*taken` becomes how many of them were taken.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn waft_mqtt_client_payload(
    handle: *mut waft_mqtt_client_t,
    now: u64,
    bytes: waft_bytes_t,
    taken: *mut usize,
) -> i32 {
    result((|| {
        // SAFETY: C lends the handle and the bytes for this call, and the place of `taken`.
        unsafe {
            let (client, out) = (machine(handle)?, Out::new(taken)?);
            out.set(client.payload(instant(now), bytes.lent()?)?);
        }
        Ok(())
    })())
}

/// Subscribes to `count` filters. The answer is WAFT_MQTT_EVENT_SUBSCRIBED for `*id`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn waft_mqtt_client_subscribe(
    handle: *mut waft_mqtt_client_t,
    now: u64,
    filters: *const waft_mqtt_filter_t,
    count: usize,
    id: *mut u16,
) -> i32 {
    result((|| {
        // SAFETY: C lends the handle, the filters and their text for this call, and the place of `id`.
        unsafe {
            let count = u16::try_from(count).map_err(|_| Misuse::OutOfRange)?;
            let (client, out, filters) = (client(handle, now)?, Out::new(id)?, check(filters, count.into())?);
            let filters = slice::from_raw_parts(filters.as_ptr(), count.into());
            let look = |waft_mqtt_filter_t { filter, qos }: &waft_mqtt_filter_t| {
                let bytes = filter.as_bytes();
                Ok((bytes.lent_at(bytes.check()?), *qos))
            };
            // None was found to be empty, and so each is somewhere.
            let take = |waft_mqtt_filter_t { filter, qos }: &waft_mqtt_filter_t| {
                (slice::from_raw_parts(filter.data.cast(), filter.len), *qos)
            };
            out.set(client.subscribe_raw(filters, look, take)? as u16);
        }
        Ok(())
    })())
}

/// Unsubscribes from `count` filters. The answer is WAFT_MQTT_EVENT_UNSUBSCRIBED for `*id`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn waft_mqtt_client_unsubscribe(
    handle: *mut waft_mqtt_client_t,
    now: u64,
    filters: *const waft_str_t,
    count: usize,
    id: *mut u16,
) -> i32 {
    result((|| {
        // SAFETY: as for `waft_mqtt_client_subscribe`.
        unsafe {
            let (client, out, filters) = (client(handle, now)?, Out::new(id)?, lent(filters, count)?);
            let look = |filter: &waft_str_t| filter.as_bytes().lent();
            out.set(client.unsubscribe_raw(filters, look, |filter| look(filter).unwrap_or(&[]))? as u16);
        }
        Ok(())
    })())
}

/// With `manual_ack`: the message received under `id` is done with; the server need not send it again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn waft_mqtt_client_acknowledge(handle: *mut waft_mqtt_client_t, now: u64, id: u16) -> i32 {
    result((|| {
        let id = PacketId::new(id).ok_or(Misuse::UnknownId)?;
        // SAFETY: C lends the handle.
        Ok(unsafe { machine(handle) }?.acknowledge(instant(now), id)?)
    })())
}

/// The message that is being received (WAFT_MQTT_EVENT_PUBLISH) is not wanted: the rest of it is passed over and then
/// acknowledged. WAFT_ERROR_WRONG_STATE: nothing of it is to come.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn waft_mqtt_client_refuse(handle: *mut waft_mqtt_client_t, now: u64) -> i32 {
    // SAFETY: C lends the handle.
    result(unsafe { machine(handle) }.and_then(|client| Ok(client.refuse(instant(now))?)))
}

/// 1 while the server has accepted and nothing has ended the connection, else 0 or an error.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn waft_mqtt_client_is_connected(handle: *const waft_mqtt_client_t) -> i32 {
    // SAFETY: C lends the handle.
    unsafe { machine_ref(handle) }.map_or_else(Fail::code, |client| i32::from(client.is_connected()))
}

/// Hands in what has been read of the stream and not been consumed. `event->kind` is WAFT_MQTT_EVENT_NONE where there
/// is nothing to tell. -64 to -83: the server broke the protocol; close the stream.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn waft_mqtt_client_handle_input(
    handle: *mut waft_mqtt_client_t,
    now: u64,
    peer: u32,
    data: *const u8,
    len: usize,
    handled: *mut waft_handled_t,
    event: *mut waft_mqtt_event_t,
) -> i32 {
    result((|| {
        // SAFETY: C lends the handle, the bytes for as long as it looks at the event, and the places of the results.
        unsafe {
            let client = client(handle, now)?;
            let (handled, out) = (Out::new(handled)?, Out::new(event)?);
            let bytes = slice::from_raw_parts(check(data, len)?.as_ptr(), len);
            let mut told = Told::default();
            client.handle_input_raw(Peer(peer), bytes, &mut told)?;
            handled.set(waft_handled_t { consumed: told.consumed, needed: told.needed });
            tell(out.pointer(), &told);
        }
        Ok(())
    })())
}

/// Lets time-outs happen. Early or twice does no harm.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn waft_mqtt_client_handle_timeout(handle: *mut waft_mqtt_client_t, now: u64) -> i32 {
    // SAFETY: C lends the handle.
    result(unsafe { machine(handle) }.map(|client| client.handle_timeout(instant(now))))
}

/// Asks for the next thing to send or to tell, until `output->kind` is WAFT_OUTPUT_TIMEOUT. `buffer` is for one packet
/// or a part of one.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn waft_mqtt_client_poll_output(
    handle: *mut waft_mqtt_client_t,
    now: u64,
    buffer: *mut u8,
    buffer_len: usize,
    output: *mut waft_output_t,
    event: *mut waft_mqtt_event_t,
) -> i32 {
    result((|| {
        // SAFETY: C lends the handle, the buffer, and the places of the results.
        unsafe {
            let client = client(handle, now)?;
            let (output, out) = (Out::new(output)?, Out::new(event)?);
            let buffer = slice::from_raw_parts_mut(check(buffer, buffer_len)?.as_ptr(), buffer_len);
            let mut told = Told::default();
            let len = client.poll_output_raw(buffer, &mut told);
            let mut what = waft_output_t { kind: WAFT_OUTPUT_EVENT, peer: 0, len, deadline: WAFT_NEVER };
            if len != 0 {
                (what.kind, what.peer) = (WAFT_OUTPUT_TRANSMIT, client.peer().0);
            } else if told.needed != 0 {
                (what.kind, what.len) = (WAFT_OUTPUT_BUFFER_TOO_SMALL, told.needed);
            } else if told.what.kind == What::NOTHING {
                (what.kind, what.deadline) = (WAFT_OUTPUT_TIMEOUT, client.next_timeout_raw().as_micros());
            }
            output.set(what);
            tell(out.pointer(), &told);
        }
        Ok(())
    })())
}

/// When to call waft_mqtt_client_handle_timeout() at the latest; WAFT_NEVER for a bad handle too.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn waft_mqtt_client_next_timeout(handle: *const waft_mqtt_client_t) -> u64 {
    // SAFETY: C lends the handle.
    unsafe { machine_ref(handle) }.map_or(WAFT_NEVER, |client| client.next_timeout_raw().as_micros())
}
