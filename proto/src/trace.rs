//! The W3C trace context that travels in every record and every message.

use std::fmt;
use std::str::FromStr;

use data_encoding::HEXLOWER;

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
        let mut parts = text.split('-');
        let mut next = || parts.next().ok_or(BadTraceContext);
        let (version, trace, span, flags) = (next()?, next()?, next()?, next()?);
        if version != "00" || parts.next().is_some() {
            return Err(BadTraceContext);
        }
        let (trace_id, span_id): ([u8; 16], [u8; 8]) = (bytes(trace)?, bytes(span)?);
        let [flags] = bytes(flags)?;
        if trace_id == [0; 16] || span_id == [0; 8] {
            return Err(BadTraceContext);
        }
        Ok(Self { trace_id, span_id, flags })
    }
}

fn bytes<const N: usize>(hex: &str) -> Result<[u8; N], BadTraceContext> {
    let mut bytes = [0; N];
    if hex.len() != 2 * N {
        return Err(BadTraceContext);
    }
    HEXLOWER.decode_mut(hex.as_bytes(), &mut bytes).map_err(|_| BadTraceContext)?;
    Ok(bytes)
}

impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (mut trace, mut span, mut flags) = ([0; 32], [0; 16], [0; 2]);
        f.write_str("00-")?;
        f.write_str(HEXLOWER.encode_mut_str(&self.trace_id, &mut trace))?;
        f.write_str("-")?;
        f.write_str(HEXLOWER.encode_mut_str(&self.span_id, &mut span))?;
        f.write_str("-")?;
        f.write_str(HEXLOWER.encode_mut_str(&[self.flags], &mut flags))
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
