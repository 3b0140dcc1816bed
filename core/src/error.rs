//! Errors: who is to blame, and a number that is the same in Rust, C and Python and is never used twice.
//!
//! | codes | meaning | state | what to do |
//! | --- | --- | --- | --- |
//! | 0 | done | | |
//! | -1 … -31 | [`Misuse`]: the caller broke the rules | unchanged | mend the program |
//! | -32 … -63 | [`Capacity`]: storage is full | unchanged | retry when something has left, or give more memory |
//! | -64 … -83 | MQTT: the peer broke the protocol | closed | close the connection |
//! | -84 … -95 | CoAP: likewise | | |
//! | -96 … -191 | update: the manifest or the image is refused | | report it |

use core::{ffi::CStr, fmt, num::NonZeroU32};

/// Why a machine did not do as it was told. `P` is what a peer of that machine can do wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Error<P> {
    /// The caller broke the rules. Nothing changed.
    Misuse(Misuse),
    /// Storage is full. Nothing changed; the same call may succeed later.
    Capacity(Capacity),
    /// The other side broke the protocol.
    Peer(P),
}

/// An error that has a number.
pub trait Code {
    /// The number: negative, stable over releases, the same in every language.
    fn code(&self) -> i32;
}

/// Declares a numbered, documented enum with its `Code`, `Display` and `Error`.
macro_rules! numbered {
    ($(#[$doc:meta])* $name:ident { $($variants:tt)+ }) => {
        $crate::error::numbered! { $(#[$doc])* $name: i8 { $($variants)+ } }
    };
    ($(#[$doc:meta])* $name:ident: $repr:ident { $($(#[doc = $text:literal])+ $variant:ident = $code:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        #[repr($repr)]
        pub enum $name { $($(#[doc = $text])+ $variant = $code,)+ }

        impl $name {
            /// All of them, for tables and tests.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The variant's name, as C and Python print it.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => stringify!($variant)),+ }
            }

            /// The name as C has it.
            #[must_use]
            pub const fn c_name(self) -> &'static core::ffi::CStr {
                self.c_texts().0
            }

            /// What it means, as C has it: what `Display` prints.
            #[must_use]
            pub const fn c_message(self) -> &'static core::ffi::CStr {
                self.c_texts().1
            }

            const fn c_texts(self) -> (&'static core::ffi::CStr, &'static core::ffi::CStr) {
                match self {
                    $(Self::$variant => const { $crate::error::c_texts(concat!(stringify!($variant), "\0", $($text,)+ "\0")) }),+
                }
            }

            /// The error that has this number.
            #[must_use]
            pub fn from_code(code: i32) -> Option<Self> {
                Self::ALL.iter().copied().find(|error| *error as i32 == code)
            }
        }

        impl $crate::error::Code for $name {
            fn code(&self) -> i32 { *self as i32 }
        }

        impl core::fmt::Display for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                f.write_str(match self { $(Self::$variant => concat!($($text),+).trim_ascii_start()),+ })
            }
        }

        impl core::error::Error for $name {}
    };
}
#[cfg_attr(
    not(any(feature = "mqtt", feature = "coap", feature = "ota")),
    allow(unused_imports, reason = "the protocols use it")
)]
pub(crate) use numbered;

/// A name and a message, each of which ends in NUL, as C has them.
///
/// Both are one constant. Texts with a NUL at their end and none before it are put into one section, all that a program has,
/// and an image that uses any constant there that looks like one (two bytes of a packet, say) gets all of them.
pub(crate) const fn c_texts(both: &'static str) -> (&'static CStr, &'static CStr) {
    let Ok(name) = CStr::from_bytes_until_nul(both.as_bytes()) else { return (c"", c"") };
    let Some((_, rest)) = both.as_bytes().split_at_checked(name.to_bytes_with_nul().len()) else { return (name, c"") };
    match CStr::from_bytes_with_nul(rest.trim_ascii_start()) {
        Ok(message) => (name, message),
        Err(_) => (name, c""),
    }
}

numbered! {
    /// The caller broke the rules; the machine's state is unchanged.
    Misuse {
        /// the command is not allowed in this state
        WrongState = -1,
        /// not a topic name: empty, too long, not UTF-8, with U+0000, or with a wildcard
        InvalidTopic = -2,
        /// not a topic filter: empty, too long, not UTF-8, with U+0000, or with a misplaced wildcard
        InvalidFilter = -3,
        /// a string is too long, not UTF-8, or holds U+0000
        InvalidString = -4,
        /// no such packet identifier, exchange, resource or peer
        UnknownId = -5,
        /// an option cannot have that number, length or value
        InvalidOption = -6,
        /// a number is outside its range
        OutOfRange = -7,
        /// there is no connection
        NotConnected = -8,
        /// not a URI, or not one of a scheme that is spoken here
        InvalidUri = -9,
        /// a pointer is NULL
        NullPointer = -10,
        /// not a handle of this kind, or one that was never initialised
        BadHandle = -11,
        /// the storage given for a handle is too small or misaligned
        BadStorage = -12,
        /// not an exported session, or one that is damaged or of another version
        InvalidSession = -13,
    }
}

numbered! {
    /// Storage is full; the machine's state is unchanged and the call may be made again later.
    Capacity {
        /// no room to keep the packet for retransmission
        Arena = -32,
        /// as many messages are in flight as the table holds
        InFlight = -33,
        /// as many exchanges are open as the table holds
        Exchanges = -34,
        /// as many peers or connections are known as the table holds
        Peers = -35,
        /// as many observers or observations are kept as the table holds
        Observations = -36,
        /// the buffer given is too small
        Buffer = -37,
        /// the manifest is larger than the storage given for it
        Manifest = -38,
        /// as many subscriptions are kept as the table holds
        Subscriptions = -39,
        /// the queue is full
        Queue = -40,
        /// an earlier request has not been answered yet
        Busy = -41,
        /// the data lie further ahead than is taken now
        Window = -42,
        /// as many messages are retained, or as many bytes of them, as the broker may
        Retained = -43,
    }
}

/// An error by its number alone, as bindings to other languages hand it on: small, and with `Result<(), Fail>` in one register.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fail(NonZeroU32);

impl Fail {
    /// The number: negative. (What is kept is how far below zero, which takes shorter instructions.)
    #[must_use]
    pub const fn code(self) -> i32 {
        0_i32.wrapping_sub_unsigned(self.0.get())
    }

    /// What came of something by the number of the error, made positive, or 0.
    #[cfg(feature = "mqtt")]
    pub(crate) const fn by_number(number: u8) -> Result<(), Self> {
        match NonZeroU32::new(number as u32) {
            Some(number) => Err(Self(number)),
            None => Ok(()),
        }
    }

    /// What a call comes to as a number: that of the error, or 0.
    #[must_use]
    pub fn result(done: Result<(), Self>) -> i32 {
        // Not by cases, of which there is none: all that is done here is to turn the sign.
        0_i32.wrapping_sub_unsigned(done.map_or_else(|fail| fail.0.get(), |()| 0))
    }
}

impl<C: Code> From<C> for Fail {
    fn from(error: C) -> Self {
        Self(NonZeroU32::new(error.code().unsigned_abs()).unwrap_or(NonZeroU32::MIN))
    }
}

impl<P: Code> Code for Error<P> {
    fn code(&self) -> i32 {
        self.code()
    }
}

impl<P: Code> Error<P> {
    /// The number: see the table at the top of [this module](self).
    pub fn code(&self) -> i32 {
        match self {
            Self::Misuse(e) => e.code(),
            Self::Capacity(e) => e.code(),
            Self::Peer(e) => e.code(),
        }
    }
}

impl<P> From<Misuse> for Error<P> {
    fn from(e: Misuse) -> Self {
        Self::Misuse(e)
    }
}

impl<P> From<Capacity> for Error<P> {
    fn from(e: Capacity) -> Self {
        Self::Capacity(e)
    }
}

impl<P: fmt::Display> fmt::Display for Error<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Misuse(e) => e.fmt(f),
            Self::Capacity(e) => e.fmt(f),
            Self::Peer(e) => e.fmt(f),
        }
    }
}

impl<P: fmt::Debug + fmt::Display> core::error::Error for Error<P> {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_in_its_range_and_used_once() {
        let misuse: std::vec::Vec<_> = Misuse::ALL.iter().map(Code::code).collect();
        let capacity: std::vec::Vec<_> = Capacity::ALL.iter().map(Code::code).collect();
        assert!(misuse.iter().all(|c| (-31..=-1).contains(c)));
        assert!(capacity.iter().all(|c| (-63..=-32).contains(c)));
    }

    #[test]
    fn an_error_says_what_is_wrong() {
        let error: Error<Misuse> = Capacity::Arena.into();
        assert_eq!(std::format!("{error}"), "no room to keep the packet for retransmission");
        assert_eq!(error.code(), -32);
    }

    #[test]
    fn an_error_has_the_same_number_alone() {
        for error in Capacity::ALL {
            assert_eq!(Fail::from(*error).code(), error.code());
            assert_eq!(Fail::result(Err(Fail::from(*error))), error.code());
        }
        assert_eq!(Fail::result(Ok(())), 0);
        assert_eq!(size_of::<Result<(), Fail>>(), 4);
    }

    #[test]
    fn c_reads_the_same_name_and_message() {
        for error in Misuse::ALL {
            assert_eq!(error.c_name().to_str(), Ok(error.name()));
            assert_eq!(error.c_message().to_str(), Ok(&*std::format!("{error}")));
            assert_eq!(Misuse::from_code(error.code()), Some(*error));
        }
        assert_eq!(Misuse::from_code(-32), None);
    }
}
