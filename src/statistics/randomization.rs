//! Randomization tests: what else could have been seen, if there was no difference.

use rand::Rng;

use crate::base::Stream;

/// Up to how many pairs every assignment of signs is looked at.
const ENUMERATED: usize = 12;

/// How many assignments are drawn of more.
const DRAWS: u32 = 9_999;

/// The two-sided p-value of the mean of paired differences: if a pair could as well have been the other way round, each difference could as
/// well have had the other sign. Fisher, "The design of experiments" (1935), section 21. Exact for up to 12 pairs; for more 9,999 assignments
/// are drawn and what was seen is counted among them, so that it is never below 0.0001: Phipson and Smyth, "Permutation p-values should never
/// be zero" (2010). Pairs without a difference say nothing. 1 if none differs.
pub fn sign_flip(differences: &[f64], stream: &mut Stream) -> f64 {
    let differences: Vec<f64> = differences.iter().copied().filter(|difference| *difference != 0.0).collect();
    let seen = differences.iter().sum::<f64>().abs();
    // Sums in another order differ in their last digits.
    let least = seen - 1e-12 * differences.iter().map(|difference| difference.abs()).sum::<f64>();
    let reaches = |signs: &mut dyn FnMut(usize) -> bool| {
        let signed = differences.iter().enumerate();
        let sum: f64 = signed.map(|(index, value)| if signs(index) { -value } else { *value }).sum();
        least <= sum.abs()
    };
    if differences.len() <= ENUMERATED {
        let all = 1u32 << differences.len();
        let extreme = (0..all).filter(|bits| reaches(&mut |index| bits >> index & 1 == 1)).count();
        return extreme as f64 / f64::from(all);
    }
    let mut extreme = 1;
    for _ in 0..DRAWS {
        let mut bits = 0u64;
        let mut sign = |index: usize| {
            if index.is_multiple_of(64) {
                bits = stream.random();
            }
            bits >> (index % 64) & 1 == 1
        };
        extreme += u32::from(reaches(&mut sign));
    }
    f64::from(extreme) / f64::from(DRAWS + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Seed;
    use crate::statistics::normal;

    fn p(differences: &[f64]) -> f64 {
        sign_flip(differences, &mut Seed::new(1).stream("test"))
    }

    #[test]
    fn few_pairs_are_counted_out() {
        assert_eq!(p(&[1.0, 2.0, 3.0, 4.0, 5.0]), 2.0 / 32.0, "only all or none");
        assert_eq!(p(&[1.0, 1.0, -1.0]), 1.0);
        assert_eq!(p(&[3.0, 1.0, -1.0]), 0.75, "sums of 5, 3, 3, 1 and their negatives");
        assert_eq!((p(&[]), p(&[0.0, 0.0])), (1.0, 1.0));
    }

    #[test]
    fn it_is_right_as_often_as_it_says_and_finds_what_is_there() {
        let mut stream = Seed::new(3).stream("false alarms");
        let mut alarms = 0;
        for _ in 0..400 {
            let sample: Vec<f64> = (0..11).map(|_| normal::quantile(stream.random::<f64>())).collect();
            alarms += u32::from(sign_flip(&sample, &mut stream) <= 0.05);
        }
        // 20 are expected; 35 or more come once in a thousand.
        assert!((7..35).contains(&alarms), "{alarms} of 400");
        let apart: Vec<f64> = (0..40).map(|number| 1.0 + f64::from(number % 5)).collect();
        assert_eq!(p(&apart), 1e-4);
    }
}
