//! What an image needs so that OpenStack can set up its servers: cloud-init, and where it looks.

use plugin_api::template::{File, Package, Source};
use plugin_api::{Content, Template};

/// Where cloud-init reads settings that come with an image.
const SETTINGS: &str = "/etc/cloud/cloud.cfg.d/90_openstack.cfg";
/// The drive is there before the network is; the service on the network is for clouds without drives.
const DATA_SOURCES: &str =
    "# This image is for OpenStack.\ndatasource_list: [ConfigDrive, OpenStack, None]\n";

/// What an image of this template needs; nothing where it is not known how cloud-init is installed.
pub(crate) fn of_template(template: &Template) -> Content {
    let packages: &[&str] = match template.os.name.to_lowercase().as_str() {
        "debian" | "ubuntu" => &["cloud-init", "cloud-guest-utils"],
        "almalinux" | "centos" | "fedora" | "rhel" | "rocky" => {
            &["cloud-init", "cloud-utils-growpart"]
        },
        _ => return Content::default(),
    };
    let mut content = Content::default();
    content.packages.extend(packages.iter().map(|name| Package::new(*name)));
    content.files.push(File::new(SETTINGS, Source::Raw(DATA_SOURCES.to_owned())));
    content
}
