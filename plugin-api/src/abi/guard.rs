//! The guard around every body that is called across the boundary.
//!
//! A panic becomes a [`DelegateError`] with its message and place. The place is only known to a
//! panic hook, so one is installed in this library's copy of the standard library; it keeps quiet
//! about panics that the guard will report, and leaves all others to the hook that was there.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::mem;
use std::panic::{self, AssertUnwindSafe, PanicHookInfo};
use std::sync::Once;

use crate::error::DelegateError;
use crate::export::panics_abort;

/// A guarded call that belongs to no session.
pub(super) const NO_SESSION: u64 = u64::MAX;

/// No guarded call runs on this thread.
const OUTSIDE: u64 = 0;

thread_local! {
    /// The session whose call runs on this thread.
    static CURRENT: Cell<u64> = const { Cell::new(OUTSIDE) };
    /// What the hook saw of the last panic on this thread.
    static LAST_PANIC: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// The session whose call runs on this thread.
pub(crate) fn current_session() -> Option<u64> {
    Some(CURRENT.get()).filter(|id| ![OUTSIDE, NO_SESSION].contains(id))
}

/// Runs `body` as a call of `session`; answers what it panicked with, in words, if it did.
#[inline]
pub(super) fn catch<T>(session: u64, body: impl FnOnce() -> T) -> Result<T, Box<str>> {
    // Not `CURRENT.with(..)`: it is not inlined, and then costs more than everything else here.
    let outer = CURRENT.replace(session);
    // What the body left half-done is either dropped or behind locks that notice poison.
    let result = panic::catch_unwind(AssertUnwindSafe(body)).map_err(describe);
    CURRENT.set(outer);
    result
}

/// Runs `body` of a plugin as a call of `session`; a panic becomes an error of the plugin.
#[inline]
pub(super) fn call<T>(
    session: u64,
    body: impl FnOnce() -> Result<T, DelegateError>,
) -> Result<T, DelegateError> {
    match catch(session, body) {
        Ok(result) => result,
        Err(panic) => Err(bug(&panic)),
    }
}

/// The error that a panic of a plugin becomes.
#[cold]
pub(super) fn bug(panic: &str) -> DelegateError {
    DelegateError::bug_in_plugin(format!("the plugin panicked {panic}"))
}

#[cold]
fn describe(payload: Box<dyn Any + Send>) -> Box<str> {
    let seen = LAST_PANIC.take();
    let said = payload
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| payload.downcast_ref::<String>().cloned());
    // The payload's own drop may panic, and so may the payload of that.
    if let Err(second) = panic::catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        mem::forget(second);
        LAST_PANIC.take();
    }
    // Without the hook (the plugin replaced it, or `resume_unwind` went past it) only the payload
    // speaks.
    let told = seen.unwrap_or_else(|| match said {
        Some(text) => format!("at an unknown place: {text}"),
        None => "at an unknown place, with a value that is no text".to_owned(),
    });
    told.into_boxed_str()
}

/// Installs the hook, once for this library's copy of the standard library.
pub(super) fn install_hook() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let others = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            // No thread-local is left when a thread ends; such a panic is not guarded either.
            let unguarded = CURRENT.try_with(Cell::get).unwrap_or(OUTSIDE) == OUTSIDE;
            // Where a panic ends the process, nobody else will tell what it was.
            if unguarded || panics_abort() {
                others(info);
            } else {
                note(info);
            }
        }));
    });
}

fn note(info: &PanicHookInfo<'_>) {
    let text = info.payload_as_str().unwrap_or("(with a value that is no text)");
    let noted = match info.location() {
        Some(place) => format!("at {place}: {text}"),
        None => format!("at an unknown place: {text}"),
    };
    drop(LAST_PANIC.try_with(|last| last.replace(Some(noted))));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_told_with_message_file_and_line() {
        install_hook();
        let error = call(NO_SESSION, || -> Result<(), _> { panic!("out of {}", "luck") });
        let message = error.unwrap_err().message().to_owned();
        assert!(message.contains("out of luck"), "{message}");
        assert!(message.contains("guard.rs:"), "{message}");
    }

    #[test]
    fn a_payload_that_is_no_text_is_caught() {
        install_hook();
        let told = catch(NO_SESSION, || panic::panic_any(7_u8)).unwrap_err();
        assert!(told.contains("no text"), "{told}");
    }

    #[test]
    fn a_payload_whose_drop_panics_is_caught() {
        struct Bomb;
        impl Drop for Bomb {
            fn drop(&mut self) {
                panic!("dropped");
            }
        }
        install_hook();
        let told = catch(NO_SESSION, || panic::panic_any(Bomb)).unwrap_err();
        assert!(told.contains("guard.rs:"), "{told}");
        assert_eq!(current_session(), None);
    }

    #[test]
    fn a_panic_past_the_hook_still_tells_its_message() {
        let told = catch(NO_SESSION, || panic::resume_unwind(Box::new("quiet"))).unwrap_err();
        assert_eq!(&*told, "at an unknown place: quiet");
    }

    #[test]
    fn the_session_of_a_call_ends_with_it() {
        let inner = catch(1, || catch(2, current_session).unwrap()).unwrap();
        assert_eq!((inner, current_session()), (Some(2), None));
    }
}
