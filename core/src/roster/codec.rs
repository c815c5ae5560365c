//! The roster as bytes, and back.

use copydesk_proto::{NodeName, SCHEMA_VERSION, Timestamp, v1};

use super::{Lease, Member, Roster};

/// The bytes are no roster, or one of a later release that this one must not rewrite.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the roster of nodes is not readable by this release")]
pub struct UnreadableRoster;

impl Roster {
    /// As it is stored.
    #[must_use]
    pub fn encode(&self) -> bytes::Bytes {
        let members = self.members.iter().map(|(name, member)| v1::Member {
            name: name.to_string(),
            incarnation: member.incarnation,
            beat: member.beat,
            leaving: member.leaving,
            release: member.release.clone(),
            joined_at_ms: member.joined_at.0,
            backlog: member.backlog,
        });
        let leases = self.leases.iter().map(|lease| v1::Lease {
            holder: lease.holder.as_ref().map(ToString::to_string).unwrap_or_default(),
            epoch: lease.epoch,
            since_ms: lease.since.0,
        });
        copydesk_proto::encode(&v1::Roster {
            schema_version: SCHEMA_VERSION,
            epoch: self.epoch,
            members: members.collect(),
            leases: leases.collect(),
        })
    }

    /// What was stored.
    ///
    /// # Errors
    /// [`UnreadableRoster`].
    pub fn decode(bytes: bytes::Bytes) -> Result<Self, UnreadableRoster> {
        let stored: v1::Roster = copydesk_proto::decode(bytes).map_err(|_| UnreadableRoster)?;
        if stored.schema_version > SCHEMA_VERSION {
            return Err(UnreadableRoster);
        }
        let name = |text: &str| text.parse::<NodeName>().map_err(|_| UnreadableRoster);
        let members = stored.members.into_iter().map(|m| {
            let member = Member {
                incarnation: m.incarnation,
                beat: m.beat,
                leaving: m.leaving,
                release: m.release,
                joined_at: Timestamp(m.joined_at_ms),
                backlog: m.backlog,
            };
            Ok((name(&m.name)?, member))
        });
        let leases = stored.leases.into_iter().map(|lease| {
            let holder = match lease.holder.as_str() {
                "" => None,
                text => Some(name(text)?),
            };
            Ok(Lease { holder, epoch: lease.epoch, since: Timestamp(lease.since_ms) })
        });
        Ok(Self {
            epoch: stored.epoch,
            members: members.collect::<Result<_, _>>()?,
            leases: leases.collect::<Result<_, _>>()?,
        })
    }
}
