//! One entry of the registry.

use std::sync::OnceLock;

use camino::{Utf8Path, Utf8PathBuf};
use plugin_api::info::PluginInfo;
use rustix::fs::stat;

use super::identity::FileIdentity;
use super::library::{FoundLibrary, LibrarySearch};
use super::scan::{Content, Found, Problem};
use super::schema;
use super::state::Status;

/// Most links that are followed, as in the kernel: `path_resolution(7)`.
const MAX_LINKS: usize = 40;

/// A plugin, or what stands in `plugins.d` in its place.
#[derive(Debug)]
pub struct Plugin {
    pub(super) position: usize,
    name: String,
    info_path: Utf8PathBuf,
    is_link: bool,
    content: Result<Content, Problem>,
    resolved: OnceLock<Resolved>,
}

/// What takes more than the `.info` file to find out; found out when somebody asks.
#[derive(Debug)]
pub(super) struct Resolved {
    links: Vec<Utf8PathBuf>,
    real_path: Option<Utf8PathBuf>,
    library: Option<FoundLibrary>,
    /// What keeps the plugin from being used, whatever its code does.
    pub(super) problem: Option<Status>,
}

impl Plugin {
    pub(super) fn new(position: usize, directory: &Utf8Path, found: Found) -> Self {
        let Found { stem, is_link, content } = found;
        let info_path = directory.join(format!("{stem}.info"));
        Self { position, name: stem, info_path, is_link, content, resolved: OnceLock::new() }
    }

    /// The name: file stem of the entry in `plugins.d`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What the `.info` file says; `None` when it has a problem.
    pub fn info(&self) -> Option<&PluginInfo> {
        self.content.as_ref().ok().map(|content| &content.info)
    }

    /// The entry in `plugins.d`.
    pub fn info_path(&self) -> &Utf8Path {
        &self.info_path
    }

    /// Whether the entry is a symbolic link.
    pub fn is_link(&self) -> bool {
        self.is_link
    }

    pub(super) fn content(&self) -> Result<&Content, &Problem> {
        self.content.as_ref()
    }

    /// Resolves links and library, once.
    pub(super) fn resolve(&self, search: &LibrarySearch) -> &Resolved {
        self.resolved.get_or_init(|| {
            let (links, real_path) = self.follow();
            let (library, problem) = match self.find(search, real_path.as_deref()) {
                Ok((library, problem)) => (Some(library), problem),
                Err(problem) => (None, Some(problem)),
            };
            Resolved { links, real_path, library, problem }
        })
    }

    /// The library, perhaps with a problem that stands besides; or why there is none.
    fn find(
        &self,
        search: &LibrarySearch,
        real_path: Option<&Utf8Path>,
    ) -> Result<(FoundLibrary, Option<Status>), Status> {
        let content = self.content.as_ref().map_err(Status::from)?;
        let is_same = |path: &&Utf8Path| {
            stat(path.as_std_path()).is_ok_and(|stat| FileIdentity::of(&stat) == content.identity)
        };
        let real_path = real_path.filter(is_same).ok_or_else(|| {
            Status::from(&Problem::new("the file changed while it was looked at", "try again"))
        })?;
        let schemas = schema::problems(&content.info);
        let library = search.find(real_path, &content.info).map_err(|error| {
            let mut status = Status::from(&error);
            status.reasons.extend(schemas.iter().cloned());
            status
        })?;
        let problem = (!schemas.is_empty()).then(|| {
            let hint = "correct the schema; it must stand in the `.info` file as a whole";
            let problem = Problem { reasons: schemas, hints: vec![hint.to_owned()], targets: None };
            Status::from(&problem)
        });
        Ok((library, problem))
    }

    /// Every path on the way from the entry to the file, and the file's own path.
    fn follow(&self) -> (Vec<Utf8PathBuf>, Option<Utf8PathBuf>) {
        let mut links = Vec::new();
        let mut path = self.info_path.clone();
        while links.len() < MAX_LINKS
            && let Ok(target) = path.read_link_utf8()
        {
            path = path.parent().unwrap_or(Utf8Path::new("")).join(target);
            links.push(path.clone());
        }
        let real_path = fs_err::canonicalize(&self.info_path).ok();
        (links, real_path.and_then(|path| Utf8PathBuf::from_path_buf(path).ok()))
    }
}

impl Resolved {
    /// Every path on the way from the entry to the file; empty when the entry is no link.
    pub(super) fn links(&self) -> &[Utf8PathBuf] {
        &self.links
    }

    /// The `.info` file itself.
    pub(super) fn real_path(&self) -> Option<&Utf8Path> {
        self.real_path.as_deref()
    }

    /// The library, when it was found.
    pub(super) fn library(&self) -> Option<&FoundLibrary> {
        self.library.as_ref()
    }
}
