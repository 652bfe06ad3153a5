//! Repeats a computation, each time with other dice.

use std::sync::Mutex;

use crate::base::Seed;
use crate::lab::crew::in_order;
use crate::statistics::dice::Dice;

/// Threads, and someone to tell how far they have come.
pub struct Crew<'told> {
    /// How many of them.
    pub threads: usize,
    /// Is told of each part that was done: how many are, of how many.
    pub progress: &'told (dyn Fn(usize, usize) + Sync),
}

impl Crew<'_> {
    /// Does `work` so many times, each with dice of its own, which follow from the name and the number alone. The results come in the order of
    /// their numbers, whoever did them.
    pub(super) fn repeat<T: Send>(
        &self,
        name: &str,
        count: usize,
        work: impl Fn(&mut Dice) -> T + Sync,
    ) -> Vec<T> {
        let done = Mutex::new(0);
        in_order(self.threads, count, |number| {
            let result = work(&mut Dice::new(&mut SEED.stream(&format!("{name}/{number}"))));
            let mut done = done.lock().expect("telling does not panic");
            *done += 1;
            (self.progress)(*done, count);
            result
        })
    }
}

/// Of all reproductions: their streams have names of their own.
const SEED: Seed = Seed::new(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_do_not_depend_on_the_number_of_threads() {
        let drawn = |threads| Crew { threads, progress: &|_, _| {} }.repeat("draws", 50, Dice::bits);
        assert_eq!(drawn(1), drawn(7));
        assert_eq!(drawn(3)[..20], Crew { threads: 2, progress: &|_, _| {} }.repeat("draws", 20, Dice::bits));
    }
}
