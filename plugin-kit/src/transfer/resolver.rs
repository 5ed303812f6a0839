//! Looking up the names of servers.
//!
//! A name that is not found is told apart from a connection that broke: nothing has been sent then, and
//! the reason why it is not found is worth reading.

use ureq::Error;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::NextTimeout;

/// The system's resolver; what it says is an [`Error::Other`].
#[derive(Debug, Default)]
pub(super) struct SystemResolver(DefaultResolver);

impl Resolver for SystemResolver {
    fn resolve(
        &self,
        uri: &Uri,
        config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, Error> {
        self.0.resolve(uri, config, timeout).map_err(|error| match error {
            Error::Io(error) => Error::Other(error.into()),
            other => other,
        })
    }
}
