//! Which traces are recorded from the beginning.

use crate::config::Environment;

/// The decision, by the trace's id alone, so that every node decides alike.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Sampling {
    /// Share of ids, 0.0 to 1.0.
    share: f64,
    of_sender: OfSender,
}

/// What a sender's own decision counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum OfSender {
    /// A trace that it does not record is not recorded; of those it does, our share is. WordPress
    /// knows nothing of shares and always says that it records.
    OnlyNo,
    /// What it says.
    All,
    /// Nothing.
    Nothing,
}

impl Sampling {
    /// `OTEL_TRACES_SAMPLER` where it is set, with its standard meaning; else our setting.
    pub(super) fn of(share: f64, env: &Environment) -> Self {
        let argument = env.get("OTEL_TRACES_SAMPLER_ARG").and_then(|text| text.parse().ok());
        let argument = argument.filter(|share| (0.0..=1.0).contains(share)).unwrap_or(1.0);
        let (share, of_sender) = match env.get("OTEL_TRACES_SAMPLER") {
            Some("always_on") => (1.0, OfSender::Nothing),
            Some("always_off") => (0.0, OfSender::Nothing),
            Some("traceidratio") => (argument, OfSender::Nothing),
            Some("parentbased_always_on") => (1.0, OfSender::All),
            Some("parentbased_always_off") => (0.0, OfSender::All),
            Some("parentbased_traceidratio") => (argument, OfSender::All),
            Some(_) | None => (share, OfSender::OnlyNo),
        };
        Self { share, of_sender }
    }

    pub(super) fn samples(self, trace_id: [u8; 16], of_sender: Option<bool>) -> bool {
        match (self.of_sender, of_sender) {
            (OfSender::All, Some(decided)) => decided,
            (OfSender::OnlyNo, Some(false)) => false,
            (OfSender::All, None)
            | (OfSender::OnlyNo, Some(true) | None)
            | (OfSender::Nothing, Some(_) | None) => self.takes(trace_id),
        }
    }

    /// The last 7 bytes of an id are random (W3C Trace Context, level 2).
    fn takes(self, trace_id: [u8; 16]) -> bool {
        let random = trace_id[9..].iter().fold(0_u64, |sum, byte| (sum << 8) | u64::from(*byte));
        // The upper 53 of these 56 bits: what a double holds exactly, always below 1.
        let place = (random >> 3) as f64 / 9_007_199_254_740_992.0;
        place < self.share
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(last: u8) -> [u8; 16] {
        let mut id = [1; 16];
        id[9] = last;
        id
    }

    #[test]
    fn our_share_counts_for_what_a_sender_records() {
        let half = Sampling::of(0.5, &Environment::default());
        assert!(half.samples(id(0x10), Some(true)));
        assert!(half.samples(id(0x10), None));
        assert!(!half.samples(id(0x90), Some(true)));
        assert!(!half.samples(id(0x10), Some(false)));
        let env = Environment::default();
        assert!(Sampling::of(1.0, &env).samples([0xff; 16], None));
        assert!(!Sampling::of(0.0, &env).samples([0; 16], Some(true)));
    }

    #[test]
    fn the_standard_variables_have_their_meaning() {
        let of = |name, argument| {
            let set = [("OTEL_TRACES_SAMPLER", name), ("OTEL_TRACES_SAMPLER_ARG", argument)];
            Sampling::of(0.0, &Environment::from(set))
        };
        assert!(of("always_on", "").samples(id(0xff), Some(false)));
        assert!(!of("always_off", "").samples(id(0), Some(true)));
        assert!(of("parentbased_always_off", "").samples(id(0xff), Some(true)));
        assert!(!of("parentbased_traceidratio", "0.5").samples(id(0x90), None));
        assert!(of("traceidratio", "0.5").samples(id(0x10), Some(false)));
    }
}
