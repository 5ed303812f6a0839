//! `doctor`: prints what was found.

use super::error::Exit;
use super::local::Local;
use super::output::table;
use crate::doctor::{Report, State, Subject, examine};

/// `imageforge doctor`
pub(super) fn run(local: &Local) -> Exit {
    let report = examine(&Subject {
        plugins: local.registry_options(),
        settings: local.settings.clone(),
        data_dir: local.data_dir().to_owned(),
        source_date_epoch: std::env::var("SOURCE_DATE_EPOCH").ok(),
    });
    local.output.text(text(&report));
    local.output.json(&report);
    report.exit()
}

fn text(report: &Report) -> String {
    let mut rows = Vec::new();
    for check in &report.checks {
        let state = match check.state {
            State::Ok => "ok",
            State::Warning => "warning",
            State::Problem => "problem",
            State::Absent => "absent",
        };
        rows.push(vec![state.to_owned(), check.name.to_owned(), check.says.clone()]);
        if let Some(hint) = &check.hint {
            rows.push(vec![String::new(), String::new(), format!("hint: {hint}")]);
        }
    }
    table(&rows)
}
