//! Cuts a failing plan down: faults by halves (delta debugging, Zeller and Hildebrandt 2002), then time, kinds of work and clients, how
//! long faults hold, and the clients' steps. A smaller plan is kept if the same check still finds something first.

use std::time::{Duration, Instant};

use super::outcome::Outcome;
use super::sweep::{Setting, sweep};
use crate::plan::{Plan, Planned, When};
use crate::workload::Kind;

/// What came of it.
#[derive(Debug)]
pub struct Minimized {
    /// The smallest plan that was found.
    pub plan: Plan,
    /// What its run came to.
    pub outcome: Outcome,
    /// How many runs it took.
    pub runs: u64,
}

/// Steps that a client is taken to have made if its run does not say.
const STEPS: u64 = 512;

struct Search<'a> {
    setting: &'a Setting,
    /// What the failure is known by.
    signature: String,
    best: Plan,
    outcome: Outcome,
    runs: u64,
    until: Instant,
}

/// Minimizes a plan that fails, within about that time.
///
/// # Errors
/// It does not fail, or runs can't be started.
#[allow(clippy::disallowed_methods)] // the person's own time, outside every simulation
pub fn minimize(plan: &Plan, setting: &Setting, patience: Duration) -> Result<Minimized, String> {
    let mut search = Search {
        setting,
        signature: String::new(),
        best: plan.clone(),
        outcome: Outcome::default(),
        runs: 0,
        until: Instant::now() + patience,
    };
    let first = search.first_of(vec![plan.clone()], |_| true)?.map(|(_, outcome)| outcome);
    let found = first.and_then(|outcome| Some((signature(&outcome)?, outcome)));
    let (known_by, outcome) =
        found.ok_or("all promises hold in this plan: there is nothing to minimize")?;
    (search.signature, search.outcome) = (known_by, outcome);
    search.shrink()?;
    Ok(Minimized { plan: search.best, outcome: search.outcome, runs: search.runs })
}

/// What a failure is known by: the first check, and the first words that it says, without numbers and names.
fn signature(outcome: &Outcome) -> Option<String> {
    const WORDS: usize = 5;
    let found = outcome.violations.first()?;
    let is_plain = |word: &&str| word.bytes().all(|letter| letter.is_ascii_lowercase());
    let words: Vec<&str> = found.text.split_whitespace().filter(is_plain).take(WORDS).collect();
    Some(format!("{}: {}", found.check, words.join(" ")))
}

impl Search<'_> {
    fn shrink(&mut self) -> Result<(), String> {
        loop {
            let before = self.best.clone();
            self.fewer_faults()?;
            self.sooner()?;
            self.fewer_clients()?;
            self.fewer_kinds_of_work()?;
            self.shorter_faults()?;
            self.fewer_steps()?;
            self.without_blocks()?;
            if self.best == before || self.is_late() {
                return Ok(());
            }
        }
    }

    #[allow(clippy::disallowed_methods)] // as above
    fn is_late(&self) -> bool {
        Instant::now() >= self.until
    }

    /// The first of these plans whose run is as wanted, with its outcome.
    fn first_of(
        &mut self,
        plans: Vec<Plan>,
        is_wanted: impl Fn(&Outcome) -> bool,
    ) -> Result<Option<(Plan, Outcome)>, String> {
        let mut found = None;
        let runs = &mut self.runs;
        let swept = sweep(plans, self.setting, |plan, outcome| {
            *runs += 1;
            if is_wanted(&outcome) {
                found = Some((plan.clone(), outcome));
            }
            found.is_none()
        });
        swept?;
        Ok(found)
    }

    /// Goes on with the first of these plans in which the same check finds something; answers whether there is one.
    fn accept(&mut self, plans: Vec<Plan>) -> Result<bool, String> {
        if self.is_late() {
            return Ok(false);
        }
        let known_by = self.signature.clone();
        let found =
            self.first_of(plans, |outcome| signature(outcome).as_ref() == Some(&known_by))?;
        let Some((plan, outcome)) = found else { return Ok(false) };
        (self.best, self.outcome) = (plan, outcome);
        Ok(true)
    }

    fn with_faults(&self, faults: Vec<Planned>) -> Plan {
        Plan { head: self.best.head.clone(), faults }
    }

    /// Takes parts of the faults away: halves, quarters, and so on down to single ones.
    fn fewer_faults(&mut self) -> Result<(), String> {
        if !self.best.faults.is_empty() {
            let none = self.with_faults(Vec::new());
            self.accept(vec![none])?;
        }
        let mut size = self.best.faults.len().div_ceil(2);
        while size > 0 && !self.is_late() {
            let count = self.best.faults.len();
            let without = |from: usize| {
                let kept = self.best.faults.iter().enumerate();
                let kept = kept.filter(|(at, _)| !(from..from + size).contains(at));
                self.with_faults(kept.map(|(_, fault)| fault.clone()).collect())
            };
            let plans: Vec<Plan> = (0..count).step_by(size).map(without).collect();
            if plans.is_empty() || !self.accept(plans)? {
                size = if size == 1 { 0 } else { size.div_ceil(2) };
            } else {
                size = size.min(self.best.faults.len());
            }
        }
        Ok(())
    }

    fn fewer_kinds_of_work(&mut self) -> Result<(), String> {
        loop {
            let kinds = &self.best.head.mix.kinds;
            if kinds.len() < 2 {
                return Ok(());
            }
            let without = |kind: &Kind| {
                let mut plan = self.best.clone();
                plan.head.mix.kinds.retain(|other| other != kind);
                plan
            };
            let plans = kinds.iter().map(without).collect();
            if !self.accept(plans)? {
                return Ok(());
            }
        }
    }

    fn fewer_clients(&mut self) -> Result<(), String> {
        let fewer = (1..self.best.head.clients).map(|clients| {
            let mut plan = self.best.clone();
            plan.head.clients = clients;
            plan
        });
        let plans = fewer.collect();
        self.accept(plans).map(drop)
    }

    fn shorter_faults(&mut self) -> Result<(), String> {
        for at in 0..self.best.faults.len() {
            let shorter = [8, 2].into_iter().filter_map(|part| {
                let mut plan = self.best.clone();
                let fault = plan.faults.get_mut(at)?;
                fault.lasts_ms /= part;
                (fault.lasts_ms >= 20).then_some(plan)
            });
            let plans = shorter.collect();
            self.accept(plans)?;
        }
        Ok(())
    }

    /// Everything earlier, and healing soon after the last fault.
    fn sooner(&mut self) -> Result<(), String> {
        let sooner = [16, 8, 4, 2].into_iter().map(|part| {
            let mut plan = self.best.clone();
            plan.head.heal_ms = (plan.head.heal_ms / part).max(1000);
            for planned in &mut plan.faults {
                if let When::At(ms) = &mut planned.when {
                    *ms = (*ms / part).max(400);
                }
            }
            plan
        });
        let mut plans: Vec<Plan> = sooner.collect();
        let ends = self.best.faults.iter().filter_map(|planned| match planned.when {
            When::At(ms) => Some(ms + planned.lasts_ms + 1000),
            _ => None,
        });
        if let Some(end) = ends.max().filter(|end| *end < self.best.head.heal_ms) {
            let mut plan = self.best.clone();
            plan.head.heal_ms = end;
            plans.push(plan);
        }
        self.accept(plans).map(drop)
    }

    fn clients(&self) -> Vec<String> {
        (1..=self.best.head.clients).map(|number| format!("c{number}")).collect()
    }

    /// How many steps a client takes at the most.
    fn steps_of(&self, client: &str) -> u64 {
        let limit = self.best.head.steps.get(client).or_else(|| self.outcome.steps.get(client));
        limit.copied().unwrap_or(STEPS)
    }

    /// Clients stop after fewer steps: all of them, then each.
    fn fewer_steps(&mut self) -> Result<(), String> {
        let clients = self.clients();
        let all = std::iter::once(clients.clone());
        let each = clients.iter().map(|client| vec![client.clone()]);
        for group in all.chain(each) {
            loop {
                let shorter = [16, 4, 2].into_iter().map(|part| {
                    let mut plan = self.best.clone();
                    for client in &group {
                        plan.head.steps.insert(client.clone(), self.steps_of(client) / part);
                    }
                    plan
                });
                let is_done = group.iter().all(|client| self.steps_of(client) == 0);
                let plans = shorter.collect();
                if is_done || !self.accept(plans)? {
                    break;
                }
            }
        }
        Ok(())
    }

    /// Leaves out blocks of each client's steps.
    fn without_blocks(&mut self) -> Result<(), String> {
        for client in self.clients() {
            let steps = self.steps_of(&client);
            let mut size = steps.div_ceil(2);
            while size > 0 && !self.is_late() {
                for from in (1..=steps).step_by(size as usize) {
                    let block = (from, (from + size - 1).min(steps));
                    let ranges = self.best.head.skipped.get(&client);
                    let is_within = |(a, b): &(u64, u64)| *a <= block.0 && block.1 <= *b;
                    if ranges.is_some_and(|ranges| ranges.iter().any(is_within)) {
                        continue;
                    }
                    let mut plan = self.best.clone();
                    let ranges = plan.head.skipped.entry(client.clone()).or_default();
                    ranges.retain(|(a, b)| !(block.0 <= *a && *b <= block.1));
                    ranges.push(block);
                    ranges.sort_unstable();
                    self.accept(vec![plan])?;
                }
                size = if size > 4 { size / 2 } else { 0 };
            }
        }
        Ok(())
    }
}
