//! Threads that share a computation out among them.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// Does `work` for each number below `count` on so many threads. The results come in the order of their numbers, whoever did them.
pub(super) fn in_order<T: Send>(threads: usize, count: usize, work: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let (next, done) = (AtomicUsize::new(0), Mutex::new(Vec::with_capacity(count)));
    thread::scope(|scope| {
        for _ in 0..threads.clamp(1, count.max(1)) {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if count <= number {
                        return;
                    }
                    let result = work(number);
                    done.lock().expect("no work panics while it is held").push((number, result));
                }
            });
        }
    });
    let mut done = done.into_inner().expect("no work panics while it is held");
    done.sort_by_key(|(number, _)| *number);
    done.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_in_the_order_of_their_numbers_whatever_the_number_of_threads() {
        for threads in [0, 1, 7, 100] {
            assert_eq!(in_order(threads, 50, |number| number * number)[..4], [0, 1, 4, 9], "{threads}");
            assert_eq!(in_order(threads, 0, |number| number), Vec::<usize>::new());
        }
    }
}
