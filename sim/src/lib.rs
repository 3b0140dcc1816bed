//! A virtual-time network in which machines meet.
