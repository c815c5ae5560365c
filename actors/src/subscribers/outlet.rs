//! Where a subscriber's notices go.

use copydesk_core::failure::Failure;
use copydesk_core::outbound::{Refused, Rules};
use copydesk_core::signature::Secret;
use copydesk_proto::SubscriberId;
use url::Url;

use super::folder::Folder;
use super::notice::Parcel;
use super::webhook;
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
    /// A test.
    #[cfg(test)]
    Test(TestOutlet),
}

impl Outlet {
    pub(super) fn open(id: &SubscriberId, way: &Way) -> Result<Self, OutletError> {
        Ok(match way {
            Way::Webhook { url, rules } => {
                rules.check_url(url)?;
                let outbound = Outbound::new(rules.clone()).map_err(OutletError::Http)?;
                Self::Webhook(outbound, url.clone())
            }
            Way::Folder(path) => Self::Folder(Folder::new(path.clone(), id)),
            #[cfg(test)]
            Way::Test(outlet) => Self::Test(outlet.clone()),
        })
    }

    /// `webhook` or `folder`.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Webhook(..) => "webhook",
            Self::Folder(_) => "folder",
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
            #[cfg(test)]
            Self::Test(TestOutlet(hand)) => hand(parcel),
        }
    }
}
