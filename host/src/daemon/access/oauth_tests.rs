//! Signatures; those of an independent client are in the suite.

use axum::http::Method as Verb;

use super::*;
use crate::tokens::Scope;

const NOW: i64 = 1_800_000_000;

fn oauth() -> Oauth {
    let scopes: Scopes = [Scope::ImagesWrite].into_iter().collect();
    let consumers = [("old client".to_owned(), (Secret::from("s&cret".to_owned()), scopes))];
    let used = Used { floor: NOW - 1000, taken: BTreeSet::new(), most: 100 };
    Oauth { consumers: RwLock::new(Arc::new(consumers.into())), used: Mutex::new(used) }
}

fn request(body: &[u8]) -> Signed<'_> {
    Signed {
        method: &Verb::POST,
        host: "Factory.example:80",
        path: "/imagefactory/base_images",
        query: "b=2&a=x%20y",
        body,
        is_form: true,
    }
}

/// A header with a right signature, in which `changed` parameters stand instead of the usual ones.
fn header(signed: &Signed<'_>, changed: &[(&str, &str)]) -> String {
    let mut given: Vec<(String, String)> = [
        ("oauth_consumer_key", "old client"),
        ("oauth_nonce", "once"),
        ("oauth_timestamp", &NOW.to_string()),
        ("oauth_signature_method", "HMAC-SHA1"),
        ("oauth_version", "1.0"),
    ]
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .to_vec();
    given.retain(|(key, _)| changed.iter().all(|(other, _)| other != key));
    given.extend(changed.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
    let text = base_string(signed, "http", &given);
    let mac = Hmac::<Sha1>::new_from_slice(b"s%26cret&").unwrap().chain_update(text);
    given.push(("oauth_signature".to_owned(), STANDARD.encode(mac.finalize().into_bytes())));
    given.push(("realm".to_owned(), "factory".to_owned()));
    let pairs = given.iter().map(|(key, value)| format!("{key}=\"{}\"", encode(value)));
    pairs.collect::<Vec<_>>().join(", ")
}

#[test]
fn the_base_string_is_that_of_the_standard() {
    // The example of RFC 5849 §3.4.1.1.
    let signed = Signed {
        host: "EXAMPLE.COM:80",
        path: "/request",
        query: "b5=%3D%253D&a3=a&c%40=&a2=r%20b",
        ..request(b"c2&a3=2+q")
    };
    let given = parameters(
        "realm=\"Example\", oauth_consumer_key=\"9djdj82h48djs9d2\", \
         oauth_token=\"kkk9d7dh3k39sjv7\", oauth_signature_method=\"HMAC-SHA1\", \
         oauth_timestamp=\"137131201\", oauth_nonce=\"7d8f3e4a\", \
         oauth_signature=\"bYT5CMsGcbgUdFHObYMEfcx6bsw%3D\"",
    );
    let expected = "POST&http%3A%2F%2Fexample.com%2Frequest&a2%3Dr%2520b%26a3%3D2%2520q%26a3%3Da%26\
                    b5%3D%253D%25253D%26c%2540%3D%26c2%3D%26oauth_consumer_key%3D9djdj82h48djs9d2%26\
                    oauth_nonce%3D7d8f3e4a%26oauth_signature_method%3DHMAC-SHA1%26\
                    oauth_timestamp%3D137131201%26oauth_token%3Dkkk9d7dh3k39sjv7";
    assert_eq!(base_string(&signed, "http", &given.unwrap()), expected);
}

#[test]
fn a_signature_is_good_once() {
    let (oauth, signed) = (oauth(), request(b"template=x"));
    let header = header(&signed, &[]);
    let (key, scopes) = oauth.verify_at(&header, &signed, NOW).unwrap();
    assert_eq!((&*key, scopes.to_string()), ("old client", "images:write".to_owned()));
    assert_eq!(oauth.verify_at(&header, &signed, NOW).unwrap_err(), Unsigned::Used);
}

#[test]
fn whatever_is_signed_cannot_be_changed() {
    let signed = request(b"template=x");
    let header = header(&signed, &[]);
    let changed = [
        Signed { method: &Verb::PUT, ..signed },
        Signed { host: "other.example", ..signed },
        Signed { host: "factory.example:8080", ..signed },
        Signed { path: "/imagefactory/target_images", ..signed },
        Signed { query: "b=2&a=x%20z", ..signed },
        Signed { body: b"template=y", ..signed },
        Signed { is_form: false, ..signed },
    ];
    for changed in &changed {
        let refused = oauth().verify_at(&header, changed, NOW).unwrap_err();
        assert_eq!(refused, Unsigned::Signature, "{changed:?}");
    }
    assert!(oauth().verify_at(&header, &signed, NOW).is_ok());
}

#[test]
fn the_digest_of_another_body_is_refused() {
    let json = Signed { is_form: false, ..request(b"{}") };
    let hash = header(&json, &[("oauth_body_hash", &STANDARD.encode(Sha1::digest(b"{}")))]);
    assert!(oauth().verify_at(&hash, &json, NOW).is_ok());
    let other = Signed { body: b"[]", ..json };
    assert_eq!(oauth().verify_at(&hash, &other, NOW).unwrap_err(), Unsigned::Body);
}

#[test]
fn who_is_refused_is_told_why_but_never_whether_there_is_such_a_consumer() {
    let signed = request(b"");
    let parameter = Unsigned::Parameter;
    for (changed, expected) in [
        (("oauth_consumer_key", "nobody"), Unsigned::Signature),
        (("oauth_timestamp", "1799999699"), Unsigned::Timestamp(301)),
        (("oauth_timestamp", "1800000301"), Unsigned::Timestamp(301)),
        (("oauth_timestamp", "soon"), parameter("oauth_timestamp")),
        (("oauth_timestamp", "-5"), parameter("oauth_timestamp")),
        (("oauth_nonce", ""), parameter("oauth_nonce")),
        (("oauth_signature_method", "PLAINTEXT"), Unsigned::Method),
        (("oauth_signature_method", "HMAC-SHA256"), Unsigned::Signature),
        (("oauth_version", "2.0"), parameter("oauth_version")),
        (("oauth_token", "stolen"), parameter("oauth_token")),
    ] {
        let refused = oauth().verify_at(&header(&signed, &[changed]), &signed, NOW).unwrap_err();
        assert_eq!(refused, expected, "{changed:?}");
    }
    assert!(oauth().verify_at(&header(&signed, &[("oauth_token", "")]), &signed, NOW).is_ok());
    for (malformed, expected) in [
        ("", parameter("oauth_consumer_key")),
        ("oauth_nonce=\"a\", oauth_nonce=\"a\"", Unsigned::Malformed),
        ("oauth_nonce=a", Unsigned::Malformed),
        ("oauth_nonce", Unsigned::Malformed),
    ] {
        let refused = oauth().verify_at(malformed, &signed, NOW).unwrap_err();
        assert_eq!(refused, expected, "{malformed}");
    }
}

#[test]
fn what_is_forgotten_cannot_be_sent_again() {
    let (oauth, signed) = (oauth(), request(b""));
    let of = |nonce: i64, time: i64| {
        let (nonce, time) = (nonce.to_string(), time.to_string());
        header(&signed, &[("oauth_nonce", &nonce), ("oauth_timestamp", &time)])
    };
    let first = of(0, NOW - 200);
    assert!(oauth.verify_at(&first, &signed, NOW).is_ok());
    for number in 0..150 {
        assert!(oauth.verify_at(&of(number, NOW + number), &signed, NOW).is_ok());
    }
    assert_eq!(oauth.used.lock().unwrap().taken.len(), 100);
    assert_eq!(oauth.verify_at(&first, &signed, NOW).unwrap_err(), Unsigned::Forgotten);
    assert_eq!(oauth.verify_at(&of(149, NOW + 149), &signed, NOW).unwrap_err(), Unsigned::Used);
    let late = NOW + 1000;
    assert!(oauth.verify_at(&of(1, late), &signed, late).is_ok());
    assert_eq!(oauth.used.lock().unwrap().taken.len(), 1);
}
