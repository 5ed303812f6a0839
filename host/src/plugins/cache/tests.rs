use super::*;

struct Place {
    _guard: tempfile::TempDir,
    root: Utf8PathBuf,
}

impl Place {
    fn new() -> Self {
        let guard = tempfile::tempdir().unwrap();
        let root = Utf8PathBuf::from_path_buf(guard.path().to_owned()).unwrap();
        Self { _guard: guard, root }
    }

    fn cache(&self, host: &str) -> ProbeCache {
        ProbeCache::new(Some(self.root.join("cache/probes.json")), host.to_owned())
    }

    fn library(&self, name: &str, content: &str) -> FoundLibrary {
        let path = self.root.join(name);
        fs_err::write(&path, content).unwrap();
        let identity = FileIdentity::of(&stat(path.as_std_path()).unwrap());
        FoundLibrary { path, identity }
    }
}

fn crashed() -> ProbeOutcome {
    ProbeOutcome::Crashed { signal: "SIGSEGV".into(), stderr: "boom".into() }
}

#[test]
fn an_answer_is_remembered_for_this_file_and_this_host() {
    let place = Place::new();
    let library = place.library("a.so", "1");
    let cache = place.cache("host 1");
    let refused = ProbeOutcome::Refused { reason: "no".into(), hint: "none".into() };
    cache.record(&library, &refused);
    cache.save().unwrap();
    assert_eq!(place.cache("host 1").outcome(&library), Some(refused));
    assert_eq!(place.cache("host 2").outcome(&library), None);
    let replaced = place.library("a.so", "22");
    assert_eq!(place.cache("host 1").outcome(&replaced), None);
}

#[test]
fn a_quarantine_holds_for_every_host_until_the_file_changes() {
    let place = Place::new();
    let library = place.library("a.so", "1");
    let cache = place.cache("host 1");
    cache.record(&library, &crashed());
    cache.save().unwrap();
    assert_eq!(place.cache("host 2").outcome(&library), Some(crashed()));
    let replaced = place.library("a.so", "22");
    assert_eq!(place.cache("host 2").outcome(&replaced), None);
}

#[test]
fn what_is_no_file_counts_as_an_empty_cache() {
    let place = Place::new();
    let library = place.library("a.so", "1");
    fs_err::create_dir_all(place.root.join("cache/probes.json")).unwrap();
    let cache = place.cache("host");
    assert_eq!(cache.outcome(&library), None);
    cache.record(&library, &crashed());
    assert!(cache.save().is_err());
    assert_eq!(cache.outcome(&library), Some(crashed()));
}

#[test]
fn a_damaged_cache_counts_as_empty_and_is_replaced() {
    let place = Place::new();
    let library = place.library("a.so", "1");
    fs_err::create_dir(place.root.join("cache")).unwrap();
    for damage in ["", "{", "[]", r#"{"format": 99, "entries": {}}"#, "\u{0}\u{0}"] {
        fs_err::write(place.root.join("cache/probes.json"), damage).unwrap();
        let cache = place.cache("host");
        assert_eq!(cache.outcome(&library), None);
        cache.record(&library, &crashed());
        cache.save().unwrap();
        assert_eq!(place.cache("host").outcome(&library), Some(crashed()));
    }
}

#[test]
fn writers_keep_each_others_answers_and_the_file_is_always_whole() {
    let place = Place::new();
    let libraries: Vec<_> = (0..8).map(|i| place.library(&format!("{i}.so"), "x")).collect();
    std::thread::scope(|scope| {
        for library in &libraries {
            let cache = place.cache("host");
            scope.spawn(move || {
                cache.record(library, &crashed());
                cache.save().unwrap();
                let text = fs_err::read(cache.file.as_deref().unwrap()).unwrap();
                assert!(serde_json::from_slice::<Document>(&text).is_ok());
            });
        }
    });
    let late = place.cache("host");
    late.record(&libraries[0], &crashed());
    late.save().unwrap();
    let other = place.cache("host");
    other.record(&libraries[1], &crashed());
    other.save().unwrap();
    let all = place.cache("host");
    assert!(libraries[..2].iter().all(|library| all.outcome(library).is_some()));
}

#[test]
fn what_is_not_about_the_library_is_not_recorded() {
    let place = Place::new();
    let library = place.library("a.so", "1");
    let cache = place.cache("host");
    cache.record(&library, &ProbeOutcome::NotProbed { reason: "no memory".into() });
    assert_eq!(cache.outcome(&library), None);
}

#[test]
fn the_digest_is_remembered_with_the_file() {
    let place = Place::new();
    let library = place.library("a.so", "abc");
    let cache = place.cache("host");
    // FIPS 180-4, the example of one block.
    let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    assert_eq!(cache.sha256(&library).unwrap(), expected);
    cache.save().unwrap();
    fs_err::remove_file(&library.path).unwrap();
    assert_eq!(cache.sha256(&library).unwrap(), expected);
    assert_eq!(place.cache("host").sha256(&library).unwrap(), expected);
    // The next writer drops what belongs to no file.
    cache.record(&place.library("b.so", "b"), &crashed());
    cache.save().unwrap();
    assert!(place.cache("host").sha256(&library).is_err());
}

#[test]
fn a_cache_without_a_file_forgets() {
    let place = Place::new();
    let library = place.library("a.so", "1");
    let cache = ProbeCache::new(None, "host".to_owned());
    cache.record(&library, &crashed());
    cache.save().unwrap();
    assert_eq!(cache.outcome(&library), Some(crashed()));
}

#[test]
fn what_several_threads_find_out_at_once_is_all_kept() {
    let place = Place::new();
    let libraries: Vec<_> =
        (0..8).map(|number| place.library(&format!("{number}.so"), "library")).collect();
    std::thread::scope(|scope| {
        for library in &libraries {
            let place = &place;
            scope.spawn(move || {
                for cache in [place.cache("host"), place.cache("host")] {
                    cache.record(library, &crashed());
                    cache.save().unwrap();
                }
            });
        }
    });
    let cache = place.cache("host");
    assert!(libraries.iter().all(|library| cache.outcome(library) == Some(crashed())));
}

#[test]
fn one_who_knows_less_takes_nothing_away() {
    let place = Place::new();
    let library = place.library("a.so", "1");
    let (early, late) = (place.cache("host"), place.cache("host"));
    early.sha256(&library).unwrap();
    late.record(&library, &crashed());
    late.save().unwrap();
    early.save().unwrap();
    let cache = place.cache("host");
    assert_eq!(cache.outcome(&library), Some(crashed()));
    assert!(cache.known().values().all(|entry| entry.sha256.is_some()));
}
