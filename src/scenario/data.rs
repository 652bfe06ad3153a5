//! The data files a scenario names: read when it is loaded, so that a scenario that exists has all it needs.

use std::path::Path;

use crate::base::Problem;
use crate::scenario::include::unreadable;
use crate::workloads::clickstream::impression::{self, COLUMNS, Impression, ImpressionError};

/// Reads a file of impressions; a problem is told at `place`.
#[expect(clippy::disallowed_methods, reason = "the data of a scenario belongs to the user, outside any run")]
pub(super) fn impressions(path: &Path, place: String) -> Result<Vec<Impression>, Problem> {
    let file = std::fs::read(path).map_err(|error| {
        let told = unreadable(path, &error);
        Problem { path: place.clone(), message: told.message, help: told.mend }
    })?;
    impression::parse(file.into()).map_err(|error| {
        let problem = Problem::new(place, format!("{} {error}", path.display()));
        problem.help(match error {
            ImpressionError::NotParquet => "a clickstream reads Parquet".to_owned(),
            ImpressionError::MissingColumns(_) => {
                format!("a clickstream reads the columns {}", COLUMNS.join(", "))
            }
            ImpressionError::WrongType(..) => {
                "timestamp, item_id and click are whole numbers, propensity is a number, features are text"
                    .to_owned()
            }
            ImpressionError::Empty => "give a file with at least one row".to_owned(),
        })
    })
}
