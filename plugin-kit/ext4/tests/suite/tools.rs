//! Asks e2fsprogs what it thinks of an image. The tools are required, so their absence fails a test.

use std::path::{Path, PathBuf};

use ext4::{Error, Options, Region, Summary, Tree};

pub(crate) const TIMESTAMP: i64 = 1_700_000_000;
pub(crate) const MIB: u64 = 1 << 20;

pub(crate) fn options(size_bytes: u64) -> Options {
    Options::new(size_bytes, *b"\x01uuid of a test\xff", TIMESTAMP).label("test")
}

/// An image in a folder of its own, which goes when the value does.
pub(crate) struct Image {
    folder: tempfile::TempDir,
    pub(crate) summary: Summary,
}

impl Image {
    /// Writes `tree` and has e2fsck check the result.
    pub(crate) fn checked(tree: &Tree, options: &Options) -> Self {
        let image = Self::new(tree, options).unwrap();
        image.check();
        image
    }

    pub(crate) fn new(tree: &Tree, options: &Options) -> Result<Self, Error> {
        let folder = tempfile::tempdir().unwrap();
        let file = fs_err::File::create(folder.path().join("image")).unwrap();
        file.set_len(options.size_bytes).unwrap();
        let summary = tree.write(options, &mut Region::new(&file, 0))?;
        Ok(Self { folder, summary })
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("image")
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        fs_err::read(self.path()).unwrap()
    }

    fn check(&self) {
        let (clean, output) = run("e2fsck", &["-fn"], &self.path());
        let output = String::from_utf8_lossy(&output).into_owned();
        // Five passes and a summary; a complaint would be one more line.
        assert!(clean && output.lines().count() == 6, "{output}");
    }

    /// Output of a debugfs request.
    pub(crate) fn debugfs(&self, request: &str) -> String {
        String::from_utf8_lossy(&self.cat_request(request)).into_owned()
    }

    pub(crate) fn cat(&self, path: &str) -> Vec<u8> {
        self.cat_request(&format!("cat {path}"))
    }

    fn cat_request(&self, request: &str) -> Vec<u8> {
        run("debugfs", &["-R", request], &self.path()).1
    }
}

#[expect(clippy::disallowed_methods, reason = "a test has no builder to run a command through")]
pub(crate) fn run(tool: &str, arguments: &[&str], image: &Path) -> (bool, Vec<u8>) {
    // Not every account has the sbin directories in its search path.
    let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
    let output = std::process::Command::new("env")
        .arg(format!("PATH={path}"))
        .arg(tool)
        .args(arguments)
        .arg(image)
        .env("LC_ALL", "C")
        .output()
        .unwrap();
    assert_ne!(output.status.code(), Some(127), "`{tool}` of e2fsprogs is required");
    (output.status.success(), output.stdout)
}
