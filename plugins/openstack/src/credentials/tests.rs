use super::*;

fn read(text: &str, provider: &str, variables: &[(&str, &str)]) -> (Access, Vec<String>) {
    let mut problems = Vec::new();
    let provider = Provider::read(provider, &mut problems);
    let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let access = Access::read(text, &provider, variables, &mut problems);
    (access, problems.iter().map(|problem| format!("{problem} {:?}", problem.causes())).collect())
}

fn good(text: &str, provider: &str) -> Access {
    let (access, problems) = read(text, provider, &[]);
    assert_eq!(problems, [""; 0], "{text}");
    access
}

const CLOUDS: &str = "
clouds:
  prod:
    auth:
      auth_url: https://keystone.example/v3
      username: ada
      password: swordfish
      project_name: images
      user_domain_name: Users
      project_domain_name: Projects
    region_name: north
    interface: internal
    identity_api_version: 3
    volume_api_version: 3
    verify: false
  lab:
    auth_type: v3applicationcredential
    auth:
      auth_url: https://lab.example
      application_credential_id: abc
      application_credential_secret: swordfish
";

#[test]
fn the_cloud_that_the_provider_names_is_taken_from_a_clouds_yaml() {
    let prod = good(CLOUDS, "prod");
    assert!(matches!(&prod.sign_in, SignIn::Password { user, password }
        if user.name.as_deref() == Some("ada")
            && user.domain.name.as_deref() == Some("Users")
            && password.expose() == "swordfish"));
    assert_eq!(prod.scope.project_domain.name.as_deref(), Some("Projects"));
    assert_eq!((prod.region.as_deref(), &*prod.interface), (Some("north"), "internal"));
    assert!(prod.insecure);
    let south = good(CLOUDS, r#"{"cloud": "prod", "region": "south", "insecure": false}"#);
    assert_eq!((south.region.as_deref(), south.insecure), (Some("south"), false));
    let lab = good(CLOUDS, r#"{"cloud": "lab", "region": "south"}"#);
    assert!(matches!(lab.sign_in, SignIn::Application { id: Some(_), .. }));
    assert_eq!((lab.region.as_deref(), &*lab.interface), (Some("south"), "public"));
    assert!(!lab.insecure);
}

#[test]
fn a_cloud_that_is_not_there_is_told_with_those_that_are() {
    let (_, problems) = read(CLOUDS, "prdo", &[]);
    assert!(
        problems[0].contains("no cloud `prdo`") && problems[0].contains("`prod`, `lab`"),
        "{problems:?}"
    );
    let (_, problems) = read(CLOUDS, "https://glance.example", &[]);
    assert!(problems[0].contains("which of the clouds"), "{problems:?}");
}

#[test]
fn every_form_of_a_password_means_the_same() {
    let json = r#"{"auth_url": "http://k", "username": "ada", "password": "swordfish", "project_name": "images"}"#;
    let script = "#!/bin/sh\nexport OS_AUTH_URL=http://k\nexport OS_USERNAME=\"ada\"\nOS_PASSWORD='swordfish'\nexport OS_PROJECT_NAME=images\nexport OS_TENANT_NAME=images\nexport OS_IDENTITY_API_VERSION=3\n";
    let xml = "<provider_credentials><openstack_credentials><auth_url>http://k</auth_url><username>ada</username>
        <password>swordfish</password><tenant>images</tenant><strategy>keystone</strategy></openstack_credentials></provider_credentials>";
    let yaml = "auth:\n  auth_url: http://k\n  username: ada\n  password: swordfish\n  project_name: images\n";
    for text in [json, script, xml, yaml] {
        let access = good(text, "prod");
        assert_eq!(access.auth_url.as_deref(), Some("http://k"));
        assert_eq!(access.scope.project_name.as_deref(), Some("images"));
        assert!(matches!(access.sign_in, SignIn::Password { password, user }
            if password.expose() == "swordfish" && user.domain.id.as_deref() == Some("default")));
    }
}

#[test]
fn what_only_looks_like_a_number_stays_as_it_is_written() {
    let cloud = |password: &str| {
        format!(
            "clouds:\n  a:\n    verify: no\n    auth: {{auth_url: 'http://k', username: ada, password: {password}}}\n"
        )
    };
    for password in ["007", "1_000", "yes", "off", "12ab", "'12'"] {
        let access = good(&cloud(password), "a");
        assert!(access.insecure);
        let SignIn::Password { password: read, .. } = access.sign_in else { panic!("{password}") };
        assert_eq!(read.expose(), password.trim_matches('\''));
    }
    for password in ["12", "1e3", "0x1f", "true"] {
        let (_, problems) = read(&cloud(password), "a", &[]);
        assert_eq!(problems, ["credentials: clouds.a: `password`: expected a text in quotes []"]);
    }
}

#[test]
fn a_script_is_read_as_a_shell_reads_it() {
    let script = r#"
        export OS_AUTH_URL=http://k OS_USERNAME=ad"a"; export OS_IGNORED=$1
        OS_REGION_NAME=north; export OS_INTERFACE=internal
        # export OS_PASSWORD=nothing
        export OS_PASSWORD='it costs $5'\''; really' # a comment
        OS_PROJECT_NAME="a \"project\"";
    "#;
    let access = good(script, "prod");
    assert_eq!(access.auth_url.as_deref(), Some("http://k"));
    assert_eq!(access.scope.project_name.as_deref(), Some(r#"a "project""#));
    assert_eq!((access.region.as_deref(), &*access.interface), (Some("north"), "internal"));
    assert!(matches!(access.sign_in, SignIn::Password { user, password }
        if user.name.as_deref() == Some("ada") && password.expose() == "it costs $5'; really"));
}

#[test]
fn a_script_that_asks_its_user_is_refused() {
    for value in ["$OS_PASSWORD_INPUT", "\"${INPUT}\"", "`pass show cloud`", "\"swordfish", "a&b"] {
        let script = format!("export OS_AUTH_URL=http://k\nexport OS_PASSWORD={value}\n");
        let (_, problems) = read(&script, "prod", &[]);
        assert_eq!(problems.len(), 1, "{value}: {problems:?}");
        assert!(problems[0].contains("only a shell") && problems[0].contains("`OS_PASSWORD`"));
        assert!(!problems[0].contains(value), "{problems:?}");
    }
}

#[test]
fn the_environment_is_read_without_credentials_and_shown_to_no_server_of_the_provider() {
    let variables = [("OS_AUTH_URL", "http://k"), ("OS_TOKEN", "swordfish"), ("HOME", "/root")];
    let (access, problems) = read("", "prod", &variables);
    assert_eq!(problems, [""; 0]);
    assert!(matches!(access.sign_in, SignIn::Token(_)));
    for provider in
        ["http://elsewhere.example", r#"{"insecure": true}"#, r#"{"cacert": "-----BEGIN"}"#]
    {
        let (_, problems) = read("", provider, &variables);
        assert!(problems[0].contains("not shown to a server"), "{provider}: {problems:?}");
    }
    let (_, problems) = read("", "prod", &[]);
    assert!(problems[0].contains("no credentials"), "{problems:?}");
    let (_, problems) = read("", "prod", &[("OS_CLOUD", "prod")]);
    assert!(problems[0].contains("`OS_CLOUD` names a cloud"), "{problems:?}");
}

#[test]
fn nobody_need_sign_in_where_there_is_an_endpoint() {
    let access = good("", r#"{"glance-host": "127.0.0.1", "auth_type": "none"}"#);
    assert!(matches!(access.sign_in, SignIn::None));
    assert!(matches!(good(r#"{"strategy": "noauth"}"#, "http://glance").sign_in, SignIn::None));
    let (_, problems) = read(r#"{"auth_type": "none"}"#, "prod", &[]);
    assert!(problems[0].contains("image_endpoint"), "{problems:?}");
    assert!(good(r#"{"token": "swordfish"}"#, "http://glance").auth_url.is_none());
}

#[test]
fn everything_that_is_missing_is_told_and_nothing_is_repeated() {
    for (text, wrong) in [
        (r#"{"username": "swordfish"}"#, &["`password` is missing", "`auth_url` is missing"][..]),
        (
            r#"{"auth_type": "v3swordfish", "auth_url": "http://k"}"#,
            &["`auth_type` is none of", "image_endpoint"],
        ),
        (
            r#"{"auth_type": "password", "auth_url": "http://k", "token": "swordfish"}"#,
            &["`username` is missing", "`password` is missing"],
        ),
        (
            r#"{"application_credential_name": "swordfish", "auth_url": "http://k"}"#,
            &["`username`", "`application_credential_secret`"],
        ),
        (
            r#"{"token": ["swordfish"], "auth_url": "swordfish"}"#,
            &["`auth_url` is no URL", "`token`: expected a text", "image_endpoint"],
        ),
        (
            r#"{"token": "swordfish", "auth_url": "http://k", "projet_name": "swordfish"}"#,
            &["`projet_name` is no key"],
        ),
        (r#"{"token": "swordfish"#, &["no JSON, see their line 1"]),
        ("a: [swordfish", &["no YAML"]),
        ("swordfish", &["cannot be read"]),
        ("<a>swordfish</a>", &["XML cannot be read"]),
    ] {
        let (_, problems) = read(text, "prod", &[]);
        assert_eq!(problems.len(), wrong.len(), "{text}: {problems:?}");
        for (problem, wrong) in problems.iter().zip(wrong) {
            assert!(problem.contains(wrong), "{text}: {problems:?}");
            assert!(!problem.contains("swordfish"), "{text}: {problem}");
        }
    }
}

#[test]
fn debug_shows_no_secret() {
    assert!(!format!("{:?}", good(CLOUDS, "prod")).contains("swordfish"));
}
