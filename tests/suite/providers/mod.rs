//! Delivering to real servers, which every test starts for itself.

mod starting;
