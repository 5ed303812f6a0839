//! Delivering to folders and files.

use plugin_api::DelegateErrorKind;
use plugin_api::testing::Built;

use super::*;

/// What is pushed to `provider`, out of a target image of `target`.
fn pushing(target: &str, parameters: &[(&str, &str)], provider: &str) -> HarnessedDelegate {
    let (_delegate, body) = built(target, parameters);
    let body = fs_err::read(body).unwrap();
    harness(target, parameters).target_image(body).provider(provider, "").open().unwrap()
}

fn pushed(target: &str, parameters: &[(&str, &str)], provider: &str) -> ProviderIdentity {
    let delegate = pushing(target, parameters, provider);
    assert_eq!(delegate.check(), []);
    assert_eq!(delegate.check_provider(), Ok(()));
    match delegate.build().unwrap() {
        Built::OnProvider(identity) => identity,
        other => unreachable!("{other:?}"),
    }
}

fn deleting(provider: &str, identity: &ProviderIdentity) -> HarnessedDelegate {
    let identifier = identity.identifier_on_provider.as_str();
    let harness = harness("oci", &[]).provider(provider, "").identifier_on_provider(identifier);
    harness.open().unwrap()
}

fn files(folder: &Utf8Path) -> usize {
    fs_err::read_dir(folder).unwrap().count()
}

#[test]
fn an_image_in_a_layout_runs_and_is_deleted_twice() {
    let (_folder, folder) = folder();
    for target in ["oci", "docker"] {
        let provider = format!("oci:{folder}/{target}:v1");
        let identity = pushed(target, &[], &provider);
        let (_unpacking, to) = super::folder();
        let root = unpacked(&provider, &to);
        assert_eq!(inside(&root, "echo inside"), "inside\n");
        let blobs = folder.join(target).join("blobs/sha256");
        // Layer, configuration, manifest; bill, its manifest and its empty configuration.
        assert_eq!(files(&blobs), 6, "{target}");
        for _ in 0..2 {
            deleting(&provider, &identity).delete_from_provider().unwrap();
            assert_eq!(files(&blobs), 0, "{target}");
        }
    }
}

#[test]
fn a_layout_keeps_what_others_put_into_it() {
    let (_folder, folder) = folder();
    let provider = format!(r#"{{"layout": "{folder}/all", "tag": "v1"}}"#);
    let first = pushed("oci", &[], &provider);
    let same = pushed("oci", &[], &provider);
    assert_eq!(first, same);
    let second = pushed("oci", &[("comment", "another")], &provider);
    assert_ne!(first, second);
    // The tag goes to the new one, the old one is still there.
    let index = fs_err::read_to_string(folder.join("all/index.json")).unwrap();
    for identity in [&first, &second] {
        let digest = identity.identifier_on_provider.split_once('@').unwrap().1;
        assert!(index.contains(digest), "{index}");
    }
    assert_eq!(index.matches("ref.name").count(), 1);
    deleting(&provider, &first).delete_from_provider().unwrap();
    let (_unpacking, to) = super::folder();
    assert_eq!(inside(&unpacked(&format!("oci:{folder}/all:v1"), &to), "echo still"), "still\n");
}

#[test]
fn an_archive_of_either_target_is_what_docker_loads() {
    let (_folder, folder) = folder();
    for (target, parameters) in [
        ("oci", &[][..]),
        ("docker", &[("compress", "xz"), ("oci_level", "1")]),
        ("docker", &[("compress", "bzip2")]),
    ] {
        let provider = format!("docker-archive:{folder}/{target}.tar");
        let identity = pushed(target, parameters, &provider);
        let (_unpacking, to) = super::folder();
        assert_eq!(inside(&unpacked(&provider, &to), "echo inside"), "inside\n");
        deleting(&provider, &identity).delete_from_provider().unwrap();
        assert!(!folder.join(format!("{target}.tar")).exists());
        deleting(&provider, &identity).delete_from_provider().unwrap();
    }
}

#[test]
fn a_file_that_holds_another_image_by_now_is_not_deleted() {
    let (_folder, folder) = folder();
    let provider = format!("docker-archive:{folder}/x.tar");
    let first = pushed("oci", &[], &provider);
    pushed("oci", &[("comment", "another")], &provider);
    deleting(&provider, &first).delete_from_provider().unwrap();
    assert!(folder.join("x.tar").exists());
}

#[test]
fn a_damaged_body_is_not_delivered() {
    let (_folder, folder) = folder();
    let (_delegate, body) = built("oci", &[]);
    let mut body = fs_err::read(body).unwrap();
    body[5000] ^= 1;
    let provider = format!("oci:{folder}/all");
    let delegate = harness("oci", &[]).target_image(body).provider(&provider, "").open().unwrap();
    let error = delegate.build().unwrap_err();
    assert!(error.message().contains("damaged"), "{error}");
    assert_eq!(files(&folder.join("all/blobs/sha256")), 0);
    assert!(!folder.join("all/index.json").exists());
}

#[test]
fn a_cancelled_push_leaves_nothing_half_written() {
    let (_folder, folder) = folder();
    for provider in [format!("oci:{folder}/all"), format!("docker-archive:{folder}/x.tar")] {
        let delegate = pushing("oci", &[], &provider);
        delegate.cancel();
        let error = delegate.build().unwrap_err();
        assert_eq!(error.kind(), DelegateErrorKind::Cancelled);
    }
    assert_eq!(files(&folder.join("all")), 0);
    assert!(!folder.join("x.tar").exists());
}

#[test]
fn a_layout_that_a_killed_push_began_is_gone_on_with() {
    let (_folder, folder) = folder();
    let provider = format!("oci:{folder}/all:v1");
    pushed("oci", &[], &provider);
    // As it is after the first blob, and before the index.
    fs_err::remove_file(folder.join("all/index.json")).unwrap();
    let halves = ["all/.index.json.dead.partial", "all/blobs/sha256/.0123.dead.partial"];
    for half in halves {
        fs_err::write(folder.join(half), "half").unwrap();
    }
    pushed("oci", &[], &provider);
    for half in halves {
        assert!(!folder.join(half).exists(), "{half}");
    }
    // And in the midst of its very first file.
    fs_err::create_dir(folder.join("new")).unwrap();
    fs_err::write(folder.join("new/.oci-layout.dead.partial"), "half").unwrap();
    pushed("oci", &[], &format!("oci:{folder}/new:v1"));
}

#[test]
fn what_a_killed_push_left_of_an_archive_is_removed_by_the_next_one() {
    let (_folder, folder) = folder();
    let [own, others] =
        [".x.tar.dead.partial", ".x.tar.gz.dead.partial"].map(|name| folder.join(name));
    for half in [&own, &others] {
        fs_err::write(half, "half").unwrap();
    }
    pushed("oci", &[], &format!("docker-archive:{folder}/x.tar"));
    assert!(!own.exists() && others.exists());
}

#[test]
fn abort_takes_back_what_was_half_written() {
    let (_folder, folder) = folder();
    let provider = format!("docker-archive:{folder}/x.tar");
    let delegate = harness("oci", &[]).provider(&provider, "").open().unwrap();
    let partial = folder.join(format!(".x.tar.{}.partial", delegate.context().id));
    fs_err::write(partial, "half").unwrap();
    delegate.abort().unwrap();
    assert_eq!(files(&folder), 0);

    let delegate = harness("oci", &[]).provider(format!("oci:{folder}/all"), "").open().unwrap();
    fs_err::create_dir_all(folder.join("all/blobs/sha256")).unwrap();
    for name in ["all/.index.json", "all/blobs/sha256/.0123"] {
        let partial = folder.join(format!("{name}.{}.partial", delegate.context().id));
        fs_err::write(partial, "half").unwrap();
    }
    delegate.abort().unwrap();
    assert_eq!((files(&folder.join("all")), files(&folder.join("all/blobs/sha256"))), (1, 0));
}

#[test]
fn places_that_do_not_work_are_refused_before_the_build() {
    let (_folder, folder) = folder();
    fs_err::write(folder.join("file"), "x").unwrap();
    let check = |provider: &str| {
        harness("oci", &[]).provider(provider, "").open().unwrap().check_provider().unwrap_err()
    };
    let error = check(&format!("oci:{folder}"));
    assert_eq!(error.kind(), DelegateErrorKind::Conflict);
    for provider in [format!("oci:{folder}/file"), format!("docker-archive:{folder}")] {
        let error = check(&provider);
        assert_eq!(error.kind(), DelegateErrorKind::Conflict, "{provider}");
        assert_eq!(error.hints().len(), 1, "{provider}");
    }
    for provider in [format!("oci:{folder}/no/where"), format!("docker-archive:{folder}/no/x.tar")]
    {
        assert_eq!(check(&provider).kind(), DelegateErrorKind::Unavailable, "{provider}");
    }
    for provider in ["", "oci:relative", "oci:/x:bad tag", r#"{"layout": "/x", "ta": "y"}"#, "{}"] {
        let delegate = harness("oci", &[]).provider(provider, "").open().unwrap();
        assert_eq!(delegate.check()[0].kind(), DelegateErrorKind::InvalidInput, "{provider}");
    }
}

#[test]
fn deleting_stays_inside_the_place() {
    let (_folder, folder) = folder();
    let provider = format!("oci:{folder}/all");
    pushed("oci", &[], &provider);
    for identifier in ["", "oci:/elsewhere@sha256:00", &format!("{provider}@sha256:../../x")] {
        let identity = ProviderIdentity::new(identifier);
        let error = deleting(&provider, &identity).delete_from_provider().unwrap_err();
        assert_eq!(error.kind(), DelegateErrorKind::InvalidInput);
        assert!(error.hints()[0].contains("delivered to"), "{error:?}");
    }
}

#[test]
fn a_request_from_the_network_delivers_only_where_the_settings_allow_it() {
    let (_folder, folder) = folder();
    fs_err::create_dir(folder.join("allowed")).unwrap();
    let problems = |provider: &str| {
        let harness = harness("oci", &[]).provider(provider, "").tier(Tier::Provider).remote();
        let allowed = folder.join("allowed").into_string();
        harness.configuration("folders", vec![allowed]).open().unwrap().check()
    };
    for place in ["oci:", "docker-archive:"] {
        assert_eq!(problems(&format!("{place}{folder}/allowed/x")), []);
        let refused = problems(&format!("{place}{folder}/x"));
        assert_eq!(refused[0].kind(), DelegateErrorKind::InvalidInput);
        assert!(refused[0].message().contains("from the network"), "{refused:?}");
    }
    let registry = r#"{"registry": "registry.example/x", "ca": "/etc/hostname"}"#;
    assert!(problems(registry)[0].message().contains("from the network"));
}

#[test]
fn a_request_from_the_network_has_no_helper_run() {
    let credentials = r#"{"credsStore": "none-of-the-suite"}"#;
    let request = || harness("oci", &[]).provider("127.0.0.1:1/x", credentials);
    let identifier = format!("127.0.0.1:1/x@{}", documents::digest(b""));
    let delegate = request().remote().identifier_on_provider(identifier).open().unwrap();
    let refused = [
        delegate.check().remove(0),
        delegate.check_provider().unwrap_err(),
        delegate.delete_from_provider().unwrap_err(),
    ];
    for error in refused {
        assert_eq!(error.kind(), DelegateErrorKind::InvalidInput);
        assert!(error.message().contains("from the network"), "{error:?}");
    }
    assert!(delegate.commands().is_empty());
    // Whoever is at this machine may, and there is none.
    let delegate = request().open().unwrap();
    assert_eq!(delegate.check(), []);
    let error = delegate.check_provider().unwrap_err();
    assert_eq!(error.kind(), DelegateErrorKind::MissingRequirement);
    assert_eq!(delegate.commands(), [["docker-credential-none-of-the-suite", "get"]]);
}
