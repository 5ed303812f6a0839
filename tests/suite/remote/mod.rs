//! The command line as a client of a daemon.

mod reaching;
mod reading;
