"""Compares policies with what runs, on the decisions that neither had learned, and searches the candidates for a winner."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from app.foundation.formats.intervals import document_of
from app.off_policy.documents import PolicyLine, Search, SearchLine, ValueDifference
from app.off_policy.log_table import clusters
from app.off_policy.valued import Valued
from experiments.off_policy import unit_sums
from experiments.off_policy.verdict import Verdict
from experiments.off_policy.verdict_words import WORDS
from experiments.policy_reports.candidates import Candidate, Gap, detectable_difference, gap_of, judge
from experiments.policy_reports.headline import not_normal, refused_difference
from experiments.results import Interval

FloatArray = NDArray[np.float64]
MIN_COMPARED = 2  # units; a standard error needs so many
NOTHING_STORED = "no candidate is stored"
NOTHING_COMPARED = "no candidate could be compared with what runs: see the reasons of each policy"
NONE_BETTER = "no candidate is shown to be better than what runs"


class Baseline(NamedTuple):
    """What the policies are compared with."""

    contributions: FloatArray  # (cases,) NaN where it may not be scored
    verdict: Verdict | None  # null: the logged value, which needs no weights
    unit: NDArray[np.int64]  # (cases,)
    alpha: float
    stands_for: FloatArray | None = None  # (cases,) decisions that a case stands for; null: each for as many


class _Compared(NamedTuple):
    """A policy against the baseline."""

    policy: Valued
    sums: unit_sums.UnitSums
    clustered: bool
    cases: int


def difference(policy: Valued, baseline: Baseline) -> ValueDifference | None:
    """The paired difference to what runs; none where the log does not identify the policy's value."""
    compared = _compare(policy, baseline)
    if policy.contributions is baseline.contributions or compared is None:
        return None
    assert policy.verdict is not None, "what is compared has a verdict"
    if not policy.verdict.identified:
        return None
    refused, gap = _refused(compared, baseline), gap_of(compared.sums)
    return ValueDifference(
        difference=gap.difference,
        std_error=gap.std_error,
        interval=document_of(refused or unit_sums.one_look(compared.sums, unit_sums.UNBOUNDED, baseline.alpha)),
    )


def corrected(lines: Sequence[PolicyLine], search: Search) -> None:
    """Give each candidate's difference the interval of the search, so that one page never says two things of it."""
    intervals = {line.name: line.interval for line in search.candidates}
    for line in lines:
        if line.against_running is not None and line.policy in intervals:
            line.against_running = line.against_running.model_copy(update={"interval": intervals[line.policy]})


def search(policies: Sequence[Valued], baseline: Baseline) -> Search:
    """The candidate that may be staged as a new arm: supported by the log, and better than what runs after correction."""
    compared = [difference for policy in policies if (difference := _compare(policy, baseline)) is not None]
    if not compared:
        return Search(candidates=[], winner=None, text=NOTHING_COMPARED if policies else NOTHING_STORED)
    gaps = [gap_of(difference.sums) for difference in compared]
    verdicts = [difference.policy.verdict for difference in compared if difference.policy.verdict is not None]
    if baseline.verdict is not None and not baseline.verdict.identified:
        verdicts = [baseline.verdict] * len(compared)  # nothing is shown to be better than an unknown value
    judged = judge([difference.policy.line.policy for difference in compared], gaps, verdicts, alpha=baseline.alpha)
    judged = [_without_few_rewards(candidate, verdict) for candidate, verdict in zip(judged, verdicts, strict=True)]
    best = max(
        (candidate for candidate in judged if candidate.promoted),
        key=lambda candidate: candidate.difference,
        default=None,
    )
    lines = [_line(*pair, len(judged), baseline) for pair in zip(judged, compared, gaps, strict=True)]
    return Search(candidates=lines, winner=None if best is None else best.name, text=_text(judged, best))


def _compare(policy: Valued, baseline: Baseline) -> _Compared | None:
    """Both on the cases that both may be scored on; null: those are too few."""
    both = ~np.isnan(policy.contributions) & ~np.isnan(baseline.contributions)
    unit = baseline.unit[both]
    if policy.verdict is None or len(np.unique(unit)) < MIN_COMPARED:
        return None
    codes = clusters(np.unique(unit, return_inverse=True)[1].astype(np.int64))
    gap = policy.contributions[both] - baseline.contributions[both]
    count = np.ones_like(gap) if baseline.stands_for is None else baseline.stands_for[both]
    clustered = codes is not None or baseline.stands_for is not None
    return _Compared(policy, unit_sums.unit_sums(gap * count, count, codes), clustered, int(both.sum()))


def _refused(compared: _Compared, baseline: Baseline) -> Interval | None:
    """Why no interval of the difference may be shown; null when it may."""
    verdicts = [verdict for verdict in (compared.policy.verdict, baseline.verdict) if verdict is not None]
    reasons = (refused_difference(verdict, clustered=compared.clustered) for verdict in verdicts)
    return next((reason for reason in reasons if reason is not None), None)


def _without_few_rewards(candidate: Candidate, verdict: Verdict) -> Candidate:
    """The paired test assumes a normal distribution, which does not hold with few rewards: such a candidate cannot win."""
    if not candidate.promoted or not not_normal(verdict):
        return candidate
    return candidate._replace(promoted=False, reason=WORDS["few_rewards_to_compare"].report)


def _text(judged: Sequence[Candidate], best: Candidate | None) -> str:
    """What the search found. What to do about it depends on the experiment's state now: the page says that."""
    if best is None:
        return NONE_BETTER
    others = sum(candidate.promoted for candidate in judged) - 1
    text = f"{best.name} is shown to be better than what runs (p {best.adjusted_p:.2g})"
    return f"{text}, and so are {others} more; it gained most" if others else text


def _line(candidate: Candidate, compared: _Compared, gap: Gap, candidates: int, baseline: Baseline) -> SearchLine:
    return SearchLine(
        name=candidate.name,
        compared_on=compared.cases,
        detectable=detectable_difference(gap.std_error, candidates, baseline.alpha) if gap.std_error > 0 else None,
        difference=candidate.difference,
        std_error=candidate.std_error,
        p_value=candidate.p_value,
        adjusted_p=candidate.adjusted_p,
        interval=document_of(_refused(compared, baseline) or candidate.interval),
        promoted=candidate.promoted,
        reason=candidate.reason,
    )
