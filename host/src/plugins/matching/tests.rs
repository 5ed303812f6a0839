use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn info(kind: &str, targets: &Value, priority: i64) -> PluginInfo {
    let text = json!({"type": kind, "targets": targets, "priority": priority}).to_string();
    PluginInfo::from_json(text.as_bytes()).unwrap()
}

fn os(targets: &Value) -> PluginInfo {
    info("os", targets, 0)
}

fn claims(plugins: &[PluginInfo]) -> Claims {
    Claims::new(plugins.iter().enumerate())
}

fn os_plugins(plugins: &[PluginInfo], asked: [&str; 3]) -> Vec<usize> {
    os_claimants(plugins.iter().enumerate(), asked)
}

fn cloud_plugins(plugins: &[PluginInfo], asked: &str) -> Vec<usize> {
    cloud_claimants(plugins.iter().enumerate(), asked)
}

/// For each plugin, the claims that it loses and to whom.
fn lost(plugins: &[PluginInfo]) -> Vec<Vec<(String, usize)>> {
    let claims = claims(plugins);
    let of = |(position, info)| {
        let lost = claims.lost(position, info, |_| true);
        lost.into_iter().map(|claim| (claim.target, claim.winner)).collect()
    };
    plugins.iter().enumerate().map(of).collect()
}

#[test]
fn more_elements_win() {
    let plugins = [
        os(&json!([[null, null, null]])),
        os(&json!([["Debian"]])),
        os(&json!([["Debian", "12"]])),
        os(&json!([["Debian", "12", "x86_64"]])),
    ];
    assert_eq!(os_plugins(&plugins, ["Debian", "12", "x86_64"]), [3, 2, 1, 0]);
    assert_eq!(os_plugins(&plugins, ["Debian", "12", "riscv64"]), [2, 1, 0]);
    assert_eq!(os_plugins(&plugins, ["Debian", "11", "x86_64"]), [1, 0]);
    assert_eq!(os_plugins(&plugins, ["Plan9", "4", "386"]), [0]);
}

#[test]
fn every_pattern_of_wildcards_matches() {
    for pattern in 0..8 {
        let pick = |bit, value: &str| {
            if pattern >> bit & 1 == 1 { json!(value) } else { json!(null) }
        };
        let target = json!([[pick(0, "Debian"), pick(1, "12"), pick(2, "x86_64")]]);
        assert_eq!(os_plugins(&[os(&target)], ["Debian", "12", "x86_64"]), [0], "{target}");
    }
}

#[test]
fn matching_respects_case() {
    let plugins = [os(&json!([["Debian"]])), info("cloud", &json!(["qcow2"]), 0)];
    assert!(os_plugins(&plugins, ["debian", "12", "x86_64"]).is_empty());
    assert!(cloud_plugins(&plugins, "QCOW2").is_empty());
    assert_eq!(cloud_plugins(&plugins, "qcow2"), [1]);
}

#[test]
fn priority_then_name_decide_between_equal_claims() {
    let cloud = |priority| info("cloud", &json!(["gce"]), priority);
    assert_eq!(cloud_plugins(&[cloud(0), cloud(5), cloud(5), cloud(-1)], "gce"), [1, 2, 0, 3]);
}

#[test]
fn the_losing_claim_is_a_conflict_and_the_others_are_not() {
    let lost = lost(&[
        os(&json!([["Fedora"], ["RHEL-7"]])),
        os(&json!([["Fedora"], ["Windows"], ["Fedora", "39"]])),
    ]);
    assert_eq!(lost, [vec![], vec![("Fedora * *".to_owned(), 0)]]);
}

#[test]
fn claims_that_leave_out_different_elements_conflict_where_they_overlap() {
    let lost = lost(&[
        os(&json!([["Debian", null, "x86_64"]])),
        os(&json!([["Debian", "12"]])),
        os(&json!([["Ubuntu", "24.04"]])),
        os(&json!([[null, "24.04", "x86_64"]])),
    ]);
    assert_eq!(
        lost,
        [
            vec![],
            vec![("Debian 12 *".to_owned(), 0)],
            vec![],
            vec![("* 24.04 x86_64".to_owned(), 0)]
        ]
    );
}

#[test]
fn a_plugin_has_no_conflict_with_itself() {
    let twice = lost(&[
        os(&json!([["Debian"], ["Debian"], [null, "12"], ["Debian", null, null]])),
        info("cloud", &json!(["a", ["a"]]), 0),
    ]);
    assert_eq!(twice, [vec![], vec![]]);
}

#[test]
fn a_winner_that_does_not_count_takes_nothing() {
    let plugins = [0, 1, 2].map(|_| info("cloud", &json!(["gce"]), 0));
    let claims = claims(&plugins);
    assert_eq!(claims.lost(2, &plugins[2], |position| position != 0)[0].winner, 1);
    assert_eq!(claims.lost(1, &plugins[1], |position| position != 0), []);
}

fn element() -> impl Strategy<Value = Option<String>> {
    prop::option::of(prop::sample::select(vec!["a".to_owned(), "b".to_owned()]))
}

fn plugins() -> impl Strategy<Value = Vec<(Vec<[Option<String>; 3]>, i64)>> {
    let tuple = (element(), element(), element()).prop_map(|(a, b, c)| [a, b, c]);
    prop::collection::vec((prop::collection::vec(tuple, 1..4), -1..2_i64), 1..6)
}

proptest! {
    /// The plain reading of the rule, over all claims.
    #[test]
    fn the_answer_is_what_the_rule_says(plugins in plugins(), asked in ["[ab]", "[ab]", "[ab]"]) {
        let infos: Vec<PluginInfo> =
            plugins.iter().map(|(targets, priority)| info("os", &json!(targets), *priority)).collect();
        let [name, version, arch] = &asked;
        let specificity = |info: &PluginInfo| match &info.targets {
            Targets::Os(targets) => targets
                .iter()
                .filter(|target| target.matches(name, version, arch))
                .map(OsTarget::specificity)
                .max(),
            Targets::Cloud(_) => None,
        };
        let mut expected: Vec<_> = infos
            .iter()
            .enumerate()
            .filter_map(|(i, info)| Some((Reverse(specificity(info)?), Reverse(info.priority), i)))
            .collect();
        expected.sort_unstable();
        let expected: Vec<usize> = expected.into_iter().map(|(_, _, i)| i).collect();
        prop_assert_eq!(os_plugins(&infos, [name, version, arch]), expected);
    }

    /// Somebody loses a claim exactly when a better plugin has one that is as specific and overlaps.
    #[test]
    fn conflicts_are_what_the_rule_says(plugins in plugins()) {
        let infos: Vec<PluginInfo> =
            plugins.iter().map(|(targets, priority)| info("os", &json!(targets), *priority)).collect();
        let targets = |info: &PluginInfo| match &info.targets {
            Targets::Os(targets) => targets.clone(),
            Targets::Cloud(_) => Vec::new(),
        };
        let overlap = |a: &OsTarget, b: &OsTarget| {
            a.specificity() == b.specificity()
                && a.elements().iter().zip(b.elements()).all(|(a, b)| a.is_none() || b.is_none() || *a == b)
        };
        for (i, (info, lost)) in infos.iter().zip(lost(&infos)).enumerate() {
            for target in targets(info) {
                let winner = infos
                    .iter()
                    .enumerate()
                    .filter(|(j, rival)| (Reverse(rival.priority), *j) < (Reverse(info.priority), i))
                    .filter(|(_, rival)| targets(rival).iter().any(|other| overlap(&target, other)))
                    .min_by_key(|(j, rival)| (Reverse(rival.priority), *j));
                let found = lost.iter().find(|(text, _)| *text == target.to_string());
                prop_assert_eq!(found.is_some(), winner.is_some());
            }
        }
    }
}
