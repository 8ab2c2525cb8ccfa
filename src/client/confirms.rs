//! The publishes of a channel that wait for their confirms.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::sync::oneshot;

use super::error::Error;
use super::message::{Confirmation, Publication, Returned};

/// The confirm of a publish, to be awaited.
#[derive(Debug)]
pub struct PendingConfirm(oneshot::Receiver<Result<Confirmation, Error>>);

impl PendingConfirm {
    /// For a channel without confirms.
    pub(super) fn sent() -> Self {
        let (waiter, confirm) = oneshot::channel();
        let _ = waiter.send(Ok(Confirmation { acked: true, returned: None }));
        Self(confirm)
    }
}

impl Future for PendingConfirm {
    type Output = Result<Confirmation, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let confirmed = ready!(Pin::new(&mut self.0).poll(context));
        // Everything that ends a channel settles its publishes; nothing is left unsaid but at the end of the runtime.
        Poll::Ready(confirmed.unwrap_or_else(|_| Err(Error::closed(None))))
    }
}

/// A publish that has no confirm yet.
#[derive(Debug)]
struct Unsettled {
    waiter: oneshot::Sender<Result<Confirmation, Error>>,
    returned: Option<Returned>,
    /// What it was, if it may come back: a return does not say which publish it is of.
    mandatory: Option<Box<Publication>>,
}

/// In the order of their delivery tags, which count from 1.
#[derive(Debug, Default)]
pub(super) struct Confirms {
    /// How many are settled and gone from the front.
    gone: u64,
    unsettled: VecDeque<Option<Unsettled>>,
    /// The tags of those that may still come back.
    returnable: VecDeque<u64>,
}

impl Confirms {
    /// Another publish has been sent.
    pub(super) fn push(&mut self, publication: Publication) -> PendingConfirm {
        let (waiter, confirm) = oneshot::channel();
        let mandatory = publication.mandatory.then(|| Box::new(publication));
        if mandatory.is_some() {
            self.returnable.push_back(self.gone + self.unsettled.len() as u64 + 1);
        }
        self.unsettled.push_back(Some(Unsettled { waiter, returned: None, mandatory }));
        PendingConfirm(confirm)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.unsettled.is_empty()
    }

    /// A confirm has come; with `multiple` for everything up to the tag, or for all if that is 0.
    ///
    /// # Errors
    /// When it is for nothing that was published.
    pub(super) fn settle(&mut self, tag: u64, multiple: bool, acked: bool) -> Result<(), String> {
        let last = self.gone + self.unsettled.len() as u64;
        let unknown = || format!("a confirm of {tag}, of {last} published");
        if multiple {
            let up_to = if tag == 0 { last } else { tag };
            if up_to > last {
                return Err(unknown());
            }
            while self.gone < up_to {
                self.gone += 1;
                self.unsettled.pop_front().flatten().into_iter().for_each(|one| one.settle(acked));
            }
        } else {
            let index = tag.checked_sub(self.gone + 1).and_then(|index| usize::try_from(index).ok());
            let one = index.and_then(|index| self.unsettled.get_mut(index)).and_then(Option::take);
            one.ok_or_else(unknown)?.settle(acked);
        }
        while self.unsettled.front().is_some_and(Option::is_none) {
            self.unsettled.pop_front();
            self.gone += 1;
        }
        while self.returnable.front().is_some_and(|tag| *tag <= self.gone) {
            self.returnable.pop_front();
        }
        Ok(())
    }

    /// A message has come back. Returns come in the order of the publishes and before their confirms, so it is the first that
    /// is the same, and the first to this address if the server changed it.
    pub(super) fn returned(&mut self, returned: Returned, content: &Publication) {
        let same = |other: &Publication| other.properties == content.properties && other.body == content.body;
        let Some(at) = self.find(content, same).or_else(|| self.find(content, |_| true)) else { return };
        let tag = self.returnable.remove(at);
        if let Some(one) = tag.and_then(|tag| self.get_mut(tag)) {
            one.returned = Some(returned);
            one.mandatory = None;
        }
    }

    fn find(&self, content: &Publication, same: impl Fn(&Publication) -> bool) -> Option<usize> {
        self.returnable.iter().position(|tag| {
            let one = usize::try_from(tag - self.gone - 1).ok().and_then(|index| self.unsettled.get(index)?.as_ref());
            let mandatory = one.and_then(|one| one.mandatory.as_deref());
            mandatory.is_some_and(|other| other.exchange == content.exchange && other.routing_key == content.routing_key && same(other))
        })
    }

    fn get_mut(&mut self, tag: u64) -> Option<&mut Unsettled> {
        let index = usize::try_from(tag.checked_sub(self.gone + 1)?).ok()?;
        self.unsettled.get_mut(index)?.as_mut()
    }

    /// No confirm will come any more.
    pub(super) fn fail(self, error: &Error) {
        for one in self.unsettled.into_iter().flatten() {
            let _ = one.waiter.send(Err(error.clone()));
        }
    }
}

impl Unsettled {
    fn settle(self, acked: bool) {
        let _ = self.waiter.send(Ok(Confirmation { acked, returned: self.returned }));
    }
}
