//! Supervises the sequencers, apart from the dispatcher: supervision events go before all other
//! messages, and thousands of starts and stops would starve a dispatcher that were both.

use ractor::{Actor, ActorProcessingErr, ActorRef, SupervisionEvent};
use tracing::warn;

use super::message::DispatcherMessage;

/// The supervisor of all sequencers.
#[derive(Debug)]
pub(super) struct Nursery;

impl Actor for Nursery {
    type Msg = ();
    type State = ActorRef<DispatcherMessage>;
    type Arguments = ActorRef<DispatcherMessage>;

    async fn pre_start(
        &self,
        _: ActorRef<()>,
        dispatcher: ActorRef<DispatcherMessage>,
    ) -> Result<Self::State, ActorProcessingErr> {
        Ok(dispatcher)
    }

    async fn handle_supervisor_evt(
        &self,
        _: ActorRef<()>,
        event: SupervisionEvent,
        dispatcher: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        if let SupervisionEvent::ActorFailed(sequencer, error) = event {
            warn!(%error, "a sequencer failed; it is started again from the log");
            dispatcher.cast(DispatcherMessage::Failed(sequencer.get_id()))?;
        }
        Ok(())
    }
}
