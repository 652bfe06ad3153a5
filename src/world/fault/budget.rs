//! What a system survives: how many copies may be hurt at once.
//!
//! A fault beyond the budget is downgraded (a power loss becomes a crash, a lost disk a power loss), not dropped, unless the
//! scenario says `beyond_budget`. A host counts as hurt from the fault until its process reports itself ready again, because only
//! then has it caught up with what it lost.

use std::collections::{BTreeMap, BTreeSet};

use crate::base::HostId;

/// What one system survives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Budget {
    /// The system's name.
    pub system: &'static str,
    /// Its hosts.
    pub hosts: Vec<HostId>,
    /// How many of them may have lost unsynced data and not be ready again, at once.
    pub unsynced_loss_max: usize,
    /// How many may have lost their disk and not be ready again, at once.
    pub disk_loss_max: usize,
}

/// How badly a fault hurts what a host holds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Hurt {
    /// The process is gone; nothing it wrote is.
    Crash,
    /// What was not synced may be lost.
    UnsyncedLoss,
    /// Everything is lost.
    DiskLoss,
}

/// Who is hurt at the moment, against what each system survives.
#[derive(Debug, Default)]
pub struct Ledger {
    budgets: Vec<Budget>,
    hurt: BTreeMap<HostId, Hurt>,
}

impl Ledger {
    /// A ledger in which nobody is hurt.
    pub fn new(budgets: Vec<Budget>) -> Self {
        Self { budgets, hurt: BTreeMap::new() }
    }

    /// The worst that may happen to `host` now, at most `wanted`. Hosts of no system (clients) may suffer anything.
    pub fn allowed(&self, host: HostId, wanted: Hurt) -> Hurt {
        let Some(budget) = self.budgets.iter().find(|budget| budget.hosts.contains(&host)) else {
            return wanted;
        };
        let others = |at_least: Hurt| {
            let hurt = |other: &&HostId| {
                **other != host && self.hurt.get(other).is_some_and(|hurt| at_least <= *hurt)
            };
            budget.hosts.iter().filter(hurt).count()
        };
        if wanted == Hurt::DiskLoss
            && others(Hurt::DiskLoss) < budget.disk_loss_max
            && others(Hurt::UnsyncedLoss) < budget.disk_loss_max
        {
            return Hurt::DiskLoss;
        }
        if Hurt::UnsyncedLoss <= wanted && others(Hurt::UnsyncedLoss) < budget.unsynced_loss_max {
            return Hurt::UnsyncedLoss;
        }
        Hurt::Crash
    }

    /// All hosts that belong to a system.
    pub fn hosts(&self) -> BTreeSet<HostId> {
        self.budgets.iter().flat_map(|budget| budget.hosts.iter().copied()).collect()
    }

    /// Notes that a host was hurt; the worst counts until it is ready again.
    pub fn hurt(&mut self, host: HostId, hurt: Hurt) {
        let worst = self.hurt.entry(host).or_insert(hurt);
        *worst = (*worst).max(hurt);
    }

    /// Forgets the wounds of hosts that are ready again.
    pub fn heal(&mut self, is_ready: impl Fn(HostId) -> bool) {
        self.hurt.retain(|host, _| !is_ready(*host));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_power_loss_is_downgraded_until_the_first_host_is_ready_again() {
        let hosts: Vec<HostId> = (0..3).map(HostId::new).collect();
        let budget =
            Budget { system: "broker", hosts: hosts.clone(), unsynced_loss_max: 1, disk_loss_max: 1 };
        let mut ledger = Ledger::new(vec![budget]);
        assert_eq!(ledger.allowed(hosts[0], Hurt::UnsyncedLoss), Hurt::UnsyncedLoss);
        ledger.hurt(hosts[0], Hurt::UnsyncedLoss);
        assert_eq!(
            ledger.allowed(hosts[0], Hurt::UnsyncedLoss),
            Hurt::UnsyncedLoss,
            "the same host may be hurt again"
        );
        assert_eq!(ledger.allowed(hosts[1], Hurt::UnsyncedLoss), Hurt::Crash);
        assert_eq!(ledger.allowed(hosts[1], Hurt::DiskLoss), Hurt::Crash);
        ledger.heal(|host| host == hosts[0]);
        assert_eq!(ledger.allowed(hosts[1], Hurt::DiskLoss), Hurt::DiskLoss);
        assert_eq!(ledger.allowed(HostId::new(9), Hurt::DiskLoss), Hurt::DiskLoss, "clients have no budget");
    }
}
