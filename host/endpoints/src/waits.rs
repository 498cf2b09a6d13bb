//! What the loop of a connection waits for, where it may not be there: then for ever.

use std::{future::pending, time::Instant};

use tokio::sync::watch;
use wasmtx_hub::Decision;

use crate::{
    permission::Permission,
    tcp::{Membership, Over},
};

/// Resolves at this time; never without one.
pub(crate) async fn passed(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time.into()).await,
        None => pending().await,
    }
}

/// Resolves when the crew no longer writes for this reader; never without a crew.
pub(crate) async fn over<F>(crew: &mut Option<Membership<F>>) -> Over {
    match crew {
        Some(crew) => crew.over().await,
        None => pending().await,
    }
}

/// Resolves when the server stops, or is gone.
pub(crate) async fn stopping(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

/// Resolves when the gate, asked again, has answered.
pub(crate) async fn answered(permission: &mut Option<Permission>) -> Decision {
    match permission {
        Some(permission) => permission.answer().await,
        None => pending().await,
    }
}
