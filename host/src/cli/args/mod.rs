//! The command line.

mod images;

use camino::Utf8PathBuf;
use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::process::Reach;
pub use images::{Boot, DiskBus, Firmware, Images};

/// Builds operating-system images and delivers them to clouds
///
/// The host builds nothing by itself: every operating system and every cloud is a plugin, found
/// through a symlinked `.info` file in the plugins directory.
#[derive(Debug, Parser)]
#[command(
    name = "imageforge",
    version,
    max_term_width = 100,
    disable_help_subcommand = true,
    arg_required_else_help = true,
    subcommand_required = true
)]
pub struct Cli {
    /// Options of every command.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Options of every command; each also as `IMAGEFORGE_…` and in the settings file.
#[derive(Args, Debug)]
pub struct Global {
    /// Settings file (TOML)
    #[arg(
        long,
        value_name = "FILE",
        global = true,
        env = "IMAGEFORGE_CONFIG",
        hide_env_values = true
    )]
    pub config: Option<Utf8PathBuf>,
    /// Directory of `.info` files and links to them
    #[arg(
        long,
        value_name = "DIR",
        global = true,
        env = "IMAGEFORGE_PLUGINS_D",
        hide_env_values = true
    )]
    pub plugins_d: Option<Utf8PathBuf>,
    /// Directory to look for plugin libraries in (may be repeated; separated by `:` in the environment)
    #[arg(
        long,
        value_name = "DIR",
        global = true,
        env = "IMAGEFORGE_LIBRARY_PATH",
        value_delimiter = ':',
        hide_env_values = true
    )]
    pub library_path: Vec<Utf8PathBuf>,
    /// Directory of images, records and caches
    #[arg(
        long,
        value_name = "DIR",
        global = true,
        env = "IMAGEFORGE_DATA_DIR",
        hide_env_values = true
    )]
    pub data_dir: Option<Utf8PathBuf>,
    /// File of content for each cloud and system, XML or TOML, in place of what plugins ask for
    #[arg(
        long,
        value_name = "FILE",
        global = true,
        env = "IMAGEFORGE_TARGET_CONTENT",
        hide_env_values = true
    )]
    pub target_content: Option<Utf8PathBuf>,
    /// Work at a daemon: `https://HOST:PORT`, `http://127.0.0.1:PORT`, `unix:/PATH`, or `local` for the one
    /// that serves the data directory of this machine
    #[arg(
        long,
        value_name = "URL",
        global = true,
        env = "IMAGEFORGE_SERVER",
        hide_env_values = true
    )]
    pub server: Option<String>,
    /// PEM file of the authorities that vouch for the daemon's certificate, in the system's place
    #[arg(
        long,
        value_name = "FILE",
        global = true,
        env = "IMAGEFORGE_SERVER_CA",
        hide_env_values = true
    )]
    pub server_ca: Option<Utf8PathBuf>,
    /// Fingerprint of the daemon's certificate, as `imageforge serve --fingerprint` shows it there
    #[arg(
        long,
        value_name = "SHA256:HEX",
        global = true,
        env = "IMAGEFORGE_SERVER_FINGERPRINT",
        hide_env_values = true
    )]
    pub server_fingerprint: Option<String>,
    /// File with the token for the daemon; the environment variable `IMAGEFORGE_TOKEN` may hold one instead
    #[arg(
        long,
        value_name = "FILE",
        global = true,
        env = "IMAGEFORGE_TOKEN_FILE",
        hide_env_values = true
    )]
    pub token_file: Option<Utf8PathBuf>,
    /// Accept plugins that every user of this machine may change
    #[arg(long, global = true)]
    pub allow_insecure_permissions: bool,
    /// Output for people, or one JSON document when the work is over
    #[arg(long, value_name = "FORMAT", global = true, default_value = "text")]
    pub format: Format,
    /// Show the build log while building; twice, also what plugins say for their authors
    #[arg(short, long, global = true, action = clap::ArgAction::Count, conflicts_with = "quiet")]
    pub verbose: u8,
    /// Show errors only
    #[arg(short, long, global = true)]
    pub quiet: bool,
}

/// Form of the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Text,
    /// One JSON document.
    Json,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Build images from a template: the base image, and for each target and provider what it needs
    Build(Build),
    /// Build a base image from a template
    #[command(alias = "base_image")]
    BaseImage(BaseImage),
    /// Build a target image from a base image or a template
    #[command(alias = "target_image")]
    TargetImage(TargetImage),
    /// Push a target image to a provider, or make an image there
    #[command(alias = "provider_image")]
    ProviderImage(ProviderImage),
    /// Look at, keep and remove images
    #[command(subcommand)]
    Images(Images),
    /// List what can be built and by which plugin, or explain one target and its parameters
    Targets {
        /// A target or an operating system
        name: Option<String>,
    },
    /// Check templates
    #[command(subcommand)]
    Templates(Templates),
    /// Look at plugins
    #[command(subcommand)]
    Plugins(Plugins),
    /// Tell whether this machine can build, which protection is active and what is missing for more
    Doctor,
    /// Serve requests over HTTP until told to stop
    Serve {
        /// Print the fingerprint of the certificate that clients see, and serve nothing
        #[arg(long)]
        fingerprint: bool,
    },
    /// Say who may send requests to the daemon
    #[command(subcommand)]
    Tokens(Tokens),
    /// Print a completion script
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Write the manual pages (for packages)
    #[command(hide = true)]
    Manual {
        /// Directory to write them to
        folder: Utf8PathBuf,
    },
    /// Do the work of one image (started by a build)
    #[command(hide = true)]
    Worker {
        /// Be the first process of the worker's namespace
        #[arg(long)]
        init: bool,
        /// What it may see and write to
        #[command(flatten)]
        reach: Reach,
    },
    /// Open one library and tell what it is (started before a library is trusted)
    #[command(hide = true)]
    Probe {
        /// Be the first process of the probe's namespace
        #[arg(long)]
        init: bool,
        /// What it may see and write to
        #[command(flatten)]
        reach: Reach,
        /// The library
        library: Utf8PathBuf,
        /// A word that the answer repeats
        nonce: String,
    },
}

/// Where parameters come from: `--parameters` < `--parameter` < `--file-parameter`.
#[derive(Args, Debug, Default)]
#[command(next_help_heading = "Parameters")]
pub struct Parameters {
    /// JSON file with an object of parameters
    #[arg(long, value_name = "FILE")]
    pub parameters: Option<Utf8PathBuf>,
    /// One parameter: `NAME=VALUE`, or `NAME VALUE` (may be repeated)
    #[arg(long = "parameter", value_name = "NAME=VALUE")]
    pub parameter: Vec<String>,
    /// One parameter with the text of a file: `NAME=FILE`, or `NAME FILE` (may be repeated)
    #[arg(long = "file-parameter", value_name = "NAME=FILE")]
    pub file_parameter: Vec<String>,
}

/// What to do with the images of a build.
#[derive(Args, Debug, Default)]
pub struct BuildOptions {
    /// Where parameters come from
    #[command(flatten)]
    pub parameters: Parameters,
    /// Name of the images; the template's name by default
    #[arg(long)]
    pub name: Option<String>,
    /// Label of the images (may be repeated)
    #[arg(long = "label", value_name = "KEY=VALUE")]
    pub labels: Vec<String>,
    /// Build the base image anew, also when an equal one is there
    #[arg(long)]
    pub rebuild: bool,
    /// Print the plan and build nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Print the identifiers and go on in the background
    #[arg(long)]
    pub detach: bool,
    /// Run the build that `--detach` announced (internal)
    #[arg(long, hide = true, value_name = "FD")]
    pub announce: bool,
}

/// `imageforge build`
#[derive(Args, Debug)]
pub struct Build {
    /// Template file, TDL or TOML; `-` reads standard input
    pub template: Utf8PathBuf,
    /// Target to build for (may be repeated); without one, only the base image is built
    #[arg(long = "target", short, value_name = "TARGET")]
    pub targets: Vec<String>,
    /// Provider to push to: a name, a file, or `@TEXT` (may be repeated; with several targets, which one
    /// it is for stands before it)
    #[arg(long = "provider", value_name = "[TARGET=]PROVIDER", requires = "targets")]
    pub providers: Vec<String>,
    /// Credentials for the providers of a target: a file, or `@TEXT` (once for all of them, or for each in
    /// their order)
    #[arg(long, value_name = "[TARGET=]CREDENTIALS", requires = "providers")]
    pub credentials: Vec<String>,
    /// Make the images inside the providers instead of pushing them
    #[arg(long, requires = "providers")]
    pub snapshot: bool,
    /// Copy the finished image to this file, or several of them into this directory
    #[arg(long, short, value_name = "PATH")]
    pub output: Option<Utf8PathBuf>,
    /// Boot each finished image and wait for its login prompt
    #[arg(long)]
    pub boot_check: bool,
    /// What to do with the images
    #[command(flatten)]
    pub options: BuildOptions,
}

/// `imageforge base-image`
#[derive(Args, Debug)]
pub struct BaseImage {
    /// Template file, TDL or TOML; `-` reads standard input
    pub template: Utf8PathBuf,
    /// What to do with the image
    #[command(flatten)]
    pub options: BuildOptions,
}

/// An image or a template to start from.
#[derive(Args, Debug)]
#[group(required = true, multiple = false)]
pub struct Source {
    /// Image to start from
    #[arg(long)]
    pub id: Option<String>,
    /// Template to start from
    #[arg(long)]
    pub template: Option<Utf8PathBuf>,
}

/// `imageforge target-image`
#[derive(Args, Debug)]
pub struct TargetImage {
    /// Target to build for
    pub target: String,
    /// Base image or template
    #[command(flatten)]
    pub source: Source,
    /// What to do with the image
    #[command(flatten)]
    pub options: BuildOptions,
}

/// `imageforge provider-image`
#[derive(Args, Debug)]
pub struct ProviderImage {
    /// Target to build for
    pub target: String,
    /// Provider to push to: a name, a file, or `@TEXT`
    pub provider: String,
    /// Credentials for the provider: a file, or `@TEXT`
    pub credentials: String,
    /// Target image or template
    #[command(flatten)]
    pub source: Source,
    /// Make the image inside the provider instead of pushing one
    #[arg(long)]
    pub snapshot: bool,
    /// What to do with the image
    #[command(flatten)]
    pub options: BuildOptions,
}

/// `imageforge templates …`
#[derive(Debug, Subcommand)]
pub enum Templates {
    /// Parse and validate a template, and print the plan of building it
    Check {
        /// Template file, TDL or TOML; `-` reads standard input
        file: Utf8PathBuf,
        /// Target to plan for (may be repeated)
        #[arg(long = "target", short, value_name = "TARGET")]
        targets: Vec<String>,
        /// Where parameters come from
        #[command(flatten)]
        parameters: Parameters,
    },
}

/// `imageforge plugins …`
#[derive(Debug, Subcommand)]
pub enum Plugins {
    /// List plugins with their state, and what is wrong with those that cannot be used
    List,
    /// Show one plugin
    Show {
        /// Its name
        name: String,
    },
    /// Check an `.info` file and its library, also when it is not in the plugins directory
    Check {
        /// An `.info` file, or the name of a plugin
        file: String,
        /// Try the library of a plugin again, also when it is quarantined or known
        #[arg(long)]
        again: bool,
    },
}

/// `imageforge tokens …`
#[derive(Debug, Subcommand)]
pub enum Tokens {
    /// Make a token and print it: it is shown this once
    Create {
        /// Name of the token, which is also that of its user
        name: String,
        /// What it allows: `images:read`, `images:write`, `plugins:read`, `plugins:write`,
        /// `plugins:NAME:write` or `admin` (may be repeated)
        #[arg(long = "scope", value_name = "SCOPE", required = true)]
        scopes: Vec<String>,
        /// End it after this many days
        #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u32).range(1..=36500))]
        expires: Option<u32>,
    },
    /// List tokens with what they allow, their end and their last use
    List,
    /// End tokens at once
    Revoke {
        /// Their names
        #[arg(required = true)]
        names: Vec<String>,
    },
}
