//! The servers that the tests of delivering rely on do what these tests think they do.

use std::io::Write;
use std::process::{Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use crate::support::servers::{
    FakeNova, FakeTokens, Fault, FaultProxy, Glance, Keystone, Login, Registry,
};
use crate::support::{Daemon, wait_for};

/// Sends a request to a server and answers the status.
fn status(method: &str, url: &str, headers: &[(&str, &str)], body: &[u8]) -> u16 {
    let mut request = ureq::http::Request::builder().method(method).uri(url);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    Daemon::send(request.body(body.to_vec()).unwrap()).status
}

/// Makes an image without a file and answers its id.
fn create(glance: &Glance, token: &str) -> String {
    let image = json!({ "name": "ada", "disk_format": "raw", "container_format": "bare" });
    let request = ureq::http::Request::post(format!("{}/v2/images", glance.url()))
        .header("content-type", "application/json")
        .header("x-auth-token", token);
    let made = Daemon::send(request.body(image.to_string().into_bytes()).unwrap());
    assert_eq!(made.status, 201, "{} {}", made.text(), glance.said());
    made.json()["id"].as_str().unwrap().to_owned()
}

/// Sends a file of `size` bytes for an image to the Glance at `url`; answers the status, when there is one.
fn fill(url: &str, image: &str, token: &str, size: usize) -> Option<u16> {
    let request = ureq::http::Request::put(format!("{url}/v2/images/{image}/file"))
        .header("content-type", "application/octet-stream")
        .header("x-auth-token", token);
    let agent: ureq::Agent =
        ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let answer = agent.run(request.body(vec![7; size]).unwrap());
    answer.ok().map(|answer| answer.status().as_u16())
}

#[test]
fn a_registry_lets_in_only_whoever_it_knows() {
    let registry = Registry::with_login(Login::ADA);
    let url = format!("http://{}/v2/", registry.address());
    assert_eq!(status("GET", &url, &[], &[]), 401);
    assert_eq!(registry.get("/v2/").status, 200);
    assert_eq!(registry.tags("forge/nothing"), Vec::<String>::new());
}

#[test]
fn a_registry_believes_what_the_token_service_signed() {
    let tokens = FakeTokens::start();
    let registry = Registry::with_tokens(&tokens);
    let to_registry = |token: &str| {
        let url = format!("http://{}/v2/forge/mock/tags/list", registry.address());
        status("GET", &url, &[("authorization", &format!("Bearer {token}"))], &[])
    };
    assert_eq!(to_registry("made-up"), 401);
    let ask = |login: &str| {
        let url = "/token?service=registry.suite&scope=repository%3Aforge%2Fmock%3Apull";
        let url = tokens.url().replace("/token", url);
        let mut request = ureq::http::Request::get(url);
        if !login.is_empty() {
            request = request.header("authorization", format!("Basic {}", STANDARD.encode(login)));
        }
        Daemon::send(request.body(Vec::new()).unwrap())
    };
    let Login { username, password, .. } = Login::ADA;
    let token = |login: &str| ask(login).json()["token"].as_str().unwrap().to_owned();
    // There is no such repository.
    assert_eq!(to_registry(&token(&format!("{username}:{password}"))), 404);
    assert_eq!(to_registry(&token("")), 401);
    assert_eq!(ask("ada:guessed").status, 401);
    assert_eq!(tokens.asked().len(), 3);
}

/// Whoever knows the authority believes the server at `url`, and nobody else does.
#[track_caller]
fn assert_vouched_for(url: &str, authority: &str) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("authority.pem");
    fs_err::write(&path, authority).unwrap();
    let ask = |more: &[&str]| {
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--max-time", "20", url]).args(more);
        curl.output().unwrap().status.code()
    };
    // That of a peer whom nobody vouches for.
    assert_eq!(ask(&[]), Some(60));
    assert_eq!(ask(&["--cacert", path.to_str().unwrap()]), Some(0));
}

#[test]
fn servers_show_the_certificates_of_their_authorities() {
    let registry = Registry::with_tls();
    assert_vouched_for(&format!("https://{}/v2/", registry.address()), registry.authority());
    let (glance, authority) = Glance::with_tls();
    assert_vouched_for(&format!("https://{}/", glance.address()), &authority);
}

#[test]
fn a_registry_on_a_small_disk_runs_out_of_space() {
    let registry = Registry::on_small_disk(4);
    let fill = |mebibytes: usize| {
        let url = format!("http://{}/v2/forge/full/blobs/uploads/", registry.address());
        let begun = Daemon::send(ureq::http::Request::post(url).body(Vec::new()).unwrap());
        // It answers while it is still being told, and hangs up.
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--request", "PATCH", "--data-binary", "@-"])
            .args(["--header", "content-type: application/octet-stream"])
            .args(["--write-out", "%{http_code}"])
            .arg(begun.headers["location"].to_str().unwrap());
        let mut curl = curl.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        curl.stdin.take().unwrap().write_all(&vec![7; mebibytes << 20]).unwrap();
        String::from_utf8(curl.wait_with_output().unwrap().stdout).unwrap()
    };
    assert_eq!(fill(1), "202");
    assert_eq!(registry.uploads("forge/full").len(), 1);
    assert!(fill(8).ends_with("500"));
}

#[test]
fn a_glance_keeps_what_it_is_given() {
    let glance = Glance::open();
    let image = create(&glance, "");
    assert_eq!(fill(&glance.url(), &image, "", 1 << 20), Some(204));
    assert_eq!(glance.images()[0]["status"], "active");
    assert_eq!(fs_err::read(glance.file(&image)).unwrap(), vec![7; 1 << 20]);
    assert_eq!(glance.ask("DELETE", &format!("/v2/images/{image}")).status, 204);
    assert!(glance.files().is_empty());
}

#[test]
fn a_glance_on_a_small_disk_runs_out_of_space() {
    let glance = Glance::on_small_disk(4);
    assert_eq!(fill(&glance.url(), &create(&glance, ""), "", 8 << 20), Some(413));
    assert_eq!(fill(&glance.url(), &create(&glance, ""), "", 1 << 20), Some(204));
}

#[test]
fn a_glance_behind_keystone_asks_for_a_token() {
    let keystone = Keystone::start();
    let glance = Glance::behind(&keystone);
    assert_eq!(status("GET", &format!("{}/v2/images", glance.url()), &[], &[]), 401);
    let token = keystone.token_of_ada();
    let image = create(&glance, &token);
    assert_eq!(fill(&glance.url(), &image, &token, 1000), Some(204));
    let image = glance.ask("GET", &format!("/v2/images/{image}")).json();
    assert_eq!(image["owner"], keystone.project());
    assert_eq!(keystone.application_credential().0.len(), 32);
}

#[test]
fn a_fake_nova_makes_an_image_of_its_server() {
    let glance = Glance::open();
    let nova = FakeNova::start(&glance, None);
    let url = format!("{}/servers/{}/action", nova.url(), FakeNova::SERVER);
    let wanted = json!({ "createImage": { "name": "caught" } }).to_string();
    assert_eq!(status("POST", &url, &[], wanted.as_bytes()), 202);
    assert_eq!(glance.images()[0]["name"], "caught");
    assert_eq!(nova.asked().len(), 1);
}

#[test]
fn a_proxy_answers_instead_of_the_server_as_often_as_it_is_told_to() {
    let registry = Registry::open();
    let proxy = FaultProxy::before(&registry.address());
    let url = format!("{}/v2/", proxy.url());
    proxy.spoil(Fault::answer_with(429, "Retry-After", "1").times(1));
    proxy.spoil(Fault::answer(503).on("GET", "/v2/").times(2));
    let statuses = [(); 4].map(|()| status("GET", &url, &[], &[]));
    assert_eq!(statuses, [429, 503, 503, 200]);
    assert_eq!(proxy.spoilt(), 3);
    assert!(proxy.seen().iter().all(|seen| seen.request.starts_with("GET /v2/ ")));
}

#[test]
fn a_proxy_cuts_and_holds_connections_where_it_is_told_to() {
    const SIZE: usize = 32 << 20;
    let glance = Glance::open();
    let image = create(&glance, "");
    let proxy = FaultProxy::before(&glance.address());
    proxy.spoil(Fault::cut(SIZE as u64 / 3).on("PUT", "/file"));
    assert_eq!(fill(&proxy.url(), &image, "", SIZE), None);
    assert_eq!(proxy.seen().last().unwrap().sent, SIZE as u64 / 3);

    // Until it has noticed, it may answer the next one with an error of its own.
    wait_for("Glance to notice the cut", || {
        glance.images().iter().all(|image| image["status"] != "saving").then_some(())
    });

    proxy.behave();
    proxy.spoil(Fault::slow_after(SIZE as u64 / 2).on("PUT", "/file"));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs_err::write(&file, vec![7; SIZE]).unwrap();
    let mut client = Command::new("curl")
        .args(["--silent", "--header", "content-type: application/octet-stream"])
        .arg("--upload-file")
        .arg(file)
        .arg(format!("{}/v2/images/{}/file", proxy.url(), create(&glance, "")))
        .spawn()
        .unwrap();
    proxy.wait_until_slow();
    assert!(proxy.seen().last().unwrap().sent >= SIZE as u64 / 2);
    client.kill().unwrap();
    assert!(!client.wait().unwrap().success());

    proxy.behave();
    assert_eq!(fill(&proxy.url(), &create(&glance, ""), "", SIZE), Some(204));
}
