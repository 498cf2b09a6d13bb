//! What a sink exports, called on a fiber.

use std::sync::Arc;

use wasmtime::component::Resource;
use wasmtx_hub::{CloseReason, Entry, Opening};
use wasmtx_media::Flags;

use crate::{
    bindings::{
        plugin::types::FrameInfo,
        sink::{Sinking, sink as wit},
    },
    convert,
    failure::{Failure, Refused},
    fiber::{self, Budget},
    host::frame,
    limits::Limits,
};

pub(super) type Guest = fiber::Guest<Sinking>;

/// What one call brings.
pub(super) struct Batch {
    pub(super) entries: Vec<Arc<Entry>>,
    /// Whether frames are missing before the first one.
    pub(super) gap: bool,
    /// Whether the guest wants the bytes.
    pub(super) bytes: bool,
}

impl Batch {
    fn infos(&self) -> impl Iterator<Item = FrameInfo> {
        self.entries.iter().enumerate().map(|(n, entry)| {
            let mut info = frame::info(&entry.frame);
            if self.gap && n == 0 {
                info.flags |= Flags::DISCONTINUITY.0;
            }
            info
        })
    }
}

/// How long `open` and `close` may take.
fn opening_budget(limits: &Limits) -> Budget {
    Budget::new(limits.open, limits.sink_wall)
}

/// How long a batch may take.
pub(super) fn batch_budget(limits: &Limits) -> Budget {
    Budget::new(limits.sink_running, limits.sink_wall)
}

pub(super) async fn open(guest: &mut Guest, opening: &Opening, limits: &Limits) -> Result<wit::Wants, Refused> {
    let publication = convert::publication(opening, &guest.state().grants);
    let said = guest.call(opening_budget(limits), move |exports: &Sinking, store| {
        Box::pin(async move { exports.wasmtx_plugin_sink().call_open(store, &publication).await })
    });
    Ok(said.await??)
}

/// Gives a batch to the guest. Every way in which it does not take it is a failure.
pub(super) async fn take(guest: &mut Guest, batch: Batch, budget: Budget) -> Result<(), Failure> {
    if batch.bytes
        && let Err(limit) = guest.state().frame.may_lend()
    {
        return Err(Failure::other("it keeps more frames than it may").against(limit));
    }
    let said = if batch.bytes {
        let call = guest.call(budget, move |exports: &Sinking, store| {
            Box::pin(async move {
                let held = &mut store.data_mut().frame;
                let payloads = batch.entries.iter().map(|entry| &entry.frame.payload);
                let items: Vec<_> = batch
                    .infos()
                    .zip(payloads)
                    .map(|(info, payload)| wit::Item {
                        info,
                        data: Resource::new_own(held.lend(payload.clone())),
                    })
                    .collect();
                drop(batch);
                exports.wasmtx_plugin_sink().call_frames(store, &items).await
            })
        });
        call.await?
    } else {
        let call = guest.call(budget, move |exports: &Sinking, store| {
            Box::pin(async move {
                let infos: Vec<_> = batch.infos().collect();
                drop(batch);
                exports.wasmtx_plugin_sink().call_infos(store, &infos).await
            })
        });
        call.await?
    };
    said.map_err(|error| Refused::from(error).into_failure())
}

/// The last call; what the guest wrote is on its way to the disk afterwards.
pub(super) async fn close(mut guest: Guest, reason: CloseReason, limits: &Limits) -> Result<(), Failure> {
    let reason = convert::close_reason(reason);
    let closed = guest.call(opening_budget(limits), move |exports: &Sinking, store| {
        Box::pin(async move { exports.wasmtx_plugin_sink().call_close(store, reason).await })
    });
    let closed = closed.await;
    guest.state().settle_files(None).await;
    closed
}
