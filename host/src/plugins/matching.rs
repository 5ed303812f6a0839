//! Who serves a target, decided by the `.info` files alone and always the same way.
//!
//! Several claims on one target: more non-null elements win, then the higher `priority`, then the
//! name that sorts first. A claim that another plugin's claim of the same specificity beats, for
//! at least one system, is a conflict.

use std::cmp::Reverse;
use std::collections::HashMap;

use plugin_api::info::{OsTarget, PluginInfo, Targets};

/// The eight ways to leave out elements of `(name, version, arch)`, most specific first.
const MASKS: [[bool; 3]; 8] = [
    [true, true, true],
    [true, true, false],
    [true, false, true],
    [false, true, true],
    [true, false, false],
    [false, true, false],
    [false, false, true],
    [false, false, false],
];

/// Higher priority first, then name order: `position` counts plugins sorted by name.
type Rank = (Reverse<i64>, usize);

/// All claims of all plugins: who else claims the same.
#[derive(Debug, Default)]
pub struct Claims {
    os: HashMap<OsTarget, Vec<Rank>>,
    cloud: HashMap<String, Vec<Rank>>,
    /// Claims that leave out other elements than a claim of the same specificity: the two overlap
    /// where the elements that both name are equal. Keyed by the mask of the one, that of the
    /// other, and those common elements.
    crossing: HashMap<(usize, usize, OsTarget), Vec<Rank>>,
}

/// A claim that another plugin wins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LostClaim {
    /// The claim.
    pub target: String,
    /// Position of the plugin that wins it.
    pub winner: usize,
}

impl Claims {
    /// Collects the claims of plugins, each given by its position in name order.
    pub fn new<'a>(plugins: impl Iterator<Item = (usize, &'a PluginInfo)>) -> Self {
        let mut claims = Self::default();
        for (position, info) in plugins {
            let rank = (Reverse(info.priority), position);
            match &info.targets {
                Targets::Os(targets) => {
                    for target in targets {
                        claims.os.entry(target.clone()).or_default().push(rank);
                    }
                },
                Targets::Cloud(targets) => {
                    for target in targets {
                        claims.cloud.entry(target.clone()).or_default().push(rank);
                    }
                },
            }
        }
        for ranks in claims.os.values_mut().chain(claims.cloud.values_mut()) {
            ranks.sort_unstable();
            // A plugin that makes a claim twice has no conflict with itself.
            ranks.dedup();
        }
        claims.cross();
        claims
    }

    fn cross(&mut self) {
        let mut present = [false; MASKS.len()];
        for target in self.os.keys() {
            present[mask_of(target)] = true;
        }
        for (target, ranks) in &self.os {
            let own = mask_of(target);
            for other in crossing_masks(own).filter(|other| present[*other]) {
                let key = (own, other, masked(target, other));
                self.crossing.entry(key).or_default().extend(ranks);
            }
        }
        for ranks in self.crossing.values_mut() {
            ranks.sort_unstable();
            ranks.dedup();
        }
    }

    /// The claims of the plugin at `position` that it loses to a plugin that `counts`.
    pub fn lost(
        &self,
        position: usize,
        info: &PluginInfo,
        counts: impl Fn(usize) -> bool,
    ) -> Vec<LostClaim> {
        let own = (Reverse(info.priority), position);
        let winner = |ranks: &[Rank]| {
            let better = ranks.iter().take_while(|rank| **rank < own);
            better.map(|(_, position)| *position).find(|position| counts(*position))
        };
        let mut lost: Vec<LostClaim> = Vec::new();
        let mut add = |target: String, winner: Option<usize>| {
            if let Some(winner) = winner
                && !lost.iter().any(|claim| claim.target == target)
            {
                lost.push(LostClaim { target, winner });
            }
        };
        match &info.targets {
            Targets::Os(targets) => {
                for target in targets {
                    let rivals = self.rivals(target);
                    add(target.to_string(), rivals.filter_map(winner).min());
                }
            },
            Targets::Cloud(targets) => {
                for target in targets {
                    let rivals = self.cloud.get(target).map(Vec::as_slice);
                    add(target.clone(), rivals.and_then(winner));
                }
            },
        }
        lost
    }

    /// Everybody whose claim is as specific as `target` and overlaps it, in groups of equal claims.
    fn rivals(&self, target: &OsTarget) -> impl Iterator<Item = &[Rank]> {
        let own = mask_of(target);
        let crossing = crossing_masks(own)
            .filter_map(move |other| self.crossing.get(&(other, own, masked(target, other))));
        self.os.get(target).into_iter().chain(crossing).map(Vec::as_slice)
    }

    /// All claimed systems with their claimants, best first; in no order.
    pub fn all_os(&self) -> impl Iterator<Item = (&OsTarget, Vec<usize>)> {
        self.os.iter().map(|(target, ranks)| (target, positions(ranks)))
    }

    /// All claimed cloud targets with their claimants, best first; in no order.
    pub fn all_cloud(&self) -> impl Iterator<Item = (&str, Vec<usize>)> {
        self.cloud.iter().map(|(target, ranks)| (target.as_str(), positions(ranks)))
    }
}

/// The plugins that claim a system, best first, of plugins given by their position in name order.
///
/// One question is answered faster by asking everybody than by an index of all claims.
pub fn os_claimants<'a>(
    plugins: impl Iterator<Item = (usize, &'a PluginInfo)>,
    [name, version, arch]: [&str; 3],
) -> Vec<usize> {
    let mut found: Vec<(Reverse<usize>, Rank)> = Vec::new();
    for (position, info) in plugins {
        let Targets::Os(targets) = &info.targets else { continue };
        let fitting = targets.iter().filter(|target| target.matches(name, version, arch));
        if let Some(specificity) = fitting.map(OsTarget::specificity).max() {
            found.push((Reverse(specificity), (Reverse(info.priority), position)));
        }
    }
    found.sort_unstable();
    found.into_iter().map(|(_, (_, position))| position).collect()
}

/// The plugins that claim a cloud target, best first; see [`os_claimants`].
pub fn cloud_claimants<'a>(
    plugins: impl Iterator<Item = (usize, &'a PluginInfo)>,
    asked: &str,
) -> Vec<usize> {
    let claims = |info: &PluginInfo| match &info.targets {
        Targets::Cloud(targets) => targets.iter().any(|target| target == asked),
        Targets::Os(_) => false,
    };
    let found = plugins.filter(|(_, info)| claims(info));
    let mut ranks: Vec<Rank> =
        found.map(|(position, info)| (Reverse(info.priority), position)).collect();
    ranks.sort_unstable();
    positions(&ranks)
}

fn positions(ranks: &[Rank]) -> Vec<usize> {
    ranks.iter().map(|(_, position)| *position).collect()
}

fn mask_of(target: &OsTarget) -> usize {
    let named = target.elements().map(|element| element.is_some());
    MASKS.iter().position(|mask| *mask == named).unwrap_or_default()
}

/// The other masks with as many elements.
fn crossing_masks(own: usize) -> impl Iterator<Item = usize> {
    let count = |mask: usize| MASKS[mask].iter().filter(|named| **named).count();
    (0..MASKS.len()).filter(move |other| *other != own && count(*other) == count(own))
}

/// `target` with only the elements that the mask names.
fn masked(target: &OsTarget, mask: usize) -> OsTarget {
    let [name, version, arch] = target.elements();
    let keep = MASKS[mask];
    OsTarget::new(name.filter(|_| keep[0]), version.filter(|_| keep[1]), arch.filter(|_| keep[2]))
}

#[cfg(test)]
mod tests;
