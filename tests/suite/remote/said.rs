//! What two commands say, made comparable: without what differs between any two runs.

use serde_json::Value;

use crate::support::Ran;

/// Fields that hold times, paths of a server, or what the machine happens to have.
const FLEETING: [&str; 8] = [
    "path",
    "created",
    "started",
    "finished",
    "time",
    "sequence",
    "free_bytes",
    "outstanding_bytes",
];

/// Exit code, data and everything else of a command.
pub(super) fn said(ran: &Ran) -> (Option<i32>, String, String) {
    let stdout = if let Ok(mut document) = serde_json::from_str::<Value>(&ran.stdout) {
        forget(&mut document);
        serde_json::to_string_pretty(&document).unwrap()
    } else {
        let is_told = |line: &&str| {
            let line = line.trim_start();
            !line.starts_with("file ") && !line.starts_with("disk ")
        };
        ran.stdout.lines().filter(is_told).map(without_time).collect::<Vec<_>>().join("\n")
    };
    let mut names = Vec::new();
    let [stdout, stderr] = [&stdout, &ran.stderr].map(|text| numbered(text, &mut names));
    (ran.code, stdout, stderr)
}

fn forget(document: &mut Value) {
    match document {
        Value::Array(items) => items.iter_mut().for_each(forget),
        Value::Object(fields) => {
            for (name, value) in fields {
                if FLEETING.contains(&name.as_str()) {
                    *value = Value::Null;
                } else {
                    forget(value);
                }
            }
        },
        _ => {},
    }
}

/// Numbers with one decimal and ` s` after them say how long something took.
fn without_time(line: &str) -> String {
    let mut words: Vec<&str> = line.split(' ').filter(|word| !word.is_empty()).collect();
    for at in 1..words.len() {
        if words[at] == "s" && words[at - 1].parse::<f64>().is_ok() {
            words[at - 1] = "?";
        }
    }
    words.join(" ")
}

/// Identifiers of images, whole or short, become numbers in the order in which they are first named.
fn numbered(text: &str, names: &mut Vec<String>) -> String {
    let is_part = |c: char| c.is_ascii_hexdigit() || c == '-';
    let mut out = String::new();
    let mut rest = text;
    while let Some(start) = rest.find(is_part) {
        let length = rest[start..].find(|c| !is_part(c)).unwrap_or(rest.len() - start);
        let (before, word) = (&rest[..start], &rest[start..start + length]);
        out.push_str(before);
        let is_whole = word.len() == 36 && word.matches('-').count() == 4;
        let is_short = word.len() == 8 && word.chars().any(|c| c.is_ascii_digit());
        if is_whole || is_short {
            let short = &word[..8];
            let known = names.iter().position(|name| name == short).unwrap_or_else(|| {
                names.push(short.to_owned());
                names.len() - 1
            });
            out.extend(["<image ", &known.to_string(), ">"]);
        } else {
            out.push_str(word);
        }
        rest = &rest[start + length..];
    }
    out + rest
}

#[test]
fn what_is_compared_still_differs_where_commands_differ() {
    let ran =
        |stdout: &str| Ran { code: Some(0), stdout: stdout.to_owned(), stderr: String::new() };
    let line = |id: &str| format!("base  {id}  COMPLETE  1.2 s");
    let ids = ["0c1eafe4-1111-4a2b-9c3d-000000000001", "0c1eafe5-2222-4a2b-9c3d-000000000002"];
    assert_eq!(said(&ran(&line(ids[0]))), said(&ran(&line(ids[1]))));
    let twice = format!("{}\n{}", line(ids[0]), line(ids[0]));
    let both = format!("{}\n{}", line(ids[0]), line(ids[1]));
    assert_ne!(said(&ran(&twice)), said(&ran(&both)));
    assert_ne!(said(&ran("base  FAILED  1.2 s")), said(&ran("base  COMPLETE  1.2 s")));
}
