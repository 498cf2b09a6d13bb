//! stub
use std::{path::PathBuf, time::Duration};
pub(crate) struct Options {
    pub(crate) server: PathBuf,
    pub(crate) window: Duration,
    pub(crate) readers: Vec<u32>,
    pub(crate) rows: Option<PathBuf>,
}
pub(crate) fn bench(_o: &Options) -> anyhow::Result<()> {
    Ok(())
}
