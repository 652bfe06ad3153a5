//! What a system survives: how many copies may be hurt at once.
//!
//! A fault beyond the budget is downgraded (a power loss becomes a crash, a lost disk a power loss, a disk that lies or rots a stall),
//! not dropped, unless the scenario says `beyond_budget`. A host counts as hurt from the fault until its process reports itself ready
//! again, because only then has it caught up with what it lost. Damage is latent: nobody can tell when it is found and mended, so that
//! a host whose disk may hold some counts as hurt for the rest of the run, or until it gets an empty disk. A disk suffers either
//! damage or the loss of what was not synced, not both at once: nobody can tell a torn end from one that was acknowledged and lost.

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
    /// How many may hold damaged data.
    pub damage_max: usize,
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
    damaged: BTreeSet<HostId>,
}

impl Ledger {
    /// A ledger in which nobody is hurt.
    pub fn new(budgets: Vec<Budget>) -> Self {
        Self { budgets, ..Self::default() }
    }

    /// The worst that may happen to `host` now, at most `wanted`. Hosts of no system (clients) may suffer anything.
    pub fn allowed(&self, host: HostId, wanted: Hurt) -> Hurt {
        let Some(budget) = self.budget_of(host) else { return wanted };
        let others = |at_least: Hurt| self.others(budget, host, at_least);
        if wanted == Hurt::DiskLoss
            && others(Hurt::DiskLoss) < budget.disk_loss_max
            && others(Hurt::UnsyncedLoss) < budget.disk_loss_max
        {
            return Hurt::DiskLoss;
        }
        if Hurt::UnsyncedLoss <= wanted
            && !self.damaged.contains(&host)
            && others(Hurt::UnsyncedLoss) < budget.unsynced_loss_max
        {
            return Hurt::UnsyncedLoss;
        }
        Hurt::Crash
    }

    fn budget_of(&self, host: HostId) -> Option<&Budget> {
        self.budgets.iter().find(|budget| budget.hosts.contains(&host))
    }

    /// How many hosts but this one are hurt so badly, or damaged.
    fn others(&self, budget: &Budget, host: HostId, at_least: Hurt) -> usize {
        let hurt = |other: &&HostId| {
            let damaged = self.damaged.contains(other);
            **other != host && (damaged || self.hurt.get(other).is_some_and(|hurt| at_least <= *hurt))
        };
        budget.hosts.iter().filter(hurt).count()
    }

    /// Whether what `host` holds may be damaged now. Hosts of no system (clients) may suffer anything.
    pub fn may_damage(&self, host: HostId) -> bool {
        let Some(budget) = self.budget_of(host) else { return true };
        // A system all of whose hosts may lose what was not synced holds what counts elsewhere.
        let harmless = budget.hosts.len() <= budget.unsynced_loss_max;
        let at_least = if harmless { Hurt::DiskLoss } else { Hurt::UnsyncedLoss };
        let torn = self.hurt.get(&host).is_some_and(|hurt| Hurt::UnsyncedLoss <= *hurt);
        self.damaged.contains(&host) || !torn && self.others(budget, host, at_least) < budget.damage_max
    }

    /// Whether what some host holds may be damaged.
    pub fn has_damaged(&self) -> bool {
        !self.damaged.is_empty()
    }

    /// Notes that what a host holds may be damaged from now on.
    pub fn damage(&mut self, host: HostId) {
        self.damaged.insert(host);
    }

    /// All hosts that belong to a system.
    pub fn hosts(&self) -> BTreeSet<HostId> {
        self.budgets.iter().flat_map(|budget| budget.hosts.iter().copied()).collect()
    }

    /// Notes that a host was hurt; the worst counts until it is ready again.
    pub fn hurt(&mut self, host: HostId, hurt: Hurt) {
        let worst = self.hurt.entry(host).or_insert(hurt);
        *worst = (*worst).max(hurt);
        if hurt == Hurt::DiskLoss {
            self.damaged.remove(&host);
        }
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
        let budget = Budget {
            system: "broker",
            hosts: hosts.clone(),
            unsynced_loss_max: 1,
            disk_loss_max: 1,
            damage_max: 0,
        };
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

    #[test]
    fn damage_on_one_host_counts_against_losses_of_the_others_until_its_disk_is_replaced() {
        let hosts: Vec<HostId> = (0..3).map(HostId::new).collect();
        let mut budget = Budget {
            system: "broker",
            hosts: hosts.clone(),
            unsynced_loss_max: 1,
            disk_loss_max: 1,
            damage_max: 1,
        };
        let mut ledger = Ledger::new(vec![budget.clone()]);
        ledger.hurt(hosts[0], Hurt::UnsyncedLoss);
        assert!(!ledger.may_damage(hosts[1]), "another has lost what was not synced");
        ledger.heal(|_| true);
        assert!(ledger.may_damage(hosts[1]));
        ledger.damage(hosts[1]);
        ledger.heal(|_| true);
        assert!(ledger.may_damage(hosts[1]), "the same host may be damaged again");
        assert_eq!(ledger.allowed(hosts[1], Hurt::UnsyncedLoss), Hurt::Crash, "but not torn as well");
        assert!(!ledger.may_damage(hosts[0]));
        assert_eq!(ledger.allowed(hosts[0], Hurt::UnsyncedLoss), Hurt::Crash);
        ledger.hurt(hosts[1], Hurt::DiskLoss);
        ledger.heal(|_| true);
        assert!(ledger.may_damage(hosts[0]), "an empty disk holds no damage");
        budget.unsynced_loss_max = 3;
        let mut ledger = Ledger::new(vec![budget]);
        ledger.hurt(hosts[0], Hurt::UnsyncedLoss);
        assert!(!ledger.may_damage(hosts[0]), "it may be torn, and nothing tells that from damage");
        assert!(ledger.may_damage(hosts[1]), "where all may lose what was not synced, nothing is missing");
    }
}
