//! How clients know that they talk to the daemon.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::process::Signal;
use serde_json::Value;

use super::operations::figure;
use crate::support::{
    Certificate, Daemon, Secure, Workshop, ask, head, kill, read_until, wait_for,
};

const SELF_SIGNED: &str = "tls = { self_signed = true }";

/// Where the daemon keeps the certificate that it made.
fn made(workshop: &Workshop) -> PathBuf {
    workshop.data_dir().join("tls/self-signed.pem")
}

fn write_secret(path: &Path, text: &str) {
    fs_err::write(path, text).unwrap();
    fs_err::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

/// Writes an own certificate and answers the setting for it.
fn install(workshop: &Workshop, own: &Certificate) -> String {
    workshop.write("own.pem", &own.pem);
    write_secret(&workshop.path("own.key"), &own.key);
    "tls = { certificate = \"own.pem\", key = \"own.key\" }".to_owned()
}

#[test]
fn a_self_signed_certificate_is_made_once_and_known_by_its_fingerprint() {
    let workshop = Workshop::new();
    let daemon = Daemon::start(&workshop, SELF_SIGNED);
    let show = ["--config", "serve.toml", "serve", "--fingerprint"];
    let fingerprint = workshop.run(&show).done().stdout.trim().to_owned();
    daemon.says(&format!("certificate {fingerprint}"));
    let client = Secure::connect(daemon.address(), &made(&workshop), "127.0.0.1").unwrap();
    assert_eq!((client.fingerprint(), client.protocol()), (fingerprint.clone(), "http/1.1".into()));
    let answer = ask(client, "/v1/images", daemon.token());
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let mode = fs_err::metadata(made(&workshop)).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(daemon.stop(Signal::TERM), Some(0));

    let daemon = Daemon::start(&workshop, SELF_SIGNED);
    daemon.says(&format!("certificate {fingerprint}"));
    assert_eq!(workshop.json(&show)["fingerprint"], fingerprint);
}

#[test]
fn without_a_certificate_there_is_no_fingerprint() {
    let workshop = Workshop::new();
    let show = ["--config", "serve.toml", "serve", "--fingerprint"];
    workshop.write("serve.toml", "[serve]\n");
    workshop.run(&show).refused(3).says("not set to use TLS");
    workshop.write("serve.toml", format!("[serve]\n{SELF_SIGNED}\n"));
    workshop.run(&show).refused(5).says("there is no certificate yet");
    assert!(!made(&workshop).exists());
}

#[test]
fn a_certificate_that_lacks_a_name_is_made_anew_and_one_that_has_all_is_kept() {
    let workshop = Workshop::new();
    let daemon = Daemon::start(&workshop, SELF_SIGNED);
    let trusted = made(&workshop);
    Secure::connect(daemon.address(), &trusted, "localhost").unwrap();
    assert!(Secure::connect(daemon.address(), &trusted, "forge.test").is_err());
    assert_eq!(daemon.stop(Signal::TERM), Some(0));
    let before = fs_err::read(&trusted).unwrap();

    let named = "tls = { self_signed = true, names = [\"forge.test\", \"10.1.2.3\"] }";
    let daemon = Daemon::start(&workshop, named);
    daemon.says("is made anew");
    for name in ["forge.test", "10.1.2.3", "localhost"] {
        Secure::connect(daemon.address(), &trusted, name).unwrap();
    }
    assert_ne!(fs_err::read(&trusted).unwrap(), before);
    assert_eq!(daemon.stop(Signal::TERM), Some(0));
    let before = fs_err::read(&trusted).unwrap();
    drop(Daemon::start(&workshop, named));
    drop(Daemon::start(&workshop, SELF_SIGNED));
    assert_eq!(fs_err::read(&trusted).unwrap(), before);
}

#[test]
fn a_self_signed_certificate_that_was_damaged_or_opened_to_everybody_is_told() {
    let workshop = Workshop::new();
    drop(Daemon::start(&workshop, SELF_SIGNED));
    let serve = || workshop.run(&["--config", "serve.toml", "serve"]).refused(3);
    fs_err::set_permissions(made(&workshop), std::fs::Permissions::from_mode(0o644)).unwrap();
    serve().says("everybody may use the key").says("remove the file: a new one is made");
    fs_err::write(made(&workshop), "").unwrap();
    serve().says("there is no certificate in").says("remove the file: a new one is made");
    fs_err::remove_file(made(&workshop)).unwrap();
    drop(Daemon::start(&workshop, SELF_SIGNED));
    assert!(made(&workshop).exists());
}

#[test]
fn the_certificates_that_lead_to_the_authority_are_shown_too() {
    let workshop = Workshop::new();
    let (own, root) = Certificate::of_authority();
    let daemon = Daemon::start(&workshop, &install(&workshop, &own));
    let trusted = workshop.write("root.pem", root);
    let client = Secure::connect(daemon.address(), &trusted, "forge.test").unwrap();
    assert_eq!(client.fingerprint(), own.fingerprint);
    daemon.says(&format!("certificate {}", own.fingerprint));
}

#[test]
fn curl_takes_the_certificate_that_the_daemon_made_and_links_are_of_https() {
    let workshop = Workshop::new();
    workshop.build(&[]);
    let daemon = Daemon::start(&workshop, SELF_SIGNED);
    let made = made(&workshop);
    let convert = ["x509", "-in", made.to_str().unwrap(), "-out", "trusted.pem"];
    assert!(workshop.environment("openssl").args(convert).status().unwrap().success());
    let port = daemon.address().rsplit(':').next().unwrap();
    let url = format!("https://localhost:{port}/imagefactory/base_images");
    let authorization = format!("Authorization: Bearer {}", daemon.token());
    let curl = |more: &[&str]| {
        let mut curl = workshop.environment("curl");
        curl.args(["-sS", "-H", &authorization, &url]).args(more).output().unwrap()
    };
    let answer = curl(&["--cacert", "trusted.pem"]);
    let answer: Value = serde_json::from_slice(&answer.stdout).unwrap();
    let href = answer["base_images"][0]["base_image"]["href"].as_str().unwrap();
    assert!(href.starts_with(&url), "{href}");
    let older = curl(&["--cacert", "trusted.pem", "--tls-max", "1.2"]);
    assert!(older.status.success(), "{older:?}");
    let distrusting = curl(&[]);
    assert!(String::from_utf8_lossy(&distrusting.stderr).contains("certificate"));
}

#[test]
fn keys_in_the_forms_that_openssl_writes_are_taken() {
    let workshop = Workshop::new();
    let subject = "-addext subjectAltName=DNS:forge.test -subj /CN=forge -days 300 -x509 -nodes";
    for (kind, form) in [
        ("-newkey rsa:2048", "rsa -traditional"),
        ("-newkey rsa:2048", "pkey"),
        ("-newkey ec -pkeyopt ec_paramgen_curve:P-384", "ec"),
        ("-newkey ed25519", "pkey"),
    ] {
        let openssl = |arguments: String| {
            let mut openssl = workshop.environment("openssl");
            let ran = openssl.args(arguments.split(' ')).output().unwrap();
            assert!(ran.status.success(), "{arguments}: {ran:?}");
        };
        openssl(format!("req {kind} {subject} -keyout made.key -out own.pem"));
        openssl(format!("{form} -in made.key -out own.key"));
        let settings = "tls = { certificate = \"own.pem\", key = \"own.key\" }";
        let daemon = Daemon::start(&workshop, settings);
        let to = format!("forge.test::127.0.0.1:{}", daemon.address().rsplit(':').next().unwrap());
        let mut curl = workshop.environment("curl");
        curl.args(["-sS", "--cacert", "own.pem", "--connect-to", &to]);
        let answer = curl.arg("https://forge.test/v1/health").output().unwrap();
        assert!(answer.stdout.starts_with(b"{\"status\""), "{kind} {form}: {answer:?}");
    }
    let encrypted = ["pkey", "-in", "made.key", "-aes256", "-passout", "pass:x", "-out", "own.key"];
    assert!(workshop.environment("openssl").args(encrypted).status().unwrap().success());
    let refused = workshop.run(&["--config", "serve.toml", "serve"]).refused(3);
    refused.says("there is no key in").says("a key with a passphrase cannot be used");
}

#[test]
fn a_certificate_that_cannot_be_used_is_told_before_the_daemon_is_ready() {
    let workshop = Workshop::new();
    let good = Certificate::new(2020, 2120);
    let other = Certificate::new(2020, 2120);
    install(&workshop, &good);
    write_secret(&workshop.path("other.key"), &other.key);
    write_secret(&workshop.path("damaged.key"), &good.key.replacen('M', "*", 1));
    workshop.write("open.key", &good.key);
    workshop.write("old.pem", Certificate::new(2020, 2021).pem);
    workshop.write("new.pem", Certificate::new(2119, 2120).pem);
    workshop.write("words.pem", "no certificate");
    let empty = "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n";
    workshop.write("empty.pem", empty);
    for (certificate, key, told) in [
        ("absent.pem", "own.key", "absent.pem`: No such file"),
        ("own.pem", "absent.key", "absent.key`: No such file"),
        ("words.pem", "own.key", "there is no certificate in"),
        ("empty.pem", "own.key", "empty.pem` does not read"),
        ("own.pem", "words.pem", "words.pem"),
        ("own.pem", "damaged.key", "damaged.key` does not read"),
        ("own.pem", "other.key", "other.key` is not that of the certificate in"),
        ("own.pem", "open.key", "open.key`, its mode is 644"),
    ] {
        let settings = format!("certificate = \"{certificate}\"\nkey = \"{key}\"");
        workshop.write("serve.toml", format!("[serve.tls]\n{settings}\n"));
        let refused = workshop.run(&["--config", "serve.toml", "serve"]).refused(3).says(told);
        refused.never_says("listening");
    }
    for (settings, told) in [
        ("certificate = \"own.pem\"", "go together"),
        ("key = \"own.key\"", "go together"),
        ("certificate = \"own.pem\"\nkey = \"own.key\"\nself_signed = true", "exclude each other"),
        ("self_signed = true\nnames = [\"not a name\"]", "`not a name` is neither"),
    ] {
        workshop.write("serve.toml", format!("[serve.tls]\n{settings}\n"));
        let refused = workshop.run(&["--config", "serve.toml", "serve"]).refused(3).says(told);
        refused.never_says("listening");
    }
}

#[test]
fn a_certificate_out_of_its_time_is_refused() {
    let workshop = Workshop::new();
    for (from, to, told) in
        [(2020, 2021, "expired at 2021-01-01"), (2119, 2120, "is not valid before 2119-01-01")]
    {
        let settings = install(&workshop, &Certificate::new(from, to));
        workshop.write("serve.toml", format!("[serve]\n{settings}\n"));
        workshop.run(&["--config", "serve.toml", "serve"]).refused(3).says(told);
    }
}

#[test]
fn elsewhere_than_at_this_machine_it_listens_only_with_tls_and_a_token() {
    let workshop = Workshop::new();
    let serve = |settings: &str| {
        workshop.write("serve.toml", format!("[serve]\nlisten = \"0.0.0.0:0\"\n{settings}\n"));
        workshop.run(&["--config", "serve.toml", "serve"])
    };
    serve("").refused(3).says("refusing to listen at `0.0.0.0:0` without TLS");
    serve(SELF_SIGNED).refused(3).says("without a token").says("imageforge tokens create");

    // A consumer is somebody too: it gets as far as to an address that is taken.
    let taken = TcpListener::bind("0.0.0.0:0").unwrap();
    let listen = format!("listen = \"{}\"", taken.local_addr().unwrap());
    let consumer = "consumers.ci = { secret = \"secret\", scopes = [\"images:read\"] }";
    let settings = format!("[serve]\n{listen}\n{SELF_SIGNED}\n{consumer}\n");
    fs_err::remove_file(workshop.path("serve.toml")).unwrap();
    write_secret(&workshop.path("serve.toml"), &settings);
    workshop.run(&["--config", "serve.toml", "serve"]).refused(6).says("cannot listen at");

    let daemon = Daemon::start(&workshop, &format!("listen = \"0.0.0.0:0\"\n{SELF_SIGNED}"));
    let address = daemon.address().replace("0.0.0.0", "127.0.0.1");
    let client = Secure::connect(&address, &made(&workshop), "127.0.0.1").unwrap();
    assert!(ask(client, "/v1/images", daemon.token()).starts_with("HTTP/1.1 200"));
}

#[test]
fn another_certificate_is_shown_after_sighup_and_streams_under_way_go_on() {
    let workshop = Workshop::new();
    let (first, second) = (Certificate::new(2020, 2120), Certificate::new(2020, 2120));
    let daemon = Daemon::start(&workshop, &install(&workshop, &first));
    let trusted = workshop.path("own.pem");
    let mut stream = Secure::connect(daemon.address(), &trusted, "forge.test").unwrap();
    assert_eq!(stream.fingerprint(), first.fingerprint);
    stream.write_all(head("GET", "/v1/events", daemon.token(), "").as_bytes()).unwrap();
    read_until(&mut stream, "text/event-stream");

    install(&workshop, &second);
    workshop.write("own.pem", "damaged");
    kill(daemon.id(), Signal::HUP);
    daemon.says("the certificate stays as it was");
    workshop.write("trusted.pem", &first.pem);
    Secure::connect(daemon.address(), &workshop.path("trusted.pem"), "forge.test").unwrap();

    install(&workshop, &second);
    kill(daemon.id(), Signal::HUP);
    let replaced = daemon.says("the certificate was replaced");
    assert!(replaced.contains(&first.fingerprint) && replaced.contains(&second.fingerprint));
    let client = Secure::connect(daemon.address(), &trusted, "forge.test").unwrap();
    assert_eq!(client.fingerprint(), second.fingerprint);
    workshop.unlink("mock-cloud");
    read_until(&mut stream, "mock-cloud");
}

#[test]
fn whether_tls_is_spoken_is_settled_at_the_start() {
    let workshop = Workshop::new();
    let daemon = Daemon::start(&workshop, "");
    workshop.write("serve.toml", format!("[serve]\n{SELF_SIGNED}\n"));
    kill(daemon.id(), Signal::HUP);
    daemon.says("TLS is spoken from the next start on");
    assert_eq!(daemon.get("/v1/health").status, 200);
    drop(daemon);

    let daemon = Daemon::start(&workshop, SELF_SIGNED);
    workshop.write("serve.toml", "[serve]\n");
    kill(daemon.id(), Signal::HUP);
    daemon.says("TLS is spoken until the next start");
    Secure::connect(daemon.address(), &made(&workshop), "localhost").unwrap();
}

#[test]
fn a_certificate_that_ends_soon_is_told_and_the_daemons_own_is_replaced() {
    let workshop = Workshop::new();
    let old = Certificate::for_days(10);
    let daemon = Daemon::start(&workshop, &install(&workshop, &old));
    daemon.says("the certificate ends soon: renew it");
    let client =
        Secure::connect(daemon.address(), &workshop.path("own.pem"), "forge.test").unwrap();
    let figures = ask(client, "/metrics", daemon.token());
    let ends = figure(&figures, "imageforge_tls_certificate_expiry_timestamp_seconds");
    let left = UNIX_EPOCH + Duration::from_secs(ends);
    let left = left.duration_since(SystemTime::now()).unwrap();
    assert_eq!(left.as_secs() / 86_400, 9, "{left:?}");
    drop(daemon);

    fs_err::create_dir(workshop.data_dir().join("tls")).unwrap();
    write_secret(&made(&workshop), &format!("{}{}", old.key, old.pem));
    let daemon = Daemon::start(&workshop, SELF_SIGNED);
    assert!(daemon.says("is made anew").contains(&old.fingerprint));
    let client = Secure::connect(daemon.address(), &made(&workshop), "127.0.0.1").unwrap();
    let renewed = client.fingerprint();
    assert_ne!(renewed, old.fingerprint);

    // There is time to learn the new one.
    let later = Certificate::for_days(45);
    write_secret(&made(&workshop), &format!("{}{}", later.key, later.pem));
    kill(daemon.id(), Signal::HUP);
    let notice = daemon.says("ends soon and will be replaced");
    assert!(notice.contains(&later.fingerprint), "{notice}");

    // While the daemon runs, too.
    write_secret(&made(&workshop), &format!("{}{}", old.key, old.pem));
    kill(daemon.id(), Signal::HUP);
    let before = format!("\"before\":\"{}\"", later.fingerprint);
    daemon.says(&before);
    let client = Secure::connect(daemon.address(), &made(&workshop), "127.0.0.1").unwrap();
    assert!(![renewed, old.fingerprint, later.fingerprint].contains(&client.fingerprint()));
}

#[test]
fn who_speaks_in_the_clear_is_told_what_is_missing() {
    let workshop = Workshop::new();
    let daemon = Daemon::start(&workshop, SELF_SIGNED);
    let address = daemon.address().trim_start_matches("https://");
    let answer = ask(TcpStream::connect(address).unwrap(), "/v1/images", daemon.token());
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    assert!(answer.contains("\"tls-required\"") && answer.contains("https://"), "{answer}");
}

#[test]
fn versions_of_tls_before_the_second_last_are_refused() {
    let workshop = Workshop::new();
    let daemon = Daemon::start(&workshop, SELF_SIGNED);
    let address = daemon.address().trim_start_matches("https://");
    let mut stream = TcpStream::connect(address).unwrap();
    // A ClientHello of TLS 1.1 with one cipher suite and one algorithm of signatures.
    let mut hello = vec![22, 3, 1, 0, 55, 1, 0, 0, 51, 3, 2];
    hello.extend([7; 32]);
    hello.extend([0, 0, 2, 0xc0, 0x13, 1, 0, 0, 8, 0, 13, 0, 4, 0, 2, 4, 3]);
    stream.write_all(&hello).unwrap();
    let mut alert = [0; 7];
    stream.read_exact(&mut alert).unwrap();
    // A fatal alert, `protocol_version`: RFC 8446, section 6.2.
    assert_eq!((alert[0], alert[5], alert[6]), (21, 2, 70));
    let figures = wait_for("the failure to be counted", || {
        let client = Secure::connect(address, &made(&workshop), "127.0.0.1").unwrap();
        let figures = ask(client, "/metrics", daemon.token());
        figures.contains("handshakes_failed_total{").then_some(figures)
    });
    assert_eq!(figure(&figures, "imageforge_tls_handshakes_failed_total{reason=\"tls\"}"), 1);
}
