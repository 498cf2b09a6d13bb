//! The seam "where is it": asked when somebody wants to read a path that nobody publishes and nothing else brings online.

use std::{fmt, sync::Arc};

use futures_util::future::BoxFuture;

use crate::{Client, PathName};

/// Finds streams for paths that nobody publishes. Held in the path's configuration; none there, nothing asked.
pub trait Resolver: Send + Sync {
    /// Where the stream of a path is, for the first of those who want to read it now; the others wait for the same answer.
    /// Called with the path locked: all work belongs into the future.
    fn resolve(&self, path: &PathName, client: &Arc<Client>) -> BoxFuture<'static, Answer>;
}

/// What a resolver says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The server fetches the stream from there for as long as somebody reads.
    Source(Arc<Found>),
    /// Readers are sent elsewhere: to a URL, or to another path.
    Redirect(String),
    /// Nowhere: the path stays as it is.
    Nothing,
}

/// A stream that a resolver found.
#[derive(Clone, PartialEq, Eq)]
pub struct Found {
    /// Its URL, as the resolver wrote it. May hold a password.
    pub url: String,
    /// Addresses beside the public ones that it may be fetched from, as the operator listed them.
    pub hosts: Arc<[String]>,
}

impl fmt::Debug for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Found")
            .field("hosts", &self.hosts)
            .finish_non_exhaustive()
    }
}
