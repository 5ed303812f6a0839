//! A session with a delegate of this very process: the same code, without a library.

use std::sync::Arc;

use super::delegate_session::DelegateSession;
use super::guard::{self, NO_SESSION};
use super::host_end::host_end;
use super::module::prepare;
use super::plugin_end::PluginEnd;
use super::session_body;
use crate::error::DelegateError;
use crate::export::Delegate;
use crate::host::{BuildContext, BuilderHost};

/// Opens a session with `delegate`.
pub(crate) fn open_in_this_process(
    delegate: Delegate,
    context: BuildContext,
    host: Arc<dyn BuilderHost>,
) -> Result<DelegateSession, DelegateError> {
    prepare();
    let host = Arc::new(PluginEnd::new(host_end(host)));
    guard::call(NO_SESSION, || session_body::open(|| delegate, context, host))
        .map(DelegateSession::new)
}
