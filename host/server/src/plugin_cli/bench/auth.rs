//! What an auth plugin costs per decision.

use std::time::{Duration, Instant};

use wasmtx_hub::PathName;
use wasmtx_sandbox::{AuthChain, Limits};

use super::figures::{Report, Times};
use crate::plugin_cli::{run::auth, shown};

/// Asks the same again and again, one at a time.
pub(super) fn measure(
    chain: &AuthChain,
    limits: &Limits,
    requests: &[&String],
    time: Duration,
    report: &mut Report,
) -> anyhow::Result<()> {
    let path = PathName::new("bench")?;
    let questions = if requests.is_empty() {
        report.note("asked without credentials; --request asks something else");
        vec![auth::access("{}", &path)?]
    } else {
        requests
            .iter()
            .map(|text| auth::access(text, &path))
            .collect::<anyhow::Result<_>>()?
    };
    let questions: Vec<_> = questions.into_iter().flatten().collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (mut first, mut decisions) = (Times::default(), Times::default());
    let begun = Instant::now();
    while begun.elapsed() < time && !questions.is_empty() {
        for question in &questions {
            let before = Instant::now();
            let _ = runtime.block_on(chain.check(question));
            let took = before.elapsed();
            if first.len() == 0 {
                first.push(took)
            } else {
                decisions.push(took)
            }
        }
    }
    report.times("first decision, start of an instance included", &first);
    report.times("decision", &decisions);
    report.share(
        "authBudgetShare",
        &format!(
            "share of authBudget ({}) that the p99 takes",
            shown::time(limits.auth_running)
        ),
        decisions.within(99).as_secs_f64() / limits.auth_running.as_secs_f64(),
    );
    Ok(())
}
