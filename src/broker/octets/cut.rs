//! Ends a connection from outside of the client library, which keeps a thread and a socket for one that it has begun
//! until the peer says something. A silent broker says nothing.

use std::{
    future::poll_fn,
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};

use futures_util::task::AtomicWaker;

/// Of one connection; cheap to clone. One of its clones may wait at a time.
#[derive(Clone, Debug, Default)]
pub(in crate::broker) struct Cut(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    is_cut: AtomicBool,
    waiting: AtomicWaker,
}

impl Cut {
    /// Whatever reads or waits gets an error, now and from now on.
    pub fn cut(&self) {
        self.0.is_cut.store(true, Ordering::Release);
        self.0.waiting.wake();
    }

    /// Ready once it is cut.
    pub fn poll(&self, cx: &Context<'_>) -> Poll<io::Error> {
        // Registered before the look: a cut between the two wakes.
        self.0.waiting.register(cx.waker());
        match self.0.is_cut.load(Ordering::Acquire) {
            true => Poll::Ready(io::ErrorKind::ConnectionAborted.into()),
            false => Poll::Pending,
        }
    }

    /// What comes of this, unless it is cut before.
    pub async fn unless<T, E: From<io::Error>>(
        &self,
        doing: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        tokio::select! {
            biased;
            error = poll_fn(|cx| self.poll(cx)) => Err(error.into()),
            done = doing => done,
        }
    }
}

/// Cuts when it is dropped, unless the connection was kept.
pub(in crate::broker) struct CutUnlessKept(pub Option<Cut>);

impl Drop for CutUnlessKept {
    fn drop(&mut self) {
        if let Some(cut) = self.0.take() {
            cut.cut();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_waits_ends_when_it_is_cut_and_nothing_waits_after() {
        let cut = Cut::default();
        let done = cut.unless(async { Ok::<_, io::Error>(7) }).await;
        assert_eq!(done.expect("not cut"), 7);
        let waiting = cut.clone();
        let waiting = tokio::spawn(async move {
            let never = std::future::pending::<io::Result<()>>();
            waiting.unless(never).await
        });
        tokio::task::yield_now().await;
        drop(CutUnlessKept(Some(cut.clone())));
        let ended = waiting.await.expect("it ends").expect_err("cut");
        assert_eq!(ended.kind(), io::ErrorKind::ConnectionAborted);
        let late = cut.unless(async { Ok::<_, io::Error>(7) }).await;
        assert!(late.is_err());
    }
}
