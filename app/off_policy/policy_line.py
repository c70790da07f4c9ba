"""Makes one policy's line in the table of an evaluation: the headline, the verdict on the log's support, and reasons."""

import numpy as np
from numpy.typing import NDArray

from app.foundation.formats.intervals import document_of
from app.off_policy.documents import EstimatorLine, PolicyLine, WeightHistogram
from app.off_policy.evaluation_request import CandidateSpec
from app.off_policy.policies import Target
from experiments.report import OffPolicyReport
from experiments.verdict import Status
from experiments.verdict_words import sentences

HISTOGRAM = (0.0, 0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 1000.0)
NOT_POSSIBLE = "not_possible"  # the reason code of a candidate that cannot be evaluated at all


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
        reasons=sentences(report.verdict.reasons),
        reason_codes=[reason.code for reason in report.verdict.reasons],
        reason_params=[reason.params for reason in report.verdict.reasons],
        effective_sample_size=report.effective_sample_size,
        mean_weight=report.mean_weight,
        max_weight=report.max_weight,
        overlap=float(np.mean(weights > 0)),
        weight_histogram=WeightHistogram(
            edges=list(HISTOGRAM),
            counts=np.histogram(np.clip(weights, 0, HISTOGRAM[-1]), HISTOGRAM)[0].tolist(),
        ),
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


def impossible(spec: CandidateSpec, reason: str) -> PolicyLine:
    """The line of a candidate that cannot be evaluated; it takes no part in the search."""
    return PolicyLine(
        policy=spec.key,
        text="cannot be evaluated",
        features_off=list(spec.features_off),
        value=None,
        interval=None,
        headline=None,
        status=str(Status.NOT_IDENTIFIED),
        reasons=[reason],
        reason_codes=[NOT_POSSIBLE],
        effective_sample_size=None,
        mean_weight=None,
        max_weight=None,
        overlap=None,
        weight_histogram=WeightHistogram(edges=list(HISTOGRAM), counts=[0] * (len(HISTOGRAM) - 1)),
        estimators={},
        against_running=None,
    )
