//! Promises of the settings file.

use serde_json::json;

use super::*;

fn parse(text: &str) -> Result<Settings, SettingsError> {
    Settings::parse(text, Utf8Path::new("/etc/imageforge/imageforge.toml"))
}

fn refusal(text: &str) -> (String, Option<String>) {
    let error = parse(text).unwrap_err();
    (error.to_string(), error.hints().pop())
}

#[test]
fn an_empty_file_is_the_defaults() {
    assert_eq!(parse("").unwrap(), Settings::default());
}

#[test]
fn every_setting_is_read() {
    let settings = parse(
        r#"
        plugins_d = "/srv/plugins.d"
        library_path = ["/srv/a", "b"]
        data_dir = "data"
        allow_insecure_permissions = true
        [boot]
        accelerator = "tcg"
        timeout_seconds = 90
        [plugin.debian]
        mirror = "http://mirror.example"
        retries = 3
        "#,
    )
    .unwrap();
    assert_eq!(settings.plugins_d.as_deref(), Some(Utf8Path::new("/srv/plugins.d")));
    assert_eq!(settings.library_path, ["/srv/a", "/etc/imageforge/b"]);
    assert_eq!(settings.data_dir.as_deref(), Some(Utf8Path::new("/etc/imageforge/data")));
    assert!(settings.allow_insecure_permissions);
    assert_eq!(settings.boot.accelerator, Accelerator::Tcg);
    assert_eq!(settings.boot.timeout_seconds, Some(90));
    assert_eq!(settings.plugin("debian")["retries"], json!(3));
    assert!(settings.plugin("other").is_empty());
}

#[test]
fn the_lists_of_valid_names_are_those_of_the_structures() {
    for key in KEYS {
        let value = match key {
            "library_path" => "[]",
            "allow_insecure_permissions" => "true",
            "boot" | "limits" | "serve" | "plugin" => "{}",
            _ => "\"x\"",
        };
        parse(&format!("{key} = {value}")).unwrap();
    }
    let error = parse("boot.accelerator = 1").unwrap_err().to_string();
    assert!(error.contains("boot.accelerator"), "{error}");
    let error = parse("boot.timeout_seconds = \"x\"").unwrap_err().to_string();
    assert!(error.contains("boot.timeout_seconds"), "{error}");
}

#[test]
fn files_of_tls_are_relative_to_the_settings_file_and_no_limit_of_time_is_nothing() {
    let settings = parse("[serve.tls]\ncertificate = \"a.pem\"\nkey = \"/b.key\"\n").unwrap();
    let tls = &settings.serve.tls;
    assert_eq!(tls.certificate.as_deref(), Some(Utf8Path::new("/etc/imageforge/a.pem")));
    assert_eq!(tls.key.as_deref(), Some(Utf8Path::new("/b.key")));
    assert!(tls.is_wanted() && !Settings::default().serve.tls.is_wanted());

    let settings = parse("[serve.connections]\nhead_seconds = 3\n").unwrap();
    let connections = settings.serve.connections;
    assert_eq!(connections.head_seconds.time().as_secs(), 3);
    assert_eq!(connections.idle_seconds.time().as_secs(), 75);
    let [here, elsewhere] = ["::ffff:127.0.0.2", "2001:db8::1"].map(|text| text.parse().unwrap());
    assert_eq!((connections.share_of(here), connections.share_of(elsewhere)), (512, 128));
    let set = parse("[serve.connections]\nmax_per_address = 7\n").unwrap().serve.connections;
    assert_eq!((set.share_of(here), set.share_of(elsewhere)), (7, 7));
    let (message, _) = refusal("[serve.connections]\nidle_seconds = 0\n");
    assert!(message.contains("line 2: `serve.connections.idle_seconds`"), "{message}");
    let (_, hint) = refusal("[serve.tls]\nself_sign = true\n");
    assert_eq!(hint.as_deref(), Some("did you mean `serve.tls.self_signed`?"));
}

#[test]
fn every_limit_is_read_for_all_plugins_and_for_one() {
    for limit in Limit::ALL {
        let key = limit.key();
        let settings =
            parse(&format!("[limits]\n{key} = 3\n[limits.plugin.a]\n{key} = 4")).unwrap();
        let of = |name: &str| settings.limits.of(name).get(&limit).copied();
        assert_eq!((of("a"), of("b")), (Some(4), Some(3)), "{key}");
    }
}

#[test]
fn what_is_wrong_with_a_limit_is_told_with_key_and_line() {
    let (message, _) = refusal("[limits]\nlog_mib = 1\nbase_seconds = \"x\"\n");
    assert!(message.contains("line 3: `limits.base_seconds`"), "{message}");
    let (message, _) = refusal("[limits]\nbase_seconds = -1\n");
    assert!(message.contains("line 2: `limits.base_seconds`"), "{message}");
    let (message, _) = refusal("[limits.plugin.deb]\nlog_mib = 1\nprocesses = []\n");
    assert!(message.contains("line 3: `limits.plugin.deb.processes`"), "{message}");
    let (message, _) = refusal("[limits]\nplugin = 3\n");
    assert!(message.contains("line 2: `limits.plugin`"), "{message}");
    let (message, hint) = refusal("[limits.plugin.deb]\nbase_second = 1\n");
    assert!(message.contains("line 2") && message.contains("`limits.plugin.deb.base_second`"));
    assert_eq!(hint.as_deref(), Some("did you mean `limits.plugin.deb.base_seconds`?"));
    // A plugin's table has no table of plugins.
    let (message, _) = refusal("[limits.plugin.deb]\nplugin = {}\n");
    assert!(message.contains("there is no setting `limits.plugin.deb.plugin`"), "{message}");
}

#[test]
fn a_misspelt_key_is_refused_with_its_line_and_the_nearest_name() {
    let (message, hint) = refusal("data_dir = \"/x\"\nplugin_d = \"/y\"\n");
    assert_eq!(message, "`/etc/imageforge/imageforge.toml` line 2: there is no setting `plugin_d`");
    assert_eq!(hint.as_deref(), Some("did you mean `plugins_d`?"));

    let (message, hint) = refusal("\n[boot]\naccelerate = \"kvm\"\n");
    assert!(message.contains("line 3") && message.contains("`boot.accelerate`"), "{message}");
    assert_eq!(hint.as_deref(), Some("did you mean `boot.accelerator`?"));

    let (message, hint) = refusal("\n\n[zzz]\n");
    assert!(message.contains("line 3") && message.contains("`zzz`"), "{message}");
    assert!(hint.unwrap().contains("`plugins_d`"));
}

#[test]
fn a_value_of_the_wrong_type_is_refused_with_key_and_line() {
    let (message, _) = refusal("data_dir = \"/x\"\nlibrary_path = [\"/a\", 3]\n");
    assert!(message.contains("line 2: `library_path[1]`"), "{message}");
    let (message, _) = refusal("[boot]\naccelerator = \"warp\"\n");
    assert!(message.contains("line 2") && message.contains("`auto`"), "{message}");
}

#[test]
fn broken_syntax_is_refused_with_its_line() {
    let (message, _) = refusal("data_dir = \"/x\"\nplugins_d = \n");
    assert!(message.contains("line 2"), "{message}");
    assert!(!message.contains('\n'));
}

#[test]
fn a_missing_file_is_the_defaults_only_when_it_was_not_asked_for() {
    let missing = Utf8Path::new("/nonexistent/imageforge.toml");
    assert_eq!(Settings::read_optional(missing).unwrap(), Settings::default());
    assert!(matches!(Settings::read(missing), Err(SettingsError::Read { .. })));
}

#[test]
fn debug_output_shows_no_plugin_value() {
    let settings = parse("[plugin.cloud]\npassword = \"hunter2\"\n").unwrap();
    let shown = format!("{settings:?}");
    assert!(shown.contains("password") && !shown.contains("hunter2"), "{shown}");
}
