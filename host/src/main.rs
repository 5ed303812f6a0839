//! `imageforge`: everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    imageforge::cli::run(std::env::args_os().map(|word| word.to_string_lossy().into_owned()))
}
