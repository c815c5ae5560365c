//! Where a subscriber's notices go.

use copydesk_core::failure::Failure;
use copydesk_core::outbound::{Refused, Rules};
use copydesk_core::signature::Secret;
use copydesk_eventlog::jetstream::Destination;
use copydesk_proto::SubscriberId;
use url::Url;

use super::folder::Folder;
use super::nats::NatsSubject;
use super::notice::Parcel;
use super::store::Store;
use super::webhook;
use crate::bucket::Bucket;
use crate::outbound::Outbound;

/// Where a subscriber's notices are to go.
#[derive(Debug, Clone)]
pub enum Way {
    /// By HTTP POST.
    Webhook {
        /// To where.
        url: Url,
        /// Which addresses it may have.
        rules: Rules,
    },
    /// As lines of files in a folder of this machine.
    Folder(std::path::PathBuf),
    /// As lines of files in a bucket.
    Store {
        /// Where; a folder of the subscriber's name is made in it.
        bucket: Bucket,
        /// The same for people.
        target: String,
    },
    /// As messages on a NATS subject.
    Nats(Destination),
    /// To a test.
    #[cfg(test)]
    Test(TestOutlet),
}

/// What a test does with a notice.
#[cfg(test)]
#[derive(Clone)]
pub struct TestOutlet(pub(crate) std::sync::Arc<Hand>);

#[cfg(test)]
type Hand = dyn Fn(&Parcel) -> Result<u16, Failure> + Send + Sync;

#[cfg(test)]
impl std::fmt::Debug for TestOutlet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("TestOutlet").finish()
    }
}

/// Why there is no way to a subscriber.
#[derive(Debug, thiserror::Error)]
pub enum OutletError {
    /// The address is not one that may be called.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The HTTP client cannot be set up.
    #[error("failed to set up the HTTP client")]
    Http(#[source] reqwest::Error),
}

/// A way that is set up.
#[derive(Debug)]
pub enum Outlet {
    /// By HTTP POST.
    Webhook(Outbound, Url),
    /// A folder.
    Folder(Folder),
    /// Files in a bucket.
    Store(Store),
    /// A NATS subject.
    Nats(Box<NatsSubject>),
    /// A test.
    #[cfg(test)]
    Test(TestOutlet),
}

impl Outlet {
    /// `places`: notices that may be on their way at once.
    pub(super) fn open(id: &SubscriberId, way: &Way, places: usize) -> Result<Self, OutletError> {
        Ok(match way {
            Way::Webhook { url, rules } => {
                rules.check_url(url)?;
                let outbound = Outbound::new(rules.clone()).map_err(OutletError::Http)?;
                Self::Webhook(outbound, url.clone())
            }
            Way::Folder(path) => Self::Folder(Folder::new(path.clone(), id)),
            Way::Store { bucket, target } => {
                let bucket = bucket.clone().below(id.as_str());
                Self::Store(Store::open(bucket, target.clone(), places))
            }
            Way::Nats(destination) => Self::Nats(Box::new(NatsSubject::new(destination.clone()))),
            #[cfg(test)]
            Way::Test(outlet) => Self::Test(outlet.clone()),
        })
    }

    /// `webhook`, `folder`, `store` or `nats`.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Webhook(..) => "webhook",
            Self::Folder(_) => "folder",
            Self::Store(_) => "store",
            Self::Nats(_) => "nats",
            #[cfg(test)]
            Self::Test(_) => "test",
        }
    }

    /// Where to, for people; without a user, a password and a query.
    #[must_use]
    pub fn target(&self) -> String {
        match self {
            Self::Webhook(_, url) => {
                let mut url = url.clone();
                url.set_query(None);
                url.set_fragment(None);
                url.to_string()
            }
            Self::Folder(folder) => folder.target(),
            Self::Store(store) => store.target(),
            Self::Nats(subject) => subject.target(),
            #[cfg(test)]
            Self::Test(_) => String::new(),
        }
    }

    /// Hands a notice over. `Ok` means that the other side has it, as durable as it gets there.
    pub(super) async fn hand(&self, keys: &[Secret], parcel: &Parcel) -> Result<u16, Failure> {
        match self {
            Self::Webhook(outbound, url) => {
                webhook::post(outbound, url, keys, parcel).await.map(|status| status.as_u16())
            }
            Self::Folder(folder) => folder.write(parcel).await.map(|()| 0),
            Self::Store(store) => store.write(parcel).await.map(|()| 0),
            Self::Nats(subject) => subject.send(parcel).await.map(|()| 0),
            #[cfg(test)]
            Self::Test(TestOutlet(hand)) => hand(parcel),
        }
    }
}
