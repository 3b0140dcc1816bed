//! The command line.

use std::{error::Error, path::PathBuf};

use waft::{
    Duration,
    ota::{
        manifest::{Key, Version},
        update::Window,
    },
};

pub const USAGE: &str = "\
usage: device --name NAME --class-name NAME --vendor UUID --class UUID --key HEX --flash FILE
              [--root TOPIC] [--broker HOST:PORT] [--gateway coap://HOST:PORT] [--slot-size BYTES]
              [--seed N] [--until confirmed|refused|SECONDS] [--self-test pass|fail|crash]
              [--rotation] [--device-id UUID] [--jitter SECONDS] [--backoff SECONDS] [--window HH:MM-HH:MM]
              [--battery MWH] [--charge MWH] [--clock] [--installed VERSION] [--step N] [--attempts N] [--trial SECONDS]
Takes signed updates over MQTT and CoAP; prints what happens as a JSON object a line.
exit status: 0 confirmed, 2 usage, 3 refused, 4 failed";

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Until {
    Confirmed,
    Refused,
    Seconds(u64),
}

/// What a new image finds out about itself.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum SelfTest {
    Pass,
    Fail,
    /// It reboots without a word.
    Crash,
}

pub struct Options {
    pub name: String,
    pub root: String,
    pub class_name: String,
    pub vendor: [u8; 16],
    pub class: [u8; 16],
    pub keys: Vec<Key>,
    pub flash: PathBuf,
    pub slot_size: u32,
    pub broker: Option<(String, u16)>,
    pub gateway: Option<(String, u16)>,
    pub seed: u64,
    pub until: Until,
    pub self_test: SelfTest,
    /// Keys can be replaced by a release.
    pub rotation: bool,
    pub device_id: [u8; 16],
    pub jitter: Duration,
    pub backoff: Duration,
    pub window: Option<Window>,
    /// The least charge to download and to reboot with, mWh, and what there is of it.
    pub battery: u32,
    pub charge: Option<u32>,
    /// This computer's clock can be believed.
    pub clock: bool,
    /// The version that is installed.
    pub installed: String,
    pub step: u64,
    pub attempts: u8,
    pub trial: Duration,
}

impl Options {
    pub fn parse() -> Result<Self, Box<dyn Error>> {
        use lexopt::prelude::*;
        let mut o = Self {
            name: String::new(),
            root: "waft".into(),
            class_name: String::new(),
            vendor: [0; 16],
            class: [0; 16],
            keys: Vec::new(),
            flash: PathBuf::new(),
            slot_size: 1 << 20,
            broker: None,
            gateway: None,
            seed: u64::from(std::process::id()),
            until: Until::Confirmed,
            self_test: SelfTest::Pass,
            rotation: false,
            device_id: [0; 16],
            jitter: Duration::ZERO,
            backoff: Duration::from_secs(60),
            window: None,
            battery: 0,
            charge: None,
            clock: false,
            installed: String::new(),
            step: 1 << 32,
            attempts: 3,
            trial: Duration::from_secs(600),
        };
        let mut parser = lexopt::Parser::from_env();
        while let Some(arg) = parser.next()? {
            match arg {
                Long("name") => o.name = parser.value()?.string()?,
                Long("root") => o.root = parser.value()?.string()?,
                Long("class-name") => o.class_name = parser.value()?.string()?,
                Long("vendor") => o.vendor = hex(&parser.value()?.string()?.replace('-', ""))?,
                Long("class") => o.class = hex(&parser.value()?.string()?.replace('-', ""))?,
                Long("key") => o.keys.push(Key::new(hex(&parser.value()?.string()?)?)),
                Long("flash") => o.flash = parser.value()?.into(),
                Long("slot-size") => o.slot_size = parser.value()?.parse()?,
                Long("broker") => o.broker = Some(address(&parser.value()?.string()?, 1883)?),
                Long("gateway") => o.gateway = Some(address(&parser.value()?.string()?, 5683)?),
                Long("seed") => o.seed = parser.value()?.parse()?,
                Long("until") => {
                    let value = parser.value()?.string()?;
                    o.until = match value.as_str() {
                        "confirmed" => Until::Confirmed,
                        "refused" => Until::Refused,
                        seconds => Until::Seconds(seconds.parse().map_err(|_| "--until: not a number of seconds")?),
                    };
                }
                Long("self-test") => {
                    o.self_test = match parser.value()?.string()?.as_str() {
                        "pass" => SelfTest::Pass,
                        "fail" => SelfTest::Fail,
                        "crash" => SelfTest::Crash,
                        other => return Err(format!("--self-test: pass, fail or crash, not {other}").into()),
                    };
                }
                Long("rotation") => o.rotation = true,
                Long("device-id") => o.device_id = hex(&parser.value()?.string()?.replace('-', ""))?,
                Long("jitter") => o.jitter = Duration::from_secs(parser.value()?.parse()?),
                Long("backoff") => o.backoff = Duration::from_secs(parser.value()?.parse()?),
                Long("window") => o.window = Some(window(&parser.value()?.string()?)?),
                Long("battery") => o.battery = parser.value()?.parse()?,
                Long("charge") => o.charge = Some(parser.value()?.parse()?),
                Long("clock") => o.clock = true,
                Long("installed") => {
                    o.installed = parser.value()?.string()?;
                    o.installed.parse::<Version>().map_err(|_| "--installed: not a version")?;
                }
                Long("step") => o.step = parser.value()?.parse()?,
                Long("attempts") => o.attempts = parser.value()?.parse()?,
                Long("trial") => o.trial = Duration::from_secs(parser.value()?.parse()?),
                Long("help") | Short('h') => {
                    println!("{USAGE}");
                    std::process::exit(0);
                }
                other => return Err(other.unexpected().into()),
            }
        }
        for (given, option) in [(!o.name.is_empty(), "--name"), (!o.class_name.is_empty(), "--class-name")] {
            if !given {
                return Err(format!("{option} is missing\n{USAGE}").into());
            }
        }
        if o.flash.as_os_str().is_empty() || o.keys.is_empty() {
            return Err(format!("--flash and --key are needed\n{USAGE}").into());
        }
        if o.broker.is_none() && o.gateway.is_none() {
            return Err("give --broker, --gateway or both".into());
        }
        Ok(o)
    }
}

fn hex<const N: usize>(text: &str) -> Result<[u8; N], String> {
    let wrong = || format!("{text:?} is not {N} bytes of hexadecimal");
    if text.len() != 2 * N || !text.is_ascii() {
        return Err(wrong());
    }
    let mut bytes = [0; N];
    for (byte, at) in bytes.iter_mut().zip((0..).step_by(2)) {
        *byte = u8::from_str_radix(&text[at..at + 2], 16).map_err(|_| wrong())?;
    }
    Ok(bytes)
}

/// `02:00-04:30`, UTC, also over midnight.
fn window(text: &str) -> Result<Window, String> {
    let second = |time: &str| {
        let (hours, minutes) = time.split_once(':')?;
        let (hours, minutes) = (hours.parse::<u32>().ok()?, minutes.parse::<u32>().ok()?);
        (hours < 24 && minutes < 60).then_some(hours * 3600 + minutes * 60)
    };
    let times = text.split_once('-').and_then(|(from, to)| Some((second(from)?, second(to)?)));
    let (start, end) = times.ok_or_else(|| format!("{text:?} is not HH:MM-HH:MM"))?;
    Ok(Window { start, len: (end + 86_400 - start - 1) % 86_400 + 1 })
}

/// `host`, `host:port` or `[address]:port`, after an optional scheme.
fn address(text: &str, default: u16) -> Result<(String, u16), String> {
    let rest = text.split_once("://").map_or(text, |(_, rest)| rest).trim_end_matches('/');
    let (host, port) = match rest.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => (host, Some(port)),
        _ => (rest, None),
    };
    let port = match port {
        Some(port) => port.parse().map_err(|_| format!("{text:?}: not a port"))?,
        None => default,
    };
    Ok((host.trim_matches(['[', ']']).to_owned(), port))
}
