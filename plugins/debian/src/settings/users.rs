//! Users of the image.

use plugin_api::DelegateError;
use serde_json::{Map, Value};

/// A user to create.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct User {
    /// Login name.
    pub name: String,
    /// Password in clear or as a crypt(3) hash that starts with `$`; without one it is locked.
    pub password: Option<String>,
    /// Public keys that may log in.
    pub ssh_keys: Vec<String>,
    /// Whether `sudo` works without a password.
    pub sudo: bool,
    /// Further groups; they must exist.
    pub groups: Vec<String>,
    /// Login shell.
    pub shell: String,
}

/// Reads the parameter `users`: an array of names and objects, or one of them, or its JSON text.
pub(super) fn read(value: Option<&Value>, problems: &mut Vec<DelegateError>) -> Vec<User> {
    match value {
        None => Vec::new(),
        Some(Value::Array(items)) => items.iter().filter_map(|item| user(item, problems)).collect(),
        Some(Value::String(text)) if text.trim_start().starts_with(['[', '{']) => {
            match serde_json::from_str::<Value>(text) {
                Ok(value) => read(Some(&value), problems),
                Err(error) => {
                    let refused =
                        DelegateError::invalid_input("parameter `users` is not valid JSON");
                    problems.push(refused.caused_by(error));
                    Vec::new()
                },
            }
        },
        Some(Value::String(text)) => text
            .split([',', ' '])
            .filter(|name| !name.is_empty())
            .filter_map(|name| user(&Value::String(name.to_owned()), problems))
            .collect(),
        Some(value) => user(value, problems).into_iter().collect(),
    }
}

fn user(value: &Value, problems: &mut Vec<DelegateError>) -> Option<User> {
    let before = problems.len();
    let mut refuse = |problem: String| {
        problems.push(DelegateError::invalid_input(format!("parameter `users`: {problem}")));
    };
    let user = match value {
        Value::String(name) => named(name),
        Value::Object(fields) => from_object(fields, &mut refuse),
        other => {
            refuse(format!("expected a name or an object, found {other}"));
            return None;
        },
    };
    if !is_user_name(&user.name) {
        refuse(format!("`{}` is not a user name", user.name));
    }
    if user.password.as_ref().is_some_and(|password| password.contains(['\n', ':'])) {
        refuse(format!("the password of `{}` holds a colon or a line break", user.name));
    }
    for group in user.groups.iter().filter(|group| !is_user_name(group)) {
        refuse(format!("`{group}` is not the name of a group"));
    }
    if !user.shell.starts_with('/') || user.shell.contains([':', '\n']) {
        refuse(format!("`{}` is not the path of a shell", user.shell));
    }
    for key in &user.ssh_keys {
        check_key(key, &format!("parameter `users`, `{}`", user.name), problems);
    }
    (problems.len() == before).then_some(user)
}

fn named(name: &str) -> User {
    User { name: name.to_owned(), shell: "/bin/bash".to_owned(), ..User::default() }
}

fn from_object(fields: &Map<String, Value>, refuse: &mut impl FnMut(String)) -> User {
    let mut user = named("");
    for (field, value) in fields {
        let text = || value.as_str().map(str::to_owned);
        let done = match field.as_str() {
            "name" => text().map(|name| user.name = name),
            "password" => text().map(|password| user.password = Some(password)),
            "shell" => text().map(|shell| user.shell = shell),
            "sudo" => value.as_bool().map(|sudo| user.sudo = sudo),
            "groups" => texts(value).map(|groups| user.groups = groups),
            "ssh_keys" => texts(value).map(|keys| user.ssh_keys = keys),
            _ => {
                refuse(format!("there is no field `{field}`"));
                continue;
            },
        };
        if done.is_none() {
            refuse(format!("field `{field}` has the wrong type"));
        }
    }
    user
}

fn texts(value: &Value) -> Option<Vec<String>> {
    match value {
        Value::String(text) => Some(vec![text.clone()]),
        Value::Array(items) => items.iter().map(|item| item.as_str().map(str::to_owned)).collect(),
        _ => None,
    }
}

/// The names that `useradd` of Debian accepts.
fn is_user_name(name: &str) -> bool {
    (1..=32).contains(&name.len())
        && name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "_-".contains(c))
}

/// Notes a line that cannot stand in `authorized_keys`.
pub(super) fn check_key(key: &str, place: &str, problems: &mut Vec<DelegateError>) {
    let kinds = ["ssh-", "ecdsa-", "sk-ssh-", "sk-ecdsa-"];
    let is_key = key.split_whitespace().any(|word| kinds.iter().any(|kind| word.starts_with(kind)));
    if !is_key || key.contains('\n') {
        problems.push(
            DelegateError::invalid_input(format!("{place}: `{key}` is not a public SSH key"))
                .hint("give one line as in `id_ed25519.pub`"),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn users_are_names_objects_or_json_text() {
        let mut problems = Vec::new();
        let users = read(Some(&json!(["alice", {"name": "bob", "sudo": true}])), &mut problems);
        assert_eq!(users[0], named("alice"));
        assert!(users[1].sudo);
        assert_eq!(read(Some(&json!("alice, bob")), &mut problems).len(), 2);
        let text = json!(r#"[{"name": "eve", "ssh_keys": "ssh-ed25519 AAAA eve"}]"#);
        assert_eq!(read(Some(&text), &mut problems)[0].ssh_keys, ["ssh-ed25519 AAAA eve"]);
        assert_eq!(problems, []);
    }

    #[test]
    fn every_wrong_field_is_named() {
        let mut problems = Vec::new();
        let users = read(
            Some(
                &json!([{"name": "Bad Name", "sudo": "maybe", "colour": 1, "ssh_keys": ["hello"]}]),
            ),
            &mut problems,
        );
        assert_eq!(users, []);
        let all: Vec<_> = problems.iter().map(ToString::to_string).collect();
        let all = all.join("\n");
        for part in ["`Bad Name`", "`sudo`", "`colour`", "`hello`"] {
            assert!(all.contains(part), "{part} in {all}");
        }
    }
}
