//! What the plugin promises, without a host.
