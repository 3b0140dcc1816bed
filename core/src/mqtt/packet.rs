//! The 14 control packets.
