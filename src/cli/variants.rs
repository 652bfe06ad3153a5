//! What `shrink` and `blame` share: a folder for the variants of a run, and what is told if it cannot be varied.

use crate::base::Span;
use crate::cli::sweep::{failed, limits};
use crate::cli::{BoundsArguments, Format, Subject, bad_input, tell};
use crate::lab::Verdict;
use crate::lab::variants::{Original, VariantError, Workshop};

/// The run that is to be varied; what is wrong with it has been told, and the exit code is returned.
pub(super) fn original(subject: &Subject, format: Format) -> Result<Original, u8> {
    let (scenario, plan) = subject.load().map_err(|error| bad_input(&subject.file, &error, format))?;
    let seed = subject.seed(&scenario);
    Ok(Original { file: subject.file.clone(), set: subject.set.clone(), seed, plan })
}

/// Works in a folder that is gone afterwards.
pub(super) fn in_workshop<T>(
    bounds: &BoundsArguments,
    budget: Option<Span>,
    work: impl FnOnce(Workshop<'_>) -> Result<T, VariantError>,
) -> Result<T, VariantError> {
    let program = std::env::current_exe()?;
    let folder = std::env::temp_dir().join(format!("wavetank-variants-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let result = work(Workshop { program: &program, limits: &limits(bounds, budget), folder: &folder });
    // What cannot be removed lies where the system cleans up.
    let _ = std::fs::remove_dir_all(&folder);
    result
}

/// Tells why a run cannot be varied; returns the exit code.
pub(super) fn not_varied(subject: &Subject, error: &VariantError) -> u8 {
    match error {
        VariantError::BadInput(error) => return bad_input(&subject.file, error, Format::Text),
        VariantError::Holds { .. } => tell(&format!("{error}\n  `wavetank sweep` finds seeds that fail\n")),
        VariantError::Untold { .. } => tell(&format!("{error}\n  `wavetank run` tells more\n")),
        VariantError::Io(error) => return failed("cannot run variants", error),
    }
    Verdict::BAD_INPUT
}
