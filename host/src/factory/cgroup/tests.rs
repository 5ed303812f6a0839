//! Promises about control groups: with a made-up tree, and with the kernel's as far as it goes.

use std::io::BufRead;
use std::process::Stdio;

use super::place::Tree;
use super::*;

const ME: u32 = 4711;

/// A folder that looks like a tree of control groups.
struct Fake {
    folder: tempfile::TempDir,
    membership: String,
}

impl Fake {
    fn new(own: &str) -> Self {
        Self { folder: tempfile::tempdir().unwrap(), membership: format!("1:cpu:/\n0::{own}\n") }
    }

    fn top(&self) -> &Utf8Path {
        Utf8Path::from_path(self.folder.path()).unwrap()
    }

    /// A group as the kernel would show it; the top has no type.
    fn group(&self, path: &str, offered: &str, enabled: &str, processes: &[u32]) -> Utf8PathBuf {
        let group = self.top().join(path);
        fs_err::create_dir_all(&group).unwrap();
        let ids: String = processes.iter().map(u32::to_string).collect::<Vec<_>>().join("\n");
        for (file, text) in [
            ("cgroup.controllers", offered),
            ("cgroup.subtree_control", enabled),
            ("cgroup.procs", &ids),
        ] {
            fs_err::write(group.join(file), text).unwrap();
        }
        if !path.is_empty() {
            fs_err::write(group.join("cgroup.type"), "domain").unwrap();
        }
        group
    }

    fn place(&self, delegated: &[&str]) -> Result<Place, NoPlace> {
        let mounts = format!(
            "30 24 0:26 / / rw - ext4 /dev/vda rw\n31 30 0:27 / {} rw,nosuid shared:9 - cgroup2 cgroup2 rw\n",
            self.top()
        );
        let is_delegated =
            |group: &Utf8Path| delegated.iter().any(|path| self.top().join(path) == group);
        let tree = Tree {
            mounts: &mounts,
            membership: &self.membership,
            process: ME,
            is_delegated: &is_delegated,
        };
        tree.place()
    }
}

const BOTH: Controllers = Controllers { memory: true, pids: true };

#[test]
fn a_delegated_service_leaves_its_group_and_enables_the_controllers() {
    let fake = Fake::new("/forge.service");
    let base = fake.group("forge.service", "cpu memory pids", "", &[ME]);
    let place = fake.place(&["forge.service"]).unwrap();
    assert_eq!((&place.base, place.controllers, &place.lacks), (&base, BOTH, &None));
    place.prepare();
    let read = |file: &str| fs_err::read_to_string(base.join(file)).unwrap();
    assert_eq!(read("imageforge.host/cgroup.procs"), "0");
    // The kernel would have added it to the other.
    assert_eq!(read("cgroup.subtree_control"), "+pids");
}

#[test]
fn who_was_moved_and_who_was_started_in_a_subgroup_uses_the_group_above() {
    for (own, delegated) in
        [("forge.service/imageforge.host", &[][..]), ("forge.service/main", &["forge.service"])]
    {
        let fake = Fake::new(&format!("/{own}"));
        let base = fake.group("forge.service", "memory pids", "memory pids", &[]);
        fake.group(own, "memory pids", "", &[ME, 12]);
        let place = fake.place(delegated).unwrap();
        assert_eq!((&place.base, place.controllers), (&base, BOTH));
        assert_eq!(place.prepare(), BOTH);
        assert!(!base.join("imageforge.host/cgroup.procs").exists() || own.ends_with("host"));
    }
}

#[test]
fn a_group_that_was_not_handed_over_is_left_alone() {
    let fake = Fake::new("/user.slice/terminal.scope");
    fake.group("user.slice/terminal.scope", "memory pids", "", &[ME]);
    let error = fake.place(&[]).unwrap_err().to_string();
    assert!(error.contains("terminal.scope` is not delegated"), "{error}");
}

#[test]
fn other_processes_are_not_moved_and_the_reason_is_told() {
    let fake = Fake::new("/shared.scope");
    fake.group("shared.scope", "memory pids", "pids", &[ME, 12]);
    let place = fake.place(&["shared.scope"]).unwrap();
    assert_eq!(place.controllers, Controllers { memory: false, pids: true });
    assert!(place.lacks.as_ref().unwrap().contains("other processes"), "{place:?}");
    assert_eq!(place.prepare(), Controllers { memory: false, pids: true });
    assert!(!place.base.join("imageforge.host").exists());
}

#[test]
fn the_top_of_a_tree_is_used_as_it_is_and_missing_controllers_are_told() {
    let fake = Fake::new("/");
    fake.group("", "hugetlb", "", &[ME, 1, 2]);
    let place = fake.place(&[]).unwrap();
    assert_eq!(place.controllers, Controllers::default());
    assert!(place.lacks.as_ref().unwrap().contains("not both offered"), "{place:?}");
    let fake = Fake::new("/../elsewhere");
    fake.group("", "memory pids", "", &[]);
    assert!(matches!(fake.place(&[]), Err(NoPlace::NotMounted)));
}

#[test]
fn limits_are_written_and_what_the_kernel_counted_is_told() {
    let fake = Fake::new("/");
    let text = "[limits]\nmemory_mib = 100\nprocesses = 7\n";
    let settings = crate::settings::Settings::parse(text, Utf8Path::new("x.toml")).unwrap();
    let limits = Limits::of(&settings.limits, "any");
    let group = Group::below(fake.top(), BOTH, &limits).unwrap();
    let read = |file: &str| fs_err::read_to_string(group.path().join(file)).unwrap();
    assert_eq!(read("memory.max"), (100 << 20).to_string());
    assert_eq!((read("memory.swap.max"), read("memory.oom.group")), ("0".into(), "1".into()));
    assert_eq!(read("pids.max"), (7 + THREADS).to_string());

    let events = |file: &str, text: &str| fs_err::write(group.path().join(file), text).unwrap();
    assert_eq!(group.passed(), None);
    events("memory.events", "low 0\noom 3\noom_kill 0\noom_group_kill 0\n");
    events("pids.events", "max 0\n");
    assert_eq!(group.passed(), None);
    events("pids.events", "max 2\n");
    assert_eq!(group.passed(), Some(Limit::Processes));
    events("memory.events", "low 0\noom 3\noom_kill 1\noom_group_kill 1\n");
    assert_eq!(group.passed(), Some(Limit::Memory));
    // The kernel's files go with their folder; these do not.
    fs_err::remove_dir_all(group.path()).unwrap();
}

#[test]
fn groups_of_the_dead_are_removed_and_those_of_the_living_stay() {
    let fake = Fake::new("/");
    let this = Owner::this().unwrap();
    let make = |owner: &Owner| {
        let path = fake.top().join(format!("{PREFIX}{}.0", owner.name()));
        fs_err::create_dir(&path).unwrap();
        path
    };
    let living = make(&this);
    let dead = make(&Owner { started: this.started + 1, ..Owner::this().unwrap() });
    let foreign = make(&Owner { namespace: 1, ..Owner::this().unwrap() });
    fs_err::create_dir(foreign.join("in use")).unwrap();
    let others = fake.group("system.slice", "", "", &[]);
    recover_below(fake.top());
    assert!(living.is_dir() && foreign.is_dir() && others.is_dir());
    assert!(!dead.exists());
}

/// With the kernel's own groups, where this machine has a place for them.
#[test]
fn a_process_that_left_its_parents_ends_with_its_group() {
    let Some(group) = Group::new(&Limits::default()) else {
        // Then there must be a reason, and builds go on without.
        assert!(look().is_err());
        return;
    };
    let path = group.path().to_owned();
    let script = format!("echo $$ > {path}/cgroup.procs; sleep 600 & echo $!; exec sleep 600");
    let mut child = process::command("setsid")
        .args(["--wait", "sh", "-c", &script])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    std::io::BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let orphan: u32 = line.trim().parse().unwrap();
    assert!(place::processes(&path).contains(&orphan), "{line}");
    group.kill();
    assert!(!child.wait().unwrap().success());
    drop(group);
    assert!(!path.exists());
    assert_eq!(place::processes(&path), Vec::<u32>::new());
}
