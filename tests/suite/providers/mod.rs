//! Delivering to real servers, which every test starts for itself.

mod base;
mod clouds;
mod debian;
mod faults;
mod oci;
mod openstack;
mod secrets;
mod starting;
mod together;
