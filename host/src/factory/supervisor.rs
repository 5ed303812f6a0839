//! Starts a worker, listens to it, ends it, and says what became of it.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError, SyncSender};
use std::time::{Duration, Instant};

use plugin_api::host::LogRecord;
use plugin_api::{DelegateError, DelegateErrorKind};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions};

use super::bounds::{self, bounded};
use super::limits::{Passed, Watch};
use super::protocol::{CANCEL, Message, Outcome, Request, for_each_line};
use super::secrets::Secrets;
use crate::process::{Exit, Isolation, executable};

/// Time that a cancelled worker has: five seconds for `abort`, two for its children, some to tell.
const CANCEL_GRACE: Duration = Duration::from_secs(8);
/// Time that a worker has to end when its work is done: delegates are dropped, exit handlers run.
const EXIT_GRACE: Duration = Duration::from_secs(5);
/// Time between two looks at whether the build was cancelled.
const POLL: Duration = Duration::from_millis(100);
/// Time for a worker's standard error to end after its event channel did, on a busy machine too.
const DRAIN: Duration = Duration::from_secs(2);
/// The same for one that goes on writing.
const MAX_DRAIN: Duration = Duration::from_mins(1);
/// Time in which a signal that ended a worker is heard by this process as well, on a busy machine too.
const HEARD: Duration = Duration::from_secs(1);
/// A longer pause between two looks was none of the worker's: this process was stopped.
const STOPPED: Duration = Duration::from_secs(2);
/// Messages read ahead of the store.
const QUEUED_MESSAGES: usize = 1024;
/// Last lines of the log that a diagnosis repeats.
const TAIL_LINES: usize = 4;
/// Longest of them, in bytes.
const TAIL_LINE_BYTES: usize = 400;
/// How the standard library begins to say that there is no memory.
const OUT_OF_MEMORY: &str = "memory allocation of ";

/// What a supervisor asks about the world around its worker.
pub(crate) struct Surroundings<'a> {
    /// Whether the work is to stop.
    pub(crate) cancelled: &'a dyn Fn() -> bool,
    /// Disk space that other builds were promised and have not used.
    pub(crate) outstanding_bytes: &'a dyn Fn() -> u64,
}

impl<'a> Surroundings<'a> {
    /// For work that leaves no image.
    pub(crate) fn without_image(cancelled: &'a dyn Fn() -> bool) -> Self {
        Self { cancelled, outstanding_bytes: &|| 0 }
    }
}

/// Runs one worker to its end. Every way in which it can end is an [`Outcome`].
/// `on_message` is given `None` when the worker has been silent for a moment.
pub(crate) fn supervise(
    request: &Request,
    surroundings: &Surroundings<'_>,
    on_message: &mut dyn FnMut(Option<&Message>),
) -> Outcome {
    match Supervisor::start(request) {
        Ok(supervisor) => supervisor.listen(surroundings, on_message),
        Err(error) => Outcome::Failed {
            plugin: String::new(),
            method: String::new(),
            error: DelegateError::failed("cannot start a worker process")
                .caused_by(error)
                .hint("`setpriv` and `unshare` of util-linux must be installed"),
        },
    }
}

struct Supervisor {
    child: Child,
    stdin: Option<std::process::ChildStdin>,
    messages: mpsc::Receiver<Message>,
    secrets: Secrets,
    has_init: bool,
    plugins: Vec<String>,
    plugin: String,
    method: String,
    outcome: Option<Outcome>,
    exit: Option<Exit>,
    watch: Watch,
    passed: Option<Passed>,
    aborting: bool,
    last_words: String,
    tail: VecDeque<String>,
    done: Option<Instant>,
    deadline: Option<Instant>,
    killed: bool,
}

impl Supervisor {
    fn start(request: &Request) -> std::io::Result<Self> {
        let watch = Watch::new(request);
        let fence = Isolation::available();
        let executable = executable()?;
        let mut command = fence.command(executable.as_str());
        command.arg("worker");
        if fence.has_pid_namespace() {
            command.arg("--init");
            request.reach().pass(&mut command);
        }
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()?;
        let (sender, messages) = mpsc::sync_channel(QUEUED_MESSAGES);
        if let Some(stdout) = child.stdout.take() {
            let sender = sender.clone();
            std::thread::spawn(move || read_messages(stdout, &sender));
        }
        if let Some(stderr) = child.stderr.take() {
            std::thread::spawn(move || read_output(stderr, &sender));
        }
        let mut stdin = child.stdin.take();
        if let Some(stdin) = &mut stdin {
            let cgroup = watch.group().map(|group| group.path().to_owned());
            let mut line = serde_json::to_vec(&Request { cgroup, ..request.clone() })?;
            line.push(b'\n');
            // A worker that ended before it read tells why in another way.
            drop(stdin.write_all(&line));
        }
        Ok(Self {
            child,
            stdin,
            messages,
            secrets: Secrets::new(request.secrets.iter().cloned()),
            has_init: fence.has_pid_namespace(),
            plugins: request.os.iter().chain(&request.cloud).map(|it| it.name.clone()).collect(),
            plugin: String::new(),
            method: String::new(),
            outcome: None,
            exit: None,
            watch,
            passed: None,
            aborting: false,
            last_words: String::new(),
            tail: VecDeque::new(),
            done: None,
            deadline: None,
            killed: false,
        })
    }

    fn listen(
        mut self,
        surroundings: &Surroundings<'_>,
        on_message: &mut dyn FnMut(Option<&Message>),
    ) -> Outcome {
        let mut ended_at = None;
        // This process may have been stopped since, too.
        let mut looked = self.watch.started();
        let mut heard = looked;
        loop {
            match self.messages.recv_timeout(POLL) {
                Ok(message) => {
                    self.take(message, on_message);
                    heard = Instant::now();
                },
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => on_message(None),
            }
            // A flood of messages must not become a flood of questions.
            if looked.elapsed() < POLL {
                continue;
            }
            let now = Instant::now();
            self.excuse(now - looked);
            looked = now;
            if ended_at.is_none() && self.has_ended() {
                ended_at = Some(looked);
            }
            // Whoever still holds its standard error outlived its namespace; nobody waits for that.
            // What it said before it ended is heard, however long it takes to write that down.
            let overdue = |at: Instant| {
                at.elapsed() > DRAIN && heard.elapsed() > DRAIN || at.elapsed() > MAX_DRAIN
            };
            if ended_at.is_some_and(overdue) {
                break;
            }
            self.see_to_limits(now, surroundings.outstanding_bytes, on_message);
            self.see_to_cancel(now, surroundings.cancelled);
            self.see_to_end(now);
        }
        self.end_group();
        let status = self.child.wait().map(Exit::of);
        self.see_to_request(status.as_ref().ok(), surroundings.cancelled);
        // `unshare` ends with 1 when the init process of its namespace is killed, which then told
        // nothing: its own exit says nothing about the worker.
        let exit = if self.has_init { self.exit } else { self.exit.or(status.ok()) };
        let passed = self.passed.take().or_else(|| self.watch.passed_in_kernel());
        if self.outcome.is_some()
            && let Some(late) = self.late_end(exit)
        {
            on_message(Some(&Message::Output(late)));
        }
        let was_ended = passed.as_ref().is_some_and(|passed| !passed.may_be_asked) && self.killed;
        match (self.outcome.take(), passed) {
            (Some(outcome @ Outcome::Complete { .. }), _) if !was_ended => outcome,
            (_, Some(passed)) => {
                self.fail(self.with_tail(passed.error(&self.plugin, &self.place())))
            },
            (Some(Outcome::Failed { plugin, method, error }), None) => {
                let error = self.watch.limits().explain(&plugin, error);
                Outcome::Failed { plugin, method, error }
            },
            (Some(outcome), None) => outcome,
            (None, None) => self.diagnose(exit),
        }
    }

    /// While this process was stopped (`Ctrl-Z`), it heard nothing and nobody could tell it anything:
    /// that time counts for no limit.
    fn excuse(&mut self, pause: Duration) {
        if pause > STOPPED {
            self.watch.excuse(pause);
            self.deadline = self.deadline.map(|deadline| deadline + pause);
            self.done = self.done.map(|done| done + pause);
        }
    }

    fn take(&mut self, message: Message, on_message: &mut dyn FnMut(Option<&Message>)) {
        match message {
            // A plugin that forked may have two processes tell the end; the first one counts.
            Message::Done(outcome) if self.outcome.is_none() => {
                self.done = Some(Instant::now());
                self.outcome = Some(self.mask(outcome));
            },
            Message::Done(_) => {},
            Message::Exited(exit) => self.exit = Some(exit),
            // A plugin may not speak for another.
            Message::Method { plugin, .. } if !self.plugins.contains(&plugin) => {},
            message => {
                self.watch.hear(&message);
                let message = self.mask_message(message);
                self.remember(&message);
                match &message {
                    Message::Method { method, .. } if method == "abort" => self.aborting = true,
                    // Where a limit was passed is where the fault is, whatever is called after it.
                    // A worker that was killed for it called nothing since.
                    Message::Method { .. } if self.passed.is_some() && !self.killed => {},
                    Message::Method { plugin, method } => {
                        self.plugin.clone_from(plugin);
                        self.method.clone_from(method);
                    },
                    // What the standard library says before it aborts.
                    Message::Output(line) if line.starts_with(OUT_OF_MEMORY) => {
                        self.last_words.clone_from(line);
                    },
                    _ => {},
                }
                on_message(Some(&message));
                // All that it said may be here before anybody looks.
                if let Some(passed) = self.watch.too_much_log() {
                    self.end_for(passed);
                }
            },
        }
    }

    /// Keeps the end of the log for a diagnosis.
    fn remember(&mut self, message: &Message) {
        let (Message::Output(line) | Message::Log(LogRecord { message: line, .. })) = message
        else {
            return;
        };
        if !line.trim().is_empty() {
            let mut line = line.clone();
            bounds::cut(&mut line, TAIL_LINE_BYTES);
            self.tail.push_back(line);
        }
        if self.tail.len() > TAIL_LINES {
            self.tail.pop_front();
        }
    }

    /// `error` with the end of the log.
    fn with_tail(&self, error: DelegateError) -> DelegateError {
        self.tail.iter().fold(error, |error, line| error.because(format!("log: {line}")))
    }

    /// Plugins may repeat what they were given. A provider's name for an image must stay what it is.
    fn mask_message(&self, message: Message) -> Message {
        match message {
            Message::Delivered(_) => message,
            other => self.secrets.mask_document(other),
        }
    }

    /// The same of how it ended. A cache key is hashed, not shown.
    fn mask(&self, outcome: Outcome) -> Outcome {
        match outcome {
            Outcome::Complete { .. } => outcome,
            Outcome::Checked { problems, cache_key, content } => Outcome::Checked {
                problems: self.secrets.mask_document(problems),
                cache_key,
                content,
            },
            other => self.secrets.mask_document(other),
        }
    }

    /// Ends a worker that takes more than it may: at once, or after asking where that may help.
    fn see_to_limits(
        &mut self,
        now: Instant,
        outstanding: &dyn Fn() -> u64,
        on_message: &mut dyn FnMut(Option<&Message>),
    ) {
        if self.passed.is_some() || self.deadline.is_some() || self.outcome.is_some() {
            return;
        }
        if let Some(passed) = self.watch.passed(self.child.id(), now, outstanding) {
            // On a busy machine, what it is doing may have been said and not been heard.
            let said: Vec<Message> = self.messages.try_iter().take(QUEUED_MESSAGES).collect();
            for message in said {
                self.take(message, on_message);
            }
            self.end_for(passed);
        }
    }

    /// Ends a worker for the first limit that it has passed.
    fn end_for(&mut self, passed: Passed) {
        if self.passed.is_some() || self.deadline.is_some() || self.outcome.is_some() {
            return;
        }
        if passed.may_be_asked {
            self.ask_to_stop();
        } else {
            self.killed = true;
            self.end_group();
        }
        self.passed = Some(passed);
    }

    fn ask_to_stop(&mut self) {
        self.deadline = Some(Instant::now() + CANCEL_GRACE);
        if let Some(stdin) = &mut self.stdin {
            // A worker that is gone needs no asking.
            drop(writeln!(stdin, "{CANCEL}"));
        }
    }

    /// Asks the worker to stop, once; ends it when it does not.
    fn see_to_cancel(&mut self, now: Instant, cancelled: &dyn Fn() -> bool) {
        match self.deadline {
            None if cancelled() => self.ask_to_stop(),
            Some(deadline) if !self.killed && now >= deadline => {
                self.killed = true;
                self.end_group();
            },
            _ => {},
        }
    }

    /// A request to end may reach the worker first: one that is only forked still belongs to this process's
    /// group, to which Ctrl-C goes.
    fn see_to_request(&mut self, status: Option<&Exit>, cancelled: &dyn Fn() -> bool) {
        let requests = [Signal::INT, Signal::TERM, Signal::HUP].map(Signal::as_raw);
        let Some(Exit::Signal(number)) = status else { return };
        let end = Instant::now() + HEARD;
        while requests.contains(number) && self.deadline.is_none() && Instant::now() < end {
            self.see_to_cancel(Instant::now(), cancelled);
            std::thread::sleep(HEARD / 100);
        }
    }

    /// Ends a worker that lingers when its work is done.
    fn see_to_end(&mut self, now: Instant) {
        if !self.killed && self.done.is_some_and(|at| now > at + EXIT_GRACE) {
            self.killed = true;
            self.end_group();
        }
    }

    /// What is to be told of a worker that ended badly after its work was done.
    fn late_end(&self, exit: Option<Exit>) -> Option<String> {
        let place = self.place();
        match exit {
            Some(Exit::Code(0)) => None,
            _ if self.killed => {
                Some(format!("the work was done, but the worker did not end {place}: it was ended"))
            },
            Some(exit) => Some(format!("the work was done, then the worker {exit} {place}")),
            None => None,
        }
    }

    /// Looks without reaping: until it is reaped, its id is its own and may be signalled.
    fn has_ended(&self) -> bool {
        let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        let found = rustix::process::waitid(WaitId::Pid(Pid::from_child(&self.child)), look);
        matches!(found, Ok(Some(_)))
    }

    /// Ends what is left of the worker's process group, with it its namespace, and its control group.
    fn end_group(&self) {
        // The child is not reaped yet, so its id is still its own. It may have ended already.
        rustix::process::kill_process_group(Pid::from_child(&self.child), Signal::KILL).ok();
        if let Some(group) = self.watch.group() {
            group.kill();
        }
    }

    /// Where the worker was.
    fn place(&self) -> String {
        match (self.plugin.as_str(), self.method.as_str()) {
            ("", _) => "before it called a plugin".to_owned(),
            (plugin, "open") => format!("while plugin `{plugin}` was loaded"),
            (plugin, method) => format!("in `{method}` of plugin `{plugin}`"),
        }
    }

    fn fail(&self, error: DelegateError) -> Outcome {
        Outcome::Failed { plugin: self.plugin.clone(), method: self.method.clone(), error }
    }

    fn diagnose(&self, exit: Option<Exit>) -> Outcome {
        let place = self.place();
        let how = exit.map_or_else(|| "vanished".to_owned(), |exit| exit.to_string());
        if self.deadline.is_none() {
            let error = self.with_tail(crash(exit, &format!("the worker {how} {place}")));
            if self.last_words.is_empty() {
                return self.fail(error);
            }
            let error = error.because(self.last_words.as_str());
            return self.fail(self.watch.limits().explain(&self.plugin, error));
        }
        let what = if self.killed {
            format!("the worker did not stop {place} and was ended")
        } else if self.aborting {
            format!("the worker {how} {place}, or in its `abort`")
        } else {
            format!("the worker {how} {place}")
        };
        let error = DelegateError::cancelled(format!("the build was cancelled; {what}"));
        let error = if self.killed {
            error.hint(format!(
                "a delegate must look at `cancelled` every few seconds: report this to the maintainer \
                 of `{}`",
                self.plugin
            ))
        } else {
            error
        };
        self.fail(self.with_tail(error))
    }
}

/// A crash is the plugin's fault; a kill from outside is nobody's.
fn crash(exit: Option<Exit>, message: &str) -> DelegateError {
    let from_outside = [Signal::KILL, Signal::TERM, Signal::INT, Signal::HUP];
    match exit {
        Some(Exit::Signal(number))
            if from_outside.iter().any(|signal| signal.as_raw() == number) =>
        {
            DelegateError::new(DelegateErrorKind::Failed, format!("interrupted: {message}"))
                .hint("the plugin or somebody ended it, or the machine ran out of memory: `dmesg` would tell")
        },
        None => DelegateError::new(DelegateErrorKind::Failed, format!("interrupted: {message}"))
            .hint("the plugin or somebody ended all of its processes at once"),
        Some(_) => DelegateError::bug_in_plugin(message)
            .hint("the log shows what the plugin did before; report this to its maintainer"),
    }
}

/// However listening ends, a panic included, no worker outlives it.
impl Drop for Supervisor {
    fn drop(&mut self) {
        if !matches!(self.child.try_wait(), Ok(Some(_))) {
            self.end_group();
            drop(self.child.wait());
        }
    }
}

fn read_messages(stdout: impl Read, messages: &SyncSender<Message>) {
    for_each_line(stdout, |line| match Message::from_line(line) {
        Some(message) => messages.send(bounded(message)).is_ok(),
        None => true,
    });
}

fn read_output(stderr: impl Read, messages: &SyncSender<Message>) {
    for_each_line(stderr, |line| {
        let text = String::from_utf8_lossy(line).trim_end().to_owned();
        text.is_empty() || messages.send(bounded(Message::Output(text))).is_ok()
    });
}
