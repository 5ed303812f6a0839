//! Processes as the system shows them in `/proc`.

use rustix::process::{Pid, Signal};

/// Whether a process has a thread of this name; one that has ended has none.
pub(super) fn has_thread(id: u32, name: &str) -> bool {
    let Ok(threads) = fs_err::read_dir(format!("/proc/{id}/task")) else {
        return false;
    };
    threads.filter_map(Result::ok).any(|thread| {
        let found = fs_err::read_to_string(thread.path().join("comm"));
        found.is_ok_and(|found| found.trim() == name)
    })
}

/// A process.
#[derive(Clone, Debug)]
pub(crate) struct Process {
    /// Its id.
    pub(crate) id: u32,
    parent: u32,
    /// The file that it runs, as the system names it.
    executable: String,
    /// The name by which lists of processes show it.
    pub(crate) name: String,
    /// Its command line.
    pub(crate) arguments: Vec<String>,
    /// Its nice value.
    pub(crate) niceness: i32,
    environment: String,
}

impl Process {
    /// All processes that can be looked at.
    fn all() -> Vec<Self> {
        let entries = fs_err::read_dir("/proc").expect("/proc is mounted");
        entries
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
            .filter_map(Self::look)
            .collect()
    }

    /// A process that ends meanwhile, a zombie and a kernel thread are no process.
    fn look(id: u32) -> Option<Self> {
        let read = |file: &str| fs_err::read(format!("/proc/{id}/{file}")).ok();
        let stat = String::from_utf8_lossy(&read("stat")?).into_owned();
        // The name stands in parentheses and may hold blanks; state and parent follow.
        let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
        let state = fields.next()?;
        if matches!(state, "Z" | "X") {
            return None;
        }
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        let arguments = text(read("cmdline")?);
        let parent = fields.next()?.parse().ok()?;
        Some(Self {
            id,
            parent,
            // Field 19 of `proc_pid_stat(5)`; the next one here is 5.
            niceness: fields.nth(14)?.parse().ok()?,
            executable: fs_err::read_link(format!("/proc/{id}/exe"))
                .map(|path| path.display().to_string())
                .unwrap_or_default(),
            name: text(read("comm")?).trim().to_owned(),
            arguments: arguments.split_terminator('\0').map(str::to_owned).collect(),
            environment: text(read("environ")?),
        })
    }

    /// Processes that were started with `text` in their environment or command line.
    pub(super) fn naming(text: &str) -> Vec<Self> {
        let mut found = Self::all();
        found.retain(|process| {
            process.environment.contains(text)
                || process.arguments.iter().any(|argument| argument.contains(text))
        });
        found
    }

    /// The processes below process `id`.
    pub(crate) fn descendants_of(id: u32) -> Vec<Self> {
        let all = Self::all();
        let mut ids = vec![id];
        let mut found: Vec<Self> = Vec::new();
        while let Some(parent) = ids.pop() {
            let children = all.iter().filter(|process| process.parent == parent);
            for child in children {
                ids.push(child.id);
                found.push(child.clone());
            }
        }
        found
    }

    /// Whether it has a thread of this name.
    pub(crate) fn has_thread(&self, name: &str) -> bool {
        has_thread(self.id, name)
    }

    /// The environment with which it was started.
    pub(crate) fn environment(&self) -> &str {
        &self.environment
    }

    /// The process that loads plugins and calls them.
    pub(crate) fn is_worker(&self) -> bool {
        self.is_imageforge() && self.arguments[1..] == ["worker"]
    }

    /// The first process of a worker's namespace.
    pub(crate) fn is_init(&self) -> bool {
        self.is_imageforge()
            && self.arguments[1..].starts_with(&["worker", "--init"].map(str::to_owned))
    }

    /// A virtual machine.
    pub(crate) fn is_qemu(&self) -> bool {
        let first = self.arguments.first();
        first.is_some_and(|first| first.contains("qemu-system"))
    }

    /// `setpriv` or `unshare`, which fence a worker off.
    pub(crate) fn is_wrapper(&self) -> bool {
        let first = self.arguments.first();
        first.is_some_and(|first| first == "setpriv" || first == "unshare")
    }

    /// The process that looks into a library.
    pub(crate) fn is_probe(&self) -> bool {
        let verbs = self.arguments.get(1).map(String::as_str).zip(self.arguments.get(2));
        self.is_imageforge()
            && verbs.is_some_and(|(verb, next)| verb == "probe" && next != "--init")
    }

    /// The front end of a detached build.
    pub(crate) fn is_detached(&self) -> bool {
        self.is_imageforge() && self.arguments.iter().any(|argument| argument == "--announce")
    }

    /// A program that a plugin runs.
    pub(crate) fn is_program(&self) -> bool {
        let first = self.arguments.first();
        !self.is_imageforge() && !self.is_wrapper() && first.is_some_and(|first| first != "setsid")
    }

    fn is_imageforge(&self) -> bool {
        let name = self.executable.rsplit('/').next().unwrap_or_default();
        name == "imageforge" || name == "imageforge (deleted)"
    }
}

/// Sends a signal to a process that may have ended already.
pub(crate) fn kill(id: u32, signal: Signal) {
    let id = Pid::from_raw(id.cast_signed()).expect("a process id");
    rustix::process::kill_process(id, signal).ok();
}
