//! Cancel: from the supervisor's line to everything that runs here.

use std::io::{BufReader, PipeReader};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};

use super::channel::Channel;
use super::delegate::Delegate;
use crate::factory::protocol::{Message, wait_for_cancel};

/// Time between asking child processes to end and ending them.
const CHILD_GRACE: Duration = Duration::from_secs(2);

/// Knows whether the build was cancelled, and what must be told then.
#[derive(Debug)]
pub(crate) struct Control {
    cancelled: AtomicBool,
    state: Mutex<State>,
    changed: Condvar,
    channel: Arc<Channel>,
}

#[derive(Debug, Default)]
struct State {
    delegates: Vec<Delegate>,
    children: Vec<Pid>,
    /// Whether delegates are being told of a cancel.
    is_telling: bool,
}

impl Control {
    /// Listens to `supervisor` from now on. Its end means that it is gone.
    pub(crate) fn start(channel: Arc<Channel>, supervisor: BufReader<PipeReader>) -> Arc<Self> {
        let control = Arc::new(Self {
            cancelled: AtomicBool::new(false),
            state: Mutex::default(),
            changed: Condvar::new(),
            channel,
        });
        let listener = Arc::clone(&control);
        std::thread::spawn(move || listener.listen(supervisor));
        control
    }

    /// Whether the build was cancelled.
    pub(crate) fn cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Acquire)
    }

    /// From now on this delegate is told of a cancel.
    pub(crate) fn add_delegate(&self, delegate: Delegate) {
        self.state().delegates.push(delegate);
    }

    /// Drops the delegates, one by one. What they do in `abort` is done first: the supervisor ends those that take
    /// too long.
    pub(crate) fn drop_delegates(&self) {
        let mut state = self.state();
        while state.is_telling {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let delegates = std::mem::take(&mut state.delegates);
        drop(state);
        for delegate in delegates {
            delegate.close(&self.channel);
        }
    }

    /// From now on this child process, leader of its own group, is ended on cancel.
    pub(crate) fn add_child(&self, pid: Pid) {
        self.state().children.push(pid);
        if self.cancelled() {
            end_group(pid, Signal::TERM);
        }
    }

    /// The child is about to be reaped; its id may be anybody's after that.
    pub(crate) fn remove_child(&self, pid: Pid) {
        self.state().children.retain(|child| *child != pid);
        self.changed.notify_all();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn listen(&self, supervisor: BufReader<PipeReader>) {
        // A supervisor that is gone wants nothing any more.
        wait_for_cancel(supervisor);
        self.cancel();
    }

    /// Tells delegates first: they may know what a killed child leaves behind.
    fn cancel(&self) {
        for delegate in self.begin_to_tell() {
            self.channel.send(Message::Method {
                plugin: delegate.plugin().to_owned(),
                method: "abort".to_owned(),
            });
            if let Err(error) = delegate.session().abort() {
                let text = format!("`abort` of plugin `{}`: {error}", delegate.plugin());
                self.channel.send(Message::Output(text));
            }
        }
        self.state().is_telling = false;
        self.changed.notify_all();
        self.end_children();
    }

    /// Whoever sees the cancel from now on also sees that the delegates are being told.
    fn begin_to_tell(&self) -> Vec<Delegate> {
        let mut state = self.state();
        state.is_telling = true;
        self.cancelled.store(true, Ordering::Release);
        state.delegates.clone()
    }

    fn end_children(&self) {
        let mut state = self.state();
        state.children.iter().for_each(|pid| end_group(*pid, Signal::TERM));
        let deadline = Instant::now() + CHILD_GRACE;
        while !state.children.is_empty() {
            let Some(left) = deadline.checked_duration_since(Instant::now()) else {
                break;
            };
            state =
                self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        state.children.iter().for_each(|pid| end_group(*pid, Signal::KILL));
    }
}

fn end_group(pid: Pid, signal: Signal) {
    // The only failure is that the group is gone already.
    rustix::process::kill_process_group(pid, signal).ok();
}
