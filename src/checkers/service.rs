//! Service: what the clients of a workload experienced: how fast they were served, and how surely.

use std::time::Duration;

use crate::base::{Better, Figure, SimTime};
use crate::statistics::descriptive::quantile;

/// How soon an answer must come for the service to count as available.
const SOON: Duration = Duration::from_secs(1);

/// Something a client asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Request {
    /// When it asked.
    pub asked: SimTime,
    /// When that ended, as far as the client was told.
    pub ended: Option<SimTime>,
    /// Whether it was served, and not refused or given up.
    pub served: bool,
}

impl Request {
    fn latency(&self) -> Option<Duration> {
        self.ended.filter(|_| self.served).map(|ended| ended.since(self.asked))
    }
}

/// The figures of a workload's requests:
///
/// - `throughput`: how many were served in a second, from the first request to the last end;
/// - `latency`: quantiles of the time from asking to being served, of those that were;
/// - `unavailability`: which share was not served within a second, or not at all;
/// - `longest stall`: the longest time in which somebody waited for an answer that came, and nobody was served.
pub fn figures(workload: &str, requests: &[Request]) -> Vec<Figure> {
    let mut latencies: Vec<f64> =
        requests.iter().filter_map(Request::latency).map(|l| l.as_secs_f64()).collect();
    latencies.sort_by(f64::total_cmp);
    let first = requests.iter().map(|request| request.asked).min();
    let last = requests.iter().filter_map(|request| request.ended).max();
    let span =
        first.zip(last).map(|(first, last)| last.since(first).as_secs_f64()).filter(|span| 0.0 < *span);
    let late = latencies.iter().filter(|latency| SOON.as_secs_f64() < **latency).count();
    let unserved = requests.len() - latencies.len();
    let any = !latencies.is_empty();
    let at = |p: f64| any.then(|| quantile(&latencies, p));
    let share = 100.0 * (late + unserved) as f64 / requests.len().max(1) as f64;
    let named = |name: &str| format!("{workload} {name}");
    vec![
        Figure::new(named("throughput"), "/s", Better::More, span.map(|span| latencies.len() as f64 / span)),
        Figure::new(named("latency p50"), "s", Better::Less, at(0.5)),
        Figure::new(named("latency p90"), "s", Better::Less, at(0.9)),
        Figure::new(named("latency p99"), "s", Better::Less, at(0.99)),
        Figure::new(named("latency max"), "s", Better::Less, at(1.0)),
        Figure::new(named("unavailability"), "%", Better::Less, any.then_some(share)),
        Figure::new(
            named("longest stall"),
            "s",
            Better::Less,
            any.then(|| longest_stall(requests).as_secs_f64()),
        ),
    ]
}

fn longest_stall(requests: &[Request]) -> Duration {
    // At one moment what is asked comes before what ends, so that what ends at once has begun.
    let mut turns: Vec<(SimTime, bool, bool)> = Vec::new();
    for request in requests {
        if let Some(ended) = request.ended {
            turns.extend([(request.asked, false, false), (ended, true, request.served)]);
        }
    }
    turns.sort_unstable();
    let (mut waiting, mut since, mut longest) = (0u64, SimTime::ZERO, Duration::ZERO);
    for (at, ends, served) in turns {
        if ends {
            waiting -= 1;
            longest = longest.max(at.since(since));
            since = if served { at } else { since };
        } else {
            since = if waiting == 0 { at } else { since };
            waiting += 1;
        }
    }
    longest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(asked: u64, ended: Option<u64>, served: bool) -> Request {
        let at = |millis| SimTime::ZERO + Duration::from_millis(millis);
        Request { asked: at(asked), ended: ended.map(at), served }
    }

    fn of(requests: &[Request]) -> Vec<(String, Option<f64>)> {
        figures("w", requests).into_iter().map(|figure| (figure.name, figure.value)).collect()
    }

    #[test]
    fn figures_tell_how_fast_and_how_surely_clients_were_served() {
        let told = of(&[
            request(0, Some(10), true),
            request(1000, Some(1020), true),
            request(2000, Some(5000), true),
            request(2500, Some(4500), false),
            request(3000, None, false),
        ]);
        let expected = [
            ("w throughput", 0.6),
            ("w latency p50", 0.02),
            ("w latency p90", 2.404),
            ("w latency p99", 2.9404),
            ("w latency max", 3.0),
            ("w unavailability", 60.0),
            ("w longest stall", 3.0),
        ];
        for ((name, value), (expected_name, expected)) in told.iter().zip(expected) {
            assert_eq!(name, expected_name);
            assert!(value.is_some_and(|value| (value - expected).abs() < 1e-9), "{name}: {value:?}");
        }
    }

    #[test]
    fn of_nothing_there_are_no_figures() {
        assert!(of(&[]).iter().all(|(_, value)| value.is_none()));
        let refused = of(&[request(0, Some(10), false)]);
        assert_eq!(refused[0], ("w throughput".to_owned(), Some(0.0)));
        assert!(refused[1..].iter().all(|(_, value)| value.is_none()), "{refused:?}");
    }

    #[test]
    fn a_stall_is_only_where_somebody_waits() {
        assert_eq!(
            longest_stall(&[request(0, Some(5), true), request(9000, Some(9005), true)]),
            Duration::from_millis(5)
        );
        let busy = [request(0, Some(5), true), request(4, Some(2000), true), request(1000, Some(1500), true)];
        assert_eq!(longest_stall(&busy), Duration::from_millis(1495));
    }
}
