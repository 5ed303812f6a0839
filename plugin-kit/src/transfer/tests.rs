//! What the client promises, against a small server in this process.

use std::io::{self, Read, Write};
use std::net::TcpListener;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use plugin_api::testing::{DelegateHarness, HarnessedDelegate};
use plugin_api::{Builder, CloudDelegate, DelegateError, DelegateErrorKind};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde_json::{Value, json};

use super::testing::{Exchange, Server};
use super::*;

type Work = Box<dyn Fn(&Client<'_>) -> Result<(), DelegateError> + Send + Sync>;

/// A delegate that does one thing with a client.
struct Courier {
    options: Options,
    work: Work,
}

impl std::fmt::Debug for Courier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Courier")
    }
}

impl CloudDelegate for Courier {
    fn check_provider(&self, builder: &Builder) -> Result<(), DelegateError> {
        (self.work)(&Client::new(builder, self.options.clone())?)
    }
}

/// Options that try again at once.
fn options() -> Options {
    let retries = Retries { first_wait: Duration::from_millis(1), ..Retries::default() };
    Options { retries, secrets: vec![Secret::new("swordfish")], ..Options::default() }
}

fn courier(
    options: Options,
    work: impl Fn(&Client<'_>) -> Result<(), DelegateError> + Send + Sync + 'static,
) -> HarnessedDelegate {
    DelegateHarness::cloud(Courier { options, work: Box::new(work) })
        .provider("", "")
        .target_image(body())
        .open()
        .unwrap()
}

fn body() -> Vec<u8> {
    (0..3_000_000_u32).flat_map(u32::to_le_bytes).collect()
}

/// A server that fails so often by `fail` before it says `{"ok": true}`.
fn failing(
    times: u32,
    fail: impl Fn(Exchange) -> io::Result<()> + Send + Sync + 'static,
) -> Server {
    let failed = AtomicU32::new(0);
    Server::start(move |exchange| match failed.fetch_add(1, Ordering::Relaxed) {
        count if count < times => fail(exchange),
        _ => exchange.json(200, &json!({"ok": true})),
    })
    .unwrap()
}

/// Asks `server` once, with retries.
fn ask(
    server: &Server,
    request: fn(String) -> Request,
) -> (HarnessedDelegate, Result<(), DelegateError>) {
    let url = server.url();
    let delegate = courier(options(), move |client| {
        let answer: Value = client.send(&request(url.clone()))?.json()?;
        assert_eq!(answer, json!({"ok": true}));
        Ok(())
    });
    let result = delegate.check_provider();
    (delegate, result)
}

#[test]
fn what_may_pass_is_tried_again_and_told() {
    for status in [408, 425, 429, 500, 502, 503, 504] {
        let server = failing(2, move |exchange| exchange.answer(status, &[], b""));
        let (delegate, result) = ask(&server, Request::get);
        assert_eq!(result, Ok(()), "{status}");
        let activities = delegate.activities();
        assert_eq!(activities.len(), 2, "{activities:?}");
        assert_eq!(
            activities[1],
            format!("`{}` answered {status}, trying again in 1 s (2 of 6)", &server.url()[7..])
        );
    }
    let server = failing(1, |_| Ok(()));
    assert_eq!(ask(&server, Request::get).1, Ok(()), "hung up");
}

#[test]
fn what_will_not_pass_is_asked_once() {
    for status in [400, 401, 403, 404, 409, 413, 501, 301] {
        let server = failing(1, move |exchange| exchange.answer(status, &[], b""));
        ask(&server, Request::get).1.unwrap_err();
        assert_eq!(server.seen().len(), 1, "{status}");
    }
}

#[test]
fn a_server_that_stays_bad_is_given_up() {
    let server = failing(u32::MAX, |exchange| exchange.answer(503, &[], b"busy"));
    let error = ask(&server, Request::get).1.unwrap_err();
    assert_eq!(error.kind(), DelegateErrorKind::Unavailable);
    assert_eq!(
        error.message(),
        format!("`GET {}` was answered 503 Service Unavailable", server.url())
    );
    assert_eq!(error.causes(), ["the server says: busy"]);
    assert_eq!(server.seen().len(), 7);
}

#[test]
fn what_makes_something_is_sent_again_only_when_it_did_nothing_or_may() {
    let server = failing(1, |exchange| exchange.answer(500, &[], b""));
    ask(&server, Request::post).1.unwrap_err();
    assert_eq!(server.seen().len(), 1);
    let server = failing(1, |exchange| exchange.answer(429, &[], b""));
    assert_eq!(ask(&server, Request::post).1, Ok(()));
    let server = failing(1, |exchange| exchange.answer(500, &[], b""));
    assert_eq!(ask(&server, |url| Request::post(url).repeatable(true)).1, Ok(()));
}

#[test]
fn who_tries_several_requests_again_does_not_multiply_what_the_client_tried() {
    let retries = Retries { times: 2, ..options().retries };
    for status in [429, 500] {
        let server = failing(u32::MAX, move |exchange| exchange.answer(status, &[], b""));
        let url = server.url();
        let work = move |client: &Client<'_>| {
            let mut retry = client.retry();
            loop {
                match client.send(&Request::post(&url)) {
                    Ok(_) => return Ok(()),
                    Err(error) => retry.wait(error)?,
                }
            }
        };
        let delegate = courier(Options { retries, ..options() }, work);
        delegate.check_provider().unwrap_err();
        assert_eq!(server.seen().len(), 3, "{status}");
    }
}

#[test]
fn a_server_that_asks_for_time_gets_it() {
    let server = failing(1, |exchange| exchange.answer(503, &[("retry-after", "1")], b""));
    let begin = Instant::now();
    assert_eq!(ask(&server, Request::get).1, Ok(()));
    assert!(begin.elapsed() >= Duration::from_secs(1));
}

#[test]
fn each_refusal_has_its_kind() {
    for (status, kind) in [
        (400, DelegateErrorKind::InvalidInput),
        (401, DelegateErrorKind::Credentials),
        (403, DelegateErrorKind::Credentials),
        (404, DelegateErrorKind::NotFound),
        (409, DelegateErrorKind::Conflict),
        (413, DelegateErrorKind::Unavailable),
        (507, DelegateErrorKind::Unavailable),
    ] {
        let server = failing(1, move |exchange| exchange.answer(status, &[], b""));
        assert_eq!(ask(&server, Request::get).1.unwrap_err().kind(), kind, "{status}");
    }
}

#[test]
fn who_is_not_there_is_unavailable() {
    // Nobody listens on the discard port.
    let work = |client: &Client<'_>| {
        client.send(&Request::get("http://127.0.0.1:9/"))?;
        Ok(())
    };
    let error = courier(options().for_check(), work).check_provider().unwrap_err();
    assert_eq!(error.kind(), DelegateErrorKind::Unavailable);
    assert_eq!(error.message(), "`127.0.0.1:9` cannot be reached");
    assert_eq!(error.hints().len(), 1);
}

#[test]
fn a_name_that_nobody_knows_is_unreachable() {
    let work = |client: &Client<'_>| {
        client.send(&Request::get("http://nowhere.invalid:1/"))?;
        Ok(())
    };
    let mut options = options();
    options.retries.times = 0;
    let error = courier(options, work).check_provider().unwrap_err();
    assert_eq!(error.message(), "`nowhere.invalid:1` cannot be reached");
    assert_eq!(error.causes().len(), 1, "{error:?}");
}

#[test]
fn a_server_without_tls_is_told_apart() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        let mut stream = listener.accept().unwrap().0;
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap();
        stream.read_to_end(&mut Vec::new()).unwrap_or_default()
    });
    let work = move |client: &Client<'_>| {
        client.send(&Request::get(url.clone()))?;
        Ok(())
    };
    let error = courier(options(), work).check_provider().unwrap_err();
    assert_eq!(error.kind(), DelegateErrorKind::Unavailable);
    assert!(error.hints()[0].contains("cacert"), "{error:?}");
}

#[test]
fn where_a_server_points_to_is_told_and_not_asked() {
    let answer = |exchange: Exchange| {
        exchange.answer(301, &[("location", "https://ada:secret@elsewhere.example/a?b=c")], b"")
    };
    let server = failing(1, answer);
    let error = ask(&server, Request::get).1.unwrap_err();
    assert_eq!(error.causes(), ["it points to `https://elsewhere.example/a?…`"]);
    assert_eq!(server.seen().len(), 1);
}

#[test]
fn who_hangs_up_may_want_tls() {
    let server = failing(u32::MAX, |_| Ok(()));
    let error = ask(&server, Request::get).1.unwrap_err();
    assert!(error.hints()[0].contains("`https://`"), "{error:?}");
}

#[test]
fn a_silent_server_is_given_up() {
    let server = Server::start(Exchange::say_nothing).unwrap();
    let url = server.url();
    let mut options = options();
    options.limits.answer = Duration::from_millis(100);
    options.retries.times = 1;
    let work = move |client: &Client<'_>| {
        client.send(&Request::get(url.clone()))?;
        Ok(())
    };
    let error = courier(options, work).check_provider().unwrap_err();
    assert!(error.message().contains("silent"), "{error:?}");
    assert_eq!(server.seen().len(), 2);
}

#[test]
fn secrets_are_shown_nowhere() {
    let server = Server::start(|exchange| {
        let path = format!("{{\"message\": \"you said {}\"}}", exchange.header("x-token").unwrap());
        exchange.answer(503, &[], path.as_bytes())
    })
    .unwrap();
    let url = server.url();
    let delegate = courier(options(), move |client| {
        let learned = Secret::new("learned-later");
        client.keep_secret(&learned);
        let url = format!("{url}/swordfish?password=swordfish");
        let token = Secret::new(format!("{} and swordfish", learned.expose()));
        client.send(&Request::get(url).secret_header("x-token", &token))?;
        Ok(())
    });
    let error = delegate.check_provider().unwrap_err();
    assert_eq!(error.causes(), ["the server says: you said <redacted> and <redacted>"]);
    let shown = format!("{error:?} {:?} {:?}", delegate.activities(), delegate.logs());
    assert!(!shown.contains("swordfish") && !shown.contains("learned-later"), "{shown}");
}

#[test]
fn no_part_of_a_secret_is_shown_where_words_are_cut() {
    for before in 285..305 {
        let server = failing(1, move |exchange| {
            let words = format!("{}swordfish", "x".repeat(before));
            exchange.answer(400, &[], words.as_bytes())
        });
        let error = ask(&server, Request::get).1.unwrap_err();
        assert!(!format!("{error:?}").contains("xs"), "{error:?}");
    }
}

#[test]
fn an_upload_sends_the_file_with_its_digests_and_progress() {
    let received = std::sync::Arc::new(Mutex::new(Vec::new()));
    let sink = std::sync::Arc::clone(&received);
    let server = Server::start(move |mut exchange| {
        assert_eq!(exchange.header("content-length"), Some("12000000"));
        *sink.lock().unwrap() = exchange.body()?;
        exchange.json(201, &json!({}))
    })
    .unwrap();
    let url = server.url();
    let delegate = courier(options(), move |client| {
        let path = &client.builder().target_image().unwrap().path;
        let mut upload = Upload::of_file(path.clone())?
            .digest_by(Algorithm::Md5)
            .digest_by(Algorithm::Sha256)
            .digest_by(Algorithm::Sha512);
        assert_eq!(upload.digest(Algorithm::Md5), None);
        let answer = client.upload(&Request::put(url.clone()), &mut upload)?;
        assert_eq!(answer.status(), 201);
        let lengths = [Algorithm::Md5, Algorithm::Sha256, Algorithm::Sha512]
            .map(|algorithm| upload.digest(algorithm).unwrap().len());
        assert_eq!(lengths, [32, 64, 128]);
        assert_eq!(upload.digest(Algorithm::Md5), Some(MD5_OF_BODY));
        Ok(())
    });
    assert_eq!(delegate.check_provider(), Ok(()));
    assert!(*received.lock().unwrap() == body());
    assert_eq!(delegate.progress().last(), Some(&100));
    assert_eq!(delegate.activities().last().unwrap(), "uploading 12 of 12 MiB");
}

const MD5_OF_BODY: &str = "f628181a4b2a4d160b007216eb36da47";

/// Uploads the body to `server`, with retries.
fn upload_to(server: &Server) -> (HarnessedDelegate, Result<(), DelegateError>) {
    let url = server.url();
    let delegate = courier(options(), move |client| {
        let path = &client.builder().target_image().unwrap().path;
        let mut upload = Upload::of_file(path.clone())?.digest_by(Algorithm::Md5);
        client.upload(&Request::put(url.clone()), &mut upload)?;
        assert_eq!(upload.digest(Algorithm::Md5), Some(MD5_OF_BODY));
        Ok(())
    });
    let result = delegate.check_provider();
    (delegate, result)
}

#[test]
fn an_upload_that_is_cut_begins_again() {
    for received in [0, 3_600_000, 11_880_000] {
        let server = failing(2, move |mut exchange| exchange.take(received).map(drop));
        assert_eq!(upload_to(&server).1, Ok(()), "{received}");
        assert_eq!(server.seen().len(), 3);
    }
}

#[test]
fn an_answer_in_the_midst_of_an_upload_is_heard() {
    for received in [0, 3_600_000] {
        let server = failing(u32::MAX, move |mut exchange| {
            exchange.take(received)?;
            exchange.answer(413, &[], b"Image storage media is full")
        });
        let error = upload_to(&server).1.unwrap_err();
        assert_eq!(error.kind(), DelegateErrorKind::Unavailable, "{error:?}");
        assert_eq!(error.causes(), ["the server says: Image storage media is full"]);
        assert!(error.hints()[0].contains("free space"));
        assert_eq!(server.seen().len(), 1);
    }
}

#[test]
fn a_cancel_ends_whatever_is_under_way_at_once() {
    let hang_up_never: [fn(Exchange) -> io::Result<()>; 3] = [
        Exchange::say_nothing,
        |mut exchange| {
            exchange.take(1_000_000)?;
            std::thread::sleep(Duration::from_secs(15));
            Ok(())
        },
        |exchange| exchange.answer(503, &[("retry-after", "50")], b""),
    ];
    for answer in hang_up_never {
        let server = Server::start(answer).unwrap();
        let url = server.url();
        let delegate = courier(options(), move |client| {
            let path = &client.builder().target_image().unwrap().path;
            client.upload(&Request::put(url.clone()), &mut Upload::of_file(path.clone())?)?;
            Ok(())
        });
        let ended = std::thread::scope(|scope| {
            let pushing = scope.spawn(|| delegate.check_provider());
            while server.seen().is_empty() {
                std::thread::sleep(Duration::from_millis(5));
            }
            std::thread::sleep(Duration::from_millis(100));
            delegate.cancel();
            pushing.join().unwrap()
        });
        assert_eq!(ended.unwrap_err().kind(), DelegateErrorKind::Cancelled);
        assert_eq!(server.seen().len(), 1);
    }
}

#[test]
fn a_body_that_ends_early_is_answered_after_a_cancel() {
    let server = Server::start(|mut exchange| {
        exchange.take(1_000_000)?;
        std::thread::sleep(Duration::from_millis(500));
        let more = exchange.body()?.len().to_string();
        exchange.answer(202, &[("more", &more)], b"")
    })
    .unwrap();
    let url = server.url();
    let delegate = courier(options(), move |client| {
        let path = &client.builder().target_image().unwrap().path;
        let mut upload = Upload::of_file(path.clone())?.ends_early();
        let answer = client.upload(&Request::patch(url.clone()), &mut upload)?;
        assert_eq!(answer.status(), 202);
        let more: usize = answer.header("more").unwrap().parse().unwrap();
        assert!(client.builder().cancelled() && more < body().len() - 1_000_000, "{more}");
        Ok(())
    });
    std::thread::scope(|scope| {
        let pushing = scope.spawn(|| delegate.check_provider());
        while server.seen().is_empty() {
            std::thread::sleep(Duration::from_millis(5));
        }
        std::thread::sleep(Duration::from_millis(100));
        delegate.cancel();
        assert_eq!(pushing.join().unwrap(), Ok(()));
    });
}

#[test]
fn a_server_that_does_not_read_hears_of_a_cancel_at_once() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let delegate = courier(options(), move |client| {
        let path = &client.builder().target_image().unwrap().path;
        let mut upload = Upload::of_file(path.clone())?;
        client.upload(&Request::put(url.clone()), &mut upload)?;
        Ok(())
    });
    let hung_up = std::thread::scope(|scope| {
        let pushing = scope.spawn(|| delegate.check_provider());
        let mut stream = listener.accept().unwrap().0;
        stream.read_exact(&mut [0; 10]).unwrap();
        stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").unwrap();
        // Until all buffers on the way are full.
        std::thread::sleep(Duration::from_millis(300));
        delegate.cancel();
        pushing.join().unwrap().unwrap_err();
        let mut watched = [PollFd::new(&stream, PollFlags::RDHUP)];
        let limit = Timespec { tv_sec: 5, tv_nsec: 0 };
        poll(&mut watched, Some(&limit)).unwrap()
    });
    assert_eq!(hung_up, 1);
}

#[test]
fn cleaning_up_goes_on_after_a_cancel() {
    let server = failing(0, |_| Ok(()));
    let url = server.url();
    let delegate = courier(options(), move |client| {
        let cleaner = client.for_clean_up()?;
        cleaner.send(&Request::delete(url.clone()))?;
        Ok(client.send(&Request::get(url.clone())).map(drop)?)
    });
    delegate.cancel();
    assert_eq!(delegate.check_provider().unwrap_err().kind(), DelegateErrorKind::Cancelled);
    assert_eq!(server.seen(), ["DELETE /"]);
}

#[test]
fn a_file_that_became_shorter_is_named() {
    let server = failing(u32::MAX, |exchange| exchange.json(200, &json!({})));
    let url = server.url();
    let delegate = courier(options(), move |client| {
        let path = &client.builder().target_image().unwrap().path;
        let mut upload = Upload::of_file(path.clone())?;
        fs_err::write(path, "short")?;
        client.upload(&Request::put(url.clone()), &mut upload)?;
        Ok(())
    });
    let error = delegate.check_provider().unwrap_err();
    assert_eq!(error.kind(), DelegateErrorKind::Failed);
    assert!(error.causes()[0].contains("became shorter"), "{error:?}");
}

#[test]
fn wrong_authorities_are_refused() {
    for (given, reason) in [
        ("/nowhere/ca.pem", "nowhere"),
        ("-----BEGIN NOTHING-----\n-----END NOTHING-----\n", "no certificate"),
    ] {
        let options = Options { authorities: Some(given.to_owned()), ..options() };
        let error = courier(options, |_| Ok(())).check_provider().unwrap_err();
        assert_eq!(error.kind(), DelegateErrorKind::InvalidInput);
        assert!(error.causes()[0].contains(reason), "{error:?}");
    }
}
