//! Results, what they are called, and the version.

use core::ffi::{CStr, c_char};
pub(crate) use waft::Fail;
use waft::{Capacity, Misuse, coap, mqtt, ota::refusal::Refusal};

/// What C gets of a call.
pub(crate) fn result(done: Result<(), Fail>) -> i32 {
    Fail::result(done)
}

/// The same of a question: 1 or 0, or an error.
pub(crate) fn found(answer: Result<bool, Fail>) -> i32 {
    answer.map_or_else(Fail::code, i32::from)
}

/// The version of the library, `0xMMmmpp00`: major, minor and patch in one byte each. It equals `WAFT_VERSION` where
/// the header belongs to the library that is linked.
#[unsafe(no_mangle)]
pub extern "C" fn waft_version() -> u32 {
    VERSION
}

/// The package's version as one number.
pub const VERSION: u32 = {
    const fn byte(text: &str) -> u32 {
        match u8::from_str_radix(text, 10) {
            Ok(n) => n as u32,
            Err(_) => 0,
        }
    }
    byte(env!("CARGO_PKG_VERSION_MAJOR")) << 24
        | byte(env!("CARGO_PKG_VERSION_MINOR")) << 16
        | byte(env!("CARGO_PKG_VERSION_PATCH")) << 8
};

/// What a result is called, `"InvalidTopic"` say: the same word in Rust, C and Python. `"Ok"` for 0 and positive
/// numbers, `"Unknown"` for a number that is not in use. Never `NULL`; static and NUL-terminated.
#[unsafe(no_mangle)]
pub extern "C" fn waft_error_name(result: i32) -> *const c_char {
    name(result).as_ptr()
}

/// What a result means, in a line of English. Never `NULL`; static and NUL-terminated.
#[unsafe(no_mangle)]
pub extern "C" fn waft_error_message(result: i32) -> *const c_char {
    message(result).as_ptr()
}

/// Looks a number up in each of the enums given.
macro_rules! lookup {
    ($code:expr, $text:ident, $($error:ty),+) => {
        $(if let Some(error) = <$error>::from_code($code) { return error.$text(); })+
    };
}

fn name(result: i32) -> &'static CStr {
    if result >= 0 {
        return c"Ok";
    }
    lookup!(result, c_name, Misuse, Capacity, mqtt::Violation, coap::Violation, Refusal);
    c"Unknown"
}

fn message(result: i32) -> &'static CStr {
    if result >= 0 {
        return c"done";
    }
    lookup!(result, c_message, Misuse, Capacity, mqtt::Violation, coap::Violation, Refusal);
    c"not the number of an error"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_has_a_name_and_a_message() {
        assert_eq!(name(0), c"Ok");
        assert_eq!(name(-10), c"NullPointer");
        assert_eq!(message(-10), c"a pointer is NULL");
        assert_eq!(name(i32::MIN), c"Unknown");
    }
}
