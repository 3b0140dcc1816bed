//! Whole updates in virtual time: devices, the servers that deliver, a release.

mod device;
mod flash;
mod release;
mod servers;

pub use device::{Device, Peers};
pub use flash::{ERASE, Flash, SLOT, UNIT};
pub use release::{CHUNK, CLASS, VENDOR, image, key, manifest, reference, release};
pub use servers::{FileServer, Listener, Provider, publish};
