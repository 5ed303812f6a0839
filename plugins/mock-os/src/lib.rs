//! Teaching plugin: an operating system that is one small text file.
//!
//! Read it from top to bottom to learn what an OS plugin does; every method that a real one needs
//! is here, and each takes a few lines. The text is the same for the same template and parameters,
//! so images can be compared byte by byte. The parameters make it slow, talkative or broken, which
//! is what the test suite of the host needs; `mock-os.info` describes them.

use std::fmt::Write as _;
use std::thread;
use std::time::Duration;

use fs_err::{File, OpenOptions};
use plugin_api::template::Source;
use plugin_api::{
    Builder, Command, Content, Decision, DelegateError, DelegateErrorKind, OsDelegate,
};

// The one line that makes a crate a plugin. The delegate is named after the crate; the expression
// is evaluated for each image, so a delegate never sees two builds.
plugin_api::export_plugin!(os => MockOs);

/// Between two looks at `builder.cancelled()`.
const STEP: Duration = Duration::from_millis(20);

/// The delegate. It needs no state: everything that it may know comes from the builder.
#[derive(Debug)]
struct MockOs;

impl OsDelegate for MockOs {
    /// Called before the build is accepted: the place to refuse what cannot work, with every
    /// reason at once, instead of failing an hour later.
    fn check(&self, builder: &Builder) -> Vec<DelegateError> {
        let parameters = builder.parameters();
        // Not the values are of interest here, but whether they can be read.
        [
            parameters.u64("delay_ms").err(),
            parameters.u64("size_bytes").err(),
            parameters.u64("log_lines").err(),
            wanted_failure(builder).err(),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    /// The base image is reused while template, parameters, library and this text stay the same.
    /// A system with packages answers the state of its archive here.
    fn cache_key(&self, _: &Builder) -> Result<String, DelegateError> {
        Ok("mock-os 1".to_owned())
    }

    /// The first hook: whether to build at all. `Skip` is no failure; the record says why.
    fn builder_should_create_image(&self, builder: &Builder) -> Result<Decision, DelegateError> {
        Ok(match builder.parameters().string("skip")? {
            Some(reason) => Decision::Skip(reason),
            None => Decision::Proceed,
        })
    }

    /// The work itself: afterwards a raw disk must be at `builder.image_path()`.
    fn create_base_image(&self, builder: &Builder) -> Result<(), DelegateError> {
        // What tracing records is in the build log, with its span and fields.
        let os = &builder.template().os;
        let _span =
            tracing::info_span!("mock_os", name = %os.name, version = %os.version).entered();

        builder.activity("pretending to install");
        for line in 1..=builder.parameters().u64("log_lines")?.unwrap_or(0) {
            tracing::info!(line, "a line of the build log");
        }
        if let Some(script) = builder.parameters().string("run")? {
            // Its output is in the build log, and it ends with the build.
            builder.run(Command::new("sh").args(["-euc", &script]))?;
        }
        wait(builder)?;
        if let Some(kind) = wanted_failure(builder)? {
            return Err(fail(&kind));
        }

        builder.activity("writing the image");
        write_text(builder, &description(builder))?;
        // Properties are shown with the image and given to the cloud plugins.
        builder.set_property("mock-os", true)?;
        builder.progress(100);
        Ok(())
    }

    /// Applies what the cloud plugin asks for. Without content the base image will do as it is.
    fn create_target_image(&self, builder: &Builder) -> Result<(), DelegateError> {
        let content = builder.content()?;
        if content.is_empty() {
            return Ok(());
        }
        builder.activity("adding what the target asks for");
        // The base image belongs to other targets too and is never changed: copy, then add.
        let disk = builder.changed_disk_path();
        builder.copy_file(builder.disk()?, &disk)?;
        let added = content_text(&content);
        append(&disk, &added)?;
        // What is told about the base image is no longer true of this disk.
        note(builder, &[description(builder), added].concat())
    }

    /// What is on the disk, for people and cloud plugins: here the text once more, as an artifact.
    fn builder_did_create_image(&self, builder: &Builder) -> Result<(), DelegateError> {
        note(builder, &description(builder))
    }

    /// Runs on another thread while `create_base_image` waits. That one notices the cancellation by
    /// itself, so nothing is left to release.
    fn abort(&self, _: &Builder) {
        tracing::info!("the build of a mock image is aborted");
    }
}

/// Takes as long as `delay_ms` says, in steps, and returns early from a cancelled build.
fn wait(builder: &Builder) -> Result<(), DelegateError> {
    let total = Duration::from_millis(builder.parameters().u64("delay_ms")?.unwrap_or(0));
    let mut waited = Duration::ZERO;
    let mut announced = 0;
    while waited < total {
        builder.check_cancelled()?;
        let step = STEP.min(total.saturating_sub(waited));
        thread::sleep(step);
        waited += step;
        // At most 90: writing the image is still to come. Nobody reads the same number twice.
        let percent = u8::try_from(90 * waited.as_millis() / total.as_millis()).unwrap_or(90);
        if percent > announced {
            builder.progress(percent);
            announced = percent;
        }
    }
    builder.check_cancelled()
}

/// The kind of failure that `fail_with` asks for. A panic is not a kind: see [`fail`].
fn wanted_failure(builder: &Builder) -> Result<Option<Failure>, DelegateError> {
    let Some(name) = builder.parameters().string("fail_with")? else {
        return Ok(None);
    };
    if name == "panic" {
        return Ok(Some(Failure::Panic));
    }
    // The kinds are named in JSON as they are in the parameter.
    match serde_json::from_value(name.clone().into()) {
        Ok(kind) => Ok(Some(Failure::Error(kind))),
        Err(_) => Err(DelegateError::invalid_input(format!(
            "parameter `fail_with`: there is no kind of error `{name}`"
        ))),
    }
}

enum Failure {
    Error(DelegateErrorKind),
    Panic,
}

/// An error says what is so; the hint says what the reader can do.
#[expect(clippy::panic, reason = "shows what becomes of a panic: an error of the kind bug")]
fn fail(failure: &Failure) -> DelegateError {
    match failure {
        Failure::Panic => panic!("parameter `fail_with` asked for a panic"),
        Failure::Error(kind) => {
            DelegateError::new(*kind, "parameter `fail_with` asked for this failure")
                .hint("leave the parameter out")
        },
    }
}

/// The whole operating system.
fn description(builder: &Builder) -> String {
    let template = builder.template();
    let os = &template.os;
    let mut text = format!("mock os\nname: {}\n", template.name);
    // Writing to a string cannot fail.
    let _ = writeln!(text, "os: {} {} {}", os.name, os.version, os.arch);
    for package in &template.packages {
        let _ = writeln!(text, "package: {}", package.name);
    }
    for file in &template.files {
        let _ = writeln!(text, "file: {} ({})", file.name, size(&file.source));
    }
    for command in template.precommands.iter().chain(&template.commands) {
        let _ = writeln!(text, "command: {} ({})", command.name, size(&command.source));
    }
    text
}

/// Records what is on the disk.
fn note(builder: &Builder, text: &str) -> Result<(), DelegateError> {
    let note = builder.work_dir().join("mock-os.txt");
    fs_err::write(&note, text)?;
    builder.add_artifact("mock-os.txt", note, "text/plain")
}

/// What the cloud plugin asked for, in the same words.
fn content_text(content: &Content) -> String {
    let mut text = String::new();
    for package in &content.packages {
        let _ = writeln!(text, "target package: {}", package.name);
    }
    for repository in &content.repositories {
        let _ = writeln!(text, "target repository: {}", repository.name);
    }
    for file in &content.files {
        let _ = writeln!(text, "target file: {} ({})", file.name, size(&file.source));
    }
    for command in &content.commands {
        let _ = writeln!(text, "target command: {}", command.name);
    }
    text
}

fn size(source: &Source) -> String {
    match (source, source.bytes()) {
        (Source::Url(url), _) => url.clone(),
        (_, Some(bytes)) => format!("{} bytes", bytes.len()),
        (_, None) => "unreadable".to_owned(),
    }
}

/// Writes the body. Growing a file with `set_len` leaves a hole, which costs no disk space.
fn write_text(builder: &Builder, text: &str) -> Result<(), DelegateError> {
    fs_err::write(builder.image_path(), text)?;
    if let Some(size) = builder.parameters().u64("size_bytes")? {
        let file = OpenOptions::new().write(true).open(builder.image_path())?;
        file.set_len(size.max(text.len() as u64))?;
    }
    Ok(())
}

fn append(path: &camino::Utf8Path, text: &str) -> Result<(), DelegateError> {
    let mut file: File = OpenOptions::new().append(true).open(path)?;
    std::io::Write::write_all(&mut file, text.as_bytes())?;
    Ok(())
}

#[cfg(test)]
mod tests;
