//! What the plugin promises, against fakes of keystone, Glance and Nova in this process.
//!
//! They are no real servers: they know what these tests ask and check what real ones would refuse. The
//! black-box suite pushes to a real Glance.

mod comparing;
mod fake;
mod leftovers;
mod pushing;
mod signing_in;
mod snapshots;
mod target_images;

use plugin_api::testing::{DelegateHarness, HarnessedDelegate};
use serde_json::{Value, json};

use super::OpenStack;

/// A harness with a small target image.
fn harness() -> DelegateHarness {
    DelegateHarness::cloud(OpenStack::default())
        .target("openstack-kvm")
        .operating_system("Debian", "12", "x86_64")
        .target_image(fake::body())
        .configuration("retries", 2)
}

/// A delegate that delivers to the fake Glance at `url`, where nobody signs in.
fn anonymous(url: &str, more: &Value) -> HarnessedDelegate {
    let mut provider = json!({ "image_endpoint": url, "auth_type": "none" });
    if let (Value::Object(provider), Value::Object(more)) = (&mut provider, more) {
        provider.extend(more.clone());
    }
    harness().provider(provider.to_string(), "").open().unwrap()
}
