//! What an agent is told once: who it is, whom it talks to, where its memory is.

use super::topic::MAX_NAME;
use crate::{
    Duration, Misuse, Storage, coap,
    mqtt::{client::InFlight, topic::valid_name},
    ota::{
        self,
        policy::{self, Policy},
    },
};

/// A host and a port, for the host program to resolve and open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Address<'a> {
    /// A name or an address, an IPv6 one without brackets.
    pub host: &'a str,
    /// Its port.
    pub port: u16,
}

/// What an [`Agent`](super::Agent) is told once.
#[derive(Clone, Copy)]
pub struct Config<'a> {
    /// First level of the fleet's topics.
    pub root: &'a str,
    /// Name of this device's class, one level.
    pub class: &'a str,
    /// Name of this device, unique in its class, one level; the MQTT client identifier too.
    pub device: &'a str,
    /// Version that is running, as reports name it.
    pub version: &'a str,
    /// The MQTT broker, for models A and B.
    pub broker: Option<Address<'a>>,
    /// MQTT user name.
    pub username: Option<&'a str>,
    /// MQTT password.
    pub password: Option<&'a [u8]>,
    /// MQTT keep-alive in seconds; 0 turns it off.
    pub keep_alive: u16,
    /// The CoAP gateway, for model C; and, where the policy says B, for images announced over MQTT.
    pub gateway: Option<Address<'a>>,
    /// The model by update type and severity, as the device's owner wants it.
    pub policy: Policy,
    /// What the models cost on this device's link, for where the policy takes the cheaper one.
    pub costs: policy::Link,
    /// Image chunks asked of the broker at once, 1 to 16.
    pub pull: u8,
    /// Largest CoAP block: 2^(szx + 4) bytes, 0 to 6. Not below the flash's program unit.
    pub szx: u8,
    /// How long a download may stand still before what is missing is asked for again.
    pub stall: Duration,
    /// First pause before a lost link is opened again; it doubles up to 64 times this, with jitter.
    pub retry: Duration,
    /// Where randomness starts: from a hardware source on a device.
    pub seed: u64,
    /// The update's part.
    pub update: ota::update::Config<'a>,
}

impl Config<'_> {
    /// Whether names and numbers are in range.
    ///
    /// # Errors
    /// [`Misuse::InvalidTopic`] for a name that is no topic level or too long; [`Misuse::OutOfRange`].
    pub(super) fn check(&self) -> Result<(), Misuse> {
        let level = |s: &str| valid_name(s) && !s.contains('/');
        let longest = [self.root, self.class, self.device].iter().fold(24_usize, |n, s| n.saturating_add(s.len()));
        if !valid_name(self.root) || !level(self.class) || !level(self.device) || longest > MAX_NAME {
            return Err(Misuse::InvalidTopic);
        }
        if !(1..=16).contains(&self.pull) || self.szx > 6 || self.retry == Duration::ZERO {
            return Err(Misuse::OutOfRange);
        }
        Ok(())
    }
}

/// The memory an agent works in.
#[derive(Debug)]
pub struct Resources<'a> {
    /// MQTT packets kept for retransmission: 512 bytes are enough for an update.
    pub mqtt_arena: Storage<'a, u8>,
    /// MQTT messages in flight, both ways together.
    pub mqtt_in_flight: Storage<'a, InFlight>,
    /// The CoAP endpoint's. With two places among its paths images are fetched by a window.
    pub coap: coap::Resources<'a>,
    /// The manifest that the update works by.
    pub manifest: Storage<'a, u8>,
    /// A manifest that is arriving: as long as the other.
    pub inbox: Storage<'a, u8>,
}
