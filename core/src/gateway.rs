//! The gateway: serves over CoAP what it fetched once from a provider.
