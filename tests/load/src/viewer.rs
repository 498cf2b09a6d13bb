//! One connection of a reader that gets tags: RTMP, or FLV over HTTP.

use std::{
    future::poll_fn,
    pin::Pin,
    task::{Poll, ready},
};

use anyhow::{Context, Result, ensure};
use tokio::{
    io::{AsyncRead, AsyncWriteExt, ReadBuf},
    net::TcpStream,
};

use crate::{
    chunks::{Chunks, Message},
    flv::Flv,
    rtmp::{Connection, Goal},
    session::{Buffer, Protocol, Step, Target},
};

/// An open connection.
#[derive(Debug)]
pub(crate) struct Viewer {
    stream: TcpStream,
    form: Form,
}

#[derive(Debug)]
enum Form {
    Rtmp(Chunks),
    Flv(Flv),
}

impl Viewer {
    /// Connects and begins to play. Tags go to the sink as they come.
    pub(crate) async fn open(
        target: &Target,
        path: &str,
        sink: impl FnMut(Message<'_>) -> Result<()>,
    ) -> Result<Viewer> {
        if target.protocol == Protocol::Rtmp {
            let Connection { stream, chunks } = Connection::open(target, path, Goal::Play, sink).await?;
            return Ok(Viewer {
                stream,
                form: Form::Rtmp(chunks),
            });
        }
        ensure!(target.login.is_none(), "credentials go into the query of FLV");
        let stream = TcpStream::connect(target.address).await;
        let mut stream = stream.with_context(|| format!("no connection to {}", target.address))?;
        stream.set_nodelay(true)?;
        let question = if target.query.is_empty() { "" } else { "?" };
        let request = format!(
            "GET /{path}.flv{question}{} HTTP/1.1\r\nHost: {}\r\nUser-Agent: wasmtx-load\r\n\r\n",
            target.query, target.address
        );
        stream.write_all(request.as_bytes()).await?;
        Ok(Viewer {
            stream,
            form: Form::Flv(Flv::new()),
        })
    }

    /// Waits for the next bytes. Cancel safe.
    pub(crate) async fn step(
        &mut self,
        buffer: &Buffer,
        mut sink: impl FnMut(Message<'_>) -> Result<()>,
    ) -> Result<Step> {
        poll_fn(|wakers| {
            let mut buffer = buffer.borrow_mut();
            let mut input = ReadBuf::new(&mut buffer);
            ready!(Pin::new(&mut self.stream).poll_read(wakers, &mut input))?;
            let filled = input.filled();
            if filled.is_empty() {
                return Poll::Ready(Ok(Step::End));
            }
            match &mut self.form {
                Form::Rtmp(chunks) => chunks.feed(filled, &mut sink)?,
                Form::Flv(flv) => flv.feed(filled, &mut sink)?,
            }
            Poll::Ready(Ok(Step::Input(filled.len())))
        })
        .await
    }

    /// Ends it.
    pub(crate) async fn close(mut self) {
        // The other side may be gone already, and that is what is wanted.
        let _ = self.stream.shutdown().await;
    }
}
