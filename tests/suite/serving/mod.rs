//! The daemon: a real one for each test, on a port of its own.

mod access;
mod audit;
mod builds;
mod callbacks;
mod chains;
mod connections;
mod contract;
mod deleting;
mod deliveries;
mod faults;
mod forgetting;
mod oauth;
mod operations;
mod plugins;
mod secrets;
mod systemd;
mod tls;
mod uploads;
mod upstream;
