//! Runs a compiled PlanOut script: a tree of operators as JSON. The Python package 0.6.0 is the measure, but for what it would crash on, which is an
//! [`ScriptError`], and for units that are [ambiguous](Ambiguity).

use std::cmp::Ordering;

use serde_json::{Map, Number, Value};
use thiserror::Error;

use crate::statistics::assignment::planout::{OperatorError, Salt, UnitHash};
use crate::statistics::assignment::{Ambiguity, Unit};

/// How deep operators may stand in each other.
const DEPTH_MAX: u32 = 200;

/// What a script says of one unit.
#[derive(Clone, PartialEq, Debug)]
pub struct Assignment {
    /// The parameters it set, in the order in which they were set first; overrides replace what they name.
    pub parameters: Map<String, Value>,
    /// Whether the unit takes part: unless the script returned something false.
    pub in_experiment: bool,
}

/// A script that cannot be run.
#[derive(Clone, PartialEq, Debug, Error)]
pub enum ScriptError {
    /// There is no such operator.
    #[error("there is no operator `{0}`")]
    UnknownOperator(String),
    /// An operator lacks an argument, or has one of another type.
    #[error("`{operator}` needs an argument `{argument}` that is {wanted}")]
    Argument {
        /// The operator.
        operator: String,
        /// What it lacks.
        argument: &'static str,
        /// What the argument should be.
        wanted: &'static str,
    },
    /// A number is too large, or none: a division by zero.
    #[error("`{0}` gives no number")]
    NotANumber(String),
    /// Operators stand too deep in each other.
    #[error("operators stand more than {DEPTH_MAX} deep in each other")]
    TooDeep,
    /// A unit is ambiguous.
    #[error(transparent)]
    Unit(#[from] Ambiguity),
    /// A random operator has no answer.
    #[error(transparent)]
    Operator(#[from] OperatorError),
}

/// Runs a script for the inputs of one unit, such as `{"userid": 7}`. Parameters in `overrides` keep their value, whatever the script sets.
///
/// # Errors
/// See [`ScriptError`].
pub fn run(
    script: &Value,
    experiment_salt: &str,
    inputs: &Map<String, Value>,
    overrides: &Map<String, Value>,
) -> Result<Assignment, ScriptError> {
    let salt = experiment_salt.to_owned();
    let mut run = Run { salt, inputs, overrides, parameters: overrides.clone(), depth: 0 };
    let in_experiment = match run.evaluate(script) {
        Ok(_) => true,
        Err(Stop::Return(in_experiment)) => in_experiment,
        Err(Stop::Error(error)) => return Err(error),
    };
    Ok(Assignment { parameters: run.parameters, in_experiment })
}

/// Why evaluation ends.
enum Stop {
    Return(bool),
    Error(ScriptError),
}

impl<E: Into<ScriptError>> From<E> for Stop {
    fn from(error: E) -> Self {
        Self::Error(error.into())
    }
}

struct Run<'a> {
    salt: String,
    inputs: &'a Map<String, Value>,
    overrides: &'a Map<String, Value>,
    parameters: Map<String, Value>,
    depth: u32,
}

/// An operator with its arguments, not yet evaluated.
struct Operation<'a> {
    name: &'a str,
    arguments: &'a Map<String, Value>,
    /// The variable that is being set to it: its salt, unless it names one.
    variable: Option<&'a str>,
}

impl Operation<'_> {
    fn wants(&self, argument: &'static str, wanted: &'static str) -> Stop {
        ScriptError::Argument { operator: self.name.to_owned(), argument, wanted }.into()
    }

    fn argument(&self, name: &'static str) -> Result<&Value, Stop> {
        self.arguments.get(name).ok_or_else(|| self.wants(name, "given"))
    }

    fn list(&self, name: &'static str) -> Result<&Vec<Value>, Stop> {
        self.argument(name)?.as_array().ok_or_else(|| self.wants(name, "a list"))
    }

    fn text(&self, name: &'static str) -> Result<&str, Stop> {
        self.argument(name)?.as_str().ok_or_else(|| self.wants(name, "text"))
    }
}

impl Run<'_> {
    fn evaluate(&mut self, value: &Value) -> Result<Value, Stop> {
        self.evaluate_for(value, None)
    }

    fn evaluate_for(&mut self, value: &Value, variable: Option<&str>) -> Result<Value, Stop> {
        if DEPTH_MAX <= self.depth {
            return Err(ScriptError::TooDeep.into());
        }
        self.depth += 1;
        let evaluated = match value {
            Value::Object(arguments) => match arguments.get("op").and_then(Value::as_str) {
                Some(name) => self.operate(&Operation { name, arguments, variable }),
                None => Ok(value.clone()),
            },
            Value::Array(values) => values.iter().map(|value| self.evaluate(value)).collect(),
            _ => Ok(value.clone()),
        };
        self.depth -= 1;
        evaluated
    }

    fn operate(&mut self, operation: &Operation<'_>) -> Result<Value, Stop> {
        match operation.name {
            "literal" => operation.argument("value").cloned(),
            "get" => Ok(self.get(operation.text("var")?)),
            "set" => self.set(operation),
            "seq" => {
                for step in operation.list("seq")? {
                    self.evaluate(step)?;
                }
                Ok(Value::Null)
            }
            "return" => Err(Stop::Return(truth(&self.evaluate(operation.argument("value")?)?))),
            "array" => operation.list("values")?.iter().map(|value| self.evaluate(value)).collect(),
            "map" => {
                let values =
                    operation.arguments.iter().filter(|(key, _)| !["op", "salt"].contains(&key.as_str()));
                values.map(|(key, value)| Ok((key.clone(), self.evaluate(value)?))).collect()
            }
            "coalesce" => {
                for value in operation.list("values")? {
                    let value = self.evaluate(value)?;
                    if !value.is_null() {
                        return Ok(value);
                    }
                }
                Ok(Value::Null)
            }
            "cond" => self.conditions(operation),
            "and" => {
                for value in operation.list("values")? {
                    if !truth(&self.evaluate(value)?) {
                        return Ok(Value::Bool(false));
                    }
                }
                Ok(Value::Bool(true))
            }
            "or" => {
                for value in operation.list("values")? {
                    if truth(&self.evaluate(value)?) {
                        return Ok(Value::Bool(true));
                    }
                }
                Ok(Value::Bool(false))
            }
            _ => self.operate_evaluated(operation),
        }
    }

    /// The operators that look only at their arguments' values.
    fn operate_evaluated(&mut self, operation: &Operation<'_>) -> Result<Value, Stop> {
        let mut arguments = Map::new();
        for (key, value) in operation.arguments {
            arguments.insert(key.clone(), self.evaluate(value)?);
        }
        let operation = Operation { arguments: &arguments, ..*operation };
        match operation.name {
            "index" => index(&operation),
            "length" => {
                let length = match operation.argument("value")? {
                    Value::Array(values) => values.len(),
                    Value::Object(values) => values.len(),
                    Value::String(text) => text.chars().count(),
                    _ => return Err(operation.wants("value", "a list, a map or text")),
                };
                Ok(length.into())
            }
            "not" => Ok(Value::Bool(!truth(operation.argument("value")?))),
            "equals" => Ok(Value::Bool(equal(operation.argument("left")?, operation.argument("right")?))),
            ">" => compare(&operation, Ordering::is_gt),
            "<" => compare(&operation, Ordering::is_lt),
            ">=" => compare(&operation, Ordering::is_ge),
            "<=" => compare(&operation, Ordering::is_le),
            "sum" | "product" | "min" | "max" | "negative" | "round" | "exp" | "sqrt" | "%" | "/" => {
                arithmetic(&operation)
            }
            _ => self.random(&operation),
        }
    }

    fn get(&self, variable: &str) -> Value {
        let found = self.parameters.get(variable).or_else(|| self.inputs.get(variable));
        found.cloned().unwrap_or(Value::Null)
    }

    fn set(&mut self, operation: &Operation<'_>) -> Result<Value, Stop> {
        let (variable, value) = (operation.text("var")?, operation.argument("value")?);
        if self.overrides.contains_key(variable) {
            return Ok(Value::Null);
        }
        let value = self.evaluate_for(value, Some(variable))?;
        if variable == "experiment_salt" {
            // From here on all is drawn anew. It is no parameter.
            self.salt = value.as_str().ok_or_else(|| operation.wants("value", "text"))?.to_owned();
        } else {
            self.parameters.insert(variable.to_owned(), value);
        }
        Ok(Value::Null)
    }

    fn conditions(&mut self, operation: &Operation<'_>) -> Result<Value, Stop> {
        for condition in operation.list("cond")? {
            let (Some(holds), Some(then)) = (condition.get("if"), condition.get("then")) else {
                return Err(operation.wants("cond", "a list of `if` and `then`"));
            };
            if truth(&self.evaluate(holds)?) {
                return self.evaluate(then);
            }
        }
        Ok(Value::Null)
    }

    fn random(&mut self, operation: &Operation<'_>) -> Result<Value, Stop> {
        let name = operation.name;
        const RANDOM: [&str; 8] = [
            "randomFloat",
            "randomInteger",
            "bernoulliTrial",
            "bernoulliFilter",
            "uniformChoice",
            "weightedChoice",
            "sample",
            "fastSample",
        ];
        if !RANDOM.contains(&name) {
            return Err(ScriptError::UnknownOperator(name.to_owned()).into());
        }
        let unit = self.unit(operation)?;
        let choices = || operation.list("choices");
        match name {
            "randomFloat" => decimal(operation, unit.float(real(operation, "min")?, real(operation, "max")?)),
            "randomInteger" => Ok(unit.integer(whole(operation, "min")?, whole(operation, "max")?)?.into()),
            "bernoulliTrial" => Ok(u8::from(unit.bernoulli(real(operation, "p")?)?).into()),
            "bernoulliFilter" => {
                let parts: Vec<Unit<'_>> = choices()?.iter().map(part).collect::<Result<_, _>>()?;
                let kept = unit.filter(&parts, real(operation, "p")?)?;
                Ok(choices()?
                    .iter()
                    .zip(kept)
                    .filter(|(_, kept)| *kept)
                    .map(|(choice, _)| choice.clone())
                    .collect())
            }
            "uniformChoice" => Ok(chosen(choices()?, unit.choice(choices()?.len()))),
            "weightedChoice" => {
                let weights =
                    operation.list("weights")?.iter().map(Value::as_f64).collect::<Option<Vec<f64>>>();
                let weights = weights.ok_or_else(|| operation.wants("weights", "a list of numbers"))?;
                if weights.len() != choices()?.len() {
                    return Err(OperatorError::Weights.into());
                }
                Ok(chosen(choices()?, unit.weighted_choice(&weights)?))
            }
            _ => {
                let count = choices()?.len();
                let draws = match operation.arguments.contains_key("draws") {
                    true => usize::try_from(whole(operation, "draws")?).map_err(|_| OperatorError::Draws)?,
                    false => count,
                };
                let order =
                    if name == "sample" { unit.sample(count, draws) } else { unit.fast_sample(count, draws) };
                let choices = choices()?;
                Ok(order?.into_iter().map(|index| choices[index].clone()).collect())
            }
        }
    }

    fn unit(&self, operation: &Operation<'_>) -> Result<UnitHash, Stop> {
        let salt = if operation.arguments.contains_key("full_salt") {
            Salt::full(operation.text("full_salt")?)
        } else if operation.arguments.contains_key("salt") {
            Salt::new(&self.salt, operation.text("salt")?)
        } else {
            let variable = operation.variable.ok_or_else(|| operation.wants("salt", "given"))?;
            Salt::new(&self.salt, variable)
        };
        let value = operation.argument("unit")?;
        let parts = match value {
            Value::Array(parts) => parts.iter().map(part).collect::<Result<Vec<_>, _>>()?,
            single => vec![part(single)?],
        };
        Ok(salt.unit(&parts)?)
    }
}

fn part(value: &Value) -> Result<Unit<'_>, Ambiguity> {
    match value {
        Value::String(text) => Ok(Unit::Text(text)),
        Value::Number(number) if number.as_i64().is_some() => Ok(Unit::Number(number.as_i64().unwrap_or(0))),
        other => Err(Ambiguity::Type(other.to_string())),
    }
}

/// The empty list where there is nothing to choose from, as in the original.
fn chosen(choices: &[Value], index: Option<usize>) -> Value {
    index.and_then(|index| choices.get(index)).cloned().unwrap_or_else(|| Value::Array(vec![]))
}

fn whole(operation: &Operation<'_>, name: &'static str) -> Result<i64, Stop> {
    operation.argument(name)?.as_i64().ok_or_else(|| operation.wants(name, "a whole number"))
}

fn real(operation: &Operation<'_>, name: &'static str) -> Result<f64, Stop> {
    number(operation.argument(name)?).ok_or_else(|| operation.wants(name, "a number"))
}

/// A number, for which truth values count as 0 and 1.
fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Bool(truth) => Some(f64::from(u8::from(*truth))),
        other => other.as_f64(),
    }
}

fn decimal(operation: &Operation<'_>, value: f64) -> Result<Value, Stop> {
    let number = Number::from_f64(value).ok_or_else(|| ScriptError::NotANumber(operation.name.to_owned()))?;
    Ok(Value::Number(number))
}

/// Whether a value counts as true: all but nothing, false, zero and what is empty.
fn truth(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(truth) => *truth,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(values) => !values.is_empty(),
        Value::Object(values) => !values.is_empty(),
    }
}

fn equal(left: &Value, right: &Value) -> bool {
    match (number(left), number(right)) {
        (Some(left), Some(right)) => left == right,
        _ => left == right,
    }
}

fn compare(operation: &Operation<'_>, holds: fn(Ordering) -> bool) -> Result<Value, Stop> {
    let (left, right) = (operation.argument("left")?, operation.argument("right")?);
    let order = match (left, right) {
        (Value::String(left), Value::String(right)) => Some(left.cmp(right)),
        _ => number(left).zip(number(right)).and_then(|(left, right)| left.partial_cmp(&right)),
    };
    let order = order.ok_or_else(|| operation.wants("right", "to be compared with `left`"))?;
    Ok(Value::Bool(holds(order)))
}

fn index(operation: &Operation<'_>) -> Result<Value, Stop> {
    let index = operation.argument("index")?;
    let found = match operation.argument("base")? {
        Value::Array(values) => {
            let index = index.as_i64().ok_or_else(|| operation.wants("index", "a whole number"))?;
            usize::try_from(index).ok().and_then(|index| values.get(index))
        }
        Value::Object(values) => index.as_str().and_then(|index| values.get(index)),
        _ => return Err(operation.wants("base", "a list or a map")),
    };
    Ok(found.cloned().unwrap_or(Value::Null))
}

/// Sums and the like: whole numbers stay whole while they can.
fn arithmetic(operation: &Operation<'_>) -> Result<Value, Stop> {
    let not_a_number = || Stop::from(ScriptError::NotANumber(operation.name.to_owned()));
    match operation.name {
        "negative" => match operation.argument("value")?.as_i64() {
            Some(value) => value.checked_neg().map(Value::from).ok_or_else(not_a_number),
            None => decimal(operation, -real(operation, "value")?),
        },
        // To the even neighbour where both are as near.
        "round" => Ok(Value::from(real(operation, "value")?.round_ties_even() as i64)),
        "exp" => decimal(operation, libm::exp(real(operation, "value")?)),
        "sqrt" => decimal(operation, real(operation, "value")?.sqrt()),
        "/" => decimal(operation, real(operation, "left")? / real(operation, "right")?),
        "%" => match (operation.argument("left")?.as_i64(), operation.argument("right")?.as_i64()) {
            (Some(left), Some(right)) => {
                // The remainder has the sign of the divisor.
                let rest = left.checked_rem(right).ok_or_else(not_a_number)?;
                Ok(Value::from(if rest != 0 && (rest < 0) != (right < 0) { rest + right } else { rest }))
            }
            _ => {
                let (left, right) = (real(operation, "left")?, real(operation, "right")?);
                decimal(operation, left - right * (left / right).floor())
            }
        },
        fold => {
            let values = operation.list("values")?;
            let reals: Option<Vec<f64>> = values.iter().map(number).collect();
            let reals = reals.ok_or_else(|| operation.wants("values", "a list of numbers"))?;
            let whole: Option<Vec<i64>> = values.iter().map(Value::as_i64).collect();
            match (fold, whole) {
                ("sum", Some(whole)) => checked(whole, 0, i64::checked_add).ok_or_else(not_a_number),
                ("product", Some(whole)) => checked(whole, 1, i64::checked_mul).ok_or_else(not_a_number),
                ("sum", None) => decimal(operation, reals.iter().sum()),
                ("product", None) => decimal(operation, reals.iter().product()),
                _ => extreme(values, &reals, fold == "max")
                    .ok_or_else(|| operation.wants("values", "not empty")),
            }
        }
    }
}

fn checked(values: Vec<i64>, start: i64, fold: fn(i64, i64) -> Option<i64>) -> Option<Value> {
    values.into_iter().try_fold(start, fold).map(Value::from)
}

/// The least or the largest value, the first of equals.
fn extreme(values: &[Value], reals: &[f64], largest: bool) -> Option<Value> {
    let mut best: Option<usize> = None;
    for (index, real) in reals.iter().enumerate() {
        let better = best.is_none_or(|best| if largest { reals[best] < *real } else { *real < reals[best] });
        if better {
            best = Some(index);
        }
    }
    best.map(|best| values[best].clone())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn map(value: Value) -> Map<String, Value> {
        value.as_object().cloned().expect("a map")
    }

    fn value_of(expression: Value) -> Result<Value, ScriptError> {
        let script = json!({"op": "set", "var": "x", "value": expression});
        let found = run(&script, "exp", &map(json!({"userid": 7, "list": [4, 5]})), &Map::new())?;
        Ok(found.parameters["x"].clone())
    }

    #[test]
    fn operators_do_what_they_do_in_python() {
        for (expression, expected) in [
            (json!({"op": "literal", "value": {"op": "sum"}}), json!({"op": "sum"})),
            (json!({"op": "sum", "values": [1, 2, 3]}), json!(6)),
            (json!({"op": "product", "values": [2, 1.5]}), json!(3.0)),
            (json!({"op": "%", "left": -7, "right": 3}), json!(2)),
            (json!({"op": "/", "left": 1, "right": 4}), json!(0.25)),
            (json!({"op": "round", "value": 2.5}), json!(2)),
            (json!({"op": "negative", "value": 2}), json!(-2)),
            (json!({"op": "min", "values": [3, 1.5, 2]}), json!(1.5)),
            (json!({"op": "max", "values": [3, 1.5, 2]}), json!(3)),
            (json!({"op": "length", "value": [1, 2]}), json!(2)),
            (json!({"op": "not", "value": 0}), json!(true)),
            (json!({"op": "equals", "left": 1, "right": 1.0}), json!(true)),
            (json!({"op": "<=", "left": 1, "right": 1.0}), json!(true)),
            (json!({"op": ">", "left": "a", "right": "b"}), json!(false)),
            (json!({"op": "and", "values": [1, "a"]}), json!(true)),
            (json!({"op": "or", "values": [0, "", []]}), json!(false)),
            (json!({"op": "index", "base": {"op": "get", "var": "list"}, "index": 1}), json!(5)),
            (json!({"op": "index", "base": {"op": "get", "var": "list"}, "index": 2}), json!(null)),
            (json!({"op": "index", "base": {"op": "map", "a": 1, "b": 2}, "index": "b"}), json!(2)),
            (json!({"op": "coalesce", "values": [null, {"op": "get", "var": "nothing"}, 3]}), json!(3)),
            (json!({"op": "cond", "cond": [{"if": 0, "then": 1}, {"if": true, "then": 2}]}), json!(2)),
            (json!({"op": "uniformChoice", "choices": [], "unit": 1}), json!([])),
            (json!({"op": "sample", "choices": ["a"], "unit": 1}), json!(["a"])),
        ] {
            assert_eq!(value_of(expression.clone()), Ok(expected), "{expression}");
        }
    }

    #[test]
    fn scripts_that_cannot_be_run_say_why() {
        let unknown = ScriptError::UnknownOperator("guess".to_owned());
        assert_eq!(value_of(json!({"op": "guess"})), Err(unknown));
        let unit = ScriptError::Unit(Ambiguity::Type("1.0".to_owned()));
        assert_eq!(value_of(json!({"op": "uniformChoice", "choices": [1], "unit": 1.0})), Err(unit));
        for expression in [
            json!({"op": "/", "left": 1, "right": 0}),
            json!({"op": "%", "left": 1, "right": 0}),
            json!({"op": "product", "values": [i64::MAX, 2]}),
            json!({"op": "min", "values": []}),
            json!({"op": "sum", "values": ["a"]}),
            json!({"op": "sample", "choices": [1], "draws": 2, "unit": 1}),
            json!({"op": "<", "left": "a", "right": 1}),
            json!({"op": "get"}),
        ] {
            assert!(value_of(expression.clone()).is_err(), "{expression}");
        }
        let mut deep = json!(1);
        (0..300).for_each(|_| deep = json!({"op": "not", "value": deep.take()}));
        assert_eq!(value_of(deep), Err(ScriptError::TooDeep));
    }

    #[test]
    fn a_return_ends_the_script_and_overrides_keep_their_value() {
        let script = json!({"op": "seq", "seq": [
            {"op": "set", "var": "a", "value": 1},
            {"op": "set", "var": "b", "value": {"op": "sum", "values": [{"op": "get", "var": "a"}, 1]}},
            {"op": "return", "value": false},
            {"op": "set", "var": "c", "value": 1},
        ]});
        let found = run(&script, "exp", &Map::new(), &map(json!({"a": 5}))).expect("the script runs");
        let expected = Assignment { parameters: map(json!({"a": 5, "b": 6})), in_experiment: false };
        assert_eq!(found, expected);
    }

    #[test]
    fn a_script_may_set_the_salt_of_its_experiment() {
        let draw = json!({"op": "set", "var": "x", "value":
            {"op": "randomInteger", "min": 0, "max": 1_000_000, "unit": 7}});
        let script = json!({"op": "seq", "seq": [
            {"op": "set", "var": "experiment_salt", "value": "other"},
            draw.clone(),
        ]});
        let of = |script, salt| run(script, salt, &Map::new(), &Map::new()).expect("the script runs");
        assert_eq!(of(&script, "exp"), of(&draw, "other"));
    }

    #[test]
    fn a_random_operator_is_salted_with_its_variable_unless_it_names_a_salt() {
        let choice = |extra: Value| {
            let mut choice = map(json!({"op": "randomInteger", "min": 0, "max": 1_000_000, "unit": 7}));
            choice.extend(map(extra));
            value_of(Value::Object(choice)).expect("the script runs")
        };
        assert_eq!(choice(json!({})), choice(json!({"salt": "x"})));
        assert_eq!(choice(json!({})), choice(json!({"full_salt": "exp.x"})));
        assert_ne!(choice(json!({})), choice(json!({"salt": "y"})));
    }
}
