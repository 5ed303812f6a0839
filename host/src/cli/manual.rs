//! `manual`: a page for each command, made of the same words as `--help`.

use camino::Utf8Path;

use super::error::{Exit, Failure};

/// Writes the pages of section 1 into `folder`, which is made if it is not there.
pub(super) fn write(command: &clap::Command, folder: &Utf8Path) -> Result<(), Failure> {
    fs_err::create_dir_all(folder)
        .and_then(|()| clap_mangen::generate_to(command.clone(), folder))
        .map_err(|error| {
            Failure::from_error(Exit::Usage, &error).hint("name a directory that can be written")
        })
}
