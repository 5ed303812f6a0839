//! What gives way to the daemon: its workers and the threads of its jobs.

/// By how much they are nicer, `setpriority(2)`: a third of the processor time where both want all of it, and
/// all of what nobody else wants.
const NICER: i32 = 5;

/// Lowers the priority of this thread, of what it starts from now on, and of nothing else. `what` it is, for
/// the log.
pub fn give_way(what: &str) {
    if let Err(error) = rustix::process::nice(NICER) {
        tracing::debug!(what, %error, "it keeps its priority");
    }
}
