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

const SECOND: u64 = 1_000_000_000;

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

/// What clients experienced in one second of virtual time.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Second {
    /// Where it ends, in seconds.
    pub at: f64,
    /// How many were served in it.
    pub served: usize,
    /// The median, the 0.99-quantile and the largest of their latencies, in seconds; absent if nobody was served.
    pub latency: Option<[f64; 3]>,
    /// How much that was acknowledged had not been read at its end: the lag of consumers.
    pub unread: u64,
}

/// Second by second, from the beginning of time to the last end. `unread` asks at an acknowledgement and ends at the first reading.
pub fn by_second(requests: &[Request], unread: &[Request]) -> Vec<Second> {
    let second = |at: SimTime| at.as_nanos() / SECOND;
    let mut latencies: Vec<(u64, f64)> = requests
        .iter()
        .filter_map(|request| Some((second(request.ended?), request.latency()?.as_secs_f64())))
        .collect();
    latencies.sort_by(|one, other| one.0.cmp(&other.0).then(one.1.total_cmp(&other.1)));
    let mut turns: Vec<(u64, bool)> = unread.iter().map(|request| (second(request.asked), false)).collect();
    turns.extend(unread.iter().filter_map(|request| Some((second(request.ended?), true))));
    turns.sort_unstable();
    let end = latencies.iter().map(|(at, _)| *at).chain(turns.iter().map(|(at, _)| *at)).max();
    let (mut latencies, mut turns, mut open) = (latencies.as_slice(), turns.as_slice(), 0);
    let mut seconds = Vec::new();
    for now in 0..end.map_or(0, |end| end + 1) {
        let (here, later) = latencies.split_at(latencies.partition_point(|(at, _)| *at <= now));
        latencies = later;
        let (due, later) = turns.split_at(turns.partition_point(|(at, _)| *at <= now));
        turns = later;
        for (_, ends) in due {
            open = if *ends { open - 1 } else { open + 1 };
        }
        let here: Vec<f64> = here.iter().map(|(_, latency)| *latency).collect();
        let latency = (!here.is_empty()).then(|| [0.5, 0.99, 1.0].map(|p| quantile(&here, p)));
        seconds.push(Second { at: (now + 1) as f64, served: here.len(), latency, unread: open });
    }
    seconds
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
    fn every_second_has_its_own_quantiles_and_what_was_left_to_read() {
        let requests = [
            request(0, Some(10), true),
            request(100, Some(500), true),
            request(900, Some(2100), true),
            request(950, Some(2200), false),
        ];
        let unread =
            [request(10, Some(2500), true), request(500, Some(700), true), request(2100, None, false)];
        let seconds = by_second(&requests, &unread);
        let told: Vec<(f64, usize, u64)> = seconds.iter().map(|s| (s.at, s.served, s.unread)).collect();
        assert_eq!(told, [(1.0, 2, 1), (2.0, 0, 1), (3.0, 1, 1)]);
        assert_eq!(seconds[1].latency, None);
        let [half, most] = seconds[0].latency.map(|[half, _, most]| [half, most]).expect("two were served");
        assert!((half - 0.205).abs() < 1e-9 && most == 0.4, "{seconds:?}");
        assert!(by_second(&[], &[]).is_empty());
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
