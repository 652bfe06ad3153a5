//! A value that tasks wait upon: the latest counts, and whoever waits is woken in the order in which it began to wait.
//!
//! Takes the place of `tokio::sync::watch`, which spreads its waiters over eight lists by a random number of its own: with several
//! waiters the order in which they wake differs between two runs in one process.

use std::cell::{Ref, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};

struct Shared<T> {
    value: T,
    version: u64,
    closed: bool,
    waiting: Vec<Waker>,
}

impl<T> Shared<T> {
    fn changed(&mut self) -> Vec<Waker> {
        self.version += 1;
        std::mem::take(&mut self.waiting)
    }
}

/// The half that sets the value.
pub struct Sender<T>(Rc<RefCell<Shared<T>>>);

/// A half that sees it.
pub struct Receiver<T> {
    shared: Rc<RefCell<Shared<T>>>,
    seen: u64,
}

/// Nobody is left to set the value.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the sender is gone")]
pub struct Closed;

impl<T> Sender<T> {
    /// A value that can be watched.
    pub fn new(value: T) -> Self {
        Self(Rc::new(RefCell::new(Shared { value, version: 0, closed: false, waiting: Vec::new() })))
    }

    /// A receiver that has seen the present value.
    pub fn subscribe(&self) -> Receiver<T> {
        Receiver { shared: self.0.clone(), seen: self.0.borrow().version }
    }

    /// Sets the value.
    pub fn send(&self, value: T) {
        let old = self.modify(|present| std::mem::replace(present, value));
        drop(old);
    }

    /// Changes the value in place. `change` must not look at it through another half.
    pub fn modify<R>(&self, change: impl FnOnce(&mut T) -> R) -> R {
        let (result, waiting) = {
            let mut shared = self.0.borrow_mut();
            let result = change(&mut shared.value);
            (result, shared.changed())
        };
        waiting.into_iter().for_each(Waker::wake);
        result
    }

    /// The value now.
    pub fn borrow(&self) -> Ref<'_, T> {
        Ref::map(self.0.borrow(), |shared| &shared.value)
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        let waiting = {
            let mut shared = self.0.borrow_mut();
            shared.closed = true;
            shared.changed()
        };
        waiting.into_iter().for_each(Waker::wake);
    }
}

impl<T: Clone> Receiver<T> {
    /// The value now; it counts as seen.
    pub fn latest(&mut self) -> T {
        let shared = self.shared.borrow();
        self.seen = shared.version;
        shared.value.clone()
    }

    /// Waits until the value was set again since it was last seen; it counts as seen then.
    ///
    /// # Errors
    /// If nobody is left to set it.
    pub async fn changed(&mut self) -> Result<(), Closed> {
        poll_fn(|context| {
            let mut shared = self.shared.borrow_mut();
            if shared.closed {
                return Poll::Ready(Err(Closed));
            }
            if self.seen != shared.version {
                self.seen = shared.version;
                return Poll::Ready(Ok(()));
            }
            if !shared.waiting.iter().any(|waker| waker.will_wake(context.waker())) {
                shared.waiting.push(context.waker().clone());
            }
            Poll::Pending
        })
        .await
    }

    /// Waits until the value is as `condition` wants it; returns it.
    ///
    /// # Errors
    /// If nobody is left to set it.
    pub async fn wait_for(&mut self, mut condition: impl FnMut(&T) -> bool) -> Result<T, Closed> {
        loop {
            let value = self.latest();
            if condition(&value) {
                return Ok(value);
            }
            self.changed().await?;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::task::Context;

    use super::*;

    #[test]
    fn the_latest_value_counts_and_the_end_is_told() {
        let sender = Sender::new(1);
        let mut receiver = sender.subscribe();
        assert_eq!(receiver.latest(), 1);
        let mut context = Context::from_waker(Waker::noop());
        {
            let mut changed = Box::pin(receiver.changed());
            assert_eq!(changed.as_mut().poll(&mut context), Poll::Pending);
            sender.send(2);
            sender.modify(|value| *value += 1);
            assert_eq!(changed.as_mut().poll(&mut context), Poll::Ready(Ok(())));
        }
        assert_eq!(receiver.latest(), 3);
        let mut waiting = Box::pin(receiver.wait_for(|value| 5 < *value));
        assert_eq!(waiting.as_mut().poll(&mut context), Poll::Pending);
        drop(sender);
        assert_eq!(waiting.as_mut().poll(&mut context), Poll::Ready(Err(Closed)));
    }
}
