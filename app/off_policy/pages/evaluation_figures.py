"""Charts, tables and sentences of an off-policy evaluation, from ``app.off_policy.documents``."""

from itertools import pairwise
from typing import NamedTuple

from app.foundation.formats.intervals import IntervalDocument
from app.foundation.pages import charts
from app.foundation.pages.charts import Figure, Row
from app.foundation.pages.charts.parts import tone_of
from app.foundation.pages.format import interval, number, p_value, percent, plural, signed
from app.foundation.words import as_sentence
from app.off_policy.documents import EvaluationResult, PolicyLine, Realised, SearchLine
from app.off_policy.logged_values import Policy
from app.off_policy.policies import BASIS
from app.off_policy.policy_line import NOT_POSSIBLE
from experiments.off_policy.agreement import Agreement
from experiments.off_policy.verdict_words import page_sentence

ESTIMATORS = {
    "dr": "doubly robust",
    "sndr": "self-normalised doubly robust",
    "snips": "self-normalised weighting",
    "ips": "weighting",
    "dm": "reward model alone",
    "switch_dr": "switching doubly robust",
    "dr_os": "doubly robust, shrunk weights",
    "clipped_ips": "weighting, clipped",
    "list_dr": "lists, doubly robust",
    "list_cascade": "lists, weighted down to each position",
    "list_ips": "whole lists weighted",
}
STATUS = {
    "identified": ("the log answers", "ok"),
    "warning": ("answers, with a warning", "warn"),
    "not_identified": ("the log cannot answer", "bad"),
}
Table = tuple[list[str], list[list[str]]]  # head and rows


class ShownPolicy(NamedTuple):
    """One policy in words and figures."""

    name: str
    text: str
    features_off: list[str]
    answer: tuple[str, str]  # whether the log identifies its value: words, and their colour
    reasons: list[str]
    value: str  # empty: the log does not identify it
    interval: str  # holds at every look
    one_look: str  # empty: in documents from before always-valid intervals led
    difference: str  # to the running policy; empty: not computed
    difference_interval: str
    effective_sample: str
    largest_weight: str
    overlap: str
    details: "Details | None"  # null: the policy could not be evaluated


class Details(NamedTuple):
    """One policy's figures by each estimator."""

    agreement: tuple[str, str, str]  # a badge and its colour, or two empty texts; and a sentence
    by_estimator: Figure
    weights: Figure
    positions: Table | None  # null: the experiment answers single decisions


def policies(evaluated: list[Policy]) -> list[ShownPolicy]:
    """Word each policy's line."""
    return [_policy(policy, index) for index, policy in enumerate(evaluated, 1)]


def values(evaluated: list[Policy], alpha: float, unit: str) -> Figure:
    """Draw what each policy earns, for the policies whose value the log identifies."""
    lines = [policy.line for policy in evaluated if policy.line.value is not None]
    drawn = [row for line in lines for row in _both(line)]
    chart = charts.forest(drawn, title="Value of each policy with its intervals", unit=unit)
    rows = [
        [line.policy, number(line.value), interval(line.interval), _one_look(line), line.headline or ""]
        for line in lines
    ]
    head = ["Policy", "Value", "Interval at every look", "For one look", "Estimator, interval"]
    note = (
        f"Dot: estimate. Line: {percent(1 - alpha, 0)} interval, which holds at every look together; below it the narrower "
        "one, which holds only for one look at a time that was fixed beforehand."
    )
    return Figure("values", f"What each policy earns: {unit}", chart, head, rows, note)


def _both(line: PolicyLine) -> list[Row]:
    """The interval for every look, and the one for one look under it."""
    rows = [_row(line.policy, line.value, line.interval, line.policy == "running")]
    return rows if line.one_look is None else [*rows, _row(f"{line.policy}, one look", line.value, line.one_look)]


def differences(evaluated: list[Policy]) -> Figure:
    """Draw the difference of each policy to the running policy."""
    lines = [policy.line for policy in evaluated if policy.line.value is not None]
    gaps = [(line.policy, line.against_running) for line in lines if line.against_running is not None]
    chart = charts.forest(
        [
            _row(name, gap.difference, gap.interval)._replace(tone=tone_of(gap.interval.low, gap.interval.high))
            for name, gap in gaps
        ],
        title="Difference of each policy to the running one with its interval",
        unit="difference of the mean reward",
        line_at=0,
        write=signed,
    )
    rows = [
        [name, signed(gap.difference), interval(gap.interval, "signed"), number(gap.std_error)] for name, gap in gaps
    ]
    head = ["Policy", "Difference", "Interval", "Standard error"]
    note = (
        "Paired: both policies are judged on the same decisions, which neither had learned, so chance that hits both cancels. "
        "The intervals of candidates are corrected for all of them, as in the search. One that holds 0 shows no difference."
    )
    return Figure("differences", "Difference to the policy that runs", chart, head, rows, note)


def search(candidates: list[SearchLine]) -> Table:
    """The table of the search over the candidates."""
    rows = [
        [
            line.name,
            *_compared(line),
            "better than what runs" if line.promoted else line.reason,
        ]
        for line in candidates
    ]
    head = [
        "Candidate",
        "Difference",
        "Smallest it could show",
        "Interval for all at once",
        "p-value",
        "Corrected",
        "Finding",
    ]
    return head, rows


def _compared(line: SearchLine) -> list[str]:
    """The figures of a candidate; none where the log does not support a difference."""
    if line.interval.low is None:
        return ["—"] * 5
    return [
        signed(line.difference),
        number(line.detectable),
        interval(line.interval, "signed"),
        p_value(line.p_value),
        p_value(line.adjusted_p),
    ]


def realised(result: EvaluationResult) -> Table:
    """Compare prediction and outcome, by learning arm."""
    head = ["Arm", "Predicted from the others", "Really earned", "Interval of the difference", "Finding"]
    return head, [_realised(arm) for arm in result.realised]


def _policy(policy: Policy, index: int) -> ShownPolicy:
    line, gap = policy.line, policy.line.against_running if policy.line.value is not None else None
    words, colour = STATUS[line.status]
    return ShownPolicy(
        name=line.policy,
        text=f"{line.text}; {_scored(line)}" if line.basis else line.text,
        features_off=line.features_off,
        answer=("not possible" if NOT_POSSIBLE in line.reason_codes else words, colour),
        reasons=[as_sentence(reason) for reason in _reasons(line)],
        value=number(line.value) if line.value is not None else "",
        interval=interval(line.interval),
        one_look=_one_look(line),
        difference=signed(gap.difference) if gap else "",
        difference_interval=interval(gap.interval, "signed") if gap else "",
        effective_sample=number(line.effective_sample_size),
        largest_weight=number(line.max_weight),
        overlap=percent(line.overlap),
        details=_details(policy, index) if policy.estimated else None,
    )


def _scored(line: PolicyLine) -> str:
    """On what a policy was scored."""
    on = f"on {plural(line.scored_on or 0, 'decision')}"
    return f"scored {on}: {BASIS[line.basis]}"


def _positions(line: PolicyLine) -> Table:
    """A policy's value at each position of its lists."""
    head = ["Position", "Value", "Interval at every look", "For one look", "Lists"]
    return head, [
        [str(at.position), number(at.value), interval(at.interval), interval(at.one_look), number(at.lists)]
        for at in line.positions
    ]


def _one_look(line: PolicyLine) -> str:
    return "" if line.one_look is None else interval(line.one_look)


def _reasons(line: PolicyLine) -> list[str]:
    """The reasons in the page's words. Documents from before reasons had parameters keep the words that they have."""
    if len(line.reason_params) != len(line.reason_codes) or not line.reason_codes:
        return line.reasons
    return [page_sentence(code, params) for code, params in zip(line.reason_codes, line.reason_params, strict=True)]


def _details(policy: Policy, index: int) -> Details:
    positions = _positions(policy.line) if policy.line.positions else None
    return Details(_agreement(policy.agreement), _by_estimator(policy, index), _weights(policy.line, index), positions)


def _agreement(agreement: Agreement) -> tuple[str, str, str]:
    if agreement.agree is None:
        return "", "", "Too few estimators have an interval to compare them."
    if agreement.apart is None:
        span = f"{number(agreement.low)} to {number(agreement.high)}"
        return "the estimators agree", "ok", f"Every unbiased estimator's interval holds the values from {span}."
    first, second = (ESTIMATORS.get(name, name) for name in agreement.apart)
    return (
        "the estimators disagree",
        "bad",
        f"The intervals of {first} and {second} have no value in common: something that one of them rests on is wrong, such "
        "as a logged probability.",
    )


def _by_estimator(policy: Policy, index: int) -> Figure:
    """Draw a policy's value by each estimator; the headline's estimator is stressed."""
    name, leads = policy.line.policy, (policy.line.headline or "").partition(",")[0]
    drawn = [
        Row(
            ESTIMATORS.get(estimate.name, estimate.name),
            estimate.value,
            estimate.low,
            estimate.high,
            estimate.name == leads,
        )
        for estimate in policy.estimated
    ]
    chart = charts.forest(drawn, title=f"Value of {name} by each estimator", unit="mean reward")
    rows = [
        [ESTIMATORS.get(estimate.name, estimate.name), number(estimate.value), interval(estimate)]
        for estimate in policy.estimated
    ]
    head = ["Estimator", "Value", "Interval, or why there is none"]
    note = (
        "The stressed one leads, above with an interval that holds at every look. Here: normal intervals for one look, "
        "widened by the estimated bias where weights are cut. The reward model alone has no honest interval."
    )
    return Figure(f"estimators-{index}", f"{name} by each estimator", chart, head, rows, note)


def _weights(line: PolicyLine, index: int) -> Figure:
    """Draw the histogram of weights."""
    edges, counts = line.weight_histogram.edges, line.weight_histogram.counts
    labels = [f"{low:g}–{high:g}" for low, high in pairwise(edges)]
    labels = [*labels[:-1], f"{edges[-2]:g} +"]
    chart = charts.histogram(
        labels, counts, title="How many decisions have which weight", unit="decisions", x_unit="weight"
    )
    rows = [[label, number(count)] for label, count in zip(labels, counts, strict=True)]
    note = f"Mean weight {number(line.mean_weight)}; it is 1 when the logged probabilities are right."
    return Figure(f"weights-{index}", f"Weights of {line.policy}", chart, ["Weight", "Decisions"], rows, note)


def _realised(arm: Realised) -> list[str]:
    if arm.reason:
        return [arm.arm, arm.reason, "", "", ""]
    return [
        arm.arm,
        f"{number(arm.predicted)} ({interval(arm.predicted_interval)})",
        f"{number(arm.realised)} ({interval(arm.realised_interval)})",
        interval(arm.difference_interval, "signed"),
        {True: "they agree", False: "they disagree", None: "too few units to compare them"}[arm.agrees],
    ]


def _row(name: str, value: float | None, ends: IntervalDocument | None, strong: bool = False) -> Row:
    return Row(name, value, ends.low if ends else None, ends.high if ends else None, strong)
