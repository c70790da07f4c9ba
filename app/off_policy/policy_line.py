"""Makes one policy's line in the table of an evaluation: the headline, the verdict on the log's support, and reasons."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.foundation.formats.intervals import document_of
from app.off_policy.documents import EstimatorLine, PolicyLine, WeightHistogram
from app.off_policy.evaluation_request import CandidateSpec
from app.off_policy.log_table import LogTable
from app.off_policy.policies import Target
from experiments.off_policy.verdict import Reason, Status, Verdict
from experiments.off_policy.verdict_words import sentences
from experiments.policy_reports.report import OffPolicyReport

HISTOGRAM = (0.0, 0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 1000.0)
NOT_POSSIBLE = "not_possible"  # the reason code of a candidate that cannot be evaluated at all
ALREADY_LEARNED = "already_learned"  # a version that learned almost all evaluated decisions
TOO_FEW_CASES = "too_few_cases"


def policy_line(target: Target, report: OffPolicyReport, weights: NDArray[np.float64]) -> PolicyLine:
    """The line of a policy that was evaluated.

    :param weights: (n,) importance weights of the evaluated rows.
    """
    shown = report.verdict.identified
    lead = report.headline
    return PolicyLine(
        policy=target.name,
        text=target.text,
        features_off=list(target.features_off),
        value=lead.value if shown else None,
        interval=document_of(lead.always_valid) if shown else None,
        one_look=document_of(lead.one_look) if shown else None,
        one_look_method=lead.one_look_method if shown else None,
        headline=f"{lead.estimator}, always_valid" if shown else None,
        status=str(report.verdict.status),
        **reasons_of(report.verdict),
        effective_sample_size=report.effective_sample_size,
        mean_weight=report.mean_weight,
        max_weight=report.max_weight,
        overlap=float(np.mean(weights > 0)),
        weight_histogram=histogram(weights),
        estimators={
            name: EstimatorLine(
                value=estimate.value,
                std_error=estimate.std_error,
                intervals={kind: document_of(interval) for kind, interval in estimate.intervals.items()},
                estimand=estimate.estimand,
                reason=estimate.reason,
            )
            for name, estimate in report.estimators.items()
        },
    )


def reasons_of(verdict: Verdict) -> dict[str, Any]:
    """The fields of a line that say why."""
    return {
        "reasons": sentences(verdict.reasons),
        "reason_codes": [reason.code for reason in verdict.reasons],
        "reason_params": [reason.params for reason in verdict.reasons],
    }


def histogram(weights: NDArray[np.float64]) -> WeightHistogram:
    """How many rows have which weight."""
    counts = np.histogram(np.clip(weights, 0, HISTOGRAM[-1]), HISTOGRAM)[0].tolist()
    return WeightHistogram(edges=list(HISTOGRAM), counts=counts)


def described(line: PolicyLine, target: Target, part: LogTable) -> PolicyLine:
    """The line with what the policy was scored on."""
    line.basis = target.basis
    line.scored_on, line.scored_from = len(part), part.rows[0].decided_at.isoformat()
    return line


def too_few(target: Target, rows: int, evaluated: int, limit: int) -> PolicyLine:
    """The line of a policy that may not be scored: it has learned, or could not decide, too many of the evaluated rows."""
    code = ALREADY_LEARNED if target.after is not None else TOO_FEW_CASES
    reason = Reason(code, {"rows": rows, "evaluated": evaluated, "limit": limit}, rows, limit, True)
    line = _without_figures(target.name, target.text, target.features_off)
    return line.model_copy(
        update=reasons_of(Verdict(Status.NOT_IDENTIFIED, (reason,))) | {"basis": target.basis, "scored_on": rows}
    )


def impossible(spec: CandidateSpec, reason: str) -> PolicyLine:
    """The line of a candidate that cannot be evaluated; it takes no part in the search."""
    line = _without_figures(spec.key, "cannot be evaluated", spec.features_off)
    return line.model_copy(update={"reasons": [reason], "reason_codes": [NOT_POSSIBLE]})


def _without_figures(name: str, text: str, features_off: Sequence[str]) -> PolicyLine:
    return PolicyLine(
        policy=name,
        text=text,
        features_off=list(features_off),
        value=None,
        interval=None,
        headline=None,
        status=str(Status.NOT_IDENTIFIED),
        reasons=[],
        effective_sample_size=None,
        mean_weight=None,
        max_weight=None,
        overlap=None,
        weight_histogram=WeightHistogram(edges=list(HISTOGRAM), counts=[0] * (len(HISTOGRAM) - 1)),
        estimators={},
        against_running=None,
    )
