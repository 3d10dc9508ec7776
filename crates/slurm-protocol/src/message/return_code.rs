//! RESPONSE_SLURM_RC and RESPONSE_SLURM_RC_MSG (docs/protocol.md, section 4).

use crate::codec::Reader;
use crate::{DecodeError, Errno};

/// `u32 rc`.
pub(crate) fn decode(mut r: Reader<'_>) -> Result<Errno, DecodeError> {
    let code = Errno(r.u32("rc")?);
    r.finish()?;
    Ok(code)
}

/// `u32 rc, str message`: the text, where there is one, is not kept: [`Errno::text`] says it.
pub(crate) fn decode_with_text(mut r: Reader<'_>) -> Result<Errno, DecodeError> {
    let code = Errno(r.u32("rc")?);
    r.str("message")?;
    r.finish()?;
    Ok(code)
}
