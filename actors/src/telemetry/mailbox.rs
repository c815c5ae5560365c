//! How much lies in the actors' mailboxes, which ractor does not tell. Only messages that carry
//! work are counted, and only of actors that live as long as the node: what a sequencer holds is
//! bounded by the dispatcher's credits, and counted there.

use std::sync::atomic::{AtomicI64, Ordering};

/// The mailboxes of one kind of actor, together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mailbox {
    /// Webhooks to be stored.
    Receivers,
    /// Records to be handed to a sequencer.
    Dispatcher,
    /// Questions to AI services.
    Providers,
    /// Reads and writes of sites.
    Sites,
}

impl Mailbox {
    /// Each with its name in metrics.
    pub const ALL: [(Self, &str); 4] = [
        (Self::Receivers, "receivers"),
        (Self::Dispatcher, "dispatcher"),
        (Self::Providers, "providers"),
        (Self::Sites, "sites"),
    ];
}

#[derive(Debug, Default)]
pub(super) struct Mailboxes {
    receivers: AtomicI64,
    dispatcher: AtomicI64,
    providers: AtomicI64,
    sites: AtomicI64,
}

impl Mailboxes {
    const fn of(&self, mailbox: Mailbox) -> &AtomicI64 {
        match mailbox {
            Mailbox::Receivers => &self.receivers,
            Mailbox::Dispatcher => &self.dispatcher,
            Mailbox::Providers => &self.providers,
            Mailbox::Sites => &self.sites,
        }
    }

    pub(super) fn sent(&self, to: Mailbox) {
        self.of(to).fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn taken(&self, from: Mailbox) {
        self.of(from).fetch_sub(1, Ordering::Relaxed);
    }

    pub(super) fn depth(&self, of: Mailbox) -> u64 {
        u64::try_from(self.of(of).load(Ordering::Relaxed)).unwrap_or(0)
    }
}
