//! The data files a scenario names: read when it is loaded, so that a scenario that exists has all it needs.

use std::collections::BTreeSet;
use std::path::Path;

use bytes::Bytes;

use crate::base::Problem;
use crate::experiment::log::{Log, LogModel, Row};
use crate::scenario::include::unreadable;
use crate::workloads::clickstream::impression::{self, COLUMNS, Impression, ImpressionError, LOG_COLUMNS};

/// Reads a file of impressions; a problem is told at `place`.
pub(super) fn impressions(path: &Path, place: String) -> Result<Vec<Impression>, Problem> {
    let columns = || format!("a clickstream reads the columns {}", COLUMNS.join(", "));
    read(path, &place, impression::parse, columns)
}

/// Reads the log of a policy in a campaign; problems are told within its table.
pub(super) fn log(model: &LogModel) -> Result<Log, Vec<Problem>> {
    let columns = || format!("a log has the columns {}, {}", COLUMNS.join(", "), LOG_COLUMNS.join(", "));
    let logged = read(&model.source, "source", impression::parse_logged, columns).map_err(|one| vec![one])?;
    let known = |of: &dyn Fn(&impression::Logged) -> &str| -> String {
        let names: BTreeSet<&str> = logged.iter().map(of).collect();
        names.into_iter().collect::<Vec<_>>().join(", ")
    };
    let of_policy = || logged.iter().filter(|one| *one.policy == *model.policy);
    let rows: Vec<Row> = of_policy()
        .filter(|one| *one.campaign == *model.campaign)
        .map(|one| Row {
            timestamp_ns: one.impression.timestamp_ns,
            item: one.impression.item,
            clicked: one.impression.clicked,
            propensity: one.impression.propensity,
        })
        .collect();
    if of_policy().next().is_none() {
        let message = format!("no impression is of the policy `{}`", model.policy);
        let help = format!("the log has the policies {}", known(&|one| &one.policy));
        return Err(vec![Problem::new("policy", message).help(help)]);
    }
    if rows.is_empty() {
        let message = format!("`{}` has no impression in the campaign `{}`", model.policy, model.campaign);
        let help = format!("the log has the campaigns {}", known(&|one| &one.campaign));
        return Err(vec![Problem::new("campaign", message).help(help)]);
    }
    Log::new(model, &rows)
}

#[expect(clippy::disallowed_methods, reason = "the data of a scenario belongs to the user, outside any run")]
fn read<T>(
    path: &Path,
    place: &str,
    parse: impl FnOnce(Bytes) -> Result<Vec<T>, ImpressionError>,
    columns: impl FnOnce() -> String,
) -> Result<Vec<T>, Problem> {
    let file = std::fs::read(path).map_err(|error| {
        let told = unreadable(path, &error);
        Problem { path: place.to_owned(), message: told.message, help: told.mend }
    })?;
    parse(file.into()).map_err(|error| {
        let problem = Problem::new(place, format!("{} {error}", path.display()));
        problem.help(match error {
            ImpressionError::NotParquet => "give a file in the Parquet format".to_owned(),
            ImpressionError::MissingColumns(_) => columns(),
            ImpressionError::WrongType(..) => {
                "timestamp, item_id and click are whole numbers, propensity is a number, features are text"
                    .to_owned()
            }
            ImpressionError::Empty => "give a file with at least one row".to_owned(),
        })
    })
}
