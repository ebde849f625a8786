//! Whether a plan fits together: its faults are ones that its class allows, its triggers can be followed, and it names no node that is
//! not there. Scenarios draw only plans that do; a plan file may have been written or changed by hand.

use std::collections::BTreeSet;

use super::{Class, Fault, Members, Plan, Planned, Target, When, Whom};
use crate::trace::Message;

/// Says what does not fit, and what would.
pub(super) fn check(plan: &Plan) -> Result<(), String> {
    let nodes = plan.nodes();
    if nodes == 0 {
        return Err("no node: `clocks` has one for each".to_owned());
    }
    let lost: BTreeSet<u64> =
        plan.head.abandoned.iter().chain(&plan.head.rotten).copied().collect();
    if let Some(stranger) = lost.iter().find(|id| !is_node(**id, nodes)) {
        return Err(format!("`abandoned` and `rotten` name node {stranger} of {nodes}"));
    }
    if lost.len() as u64 * 2 >= nodes && !lost.is_empty() {
        return Err(format!(
            "`abandoned` and `rotten` name {} of {nodes} nodes; a quorum must be left, or nothing can be demanded",
            lost.len()
        ));
    }
    if plan.head.spares >= nodes {
        return Err("`spares` leaves no node that forms a cluster".to_owned());
    }
    let numbers: BTreeSet<u32> = plan.faults.iter().map(|planned| planned.number).collect();
    if numbers.len() < plan.faults.len() {
        return Err("two faults have one number; it names their stream of chance".to_owned());
    }
    let misfit = |planned: &Planned| {
        let text = misfit(planned, plan)?;
        Some(format!("fault {} ({}): {text}", planned.number, planned.fault))
    };
    plan.faults.iter().find_map(misfit).map_or(Ok(()), Err)
}

fn is_node(id: u64, nodes: u64) -> bool {
    (1..=nodes).contains(&id)
}

/// What is wrong with a fault.
fn misfit(planned: &Planned, plan: &Plan) -> Option<String> {
    let (class, nodes, rotten) = (plan.head.class, plan.nodes(), &plan.head.rotten);
    let least = least_class(&planned.fault);
    if class < least {
        return Some(format!("class {} does not allow it; {} does", class.name(), least.name()));
    }
    if let Some(stranger) = named(planned).find(|id| !is_node(*id, nodes)) {
        return Some(format!("there is no node {stranger} among {nodes}"));
    }
    let has_cause = matches!(planned.when, When::Io { .. } | When::Message { .. } | When::Leads(_));
    if planned.fault.target() == Some(Target::Cause) && !has_cause {
        return Some("`cause` is nobody: its `when` waits for no node's doing".to_owned());
    }
    if let Some(Target::Node(id)) = planned.fault.target()
        && spoils(&planned.fault)
        && !rotten.contains(&id)
    {
        return Some(format!("node {id} is spared, for it is not in `rotten`"));
    }
    match &planned.when {
        When::Io { node, .. } if !stops(&planned.fault, *node) => Some(format!(
            "its `when` stops node {node} inside an operation of its disk, so it must be the kill or the loss of power of that very node"
        )),
        When::Message { kind, .. } if Message::kind_named(kind).is_none() => {
            Some(format!("raft has no message of type {kind}"))
        }
        _ => None,
    }
}

/// Whether it changes a disk behind its node's back.
fn spoils(fault: &Fault) -> bool {
    matches!(fault, Fault::Rot { .. } | Fault::Wipe { .. } | Fault::PutBack { .. })
}

/// The first of the classes, each of which allows what the one before it does, that allows a fault.
fn least_class(fault: &Fault) -> Class {
    match fault {
        Fault::ClockJump { .. }
        | Fault::ClockRate { .. }
        | Fault::ClockFrozen { .. }
        | Fault::Suspend { .. } => Class::WildClocks,
        fault if spoils(fault) => Class::StorageRot,
        _ => Class::BoundedClocks,
    }
}

/// The nodes that a fault names.
fn named(planned: &Planned) -> impl Iterator<Item = u64> {
    let target = match planned.fault.target() {
        Some(Target::Node(id)) => Some(id),
        _ => None,
    };
    let waited_for = match &planned.when {
        When::Io { node, .. } => Some(*node),
        _ => None,
    };
    let other = match &planned.fault {
        Fault::Cut { from: Whom::Node(id), .. } => Some(*id),
        _ => None,
    };
    let changed = match &planned.fault {
        Fault::Change { members: Members::Add(id) | Members::Remove(id) } => [Some(*id), None],
        Fault::Change { members: Members::Replace { old, new } } => [Some(*old), Some(*new)],
        _ => [None; 2],
    };
    [target, waited_for, other].into_iter().chain(changed).flatten()
}

/// Whether a fault ends the process of this node, which hangs in an operation of its disk. Told to end, it would hear nothing.
fn stops(fault: &Fault, node: u64) -> bool {
    match fault {
        Fault::Kill { node: target } | Fault::PowerCut { node: target, .. } => {
            [Target::Cause, Target::Node(node)].contains(target)
        }
        Fault::PowerCutAll => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Files;
    use crate::ports::disk::Moment;
    use crate::scenario;

    fn misfit(change: impl FnOnce(&mut Plan)) -> Option<String> {
        let mut plan = scenario::named("calm").expect("there is one").plan(1);
        assert_eq!((plan.nodes(), plan.head.class), (3, Class::BoundedClocks));
        assert_eq!(check(&plan), Ok(()));
        change(&mut plan);
        check(&plan).err()
    }

    fn with(class: Class, when: When, fault: Fault) -> Option<String> {
        misfit(|plan| {
            plan.head.class = class;
            plan.faults.push(Planned { number: 9, when, lasts_ms: 100, fault });
        })
    }

    /// A class allows what the ones before it do, and no more.
    #[test]
    fn classes_bound_faults() {
        let (node, at) = (Target::Leader, When::At(1000));
        let (jump, wipe) = (Fault::ClockJump { node, ms: 5000 }, Fault::Wipe { node });
        for (class, fault, fits) in [
            (Class::BoundedClocks, &jump, false),
            (Class::StorageRot, &jump, false),
            (Class::WildClocks, &jump, true),
            (Class::BoundedClocks, &wipe, false),
            (Class::StorageRot, &wipe, true),
            (Class::WildClocks, &wipe, true),
            (Class::BoundedClocks, &Fault::Kill { node }, true),
        ] {
            let found = with(class, at.clone(), fault.clone());
            assert_eq!(found.is_none(), fits, "{class:?} {fault:?}: {found:?}");
        }
        let text = with(Class::BoundedClocks, at, jump).expect("it is refused");
        assert!(text.contains("fault 9") && text.contains("wild-clocks does"), "{text}");
    }

    /// Whoever hangs in an operation of its disk must be stopped by what waited for that.
    #[test]
    fn triggers_at_disks_stop_their_node() {
        let io =
            |node| When::Io { node, kind: None, files: Files::Any, nth: 1, moment: Moment::During };
        let kill = |node| Fault::Kill { node };
        for (when, fault, fits) in [
            (io(2), kill(Target::Cause), true),
            (io(2), kill(Target::Node(2)), true),
            (io(2), Fault::PowerCutAll, true),
            (io(2), kill(Target::Node(1)), false),
            (io(2), kill(Target::Leader), false),
            (io(2), Fault::End { node: Target::Cause }, false),
            (io(2), Fault::Pause { node: Target::Cause }, false),
            (io(4), kill(Target::Cause), false),
        ] {
            let found = with(Class::BoundedClocks, when.clone(), fault.clone());
            assert_eq!(found.is_none(), fits, "{when:?} {fault:?}: {found:?}");
        }
    }

    /// A message that raft does not have, a cause where nobody did anything, a disk that may not rot.
    #[test]
    fn what_would_do_nothing_is_refused() {
        let message = |kind: &str| When::Message { kind: kind.to_owned(), nth: 1 };
        let (cause, wipe) = (Fault::Kill { node: Target::Cause }, |node| Fault::Wipe { node });
        for (when, fault, fits) in [
            (message("MsgAppend"), &cause, true),
            (message("MsgApend"), &cause, false),
            (When::Leads(1), &cause, true),
            (When::At(1), &cause, false),
            (When::At(1), &wipe(Target::Node(2)), true),
            (When::At(1), &wipe(Target::Node(3)), false),
        ] {
            let found = misfit(|plan| {
                (plan.head.class, plan.head.rotten) = (Class::StorageRot, vec![2]);
                let (when, fault) = (when.clone(), fault.clone());
                plan.faults.push(Planned { number: 9, when, lasts_ms: 100, fault });
            });
            assert_eq!(found.is_none(), fits, "{when:?} {fault:?}: {found:?}");
        }
    }

    /// Nodes that are not there, too few that are left, numbers that come twice.
    #[test]
    fn heads_are_checked() {
        assert!(misfit(|plan| plan.head.clocks.clear()).is_some());
        assert!(misfit(|plan| plan.head.rotten = vec![3]).is_none());
        assert!(misfit(|plan| plan.head.rotten = vec![4]).is_some());
        assert!(misfit(|plan| plan.head.abandoned = vec![1, 2]).is_some());
        let kill = Planned {
            number: 1,
            when: When::At(9),
            lasts_ms: 9,
            fault: Fault::Kill { node: Target::Node(3) },
        };
        assert!(misfit(|plan| plan.faults.push(kill.clone())).is_none());
        assert!(misfit(|plan| plan.faults.extend([kill.clone(), kill.clone()])).is_some());
        let (at, node) = (When::At(9), Target::Node(4));
        assert!(with(Class::BoundedClocks, at, Fault::Kill { node }).is_some());
    }
}
