//! How long a guest waits for the next piece of a response.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::Sleep;

/// Runs out when nothing has come for so long.
pub(super) struct Patience {
    most: Duration,
    /// Set up only when the server makes the guest wait.
    timer: Option<Pin<Box<Sleep>>>,
}

impl Patience {
    pub(super) fn new(most: Duration) -> Self {
        Self { most, timer: None }
    }

    /// Something came: the next wait is another one.
    pub(super) fn renew(&mut self) {
        self.timer = None;
    }

    /// Whether it has run out, asked whenever nothing has come.
    pub(super) fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let most = self.most;
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(most)));
        timer.as_mut().poll(cx)
    }
}
