//! Method and response codes (RFC 7252 §12.1), `class.detail` in one byte.

/// What a message is: a method, a response, or nothing ([`Code::EMPTY`]).
///
/// The upper three bits are the class (0 request, 2 success, 4 client error, 5 server error), the lower five the detail
/// (RFC 7252 §3).
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Code(pub u8);

macro_rules! codes {
    ($($(#[doc = $text:literal])+ $name:ident = $class:literal . $detail:literal, $print:literal;)+) => {
        impl Code {
            $($(#[doc = $text])+ pub const $name: Self = Self::new($class, $detail);)+

            /// The name of its registry entry, such as `Content`; empty where it has none here.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $print,)+ _ => "" }
            }
        }
    };
}

codes! {
    /// Empty message (RFC 7252 §4.1): an acknowledgement, a reset or a ping.
    EMPTY = 0 . 0, "Empty";
    /// RFC 7252 §5.8.1. Safe and idempotent.
    GET = 0 . 1, "GET";
    /// RFC 7252 §5.8.2. Neither safe nor idempotent.
    POST = 0 . 2, "POST";
    /// RFC 7252 §5.8.3. Idempotent.
    PUT = 0 . 3, "PUT";
    /// RFC 7252 §5.8.4. Idempotent.
    DELETE = 0 . 4, "DELETE";
    /// RFC 8132 §2. Safe and idempotent; has a payload.
    FETCH = 0 . 5, "FETCH";
    /// RFC 8132 §3. Neither safe nor idempotent.
    PATCH = 0 . 6, "PATCH";
    /// RFC 8132 §3. Idempotent.
    IPATCH = 0 . 7, "iPATCH";
    /// RFC 7252 §5.9.1.1
    CREATED = 2 . 1, "Created";
    /// RFC 7252 §5.9.1.2
    DELETED = 2 . 2, "Deleted";
    /// RFC 7252 §5.9.1.3: the representation that the ETag names is still good.
    VALID = 2 . 3, "Valid";
    /// RFC 7252 §5.9.1.4
    CHANGED = 2 . 4, "Changed";
    /// RFC 7252 §5.9.1.5
    CONTENT = 2 . 5, "Content";
    /// RFC 7959 §2.9.1: this block is taken, go on with the next.
    CONTINUE = 2 . 31, "Continue";
    /// RFC 7252 §5.9.2.1
    BAD_REQUEST = 4 . 0, "Bad Request";
    /// RFC 7252 §5.9.2.2
    UNAUTHORIZED = 4 . 1, "Unauthorized";
    /// RFC 7252 §5.9.2.3: a critical option is not understood.
    BAD_OPTION = 4 . 2, "Bad Option";
    /// RFC 7252 §5.9.2.4
    FORBIDDEN = 4 . 3, "Forbidden";
    /// RFC 7252 §5.9.2.5
    NOT_FOUND = 4 . 4, "Not Found";
    /// RFC 7252 §5.9.2.6
    METHOD_NOT_ALLOWED = 4 . 5, "Method Not Allowed";
    /// RFC 7252 §5.9.2.7
    NOT_ACCEPTABLE = 4 . 6, "Not Acceptable";
    /// RFC 7959 §2.9.2: blocks before this one are missing.
    REQUEST_ENTITY_INCOMPLETE = 4 . 8, "Request Entity Incomplete";
    /// RFC 8132 §3.4
    CONFLICT = 4 . 9, "Conflict";
    /// RFC 7252 §5.9.2.8
    PRECONDITION_FAILED = 4 . 12, "Precondition Failed";
    /// RFC 7252 §5.9.2.9, RFC 7959 §2.9.3
    REQUEST_ENTITY_TOO_LARGE = 4 . 13, "Request Entity Too Large";
    /// RFC 7252 §5.9.2.10
    UNSUPPORTED_CONTENT_FORMAT = 4 . 15, "Unsupported Content-Format";
    /// RFC 8132 §3.4: the patch is sound, but cannot be applied.
    UNPROCESSABLE_ENTITY = 4 . 22, "Unprocessable Entity";
    /// RFC 8516: try again after Max-Age.
    TOO_MANY_REQUESTS = 4 . 29, "Too Many Requests";
    /// RFC 7252 §5.9.3.1
    INTERNAL_SERVER_ERROR = 5 . 0, "Internal Server Error";
    /// RFC 7252 §5.9.3.2
    NOT_IMPLEMENTED = 5 . 1, "Not Implemented";
    /// RFC 7252 §5.9.3.3
    BAD_GATEWAY = 5 . 2, "Bad Gateway";
    /// RFC 7252 §5.9.3.4: try again after Max-Age.
    SERVICE_UNAVAILABLE = 5 . 3, "Service Unavailable";
    /// RFC 7252 §5.9.3.5
    GATEWAY_TIMEOUT = 5 . 4, "Gateway Timeout";
    /// RFC 7252 §5.9.3.6
    PROXYING_NOT_SUPPORTED = 5 . 5, "Proxying Not Supported";
    /// RFC 8768 §6.1: too many proxies.
    HOP_LIMIT_REACHED = 5 . 8, "Hop Limit Reached";
}

impl Code {
    /// `class.detail`; of the class the lower three bits count, of the detail the lower five.
    #[must_use]
    pub const fn new(class: u8, detail: u8) -> Self {
        Self((class << 5) | (detail & 0x1F))
    }

    /// 0 to 7: what stands before the point.
    #[must_use]
    pub const fn class(self) -> u8 {
        self.0 >> 5
    }

    /// 0 to 31: what stands behind the point.
    #[must_use]
    pub const fn detail(self) -> u8 {
        self.0 & 0x1F
    }

    /// Whether it is a method (`0.01` to `0.31`).
    #[must_use]
    pub const fn is_request(self) -> bool {
        self.class() == 0 && self.0 != 0
    }

    /// Whether it is a response (class 2, 4 or 5; class 3 has no meaning yet and counts, as RFC 7252 §5.9 reads, as one).
    #[must_use]
    pub const fn is_response(self) -> bool {
        matches!(self.class(), 2..=5)
    }

    /// Whether it is a response of class 2.
    #[must_use]
    pub const fn is_success(self) -> bool {
        self.class() == 2
    }

    /// Whether the same request twice has the effect of one (RFC 7252 §5.1, RFC 8132 §1.1). Unknown methods: no.
    #[must_use]
    pub const fn is_idempotent(self) -> bool {
        matches!(self, Self::GET | Self::PUT | Self::DELETE | Self::FETCH | Self::IPATCH)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_class_and_detail_in_one_byte() {
        assert_eq!(Code::GET.0, 1);
        assert_eq!(Code::CONTENT.0, 0x45);
        assert_eq!((Code::CONTINUE.class(), Code::CONTINUE.detail()), (2, 31));
        assert_eq!(Code::REQUEST_ENTITY_TOO_LARGE.name(), "Request Entity Too Large");
        assert!(Code::POST.is_request() && !Code::EMPTY.is_request() && !Code::EMPTY.is_response());
        assert!(Code::new(5, 3).is_response() && !Code::new(1, 0).is_response() && !Code::new(7, 0).is_response());
    }
}
