//! `qemu-img`, the second opinion.

use camino::Utf8Path;

/// Runs `qemu-img` and returns what it printed; the test fails when it does, or is missing.
pub(crate) fn img(arguments: &[&str]) -> String {
    #[expect(clippy::disallowed_methods, reason = "the judge of these tests is another program")]
    let output = std::process::Command::new("qemu-img")
        .args(arguments)
        .output()
        .expect("`qemu-img` is needed for these tests (package `qemu-utils`)");
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "qemu-img {arguments:?}\n{stdout}{stderr}");
    stdout
}

pub(crate) fn assert_same_content(raw: &Utf8Path, image: &Utf8Path, format: &str) {
    img(&["compare", "-f", "raw", "-F", format, raw.as_str(), image.as_str()]);
}

/// No errors and no leaks: `qemu-img check` fails on either.
pub(crate) fn assert_sound(image: &Utf8Path, format: &str) {
    img(&["check", "-f", format, image.as_str()]);
}

pub(crate) fn virtual_bytes(image: &Utf8Path, format: &str) -> u64 {
    let info = img(&["info", "--output=json", "-f", format, image.as_str()]);
    let (_, rest) = info.split_once("\"virtual-size\": ").expect("virtual size");
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().expect("a number")
}
