//! What `shrink` and `blame` share: a folder for the variants of a run, and what is told if it cannot be varied.

use crate::cli::sweep::{failed, limits};
use crate::cli::{BoundsArguments, Format, Subject, bad_input, tell};
use crate::lab::Verdict;
use crate::lab::variants::{VariantError, Workshop};

/// Works in a folder that is gone afterwards.
pub(super) fn in_workshop<T>(
    bounds: &BoundsArguments,
    work: impl FnOnce(Workshop<'_>) -> Result<T, VariantError>,
) -> Result<T, VariantError> {
    let program = std::env::current_exe()?;
    let folder = std::env::temp_dir().join(format!("wavetank-variants-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let result = work(Workshop { program: &program, limits: &limits(bounds), folder: &folder });
    // What cannot be removed lies where the system cleans up.
    let _ = std::fs::remove_dir_all(&folder);
    result
}

/// Tells why a run cannot be varied; returns the exit code.
pub(super) fn not_varied(subject: &Subject, error: &VariantError) -> u8 {
    match error {
        VariantError::BadInput(error) => return bad_input(subject, error, Format::Text),
        VariantError::Holds { .. } => tell(&format!("{error}\n  `wavetank sweep` finds seeds that fail\n")),
        VariantError::Untold { .. } => tell(&format!("{error}\n  `wavetank run` tells more\n")),
        VariantError::Io(error) => return failed("cannot run variants", error),
    }
    Verdict::BAD_INPUT
}
