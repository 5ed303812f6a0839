//! Nothing: this package is its test binary `suite`.
