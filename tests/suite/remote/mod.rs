//! The command line as a client of a daemon.

mod breaking;
mod building;
mod reaching;
mod reading;
mod said;
