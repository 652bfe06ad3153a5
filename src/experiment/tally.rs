//! What is known of an arm, by visit or by user.
//!
//! Where users come again and keep their arm, their visits are not independent, and a test that counts them as if they were finds what is not
//! there. Users are independent: what one user adds is the pair of its successes and its visits, and the rate of an arm the ratio of two
//! means over users, with the variance of the delta method. Sums of whole numbers, so that nothing is lost however long a stream is.

use crate::statistics::means::{ArmMean, Difference, Moments, welch};
use crate::statistics::proportion::Share;

/// What is known of an arm: visits whose outcome is known, and how many of them succeeded.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Tally {
    /// The successes.
    pub successes: u64,
    /// The visits.
    pub visits: u64,
    /// The same by user, where these are the unit.
    pub users: Option<ByUser>,
}

/// Sums over the users of an arm.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ByUser {
    /// How many there are.
    pub count: u64,
    /// The squares of their successes.
    pub successes_squared: u64,
    /// Their successes times their visits.
    pub products: u64,
    /// The squares of their visits.
    pub visits_squared: u64,
}

/// What is known of one user.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Seen {
    successes: u32,
    visits: u32,
}

impl Tally {
    /// Takes in a visit.
    #[inline]
    pub fn add(&mut self, success: bool) {
        self.visits += 1;
        self.successes += u64::from(success);
    }

    /// Takes in a visit of a user of whom this was seen before, under the same arm.
    pub fn add_of(&mut self, user: &mut Seen, success: bool) {
        self.add(success);
        let (successes, visits) = (u64::from(user.successes), u64::from(user.visits));
        let sums = self.users.get_or_insert_default();
        sums.count += u64::from(visits == 0);
        sums.visits_squared += 2 * visits + 1;
        sums.products += successes;
        if success {
            sums.successes_squared += 2 * successes + 1;
            sums.products += visits + 1;
        }
        user.visits += 1;
        user.successes += u32::from(success);
    }

    /// The share of visits that succeeded; nothing without a visit.
    pub fn share(&self) -> Option<Share> {
        (0 < self.visits).then(|| Share::new(self.successes, self.visits))
    }

    /// That share as the ratio of two means over users, by the delta method. One user alone does not tell how users differ.
    fn ratio(&self) -> Option<ArmMean> {
        let users = self.users.filter(|users| 2 <= users.count)?;
        let products = [[users.successes_squared, users.products], [users.products, users.visits_squared]];
        Some(ArmMean::of_ratio(&Moments::of_sums(users.count, [self.successes, self.visits], products)))
    }

    /// The variance of the difference to the control if the arms are alike: that of all visits, or users, together. An arm of which no success
    /// is known yet is not taken for known exactly. Nothing without a visit of both.
    pub fn variance_if_alike(&self, control: &Self) -> Option<f64> {
        let both = [self, control];
        let [successes, visits] = [|tally: &Self| tally.successes, |tally: &Self| tally.visits]
            .map(|of| both.iter().map(|tally| of(tally)).sum::<u64>() as f64);
        let rate = successes / visits;
        let (Some(one), Some(other)) = (self.users, control.users) else {
            let inverse: f64 = both.iter().map(|tally| 1.0 / tally.visits as f64).sum();
            return (0 < self.visits.min(control.visits)).then_some(rate * (1.0 - rate) * inverse);
        };
        // Of each user the successes beyond those that so many visits have on average.
        let residual = |users: ByUser| {
            users.successes_squared as f64 - 2.0 * rate * users.products as f64
                + rate * rate * users.visits_squared as f64
        };
        let of_user = (residual(one) + residual(other)) / (one.count + other.count).saturating_sub(1) as f64;
        let users = [(one.count, self.visits), (other.count, control.visits)];
        let squared: f64 =
            users.iter().map(|(count, visits)| *count as f64 / (*visits as f64 * *visits as f64)).sum();
        (0 < one.count.min(other.count) && 2 < one.count + other.count).then_some(of_user.max(0.0) * squared)
    }

    /// How many more succeed than of the control, if users are the unit.
    pub fn by_user(&self, control: &Self) -> Option<Difference> {
        Some(welch(&control.ratio()?, &self.ratio()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arms_that_are_alike_share_their_variance_and_users_of_one_visit_are_visits() {
        let known = |successes: u64, visits: u64, by_user: bool| {
            let mut tally = Tally::default();
            for visit in 0..visits {
                if by_user {
                    tally.add_of(&mut Seen::default(), visit < successes);
                } else {
                    tally.add(visit < successes);
                }
            }
            tally
        };
        // 3 of 50 in all: .06 · .94 (1/40 + 1/10).
        let of = |by_user| known(0, 10, by_user).variance_if_alike(&known(3, 40, by_user)).expect("of both");
        assert!((of(false) - 0.06 * 0.94 * 0.125).abs() < 1e-15);
        assert!((of(true) - of(false) * 50.0 / 49.0).abs() < 1e-15, "a sample of users has one degree less");
        assert_eq!(known(0, 0, false).variance_if_alike(&known(3, 40, false)), None);
    }

    #[test]
    fn sums_that_grow_by_the_visit_are_those_of_users() {
        // By user: successes and visits, in the order in which the visits come.
        let mut users = [Seen::default(); 4];
        let mut tally = Tally::default();
        let visits =
            [(0, true), (1, false), (0, true), (2, true), (0, false), (1, false), (3, false), (2, true)];
        visits.iter().for_each(|(user, success)| tally.add_of(&mut users[*user], *success));
        let of_users = Moments::of([[2.0, 3.0], [0.0, 2.0], [2.0, 2.0], [0.0, 1.0]]);
        let (found, expected) = (tally.ratio().expect("four users"), ArmMean::of_ratio(&of_users));
        assert_eq!((found.users, tally.visits, tally.successes), (4, 8, 4));
        assert!((found.value - expected.value).abs() < 1e-15, "{found:?} {expected:?}");
        assert!((found.variance - expected.variance).abs() < 1e-15, "{found:?} {expected:?}");
        assert_eq!(Tally { users: None, ..tally }.by_user(&tally), None);
    }
}
