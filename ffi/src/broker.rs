//! The MQTT broker. Hosted only.
#![allow(non_camel_case_types, reason = "C's names")]

pub mod types;

use crate::{
    error::{Fail, result},
    handle::{Opaque, Out, boxed, lent, lent_mut, machine, machine_ref, unboxed},
    types::{WAFT_NEVER, deadline, instant, millis, waft_bytes_t, waft_handled_t, waft_output_t, waft_str_t},
};
use bytes::Bytes;
use std::{string::String, sync::Arc, vec::Vec};
use types::{waft_broker_config_t, waft_broker_event_t, waft_broker_stats_t, waft_broker_user_t};
use waft::{
    Input, Misuse, Peer,
    mqtt::{
        ConnectReturnCode, QoS,
        broker::{Acl, Broker, BrokerConfig, Event, User},
    },
};

/// A broker, what its latest event names, and the pieces of its latest compaction.
pub(crate) struct Host {
    broker: Broker,
    told: Option<Event>,
    pieces: Vec<Bytes>,
}

/// An MQTT 3.1.1 broker for any number of connections, without I/O: retained messages, persistent sessions, wills, QoS
/// 0, 1 and 2.
///
/// The host owns the sockets and gives each connection a number, its peer. Accepted: waft_broker_accept(). Closed:
/// waft_broker_connection_lost(). Bytes arrived: waft_broker_handle_input(); keep what was not consumed. Then
/// waft_broker_poll_output() until WAFT_OUTPUT_TIMEOUT, writing to the peers' streams and closing them as it says.
///
/// Where MQTT 3.1.1 leaves room: an acknowledgement whose identifier is unknown is no violation (PUBACK and PUBCOMP are
/// ignored, PUBREC is answered by PUBREL, PUBREL by PUBCOMP), one that is not the next step of its message is. The same
/// filter twice in one SUBSCRIBE sends retained messages for each; the last QoS counts. Overlapping subscriptions get one
/// copy, of the highest QoS. What a client may not publish, below `$` too, is acknowledged and goes nowhere.
pub struct waft_broker_t {
    _private: (),
}

// SAFETY: C has nothing but pointers to it, which come from `boxed`.
unsafe impl Opaque for waft_broker_t {
    type Machine = Host;
    const MAGIC: u32 = u32::from_be_bytes(*b"wBrk");
}

/// Writes the defaults, which the members' descriptions name in parentheses.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn waft_broker_defaults(config: *mut waft_broker_config_t) -> i32 {
    result((|| {
        let c = BrokerConfig::default();
        let value = waft_broker_config_t {
            seed: 0,
            users: core::ptr::null(),
            user_count: 0,
            max_connections: c.max_connections,
            max_sessions: c.max_sessions,
            max_client_id: c.max_client_id,
            max_subscriptions: c.max_subscriptions,
            max_subscription_bytes: c.max_subscription_bytes,
            max_levels: c.max_levels,
            max_in_flight: c.max_in_flight,
            max_inbound: c.max_inbound,
            max_queued: c.max_queued,
            max_queued_bytes: c.max_queued_bytes,
            max_retained: c.max_retained,
            max_retained_bytes: c.max_retained_bytes,
            max_backlog: c.max_backlog,
            max_unrecorded: c.max_unrecorded,
            max_connect: c.max_connect,
            max_packet: c.max_packet,
            max_payload: c.max_payload,
            connect_timeout: 10_000,
            session_expiry: 0,
            sys_interval: 0,
            acl: waft_str_t::EMPTY,
            max_qos: c.max_qos as u8,
            ask_host: 0,
            persistent: 0,
        };
        // SAFETY: C lends the place.
        unsafe { Out::new(config)?.set(value) };
        Ok(())
    })())
}

/// # Safety
/// What the users' names and passwords point to is lent for this call.
unsafe fn users(users: &[waft_broker_user_t]) -> Result<Vec<User>, Fail> {
    users
        .iter()
        // SAFETY: the caller's.
        .map(|user| unsafe {
            Ok(User { name: String::from(user.name.lent()?), password: user.password.lent()?.into() })
        })
        .collect()
}

/// Makes a broker on the heap; `*broker` becomes it, for waft_broker_free() in the end.
///
/// WAFT_ERROR_OUT_OF_RANGE: no such QoS. WAFT_ERROR_INVALID_STRING: a user's name.
/// WAFT_ERROR_INVALID_OPTION: a line of the ACL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn waft_broker_new(config: *const waft_broker_config_t, broker: *mut *mut waft_broker_t) -> i32 {
    result((|| {
        // SAFETY: C lends the configuration and what it names for this call, and the place of the broker.
        unsafe {
            let out = Out::new(broker)?;
            let c = lent(config, 1)?.first().ok_or(Misuse::NullPointer)?;
            let span = |span: u32| (span != 0).then(|| millis(span));
            let core = BrokerConfig {
                max_connections: c.max_connections,
                max_sessions: c.max_sessions,
                session_expiry: span(c.session_expiry),
                connect_timeout: millis(c.connect_timeout),
                max_connect: c.max_connect,
                max_packet: c.max_packet,
                max_payload: c.max_payload,
                max_client_id: c.max_client_id,
                max_subscriptions: c.max_subscriptions,
                max_subscription_bytes: c.max_subscription_bytes,
                max_levels: c.max_levels,
                max_qos: qos(c.max_qos)?,
                max_in_flight: c.max_in_flight,
                max_inbound: c.max_inbound,
                max_queued: c.max_queued,
                max_queued_bytes: c.max_queued_bytes,
                max_retained: c.max_retained,
                max_retained_bytes: c.max_retained_bytes,
                max_backlog: c.max_backlog,
                max_unrecorded: c.max_unrecorded,
                sys_interval: span(c.sys_interval),
                users: users(lent(c.users, c.user_count)?)?,
                acl: acl(c.acl)?,
                ask_host: c.ask_host != 0,
                persistent: c.persistent != 0,
            };
            out.set(boxed(Host { broker: Broker::new(core, c.seed), told: None, pieces: Vec::new() }));
        }
        Ok(())
    })())
}

/// # Safety
/// The text is lent for this call.
unsafe fn acl(text: waft_str_t) -> Result<Option<Arc<Acl>>, Fail> {
    // SAFETY: the caller's.
    let Some(text) = (unsafe { text.lent_if_any()? }) else { return Ok(None) };
    Ok(Some(Arc::new(Acl::parse(text).map_err(|_| Misuse::InvalidOption)?)))
}

fn qos(n: u8) -> Result<QoS, Fail> {
    QoS::from_u8(n).ok_or_else(|| Misuse::OutOfRange.into())
}

/// Frees a broker, which is used no more. NULL is nothing to free.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn waft_broker_free(broker: *mut waft_broker_t) -> i32 {
    // SAFETY: C gives the broker back.
    result(unsafe { unboxed(broker) })
}

/// A connection was accepted; `peer` stands for it.
///
/// WAFT_ERROR_WRONG_STATE: that peer is known already. WAFT_ERROR_PEERS: as many connections as there may be; close
/// this one.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn waft_broker_accept(broker: *mut waft_broker_t, now: u64, peer: u32) -> i32 {
    // SAFETY: C lends the broker.
    result(unsafe { machine(broker) }.and_then(|host| Ok(host.broker.accept(instant(now), Peer(peer))?)))
}

/// A connection is gone; its will is published unless a DISCONNECT was read from it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn waft_broker_connection_lost(broker: *mut waft_broker_t, now: u64, peer: u32) -> i32 {
    // SAFETY: C lends the broker.
    result(unsafe { machine(broker) }.map(|host| host.broker.connection_lost(instant(now), Peer(peer))))
}

/// Ends a connection from this side; its will is published. WAFT_BROKER_EVENT_CLOSE follows.
///
/// WAFT_ERROR_UNKNOWN_ID: no such peer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn waft_broker_disconnect(broker: *mut waft_broker_t, now: u64, peer: u32) -> i32 {
    // SAFETY: C lends the broker.
    result(unsafe { machine(broker) }.and_then(|host| Ok(host.broker.disconnect(instant(now), Peer(peer))?)))
}

/// Lets in the client of a WAFT_BROKER_EVENT_AUTHENTICATE. `acl` (copied) says what it may publish and subscribe to;
/// NULL: what the configuration says. What came of that peer and was not consumed is to be offered again.
///
/// WAFT_ERROR_UNKNOWN_ID: no such peer. WAFT_ERROR_WRONG_STATE: nothing was asked about it. WAFT_ERROR_INVALID_OPTION:
/// a line of the ACL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn waft_broker_allow(broker: *mut waft_broker_t, now: u64, peer: u32, acl: waft_str_t) -> i32 {
    result((|| {
        // SAFETY: C lends the broker, and the text for this call.
        unsafe { Ok(machine(broker)?.broker.allow(instant(now), Peer(peer), self::acl(acl)?)?) }
    })())
}

/// Refuses the client of a WAFT_BROKER_EVENT_AUTHENTICATE by a return code, 1 to 5: usually 4, bad user name or
/// password, or 5, not authorized.
///
/// WAFT_ERROR_UNKNOWN_ID, WAFT_ERROR_WRONG_STATE: as above. WAFT_ERROR_OUT_OF_RANGE: no such code.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn waft_broker_deny(broker: *mut waft_broker_t, now: u64, peer: u32, code: u8) -> i32 {
    result((|| {
        let code = ConnectReturnCode::from_u8(code).ok_or(Misuse::OutOfRange)?;
        // SAFETY: C lends the broker.
        unsafe { Ok(machine(broker)?.broker.deny(instant(now), Peer(peer), code)?) }
    })())
}

/// Takes up what a `persistent` broker recorded before: all bytes of its file, none for a first start. First of all,
/// and followed by waft_broker_compact(). `*torn` becomes how many bytes at the end are of a write that was cut off.
///
/// Nothing is taken up where it fails. WAFT_ERROR_WRONG_STATE: not persistent, or used already. WAFT_ERROR_OUT_OF_RANGE:
/// no bytes that a broker of this version wrote.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn waft_broker_restore(
    broker: *mut waft_broker_t,
    now: u64,
    file: waft_bytes_t,
    torn: *mut usize,
) -> i32 {
    result((|| {
        // SAFETY: C lends the broker, the bytes for this call, and the place of the count.
        unsafe {
            let (host, out) = (machine(broker)?, Out::new(torn)?);
            out.set(host.broker.restore(instant(now), file.lent()?)?.torn);
        }
        Ok(())
    })())
}

/// All that a restart has to find: `*count` pieces, see waft_broker_piece(), for a new file that takes the place of the
/// old one. When it is durable, waft_broker_recorded().
///
/// WAFT_ERROR_WRONG_STATE: not persistent, or a WAFT_BROKER_EVENT_RECORD has not been answered.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn waft_broker_compact(broker: *mut waft_broker_t, count: *mut usize) -> i32 {
    result((|| {
        // SAFETY: C lends the broker and the place of the count.
        unsafe {
            let (host, out) = (machine(broker)?, Out::new(count)?);
            host.pieces = host.broker.compact()?;
            out.set(host.pieces.len());
        }
        Ok(())
    })())
}

/// A piece of the latest waft_broker_compact(); it stands until waft_broker_recorded().
///
/// WAFT_ERROR_UNKNOWN_ID: there are fewer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn waft_broker_piece(
    broker: *const waft_broker_t,
    index: usize,
    piece: *mut waft_bytes_t,
) -> i32 {
    result((|| {
        // SAFETY: C lends the broker and the place of the piece.
        unsafe {
            let (host, out) = (machine_ref(broker)?, Out::new(piece)?);
            out.set(waft_bytes_t::of(host.pieces.get(index).ok_or(Misuse::UnknownId)?));
        }
        Ok(())
    })())
}

/// What WAFT_BROKER_EVENT_RECORD or waft_broker_compact() gave is durable: what waited for it is sent. Offer the bytes of
/// all peers again that were not consumed.
///
/// WAFT_ERROR_WRONG_STATE: there was nothing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn waft_broker_recorded(broker: *mut waft_broker_t, now: u64) -> i32 {
    result((|| {
        // SAFETY: C lends the broker.
        let host = unsafe { machine(broker)? };
        host.pieces = Vec::new();
        Ok(host.broker.recorded(instant(now))?)
    })())
}

/// This peer's stream takes no more for now: its messages wait in its session, within bounds.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn waft_broker_pause(broker: *mut waft_broker_t, peer: u32) -> i32 {
    // SAFETY: C lends the broker.
    result(unsafe { machine(broker) }.map(|host| host.broker.pause(Peer(peer))))
}

/// This peer's stream takes bytes again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn waft_broker_resume(broker: *mut waft_broker_t, peer: u32) -> i32 {
    // SAFETY: C lends the broker.
    result(unsafe { machine(broker) }.map(|host| host.broker.resume(Peer(peer))))
}

/// The host publishes a message, which is copied. `*sessions` becomes how many it went to. Topics that start with `$`
/// are the host's alone.
///
/// WAFT_ERROR_INVALID_TOPIC. WAFT_ERROR_OUT_OF_RANGE: no such QoS, or too long a payload. WAFT_ERROR_RETAINED:
/// `retain`, and there is no room for it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn waft_broker_publish(
    broker: *mut waft_broker_t,
    now: u64,
    topic: waft_str_t,
    payload: waft_bytes_t,
    qos: u8,
    retain: u8,
    sessions: *mut usize,
) -> i32 {
    result((|| {
        // SAFETY: C lends the broker, the topic and the payload for this call, and the place of the count.
        unsafe {
            let (host, out) = (machine(broker)?, Out::new(sessions)?);
            let payload: Vec<u8> = payload.lent()?.into();
            out.set(host.broker.publish(instant(now), topic.lent()?, payload, self::qos(qos)?, retain != 0)?);
        }
        Ok(())
    })())
}

/// The first retained message but `skip`, in the order of their topics, whose topic matches `filter`. What it gives
/// stands until the next call on this broker.
///
/// WAFT_ERROR_UNKNOWN_ID: there is none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn waft_broker_retained(
    broker: *const waft_broker_t,
    filter: waft_str_t,
    skip: usize,
    topic: *mut waft_str_t,
    payload: *mut waft_bytes_t,
) -> i32 {
    result((|| {
        // SAFETY: C lends the broker, the filter, and the places of the results.
        unsafe {
            let (host, topic, payload) = (machine_ref(broker)?, Out::new(topic)?, Out::new(payload)?);
            let found = host.broker.retained(filter.lent()?).nth(skip).ok_or(Misuse::UnknownId)?;
            topic.set(waft_str_t::of(found.topic));
            payload.set(waft_bytes_t::of(found.payload));
        }
        Ok(())
    })())
}

/// What it holds and has done.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn waft_broker_stats(broker: *const waft_broker_t, stats: *mut waft_broker_stats_t) -> i32 {
    result((|| {
        // SAFETY: C lends the broker and the place of the counts.
        unsafe {
            let (host, out) = (machine_ref(broker)?, Out::new(stats)?);
            let s = host.broker.stats();
            out.set(waft_broker_stats_t {
                connections: s.connections,
                connected: s.connected,
                sessions: s.sessions,
                subscriptions: s.subscriptions,
                retained: s.retained,
                retained_bytes: s.retained_bytes,
                queued: s.queued,
                queued_bytes: s.queued_bytes,
                received: s.received,
                sent: s.sent,
                dropped: s.dropped,
                denied: s.denied,
            });
        }
        Ok(())
    })())
}

/// Hands in what has been read of a peer's stream and not been consumed. Where nothing was consumed and `needed` is 0,
/// the client does not read what is sent to it: offer the bytes again after more has been sent. All events come by
/// waft_broker_poll_output().
///
/// -64 to -83: the client broke the protocol; WAFT_BROKER_EVENT_CLOSE follows. WAFT_ERROR_UNKNOWN_ID: no such peer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn waft_broker_handle_input(
    broker: *mut waft_broker_t,
    now: u64,
    peer: u32,
    data: *const u8,
    len: usize,
    handled: *mut waft_handled_t,
) -> i32 {
    result((|| {
        // SAFETY: C lends the broker, the bytes for this call, and the place of the result.
        unsafe {
            let (host, out) = (machine(broker)?, Out::new(handled)?);
            let input = Input { peer: Peer(peer), bytes: lent(data, len)? };
            let done = host.broker.handle_input(instant(now), input)?;
            out.set(waft_handled_t { consumed: done.consumed, needed: done.needed });
        }
        Ok(())
    })())
}

/// Lets time-outs happen. Early or twice does no harm.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn waft_broker_handle_timeout(broker: *mut waft_broker_t, now: u64) -> i32 {
    // SAFETY: C lends the broker.
    result(unsafe { machine(broker) }.map(|host| host.broker.handle_timeout(instant(now))))
}

/// Asks for the next bytes to send or thing to tell, until `output->kind` is WAFT_OUTPUT_TIMEOUT. `buffer` may be of
/// any length but 0; a few KiB are sensible.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn waft_broker_poll_output(
    broker: *mut waft_broker_t,
    now: u64,
    buffer: *mut u8,
    buffer_len: usize,
    output: *mut waft_output_t,
    event: *mut waft_broker_event_t,
) -> i32 {
    result((|| {
        // SAFETY: C lends the broker, the buffer, and the places of the results.
        unsafe {
            let host = machine(broker)?;
            let (output, out) = (Out::new(output)?, Out::new(event)?);
            let (what, told) = waft_output_t::of(host.broker.poll_output(instant(now), lent_mut(buffer, buffer_len)?));
            output.set(what);
            host.told = told;
            out.set(waft_broker_event_t::of(host.told.as_ref()));
        }
        Ok(())
    })())
}

/// When to call waft_broker_handle_timeout() at the latest; WAFT_NEVER for a bad handle too.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn waft_broker_next_timeout(broker: *const waft_broker_t) -> u64 {
    // SAFETY: C lends the broker.
    unsafe { machine_ref(broker) }.map_or(WAFT_NEVER, |host| deadline(host.broker.next_timeout()))
}
