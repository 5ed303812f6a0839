//! Real servers that images are delivered to, each started by a test in a folder and on a port of its
//! own, and ended with it: a registry ([`Registry`]), and Glance ([`Glance`]) with keystone
//! ([`Keystone`]). `.ci/setup` brings their programs into `target`.
//!
//! [`FaultProxy`] stands before any of them and spoils what goes through. What is no real server says so
//! in its name: [`FakeNova`], [`FakeTokens`].

mod fake;
mod fault_proxy;
mod glance;
mod keystone;
mod nova;
mod openstack;
mod registry;
mod server;
mod tokens;

pub(crate) use fault_proxy::{Fault, FaultProxy};
pub(crate) use glance::Glance;
pub(crate) use keystone::Keystone;
pub(crate) use nova::FakeNova;
pub(crate) use openstack::python;
pub(crate) use registry::{Login, Registry};
pub(crate) use server::Place;
pub(crate) use tokens::FakeTokens;
