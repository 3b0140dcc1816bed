//! CoAP (RFC 7252) with Observe (RFC 7641) and Block-wise transfers (RFC 7959).
