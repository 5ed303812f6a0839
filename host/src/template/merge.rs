//! Adds packages and repositories to a template, as Oz's command line does.

use plugin_api::template::{Package, Repository, Template};

/// Adds `packages` at the end; one of the same name that was there before goes.
pub fn merge_packages(template: &mut Template, packages: impl IntoIterator<Item = Package>) {
    for package in packages {
        template.packages.retain(|old| old.name != package.name);
        template.packages.push(package);
    }
}

/// Adds `repositories`; one of the same name is replaced where it stands.
pub fn merge_repositories(
    template: &mut Template,
    repositories: impl IntoIterator<Item = Repository>,
) {
    for repository in repositories {
        let same = template.repositories.iter_mut().find(|old| old.name == repository.name);
        match same {
            Some(old) => *old = repository,
            None => template.repositories.push(repository),
        }
    }
}
