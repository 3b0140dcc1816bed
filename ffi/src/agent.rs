//! The device agent.
#![allow(non_camel_case_types, reason = "C's names")]

use crate::{
    error::{Fail, result},
    handle::{Memory, Opaque, Out, fits, init, lent, lent_mut, machine, machine_ref, place},
    manifest::waft_manifest_t,
    types::{WAFT_NEVER, deadline, instant, millis, waft_bytes_t, waft_handled_t, waft_output_t, waft_str_t},
    update::types::{waft_update_config_t, waft_update_event_t, waft_update_facts_t, waft_update_status_t},
};
use waft::{
    Input, Instant, Misuse, Peer,
    agent::{Address, Agent, Config, Event, Link, Resources},
    coap,
    mqtt::{Violation, client::InFlight},
    ota::policy,
};

/// Words of a handle; `sizeof(waft_agent_t)` is what to write.
#[cfg(target_pointer_width = "32")]
pub const WAFT_AGENT_WORDS: usize = 336;
/// Words of a handle; `sizeof(waft_agent_t)` is what to write.
#[cfg(not(target_pointer_width = "32"))]
pub const WAFT_AGENT_WORDS: usize = 376;

/// A device that takes signed updates over MQTT and CoAP: client, endpoint and update as one machine.
///
/// Open what WAFT_AGENT_EVENT_OPEN asks for, carry bytes, do what it asks of the flash, and reboot after
/// WAFT_UPDATE_EVENT_ACTIVATE. It chooses the way, fetches only what is missing, and tries again for as long as it takes.
#[repr(C)]
pub struct waft_agent_t {
    _priv: [u64; WAFT_AGENT_WORDS],
}

// SAFETY: `repr(C)` over words.
unsafe impl Opaque for waft_agent_t {
    type Machine = Agent<'static>;
    const MAGIC: u32 = u32::from_be_bytes(*b"wAgt");
}
const _: () = assert!(fits::<waft_agent_t>(), "raise WAFT_AGENT_WORDS");

/// Always by model A: MQTT carries manifest and image.
pub const WAFT_CHOICE_A: u8 = 0;
/// Always by model B: MQTT carries the manifest, CoAP the image.
pub const WAFT_CHOICE_B: u8 = 1;
/// By A or B, whichever `cost_a` and `cost_b` make cheaper.
pub const WAFT_CHOICE_CHEAPER: u8 = 2;
/// Always by model C: CoAP carries both.
pub const WAFT_CHOICE_C: u8 = 3;

/// What an agent is told once. Begin with waft_agent_defaults(), then set the names, one address at least, `seed`, and what
/// `update` needs. Text has to live as long as the agent.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct waft_agent_config_t {
    /// First level of the fleet's topics. ("waft")
    pub root: waft_str_t,
    /// Name of this device's class, one level.
    pub class_name: waft_str_t,
    /// Name of this device, unique in its class, one level; the MQTT client identifier too.
    pub device: waft_str_t,
    /// Version that is running, as reports name it.
    pub version: waft_str_t,
    /// The MQTT broker, for models A and B: a name or an address; `data` is NULL where there is none.
    pub broker_host: waft_str_t,
    /// The CoAP gateway, for model C: a name or an address; `data` is NULL where there is none.
    pub gateway_host: waft_str_t,
    /// MQTT user name; `data` is NULL where there is none.
    pub username: waft_str_t,
    /// MQTT password; `data` is NULL where there is none.
    pub password: waft_bytes_t,
    /// Where randomness starts: from a hardware source.
    pub seed: u64,
    /// How long a download may stand still before what is missing is asked for again, in milliseconds. (30,000)
    pub stall: u32,
    /// First pause before a lost link is opened again, in milliseconds; it doubles up to 64 times this. (1,000)
    pub retry: u32,
    /// What a kilobyte of image costs by model A, in any unit. (1)
    pub cost_a: u32,
    /// What it costs by model B. (1)
    pub cost_b: u32,
    /// The broker's port. (1883)
    pub broker_port: u16,
    /// The gateway's port. (5683)
    pub gateway_port: u16,
    /// MQTT keep-alive in seconds; 0 turns it off. (60)
    pub keep_alive: u16,
    /// The longest manifest that is taken, in bytes; twice as much memory. (1,024)
    pub manifest_max: u16,
    /// Bytes of memory for MQTT packets. (768)
    pub mqtt_memory: u16,
    /// Bytes of memory for CoAP messages. (512)
    pub coap_memory: u16,
    /// WAFT_CHOICE_... by WAFT_TYPE_... and WAFT_SEVERITY_...: the owner's wish. ({A, B, CHEAPER} for both types)
    pub policy: [[u8; 3]; 2],
    /// Image chunks asked of the broker at once, 1 to 16. (4)
    pub pull: u8,
    /// Largest CoAP block: 2 to the power of (szx + 4) bytes, 0 to 6. (6)
    pub szx: u8,
    /// The update's part.
    pub update: waft_update_config_t,
}

const IN_FLIGHT: usize = 16;
const TRANSFERS: usize = 4;
/// Sixteen blocks of an image under way, and two for all else.
const FLIGHTS: usize = 18;
const SEEN: usize = 8;
/// Of the image's transfer, and one that the endpoint wants itself.
const PATHS: usize = 2;

/// Bytes of memory that waft_agent_init() takes with the defaults and up to four keys.
pub const WAFT_AGENT_MEMORY: usize = 5248;

/// The TCP stream to the MQTT broker.
pub const WAFT_LINK_BROKER: u8 = 0;
/// The UDP peer that is the gateway.
pub const WAFT_LINK_GATEWAY: u8 = 1;
/// The UDP peer that a manifest's coap:// URI names.
pub const WAFT_LINK_SERVER: u8 = 2;

/// Open `link` to `host` and `port`; answer with waft_agent_opened(), or with waft_agent_closed() if that fails.
pub const WAFT_AGENT_EVENT_OPEN: u32 = 16;
/// Close `link`, which was opened as `peer`. No answer.
pub const WAFT_AGENT_EVENT_CLOSE: u32 = 17;
/// The broker refuses the connection: `reason` (1 to 5, MQTT 3.1.1 Table 3.1). The agent tries again later.
pub const WAFT_AGENT_EVENT_REFUSED: u32 = 18;

/// What an agent asks and tells: an event of the update, or one of its own.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct waft_agent_event_t {
    /// WAFT_UPDATE_EVENT_... with `update`, or WAFT_AGENT_EVENT_...
    pub kind: u32,
    /// How a link was opened.
    pub peer: u32,
    /// A name or an address, without a NUL at its end.
    pub host: waft_str_t,
    /// A port.
    pub port: u16,
    /// WAFT_LINK_...
    pub link: u8,
    /// A reason.
    pub reason: u8,
    /// Where `kind` is one of WAFT_UPDATE_EVENT_...
    pub update: waft_update_event_t,
}

impl waft_agent_event_t {
    const NONE: Self = Self {
        kind: 0,
        peer: 0,
        host: waft_str_t::EMPTY,
        port: 0,
        link: 0,
        reason: 0,
        update: waft_update_event_t::NONE,
    };

    fn of(event: Option<Event<'_>>) -> Self {
        match event {
            None => Self::NONE,
            Some(Event::Open { link, host, port }) => {
                Self { kind: WAFT_AGENT_EVENT_OPEN, link: link as u8, host: waft_str_t::of(host), port, ..Self::NONE }
            }
            Some(Event::Close { link, peer }) => {
                Self { kind: WAFT_AGENT_EVENT_CLOSE, link: link as u8, peer: peer.0, ..Self::NONE }
            }
            Some(Event::Refused(code)) => Self { kind: WAFT_AGENT_EVENT_REFUSED, reason: code as u8, ..Self::NONE },
            Some(Event::Update(event)) => {
                let mut update = waft_update_event_t::NONE;
                update.tell(&event);
                Self { kind: update.kind, update, ..Self::NONE }
            }
        }
    }
}

/// No model was chosen.
pub const WAFT_MODEL_NONE: u8 = 0;
/// MQTT only.
pub const WAFT_MODEL_A: u8 = 1;
/// MQTT, then CoAP.
pub const WAFT_MODEL_B: u8 = 2;
/// CoAP only.
pub const WAFT_MODEL_C: u8 = 3;

/// Where an agent stands.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct waft_agent_status_t {
    /// The update.
    pub update: waft_update_status_t,
    /// MQTT packets and CoAP datagrams received.
    pub received: u32,
    /// MQTT packets and CoAP datagrams sent.
    pub sent: u32,
    /// Offset at which the last download went on after a reboot; 0 for one that began at the beginning.
    pub resumed_at: u32,
    /// WAFT_MODEL_...: of the current download.
    pub model: u8,
    /// 1: nothing is under way and the last report has been sent: a good time to reboot or to sleep.
    pub settled: u8,
}

fn link(n: u8) -> Result<Link, Fail> {
    Link::ALL.into_iter().find(|link| *link as u8 == n).ok_or_else(|| Misuse::OutOfRange.into())
}

/// Writes the defaults, which the members' descriptions name in parentheses.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn waft_agent_defaults(config: *mut waft_agent_config_t) -> i32 {
    result((|| {
        let none = waft_str_t::EMPTY;
        let by_severity = [WAFT_CHOICE_A, WAFT_CHOICE_B, WAFT_CHOICE_CHEAPER];
        let value = waft_agent_config_t {
            root: waft_str_t::of("waft"),
            class_name: none,
            device: none,
            version: none,
            broker_host: none,
            gateway_host: none,
            username: none,
            password: waft_bytes_t::EMPTY,
            seed: 0,
            stall: 30_000,
            retry: 1_000,
            cost_a: 1,
            cost_b: 1,
            broker_port: 1883,
            gateway_port: 5683,
            keep_alive: 60,
            manifest_max: 1024,
            mqtt_memory: 768,
            coap_memory: 512,
            policy: [by_severity; 2],
            pull: 4,
            szx: 6,
            update: waft_update_config_t::DEFAULT,
        };
        // SAFETY: C lends the place.
        unsafe { Out::new(config)?.set(value) };
        Ok(())
    })())
}

/// # Safety
/// The text that the configuration names lives as long as the agent.
unsafe fn core_config(c: &waft_agent_config_t, memory: &mut Memory) -> Result<Config<'static>, Fail> {
    // SAFETY: the caller's, for this function's whole body.
    unsafe {
        let address = |host: waft_str_t, port| Ok::<_, Fail>(host.lent_if_any()?.map(|host| Address { host, port }));
        Ok(Config {
            root: c.root.lent()?,
            class: c.class_name.lent()?,
            device: c.device.lent()?,
            version: c.version.lent()?,
            broker: address(c.broker_host, c.broker_port)?,
            username: c.username.lent_if_any()?,
            password: if c.password.data.is_null() { None } else { Some(c.password.lent()?) },
            keep_alive: c.keep_alive,
            gateway: address(c.gateway_host, c.gateway_port)?,
            policy: crate::policy::policy(&c.policy)?,
            costs: policy::Link { a: c.cost_a, b: c.cost_b },
            pull: c.pull,
            szx: c.szx,
            stall: millis(c.stall),
            retry: millis(c.retry),
            seed: c.seed,
            update: c.update.core(memory)?,
        })
    }
}

/// Makes an agent in `handle`, of `size` = `sizeof *handle` bytes, that works in `memory`: WAFT_AGENT_MEMORY bytes with the
/// defaults. WAFT_ERROR_BUFFER: it takes more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn waft_agent_init(
    handle: *mut waft_agent_t,
    size: usize,
    config: *const waft_agent_config_t,
    memory: *mut u8,
    memory_len: usize,
) -> i32 {
    result((|| {
        place(handle, size)?;
        // SAFETY: C lends the configuration for this call, and the handle, the memory and the text in the configuration for
        // as long as the agent is used.
        unsafe {
            let c = lent(config, 1)?.first().ok_or(Misuse::NullPointer)?;
            let mut memory = Memory::new(memory, memory_len)?;
            let config = core_config(c, &mut memory)?;
            let resources = Resources {
                mqtt_in_flight: memory.table(IN_FLIGHT, |_| InFlight::EMPTY)?.into(),
                coap: coap::Resources {
                    transfers: memory.table(TRANSFERS, |_| coap::Transfer::EMPTY)?.into(),
                    flights: memory.table(FLIGHTS, |_| coap::Flight::EMPTY)?.into(),
                    seen: memory.table(SEEN, |_| coap::Seen::EMPTY)?.into(),
                    observers: waft::Storage::empty(),
                    paths: memory.table(PATHS, |_| coap::Path::EMPTY)?.into(),
                    arena: memory.bytes(usize::from(c.coap_memory))?.into(),
                },
                mqtt_arena: memory.bytes(usize::from(c.mqtt_memory))?.into(),
                manifest: memory.bytes(usize::from(c.manifest_max))?.into(),
                inbox: memory.bytes(usize::from(c.manifest_max))?.into(),
            };
            init(handle, size, Agent::new(config, resources)?)
        }
    })())
}

/// Runs a command on the machine.
///
/// # Safety
/// C lends the handle.
unsafe fn command(
    handle: *mut waft_agent_t,
    now: u64,
    f: impl FnOnce(&mut Agent<'static>, Instant) -> Result<(), waft::Error<Violation>>,
) -> i32 {
    // SAFETY: the caller's.
    result(unsafe { machine(handle) }.and_then(|agent| Ok(f(agent, instant(now))?)))
}

/// Power is on: reads the journal, then opens the links.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn waft_agent_start(handle: *mut waft_agent_t, now: u64) -> i32 {
    // SAFETY: C lends the handle.
    unsafe { command(handle, now, Agent::start) }
}

/// The link asked for is open; `peer`, a number of your own, names it from now on.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn waft_agent_opened(handle: *mut waft_agent_t, now: u64, link: u8, peer: u32) -> i32 {
    match self::link(link) {
        // SAFETY: C lends the handle.
        Ok(link) => unsafe { command(handle, now, |agent, now| agent.opened(now, link, Peer(peer))) },
        Err(fail) => fail.code(),
    }
}

/// The link could not be opened, or was lost. It is asked for again after a pause.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn waft_agent_closed(handle: *mut waft_agent_t, now: u64, link: u8) -> i32 {
    // SAFETY: C lends the handle.
    result(self::link(link).and_then(|link| unsafe { machine(handle) }.map(|agent| agent.closed(instant(now), link))))
}

/// The flash request is done.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn waft_agent_done(handle: *mut waft_agent_t, now: u64) -> i32 {
    // SAFETY: C lends the handle.
    unsafe { command(handle, now, Agent::done) }
}

/// The bytes that WAFT_UPDATE_EVENT_LOAD asked for.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn waft_agent_loaded(handle: *mut waft_agent_t, now: u64, bytes: waft_bytes_t) -> i32 {
    // SAFETY: C lends the handle, and the bytes for this call.
    unsafe {
        match bytes.lent() {
            Ok(bytes) => command(handle, now, |agent, now| agent.loaded(now, bytes)),
            Err(fail) => fail.code(),
        }
    }
}

/// The flash request failed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn waft_agent_failed(handle: *mut waft_agent_t, now: u64) -> i32 {
    // SAFETY: C lends the handle.
    unsafe { command(handle, now, Agent::failed) }
}

/// The image on trial is good: keep it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn waft_agent_confirm(handle: *mut waft_agent_t, now: u64) -> i32 {
    // SAFETY: C lends the handle.
    unsafe { command(handle, now, Agent::confirm) }
}

/// The image on trial is bad: go back.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn waft_agent_reject(handle: *mut waft_agent_t, now: u64) -> i32 {
    // SAFETY: C lends the handle.
    unsafe { command(handle, now, Agent::reject) }
}

/// Not before `until`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn waft_agent_defer(handle: *mut waft_agent_t, now: u64, until: u64) -> i32 {
    // SAFETY: C lends the handle.
    unsafe { command(handle, now, |agent, now| agent.defer(now, instant(until))) }
}

/// Not now, until waft_agent_resume().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn waft_agent_veto(handle: *mut waft_agent_t, now: u64) -> i32 {
    // SAFETY: C lends the handle.
    unsafe { command(handle, now, Agent::veto) }
}

/// Lifts a veto or a deferral.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn waft_agent_resume(handle: *mut waft_agent_t, now: u64) -> i32 {
    // SAFETY: C lends the handle.
    unsafe { command(handle, now, Agent::resume) }
}

/// Gives the update up.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn waft_agent_cancel(handle: *mut waft_agent_t, now: u64) -> i32 {
    // SAFETY: C lends the handle.
    unsafe { command(handle, now, Agent::cancel) }
}

/// Tells what manifests ask for, and what the window for downloads and the battery are measured by. After waft_agent_start(), and
/// again when it changes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn waft_agent_tell(
    handle: *mut waft_agent_t,
    now: u64,
    facts: *const waft_update_facts_t,
) -> i32 {
    result((|| {
        // SAFETY: C lends the handle, and the facts for this call.
        unsafe {
            let agent = machine(handle)?;
            let facts = lent(facts, 1)?.first().ok_or(Misuse::NullPointer)?.to_core()?;
            Ok(agent.tell(instant(now), &facts)?)
        }
    })())
}

/// Where the agent stands.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn waft_agent_status(handle: *const waft_agent_t, status: *mut waft_agent_status_t) -> i32 {
    result((|| {
        // SAFETY: C lends the handle and the place of the status.
        unsafe {
            let agent = machine_ref(handle)?;
            let stats = agent.stats();
            Out::new(status)?.set(waft_agent_status_t {
                update: waft_update_status_t::of(agent.update()),
                received: stats.received,
                sent: stats.sent,
                resumed_at: stats.resumed_at,
                model: match agent.model() {
                    None => WAFT_MODEL_NONE,
                    Some(policy::Model::A) => WAFT_MODEL_A,
                    Some(policy::Model::B) => WAFT_MODEL_B,
                    Some(policy::Model::C) => WAFT_MODEL_C,
                },
                settled: u8::from(agent.is_settled()),
            });
        }
        Ok(())
    })())
}

/// The manifest of the update that is going on. Its text lies in the agent's memory and stays until the next call.
/// WAFT_ERROR_WRONG_STATE: there is none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn waft_agent_manifest(handle: *const waft_agent_t, manifest: *mut waft_manifest_t) -> i32 {
    result((|| {
        // SAFETY: C lends the handle and the place of the manifest.
        unsafe { waft_manifest_t::tell(manifest, machine_ref(handle)?.update()) }
    })())
}

/// Hands in bytes of the broker's stream that have not been consumed, or one datagram. -64 to -83: the broker broke MQTT;
/// close its stream; the agent asks for another after a pause.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn waft_agent_handle_input(
    handle: *mut waft_agent_t,
    now: u64,
    peer: u32,
    data: *const u8,
    len: usize,
    handled: *mut waft_handled_t,
    event: *mut waft_agent_event_t,
) -> i32 {
    result((|| {
        // SAFETY: C lends the handle, the bytes for as long as it looks at the event, and the places of the results.
        unsafe {
            let agent = machine(handle)?;
            let (handled, out) = (Out::new(handled)?, Out::new(event)?);
            let done = agent.handle_input(instant(now), Input { peer: Peer(peer), bytes: lent(data, len)? })?;
            handled.set(waft_handled_t { consumed: done.consumed, needed: done.needed });
            out.set(waft_agent_event_t::of(done.event));
        }
        Ok(())
    })())
}

/// Lets time-outs happen. Early or twice does no harm.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn waft_agent_handle_timeout(handle: *mut waft_agent_t, now: u64) -> i32 {
    // SAFETY: C lends the handle.
    result(unsafe { machine(handle) }.map(|agent| agent.handle_timeout(instant(now))))
}

/// Asks for the next thing to send, to open, to store or to know, until `output->kind` is WAFT_OUTPUT_TIMEOUT. 1,152 bytes of
/// buffer do for blocks of 1,024.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn waft_agent_poll_output(
    handle: *mut waft_agent_t,
    now: u64,
    buffer: *mut u8,
    buffer_len: usize,
    output: *mut waft_output_t,
    event: *mut waft_agent_event_t,
) -> i32 {
    result((|| {
        // SAFETY: C lends the handle, the buffer, and the places of the results.
        unsafe {
            let agent = machine(handle)?;
            let (output, out) = (Out::new(output)?, Out::new(event)?);
            let (what, told) = waft_output_t::of(agent.poll_output(instant(now), lent_mut(buffer, buffer_len)?));
            output.set(what);
            out.set(waft_agent_event_t::of(told));
        }
        Ok(())
    })())
}

/// When to call waft_agent_handle_timeout() at the latest; WAFT_NEVER for a bad handle too.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn waft_agent_next_timeout(handle: *const waft_agent_t) -> u64 {
    // SAFETY: C lends the handle.
    unsafe { machine_ref(handle) }.map_or(WAFT_NEVER, |agent| deadline(agent.next_timeout()))
}
