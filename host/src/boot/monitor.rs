//! QEMU's control channel (QMP), on its standard input and output.

use std::io::{BufRead, BufReader, Write};
use std::process::{ChildStderr, ChildStdin, ChildStdout};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use camino::Utf8Path;
use serde_json::{Value, json};

/// Time for QEMU to answer a command.
const ANSWER: Duration = Duration::from_secs(5);

/// Talks to one QEMU.
#[derive(Debug)]
pub(super) struct Monitor {
    commands: ChildStdin,
    answers: Receiver<Value>,
    errors: Arc<Mutex<String>>,
}

impl Monitor {
    pub(super) fn new(commands: ChildStdin, answers: ChildStdout, errors: ChildStderr) -> Self {
        let (sender, receiver) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(answers).lines().map_while(Result::ok) {
                let Ok(answer) = serde_json::from_str(&line) else {
                    continue;
                };
                if sender.send(answer).is_err() {
                    break;
                }
            }
        });
        let words = Arc::new(Mutex::new(String::new()));
        let heard = Arc::clone(&words);
        std::thread::spawn(move || {
            for line in BufReader::new(errors).lines().map_while(Result::ok) {
                *heard.lock().unwrap_or_else(PoisonError::into_inner) = line;
            }
        });
        Self { commands, answers: receiver, errors: words }
    }

    /// Writes the display to `path` as PNG; false when QEMU cannot.
    pub(super) fn screenshot(&mut self, path: &Utf8Path) -> bool {
        self.ask(&json!({"execute": "qmp_capabilities"}))
            && self.ask(&json!({
                "execute": "screendump",
                "arguments": {"filename": path, "format": "png"},
            }))
    }

    /// The last line that QEMU wrote on standard error.
    pub(super) fn last_words(&self) -> String {
        self.errors.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn ask(&mut self, command: &Value) -> bool {
        if writeln!(self.commands, "{command}").and_then(|()| self.commands.flush()).is_err() {
            return false;
        }
        while let Ok(answer) = self.answers.recv_timeout(ANSWER) {
            if answer.get("return").is_some() {
                return true;
            }
            if answer.get("error").is_some() {
                return false;
            }
        }
        false
    }
}
