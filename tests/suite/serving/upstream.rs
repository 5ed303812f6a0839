//! ImageFactory's clients: what they send and what they read, at `/imagefactory`.

use serde_json::{Value, json};

use crate::support::{Answer, Daemon, Workshop, texts, wait_for};

const ROOT: &str = "/imagefactory";
const NOBODY: &str = "00000000-0000-4000-8000-000000000000";

fn template(workshop: &Workshop) -> String {
    fs_err::read_to_string(workshop.path("mock.tdl")).unwrap()
}

/// A folder that plays the provider.
fn provider(workshop: &Workshop) -> String {
    let folder = workshop.path("provider");
    fs_err::create_dir_all(&folder).unwrap();
    folder.to_str().unwrap().to_owned()
}

/// Sends a form.
fn form(daemon: &Daemon<'_>, method: &str, path: &str, fields: &[(&str, &str)]) -> Answer {
    let escape =
        |text: &str| text.bytes().fold(String::new(), |text, byte| text + &format!("%{byte:02X}"));
    let pairs: Vec<String> =
        fields.iter().map(|(name, text)| format!("{}={}", escape(name), escape(text))).collect();
    let request = daemon
        .request(method, &format!("{ROOT}{path}"))
        .header("content-type", "application/x-www-form-urlencoded");
    Daemon::send(request.body(pairs.join("&").into_bytes()).unwrap())
}

/// Posts a document and answers the image that was accepted.
#[track_caller]
fn create(daemon: &Daemon<'_>, path: &str, document: &Value) -> Value {
    let answer = daemon.post(&format!("{ROOT}{path}"), document);
    assert_eq!(answer.status, 202, "{}", answer.text());
    let answer = answer.json();
    let (_, image) = answer.as_object().unwrap().iter().next().unwrap();
    image.clone()
}

/// The image at an address that was given as `href`, once it has ended.
#[track_caller]
fn ended(daemon: &Daemon<'_>, href: &Value) -> Value {
    let path = path_of(daemon, href);
    wait_for("the image to reach its end", || {
        let answer = daemon.get(&path).json();
        let (_, image) = answer.as_object().unwrap().iter().next().unwrap();
        let is_ended = matches!(image["status"].as_str(), Some("COMPLETE" | "FAILED"));
        is_ended.then(|| image.clone())
    })
}

/// The path of an absolute address.
#[track_caller]
fn path_of(daemon: &Daemon<'_>, href: &Value) -> String {
    let href = href.as_str().unwrap_or_else(|| panic!("no address: {href}"));
    let request = daemon.request("GET", "").body(()).unwrap();
    let origin = request.uri().to_string();
    let path = href.strip_prefix(origin.trim_end_matches('/'));
    path.unwrap_or_else(|| panic!("{href} is not at {origin}")).to_owned()
}

#[test]
fn a_base_a_target_and_a_provider_image_are_made_one_after_the_other() {
    let workshop = Workshop::new();
    let daemon = Daemon::start(&workshop, "");
    let about = daemon.get(ROOT).json();
    assert_eq!((&about["name"], &about["api_version"]), (&json!("imagefactory"), &json!("2.0")));

    let request = json!({ "base_image": { "template": template(&workshop) } });
    let base = create(&daemon, "/base_images", &request);
    assert_eq!((&base["_type"], &base["status"]), (&json!("BaseImage"), &json!("PENDING")));
    let base = ended(&daemon, &base["href"]);
    assert_eq!(base["status"], "COMPLETE");
    assert_eq!(base["template"], template(&workshop));

    let request = json!({ "target_image": { "target": "mock", "base_image_id": base["id"] } });
    let target = create(&daemon, "/target_images", &request);
    assert_eq!(target["base_image_id"], base["id"]);
    let target = ended(&daemon, &target["href"]);
    assert_eq!((&target["status"], &target["target"]), (&json!("COMPLETE"), &json!("mock")));
    assert_eq!(target["base_image"]["_type"], "BaseImage");
    assert_eq!(target["base_image"]["href"], base["href"]);

    let request = json!({ "provider_image": {
        "target": "mock", "target_image_id": target["id"], "provider": provider(&workshop),
        "credentials": { "username": "ada", "password": "sesame-1815" },
    } });
    let pushed = create(&daemon, "/provider_images", &request);
    let pushed = ended(&daemon, &pushed["href"]);
    assert_eq!(
        (&pushed["_type"], &pushed["status"]),
        (&json!("ProviderImage"), &json!("COMPLETE"))
    );
    assert_eq!(pushed["provider_account_identifier"], "ada");
    assert_eq!(pushed["target_image"]["href"], target["href"]);
    let uploaded =
        workshop.path("provider").join(pushed["identifier_on_provider"].as_str().unwrap());
    let raw = daemon.get(&format!("{}/raw_image", path_of(&daemon, &target["href"])));
    assert_eq!((raw.status, raw.body), (200, fs_err::read(uploaded).unwrap()));

    let base = daemon.get(&path_of(&daemon, &base["href"])).json();
    let made = &base["base_image"]["target_images"]["target_images"][0]["target_image"];
    assert_eq!((&made["id"], &made["href"]), (&target["id"], &target["href"]));
    let target = daemon.get(&path_of(&daemon, &target["href"])).json();
    let made = &target["target_image"]["provider_images"]["provider_images"][0]["provider_image"];
    assert_eq!((&made["_type"], &made["id"]), (&json!("ProviderImage"), &pushed["id"]));
}

#[test]
fn one_request_with_a_template_makes_the_whole_chain_and_answers_its_last_image() {
    let workshop = Workshop::new();
    let daemon = Daemon::start(&workshop, "");
    let request = json!({ "provider_image": {
        "target": "mock", "template": template(&workshop), "provider": provider(&workshop),
        "credentials": "{\"username\": \"ada\"}",
        "parameters": { "callbacks": ["http://127.0.0.1:9/"], "snapshot": false, "size_bytes": 4096 },
    } });
    let pushed = ended(&daemon, &create(&daemon, "/provider_images", &request)["href"]);
    assert_eq!(pushed["status"], "COMPLETE", "{pushed:#}");
    assert_eq!(pushed["parameters"], json!({ "size_bytes": 4096 }));
    for collection in ["base_images", "target_images", "provider_images"] {
        let images = daemon.get(&format!("{ROOT}/{collection}")).json();
        assert_eq!(images[collection].as_array().unwrap().len(), 1, "{images:#}");
    }
}

#[test]
fn a_snapshot_is_made_inside_the_provider() {
    let workshop = Workshop::new();
    let daemon = Daemon::start(&workshop, "");
    let fields = [
        ("target", "mock"),
        ("template", &template(&workshop)),
        ("provider", &provider(&workshop)),
        ("credentials", "{}"),
        ("parameters", "{\"snapshot\": \"true\"}"),
    ];
    let answer = form(&daemon, "POST", "/provider_images", &fields);
    assert_eq!(answer.status, 202, "{}", answer.text());
    let image = ended(&daemon, &answer.json()["provider_image"]["href"]);
    assert!(image["identifier_on_provider"].as_str().unwrap().ends_with(".snapshot"), "{image:#}");
    assert_eq!(image["target_image"], Value::Null);
}

#[test]
fn nested_routes_show_what_belongs_together_and_nothing_else() {
    let workshop = Workshop::new();
    let daemon = Daemon::start(&workshop, "");
    let request = json!({ "base_image": { "template": template(&workshop) } });
    let [base, other] = [(), ()].map(|()| create(&daemon, "/base_images", &request));
    assert_ne!(base["id"], other["id"], "each request has an image of its own");
    let [base, other] = [base, other].map(|image| image["id"].as_str().unwrap().to_owned());

    let nested = format!("/base_images/{base}/target_images");
    let target = create(&daemon, &nested, &json!({ "target_image": { "target": "mock" } }));
    let id = target["id"].as_str().unwrap();
    assert_eq!(path_of(&daemon, &target["href"]), format!("{ROOT}{nested}/{id}"));
    let request = json!({ "provider_image": {
        "target": "mock", "provider": provider(&workshop), "credentials": "{}",
    } });
    let below = format!("{nested}/{id}/provider_images");
    let pushed = create(&daemon, &below, &request);
    assert_eq!(ended(&daemon, &pushed["href"])["status"], "COMPLETE");

    let list = daemon.get(&format!("{ROOT}{nested}")).json();
    assert_eq!(list["target_images"][0]["target_image"]["href"], target["href"]);
    let list = daemon.get(&format!("{ROOT}/target_images/{id}/provider_images")).json();
    assert_eq!(list["provider_images"][0]["provider_image"]["id"], pushed["id"]);
    let empty = daemon.get(&format!("{ROOT}/base_images/{other}/target_images")).json();
    assert_eq!(empty, json!({ "target_images": [] }));

    let strangers = [
        format!("/base_images/{other}/target_images/{id}"),
        format!("/base_images/{other}/target_images/{id}/raw_image"),
        format!("/base_images/{other}/target_images/{id}/provider_images"),
        format!("/base_images/{NOBODY}/target_images"),
        format!("/target_images/{base}"),
        format!("/base_images/{}", &base[..8]),
        "/base_images/no-identifier".to_owned(),
    ];
    for path in strangers {
        let answer = daemon.get(&format!("{ROOT}{path}"));
        assert_eq!(
            (answer.status, answer.json()["code"].as_str()),
            (404, Some("not-found")),
            "{path}"
        );
    }
}

#[test]
fn forms_and_forms_in_parts_say_the_same_as_json() {
    let workshop = Workshop::new();
    let daemon = Daemon::start(&workshop, "");
    let template = template(&workshop);
    let answer = form(
        &daemon,
        "POST",
        "/base_images",
        &[("template", &template), ("parameters", "{\"size_bytes\": 8192}")],
    );
    assert_eq!(answer.status, 202, "{}", answer.text());
    let base = ended(&daemon, &answer.json()["base_image"]["href"]);
    assert_eq!(
        (&base["status"], &base["parameters"]["size_bytes"]),
        (&json!("COMPLETE"), &json!(8192))
    );

    let part = |name: &str, text: &str| {
        format!("--line\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{text}\r\n")
    };
    let parts = [part("target", "mock"), part("template", &template), "--line--\r\n".to_owned()];
    let request = daemon
        .request("POST", &format!("{ROOT}/target_images"))
        .header("content-type", "multipart/form-data; boundary=line");
    let answer = Daemon::send(request.body(parts.concat().into_bytes()).unwrap());
    assert_eq!(answer.status, 202, "{}", answer.text());
    assert_eq!(ended(&daemon, &answer.json()["target_image"]["href"])["status"], "COMPLETE");
}

#[test]
fn a_body_is_downloaded_in_ranges() {
    let workshop = Workshop::new();
    let daemon = Daemon::start(&workshop, "");
    let request = json!({ "target_image": { "target": "mock", "template": template(&workshop) } });
    let target = ended(&daemon, &create(&daemon, "/target_images", &request)["href"]);
    let nested = format!(
        "{ROOT}/base_images/{}/target_images/{}/raw_image",
        target["base_image_id"].as_str().unwrap(),
        target["id"].as_str().unwrap()
    );
    let whole = daemon.get(&nested);
    let name = format!("attachment; filename=\"{}.body\"", target["id"].as_str().unwrap());
    assert_eq!(
        (whole.status, whole.headers["content-disposition"].to_str().unwrap()),
        (200, &*name)
    );
    let range = |range: &str| {
        let request = daemon.request("GET", &nested).header("range", range);
        Daemon::send(request.body(Vec::new()).unwrap())
    };
    let part = range("bytes=3-9");
    assert_eq!((part.status, &part.body[..]), (206, &whole.body[3..10]));
    assert_eq!(part.headers["content-range"], format!("bytes 3-9/{}", whole.body.len()));
    assert_eq!(range("bytes=-4").body, whole.body[whole.body.len() - 4..]);
    assert_eq!(range(&format!("bytes={}-", whole.body.len())).status, 416);
}

#[test]
fn what_upstream_does_not_know_is_failed_with_a_reason() {
    let workshop = Workshop::new();
    let daemon = Daemon::start(&workshop, "");
    let request = |parameters: Value| json!({ "base_image": { "template": template(&workshop), "parameters": parameters } });
    let skipped = create(&daemon, "/base_images", &request(json!({ "skip": "not on Mondays" })));
    let skipped = ended(&daemon, &skipped["href"]);
    let error = skipped["status_detail"]["error"].as_str().unwrap();
    assert_eq!((&skipped["status"], error.contains("not on Mondays")), (&json!("FAILED"), true));

    let endless = create(&daemon, "/base_images", &request(json!({ "delay_ms": 600_000 })));
    let id = endless["id"].as_str().unwrap();
    let raw = daemon.get(&format!("{ROOT}/base_images/{id}/raw_image"));
    assert_eq!(raw.status, 404, "there is no body yet");
    assert_eq!(daemon.post(&format!("/v1/images/{id}/cancel"), &json!({})).status, 202);
    let cancelled = ended(&daemon, &endless["href"]);
    assert_eq!(cancelled["status"], "FAILED");
    let error = cancelled["status_detail"]["error"].as_str().unwrap();
    assert!(error.contains("cancel"), "{error}");
}

#[test]
fn wrong_requests_are_told_what_is_wrong_and_leave_nothing() {
    let workshop = Workshop::new();
    let daemon = Daemon::start(&workshop, "");
    let text = template(&workshop);
    let cases = [
        ("/base_images", json!({ "base_image": {} }), "`template`"),
        ("/base_images", json!({ "template": text }), "`base_image`"),
        ("/base_images", json!({ "base_image": { "template": "/etc/passwd" } }), "template"),
        ("/target_images", json!({ "target_image": { "template": text } }), "`target`"),
        ("/target_images", json!({ "target_image": { "target": "mock" } }), "`base_image_id`"),
        (
            "/target_images",
            json!({ "target_image": { "target": "nowhere", "template": text } }),
            "`nowhere`",
        ),
        (
            "/provider_images",
            json!({ "provider_image": { "target": "mock", "template": text } }),
            "`provider`, `credentials`",
        ),
        (
            "/base_images",
            json!({ "base_image": { "template": text, "parameters": "[1" } }),
            "`parameters`",
        ),
        (
            "/base_images",
            json!({ "base_image": { "template": text, "parameters": { "callbacks": 7 } } }),
            "`parameters.callbacks`",
        ),
    ];
    for (path, document, says) in cases {
        let answer = daemon.post(&format!("{ROOT}{path}"), &document);
        assert_eq!(answer.status, 400, "{path} {document}: {}", answer.text());
        assert!(answer.text().contains(says), "{says} is not in {}", answer.text());
    }
    let request = json!({ "target_image": { "target": "mock", "base_image_id": NOBODY } });
    assert_eq!(daemon.post(&format!("{ROOT}/target_images"), &request).status, 404);
    let xml =
        daemon.request("POST", &format!("{ROOT}/base_images")).header("content-type", "text/xml");
    assert_eq!(Daemon::send(xml.body(b"<base_image/>".to_vec()).unwrap()).status, 415);
    assert!(workshop.images().is_empty());
}

#[test]
fn only_clients_that_take_json_are_answered() {
    let workshop = Workshop::new();
    let daemon = Daemon::start(&workshop, "");
    let accepting = |accept: &str| {
        let request =
            daemon.request("GET", &format!("{ROOT}/base_images")).header("accept", accept);
        Daemon::send(request.body(Vec::new()).unwrap()).status
    };
    let answers = ["application/xml", "text/html", "*/*", "text/html, application/json;q=0.5"];
    assert_eq!(answers.map(accepting), [406, 406, 200, 200]);
}

#[test]
fn images_are_deleted_from_the_last_to_the_first_and_from_their_provider() {
    let workshop = Workshop::new();
    let daemon = Daemon::start(&workshop, "");
    let folder = provider(&workshop);
    let request = json!({ "provider_image": {
        "target": "mock", "template": template(&workshop), "provider": folder, "credentials": "{}",
    } });
    let pushed = ended(&daemon, &create(&daemon, "/provider_images", &request)["href"]);
    let provider_path = path_of(&daemon, &pushed["href"]);
    let target_path = path_of(&daemon, &pushed["target_image"]["href"]);
    let delete = |path: &str, document: Option<Value>| {
        let mut request = daemon.request("DELETE", path);
        if document.is_some() {
            request = request.header("content-type", "application/json");
        }
        let body = document.map(|document| document.to_string().into_bytes()).unwrap_or_default();
        Daemon::send(request.body(body).unwrap())
    };
    assert_eq!(delete(&target_path, None).status, 409, "a provider image was made from it");
    let lacking = delete(&provider_path, Some(json!({ "provider": folder })));
    assert_eq!(lacking.status, 400);
    assert!(lacking.text().contains("`credentials`, `target`"), "{}", lacking.text());
    assert_eq!(delete(&provider_path, None).status, 400);

    let wrong =
        json!({ "provider": folder, "credentials": "{\"password\": \"wrong\"}", "target": "mock" });
    assert_eq!(delete(&provider_path, Some(json!({ "provider_image": wrong }))).status, 204);
    let failed = wait_for("the deletion to fail", || {
        let image = daemon.get(&provider_path).json()["provider_image"].clone();
        (image["status"] == "DELETEFAILED").then_some(image)
    });
    let error = failed["status_detail"]["error"].as_str().unwrap();
    assert!(error.contains("refuses the password"), "{error}");
    assert_eq!(fs_err::read_dir(&folder).unwrap().count(), 1);

    let right = [("provider", &*folder), ("credentials", "{}"), ("target", "mock")];
    let path = provider_path.strip_prefix(ROOT).unwrap();
    assert_eq!(form(&daemon, "DELETE", path, &right).status, 204);
    wait_for("the image to be gone", || (daemon.get(&provider_path).status == 404).then_some(()));
    assert_eq!(fs_err::read_dir(&folder).unwrap().count(), 0);

    let target = daemon.get(&target_path).json()["target_image"].clone();
    let base_path = path_of(&daemon, &target["base_image"]["href"]);
    for path in [&target_path, &base_path] {
        assert_eq!((delete(path, None).status, daemon.get(path).status), (204, 404));
    }
    assert!(workshop.images().is_empty());
}

#[test]
fn a_provider_image_is_deleted_through_v1_with_credentials_in_the_body() {
    let workshop = Workshop::new();
    let daemon = Daemon::start(&workshop, "");
    let folder = provider(&workshop);
    let request = json!({ "provider_image": {
        "target": "mock", "template": template(&workshop), "provider": folder, "credentials": "{}",
    } });
    let pushed = ended(&daemon, &create(&daemon, "/provider_images", &request)["href"]);
    let path = format!("/v1/images/{}", pushed["id"].as_str().unwrap());
    let request = daemon.request("DELETE", &path).header("content-type", "application/json");
    let access = json!({ "credentials": "{\"username\": \"ada\"}" });
    assert_eq!(Daemon::send(request.body(access.to_string().into_bytes()).unwrap()).status, 204);
    wait_for("the image to be gone", || (daemon.get(&path).status == 404).then_some(()));
    assert_eq!(fs_err::read_dir(&folder).unwrap().count(), 0);
}

#[test]
fn plugins_are_listed_under_the_names_that_clients_read() {
    let workshop = Workshop::new();
    workshop.info("broken", "{");
    let daemon = Daemon::start(&workshop, "");
    let plugins = daemon.get(&format!("{ROOT}/plugins/")).json()["plugins"].clone();
    let plugins = plugins.as_array().unwrap();
    assert_eq!(texts(plugins, "id"), ["broken", "mock-cloud", "mock-os"]);
    assert!(plugins[0]["ERROR"].is_string(), "{:#}", plugins[0]);
    let plugin = daemon.get(&path_of(&daemon, &plugins[2]["href"])).json();
    assert_eq!((&plugin["_type"], &plugin["type"]), (&json!("plugin"), &json!("os")));
    assert_eq!(plugin["targets"][0], json!(["MockOS_A", null, null]));
    assert_eq!(plugin["maintainer"]["name"], "The imageforge authors");
    assert_eq!(daemon.get(&format!("{ROOT}/plugins/unheard-of")).status, 404);
}

#[test]
fn what_upstream_never_had_is_said_to_be_missing() {
    let workshop = Workshop::new();
    let daemon = Daemon::start(&workshop, "");
    for (path, status) in [
        ("/jeos", 200),
        ("/jeos/images", 200),
        ("/jeos/images/1", 501),
        ("/targets", 501),
        ("/targets/mock", 501),
        ("/targets/mock/providers", 501),
        ("/targets/mock/providers/here", 501),
        ("/nothing", 404),
    ] {
        let answer = daemon.get(&format!("{ROOT}{path}"));
        assert_eq!(answer.status, status, "{path}");
        let code = answer.json()["code"].clone();
        let told = match status {
            501 => json!("not-implemented"),
            404 => json!("not-found"),
            _ => Value::Null,
        };
        assert_eq!(code, told, "{path}");
    }
    assert_eq!(daemon.post(&format!("{ROOT}/jeos"), &json!({})).status, 405);
}
