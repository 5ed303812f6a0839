//! What the parameters ask for.

mod lists;
mod names;

use plugin_api::{Builder, DelegateError};
use plugin_kit::delegate::{choice, level};
use plugin_kit::layer::Compression;

pub(crate) use lists::{pairs, program};
pub(crate) use names::{check_repository, check_tag};

use crate::documents::Annotations;

/// What `docker` finds programs by.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// All parameters, checked.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) repository: String,
    pub(crate) tag: String,
    /// Of the archive as a whole.
    pub(crate) archive: Compression,
    pub(crate) layer: Compression,
    pub(crate) excludes: Vec<String>,
    pub(crate) keep_kernel: bool,
    pub(crate) command: Vec<String>,
    pub(crate) entry_point: Vec<String>,
    pub(crate) environment: Vec<String>,
    pub(crate) labels: Annotations,
    pub(crate) annotations: Annotations,
    pub(crate) user: Option<String>,
    pub(crate) working_dir: Option<String>,
    pub(crate) ports: Vec<String>,
    pub(crate) volumes: Vec<String>,
    pub(crate) stop_signal: Option<String>,
    pub(crate) comment: Option<String>,
    pub(crate) os: String,
    pub(crate) sbom: bool,
}

impl Settings {
    /// Reads the parameters of `builder`.
    ///
    /// # Errors
    /// `InvalidInput` for the first one that is wrong.
    pub(crate) fn read(builder: &Builder) -> Result<Self, DelegateError> {
        let parameters = builder.parameters();
        let template = builder.template();
        let repository = match parameters.string("repository")? {
            Some(given) => check_repository(&given).map(|()| given)?,
            None => names::repository_of(&template.name),
        };
        let tag = parameters.string("tag")?.unwrap_or_else(|| "latest".to_owned());
        check_tag(&tag)?;
        let (archive, layer) = compression(builder)?;
        let entry_point = program(parameters, "docker_entrypoint")?.unwrap_or_default();
        let command = match program(parameters, "docker_cmd")? {
            Some(command) => command,
            None if entry_point.is_empty() => vec!["/bin/sh".to_owned()],
            None => Vec::new(),
        };
        let mut labels = Annotations::new();
        if parameters.bool("docker_set_arch_label")?.unwrap_or(false) {
            labels.insert("architecture".to_owned(), template.os.arch.clone());
        }
        labels.extend(pairs(parameters, "docker_label")?);
        Ok(Self {
            repository,
            tag,
            archive,
            layer,
            excludes: match parameters.value("tar_excludes") {
                Some(_) => parameters.strings("tar_excludes")?,
                None => vec!["./etc/fstab".to_owned()],
            },
            keep_kernel: parameters.bool("oci_kernel")?.unwrap_or(false),
            command,
            entry_point,
            environment: environment(builder)?,
            labels,
            annotations: pairs(parameters, "oci_annotations")?.into_iter().collect(),
            user: parameters.string("docker_user")?,
            working_dir: working_dir(builder)?,
            ports: ports(builder)?,
            volumes: parameters.strings("docker_volume")?,
            stop_signal: parameters.string("docker_stop_signal")?,
            comment: parameters.string("comment")?.or_else(|| template.description.clone()),
            os: parameters.string("os")?.unwrap_or_else(|| "linux".to_owned()),
            sbom: parameters.bool("oci_sbom")?.unwrap_or(true),
        })
    }
}

/// Of the archive and of its layer.
fn compression(builder: &Builder) -> Result<(Compression, Compression), DelegateError> {
    const GZIP: Compression = Compression::Gzip { level: 6 };
    const ZSTD: Compression = Compression::Zstd { level: 3 };
    const XZ: Compression = Compression::Xz { level: 6 };
    const BZIP2: Compression = Compression::Bzip2 { level: 9 };
    let docker = builder.target() == "docker";
    let none = ("none", Compression::None);
    let whole = [none, ("gzip", GZIP), ("bzip2", BZIP2), ("xz", XZ), ("zstd", ZSTD)];
    let archive = choice(builder, "compress", &whole)?;
    if archive.is_some() && !docker {
        return Err(DelegateError::invalid_input(
            "parameter `compress` is for target `docker`: the archive of target `oci` has a packed layer",
        )
        .hint("`oci_compression` says how the layer is packed"));
    }
    let layer = choice(builder, "oci_compression", &[none, ("gzip", GZIP), ("zstd", ZSTD)])?;
    let (archive, layer) = (archive.unwrap_or(Compression::None), layer.unwrap_or(GZIP));
    let archive = with_level(builder, archive, docker)?;
    Ok((archive, with_level(builder, layer, true)?))
}

fn with_level(
    builder: &Builder,
    compression: Compression,
    given: bool,
) -> Result<Compression, DelegateError> {
    const LEVEL: &str = "oci_level";
    let most = if matches!(compression, Compression::Zstd { .. }) { 22 } else { 9 };
    if !given || compression == Compression::None {
        return Ok(compression);
    }
    let Some(level) = level(builder, LEVEL, 1..=most)? else { return Ok(compression) };
    let unsigned = level.unsigned_abs();
    Ok(match compression {
        Compression::Gzip { .. } => Compression::Gzip { level: unsigned },
        Compression::Xz { .. } => Compression::Xz { level: unsigned },
        Compression::Bzip2 { .. } => Compression::Bzip2 { level: unsigned },
        Compression::Zstd { .. } => Compression::Zstd { level },
        Compression::None => Compression::None,
    })
}

fn environment(builder: &Builder) -> Result<Vec<String>, DelegateError> {
    let mut variables = pairs(builder.parameters(), "docker_env")?;
    if !variables.iter().any(|(name, _)| name == "PATH") {
        variables.insert(0, ("PATH".to_owned(), PATH.to_owned()));
    }
    Ok(variables.into_iter().map(|(name, value)| format!("{name}={value}")).collect())
}

fn working_dir(builder: &Builder) -> Result<Option<String>, DelegateError> {
    let given = builder.parameters().string("docker_workdir")?;
    if let Some(given) = given.as_ref().filter(|given| !given.starts_with('/')) {
        return Err(DelegateError::invalid_input(format!(
            "parameter `docker_workdir`: expected a path from the root on, found `{given}`"
        )));
    }
    Ok(given)
}

fn ports(builder: &Builder) -> Result<Vec<String>, DelegateError> {
    let mut ports = Vec::new();
    for given in builder.parameters().strings("docker_expose")? {
        let (number, protocol) = given.split_once('/').unwrap_or((&given, "tcp"));
        let known = matches!(protocol, "tcp" | "udp" | "sctp");
        match number.parse::<u16>() {
            Ok(number) if known && number > 0 => ports.push(format!("{number}/{protocol}")),
            _ => {
                return Err(DelegateError::invalid_input(format!(
                    "parameter `docker_expose`: expected ports as `80` or `53/udp`, found `{given}`"
                )));
            },
        }
    }
    Ok(ports)
}
