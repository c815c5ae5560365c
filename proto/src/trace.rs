//! The W3C trace context that travels in every record and every message.

use std::fmt;
use std::str::FromStr;

/// A `traceparent` (W3C Trace Context, section 3.2), version 00. A plain value, never a span.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TraceContext {
    /// 16 bytes, not all zero.
    pub trace_id: [u8; 16],
    /// 8 bytes, not all zero.
    pub span_id: [u8; 8],
    /// Bit 0: sampled.
    pub flags: u8,
}

/// The text is no version 00 `traceparent`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a traceparent of version 00")]
pub struct BadTraceContext;

impl FromStr for TraceContext {
    type Err = BadTraceContext;

    fn from_str(text: &str) -> Result<Self, BadTraceContext> {
        let hex = data_encoding::HEXLOWER;
        let mut parts = text.split('-');
        let mut next = || parts.next().ok_or(BadTraceContext);
        let (version, trace, span, flags) = (next()?, next()?, next()?, next()?);
        if version != "00" || parts.next().is_some() {
            return Err(BadTraceContext);
        }
        let decode = |part: &str| hex.decode(part.as_bytes()).map_err(|_| BadTraceContext);
        let trace_id: [u8; 16] = decode(trace)?.try_into().map_err(|_| BadTraceContext)?;
        let span_id: [u8; 8] = decode(span)?.try_into().map_err(|_| BadTraceContext)?;
        let [flags] = <[u8; 1]>::try_from(decode(flags)?).map_err(|_| BadTraceContext)?;
        if trace_id == [0; 16] || span_id == [0; 8] {
            return Err(BadTraceContext);
        }
        Ok(Self { trace_id, span_id, flags })
    }
}

impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hex = data_encoding::HEXLOWER;
        write!(
            f,
            "00-{}-{}-{:02x}",
            hex.encode(&self.trace_id),
            hex.encode(&self.span_id),
            self.flags
        )
    }
}

/// The id of a whole trace, as backends show it; empty where there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TraceId(Option<[u8; 16]>);

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |id| write!(f, "{:032x}", u128::from_be_bytes(id)))
    }
}

impl TraceContext {
    /// The id of the whole trace.
    #[must_use]
    pub const fn trace_id(&self) -> TraceId {
        TraceId(Some(self.trace_id))
    }
}

impl From<TraceContext> for crate::v1::TraceContext {
    fn from(trace: TraceContext) -> Self {
        Self {
            trace_id: trace.trace_id.to_vec(),
            span_id: trace.span_id.to_vec(),
            flags: trace.flags.into(),
        }
    }
}

impl TryFrom<crate::v1::TraceContext> for TraceContext {
    type Error = BadTraceContext;

    fn try_from(stored: crate::v1::TraceContext) -> Result<Self, BadTraceContext> {
        Ok(Self {
            trace_id: stored.trace_id.try_into().map_err(|_| BadTraceContext)?,
            span_id: stored.span_id.try_into().map_err(|_| BadTraceContext)?,
            flags: u8::try_from(stored.flags).map_err(|_| BadTraceContext)?,
        })
    }
}
