"""The decision rule on results made by hand: who ships, who does not, and which reasons say so."""

from typing import Any

import numpy as np
import pytest

from app.design.experiment_config import ExperimentConfig
from app.foundation.formats.intervals import IntervalDocument
from app.reporting.comparison.decision_rule import judge, speaks_against
from app.reporting.documents.results import (
    AlwaysValid,
    ArmValue,
    ComparisonLine,
    MetricResults,
    ResultsWindow,
    RuleVerdict,
    SampleRatio,
    StoredResults,
)
from tests.lab import Lab, arm

UNITS = 100
SHOWN, NOT_SHOWN = 0.001, 0.4


def line(name: str, difference: float, p: float = SHOWN, **parts: Any) -> ComparisonLine:
    ends = IntervalDocument(low=difference - 0.01, high=difference + 0.01)
    fields: dict[str, Any] = {
        "arm": name,
        "control": "control",
        "segment": None,
        "difference": difference,
        "std_error": 0.01,
        "p_value": p,
        "interval": ends,
        "relative_lift": None,
        "relative_interval": ends,
        "always_valid": AlwaysValid(p_value=p, interval=ends, relative_interval=ends),
        "non_inferiority": None,
        "chance_to_win": None,
        "adjusted_running_p": p,
        "running_sign": int(np.sign(difference)),
    }
    return ComparisonLine(**fields | parts)


def metric(key: str, *lines: ComparisonLine, role: str = "primary", **parts: Any) -> MetricResults:
    values = [("control", 1.0), *((each.arm, 1.0 + (each.difference or 0.0)) for each in lines)]
    fields: dict[str, Any] = {
        "metric": key,
        "name": key.title(),
        "role": role,
        "direction": "increase",
        "min_effect": 0.0,
        "window_s": None,
        "source": {"type": "reward"},
        "arms": [
            ArmValue(arm=name, segment=None, units=UNITS, decisions=UNITS, value=value, std_error=0.01)
            for name, value in values
        ],
        "comparisons": list(lines),
    }
    return MetricResults(**fields | parts)


def judged(
    *metrics: MetricResults,
    units: int = UNITS,
    few: dict[str, int] | None = None,
    idle: str | None = None,
    mismatch: bool = False,
    **rule: float,
) -> tuple[ExperimentConfig, StoredResults]:
    """These metrics as the results of an experiment whose arms are those of the lines.

    :param few: arms with another number of units.
    :param idle: an arm that gets no units.
    """
    names = list(dict.fromkeys(each.arm for one in metrics for each in one.comparisons))
    arms = [arm("control", 0.5, "a"), *(arm(name, 0.5 / len(names)) for name in names)]
    arms += [arm(idle, 0.0, "a")] if idle else []
    config = ExperimentConfig.model_validate(
        {
            "key": "k",
            "arms": arms,
            "control_arm": "control",
            "decision_rule": {"min_units": UNITS, "min_days": 0.0} | rule,
        }
    )
    counts = {spec["key"]: units for spec in arms if spec["key"] != idle} | (few or {})
    results = StoredResults(
        experiment="k",
        segment=None,
        control="control",
        window=ResultsWindow(decisions=1, units=1, first=None, last=None),
        units=counts,
        sample_ratio=SampleRatio(
            p_value=0.5,
            anytime_p_value=1.0,
            alert=mismatch,
            observed=counts,
            expected={},
            text="units match the shares",
        ),
        metrics=list(metrics),
        assumptions=[],
    )
    return config, results


def ruling(*metrics: MetricResults, days: float = 1.0, **parts: Any) -> RuleVerdict:
    """The verdict on these metrics; ``parts`` as in ``judged``."""
    return judge(*judged(*metrics, **parts), days)


def test_an_arm_that_is_worse_on_one_goal_does_not_ship_for_another() -> None:
    found = ruling(metric("clicks", line("t", 0.3)), metric("revenue", line("t", -5.0)))
    assert (found.verdict, found.arm) == ("review", "t")
    assert "t is better on Clicks and worse on Revenue" in found.reasons[0]
    assert "t is better than control on Clicks" in found.reasons[1]
    assert "t is worse than control on Revenue" in found.reasons[2]


def test_an_arm_that_is_better_everywhere_ships_before_one_that_gains_more_and_loses_elsewhere() -> None:
    clicks = metric("clicks", line("wild", 0.9), line("calm", 0.1))
    found = ruling(clicks, metric("revenue", line("wild", -5.0), line("calm", 0.2, NOT_SHOWN)))
    assert (found.verdict, found.arm) == ("ship", "calm")
    assert "calm is better" in found.reasons[0]
    assert any("wild is worse than control on Revenue" in reason for reason in found.reasons)


def test_the_winner_gains_most_on_the_first_declared_goal_whatever_the_units_of_the_others() -> None:
    clicks = metric("clicks", line("a", 0.02), line("b", 0.01))
    cents = metric("cents", line("a", 100.0), line("b", 900.0))
    assert ruling(clicks, cents).arm == "a"
    assert ruling(cents, clicks).arm == "b"


def test_equal_gains_on_the_first_goal_are_decided_by_the_next() -> None:
    first = metric("clicks", line("a", 0.02), line("b", 0.02))
    assert ruling(first, metric("cents", line("a", 1.0), line("b", 2.0))).arm == "b"
    assert ruling(first, metric("cents", line("a", 2.0), line("b", 1.0))).arm == "a"


def test_a_gain_that_is_not_shown_does_not_count_for_the_winner() -> None:
    first = metric("clicks", line("a", 0.5, NOT_SHOWN), line("b", 0.02))
    assert ruling(first, metric("cents", line("a", 9.0), line("b", 1.0, NOT_SHOWN))).arm == "b"


def test_lower_is_a_gain_where_the_metric_says_so() -> None:
    errors = metric("errors", line("a", -0.2), line("b", -0.1), direction="decrease")
    assert ruling(errors).arm == "a"
    assert ruling(metric("errors", line("a", 0.2), direction="decrease")).verdict == "stop"


def test_experiments_stop_when_every_arm_is_worse_and_none_is_better_somewhere() -> None:
    worse = ruling(metric("clicks", line("a", -0.1), line("b", -0.2)))
    assert (worse.verdict, worse.arm) == ("stop", "control")
    one_left = ruling(metric("clicks", line("a", -0.1), line("b", -0.2, NOT_SHOWN)))
    assert one_left.verdict == "keep_running" and "a is worse than control on Clicks" in one_left.reasons[0]
    trade = ruling(metric("clicks", line("a", -0.1)), metric("cents", line("a", 3.0)))
    assert (trade.verdict, trade.arm) == ("review", "a")


def test_the_last_day_stops_and_says_what_spoke_against_the_arms() -> None:
    nothing = ruling(metric("clicks", line("a", 0.1, NOT_SHOWN)), days=3, max_days=2)
    assert nothing.verdict == "stop"
    assert nothing.reasons == ["After 3.0 of at most 2 days no arm is shown to be better."]
    trade = ruling(metric("clicks", line("a", 0.1)), metric("cents", line("a", -3.0)), days=3, max_days=2)
    assert (trade.verdict, trade.arm) == ("review", "a"), "a person weighs the two, also on the last day"
    assert "a is better on Clicks and worse on Cents" in trade.reasons[0]
    assert "a is worse than control on Cents" in " ".join(trade.reasons)
    assert ruling(metric("clicks", line("a", 0.1)), days=3, max_days=2).verdict == "ship"


@pytest.mark.parametrize(("units", "verdict"), [(UNITS - 1, "keep_running"), (UNITS, "ship")])
def test_exactly_min_units_are_enough(units: int, verdict: str) -> None:
    found = ruling(metric("clicks", line("a", 0.1)), units=units)
    assert found.verdict == verdict
    if verdict == "keep_running":
        assert found.reasons == ["An arm has 99 units; the rule asks for 100."]


@pytest.mark.parametrize(
    ("low", "high", "crosses"),
    [(-0.30, -0.11, True), (-0.30, -0.10, False), (-0.30, -0.05, False), (-0.30, 0.10, False), (0.01, 0.30, False)],
)
def test_a_guardrail_is_crossed_when_its_whole_interval_lies_beyond_the_margin(
    low: float, high: float, crosses: bool
) -> None:
    """The control's value is 1, so that the margin of a tenth is 0.1 in the metric's unit."""
    for direction, sign in (("increase", 1), ("decrease", -1)):
        ends = IntervalDocument(low=min(sign * low, sign * high), high=max(sign * low, sign * high))
        always = AlwaysValid(p_value=0.01, interval=ends, relative_interval=ends)
        guard = line("a", sign * (low + high) / 2, always_valid=always)
        found = ruling(
            metric("clicks", line("a", 0.1)),
            metric("speed", guard, role="guardrail", min_effect=0.1, direction=direction),
        )
        assert (found.verdict == "stop") is crosses
        assert found.crossed == (["a crosses the guardrail Speed: worse than control."] if crosses else [])


def test_clicks_that_double_while_revenue_halves_ship_nothing(lab: Lab) -> None:
    metrics = [
        {"key": "clicks", "role": "primary", "source": {"type": "reward"}},
        {"key": "revenue", "role": "primary", "source": {"type": "value", "metric": "revenue", "per": "unit"}},
    ]
    arms = [arm("control", 0.5, "a"), arm("treated", 0.5, "b")]
    lab.make("torn", arms=arms, control_arm="control", metrics=metrics)
    random = np.random.default_rng(3)
    answers = lab.play("torn", [{"unit_id": f"u{number}"} for number in range(1000)], settled=False)
    events: list[dict[str, Any]] = []
    for answer in answers:
        treated = answer["arm"] == "treated"
        events.append(
            {"decision_id": answer["decision_id"], "value": float(random.random() < (0.6 if treated else 0.3))}
        )
        revenue = float(random.normal(5 if treated else 10, 2))
        events.append({"decision_id": answer["decision_id"], "metric": "revenue", "value": revenue})
    lab.report(events)
    lab.settle("torn")
    decision = lab.results("torn")["decision"]
    assert decision["verdict"] == "review" and decision["arm"] == "treated"
    assert any("treated is worse than control on revenue" in reason for reason in decision["reasons"])


BETTER = metric("clicks", line("a", 0.1))


def test_a_sample_ratio_that_does_not_match_stops_before_anything_else() -> None:
    found = ruling(BETTER, mismatch=True, units=1)
    assert (found.verdict, found.arm) == ("stop", None)
    assert found.reasons == [
        "The arms' units do not match their shares: nothing below may be believed; find the cause."
    ]


def test_the_arm_with_the_fewest_units_counts_and_an_arm_without_a_share_does_not() -> None:
    assert ruling(BETTER, few={"a": UNITS - 1}).reasons == ["An arm has 99 units; the rule asks for 100."]
    assert ruling(BETTER, few={"control": UNITS - 1}).verdict == "keep_running"
    assert ruling(BETTER, idle="parked").verdict == "ship"
    assert ruling(BETTER, min_units=2, few={"a": 2}).verdict == "ship"


def test_an_arm_that_nobody_was_assigned_to_has_no_units() -> None:
    config = ExperimentConfig.model_validate(
        {"key": "k", "arms": [arm("control", 0.5, "a"), arm("a", 0.5)], "control_arm": "control"}
    )
    empty = StoredResults(
        experiment="k",
        segment=None,
        control="control",
        window=ResultsWindow(decisions=0, units=0, first=None, last=None),
        units={"control": 500},
        sample_ratio=SampleRatio(
            p_value=None, anytime_p_value=None, alert=False, observed={}, expected={}, text="none yet"
        ),
        metrics=[BETTER],
        assumptions=[],
    )
    assert judge(config, empty, 0.0).reasons == ["An arm has 0 units; the rule asks for 100."]


@pytest.mark.parametrize(("days", "verdict"), [(2.999, "keep_running"), (3.0, "ship")])
def test_no_verdict_before_the_days_of_the_rule(days: float, verdict: str) -> None:
    found = ruling(BETTER, days=days, min_days=3.0)
    assert (found.verdict, found.days) == (verdict, days)
    if verdict == "keep_running":
        assert found.reasons == ["It ran 3.0 days; the rule asks for 3."]


def test_the_answer_names_the_days_and_the_rule() -> None:
    assert ruling(BETTER, days=1 / 3).days == 0.333
    assert ruling(BETTER, min_days=0.0, days=0.0).verdict == "ship", "a rule without days asks for none"
    assert ruling(BETTER).rule["min_units"] == UNITS


def test_nothing_shown_says_so() -> None:
    found = ruling(metric("clicks", line("a", 0.1, NOT_SHOWN)))
    assert found.reasons == ["No difference is shown yet at every look together."]


def test_a_p_value_of_exactly_alpha_shows_a_difference() -> None:
    assert ruling(metric("clicks", line("a", 0.1, 0.05)), alpha=0.05).verdict == "ship"
    assert ruling(metric("clicks", line("a", 0.1, 0.0501)), alpha=0.05).verdict == "keep_running"


@pytest.mark.parametrize("difference", [0.0, None])
def test_a_difference_of_nothing_is_neither_better_nor_worse(difference: float | None) -> None:
    same = line("a", 0.1).model_copy(update={"difference": difference})
    found = ruling(metric("clicks", same))
    assert (found.verdict, found.arm) == ("keep_running", None)


def test_a_gain_that_the_newest_interval_no_longer_holds_ships_nothing() -> None:
    wide = IntervalDocument(low=-0.01, high=0.11)
    faded = line("a", 0.05, always_valid=AlwaysValid(p_value=0.001, interval=wide, relative_interval=wide))
    assert ruling(metric("clicks", faded)).verdict == "keep_running"
    assert ruling(metric("clicks", line("a", 0.05))).verdict == "ship"


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [(0.01, 0.3, "ship"), (0.0, 0.3, "keep_running"), (None, 0.3, "ship"), (0.1, None, "ship"), (None, None, "ship")],
)
def test_an_arm_ships_only_if_the_newest_interval_leaves_0_out(
    low: float | None, high: float | None, verdict: str
) -> None:
    """An interval that ends at 0 shows no gain; where an end is not known, the p-value alone decides."""
    ends = IntervalDocument(low=low, high=high, reason="" if low and high else "one-sided")
    shown = line("treated", 0.2, always_valid=AlwaysValid(p_value=SHOWN, interval=ends, relative_interval=ends))
    assert ruling(metric("earned", shown)).verdict == verdict


def test_a_difference_that_turned_since_it_was_shown_shows_nothing() -> None:
    turned = line("a", 0.01, running_sign=-1)
    assert ruling(metric("clicks", turned)).verdict == "keep_running"
    assert ruling(metric("clicks", line("a", -0.01, running_sign=1))).verdict == "keep_running"
    assert ruling(metric("clicks", line("a", 0.05, running_sign=None))).verdict == "ship", "from before signs were kept"
    assert ruling(metric("clicks", line("a", -0.01, running_sign=None))).verdict == "stop"


def test_a_review_names_every_metric_on_either_side_and_counts_small_differences() -> None:
    small, large = metric("clicks", line("a", 0.5)), metric("visits", line("a", 2.0))
    loss, other = metric("revenue", line("a", -0.5)), metric("margin", line("a", -2.0))
    found = ruling(small, large, loss, other)
    assert found.reasons[0].startswith("a is better on Clicks and Visits and worse on Revenue and Margin")


def test_an_arm_that_gains_less_but_something_wins_over_one_that_is_not_shown() -> None:
    first = metric("clicks", line("a", 0.02), line("b", 0.02))
    second = metric("cents", line("a", -0.5, NOT_SHOWN), line("b", 0.1))
    assert ruling(first, second).arm == "b"
    assert ruling(first, metric("cents", line("a", 1.0), line("b", 0.5, NOT_SHOWN))).arm == "a"


def test_of_two_arms_to_review_the_one_stands_that_is_not_shown_to_lose_on_the_next_metric() -> None:
    first = metric("clicks", line("a", 0.02), line("b", 0.02))
    second = metric("cents", line("a", -0.5), line("b", -0.1, NOT_SHOWN))
    third = metric("visits", line("a", 0.1, NOT_SHOWN), line("b", -0.1))
    found = ruling(first, second, third)
    assert (found.verdict, found.arm) == ("review", "b")


def test_a_guardrail_without_an_interval_or_a_control_value_crosses_nothing_by_itself() -> None:
    none = IntervalDocument(low=None, high=None, reason="opens later")
    gone = line("a", -5.0, interval=none, always_valid=AlwaysValid(p_value=None, interval=none, relative_interval=none))
    assert ruling(BETTER, metric("speed", gone, role="guardrail", min_effect=0.1)).verdict == "ship"
    half = IntervalDocument(low=None, high=-1.0)
    one_sided = line(
        "a", -5.0, interval=none, always_valid=AlwaysValid(p_value=0.1, interval=half, relative_interval=half)
    )
    assert ruling(BETTER, metric("speed", one_sided, role="guardrail", min_effect=0.1)).verdict == "ship"


WIDE = IntervalDocument(low=-0.3, high=0.1)


def test_an_arm_waits_while_one_look_shows_a_loss_on_another_goal() -> None:
    """A gain is often shown some looks before a loss elsewhere is."""
    losing = line("a", -0.1, NOT_SHOWN)
    found = ruling(BETTER, metric("revenue", losing))
    assert (found.verdict, found.arm) == ("keep_running", None)
    assert found.reasons[0].startswith("a is better than control on")
    doubt = "a may be worse than control on Revenue: one look says so, not yet every look together."
    assert found.reasons[1:] == [doubt]
    assert ruling(BETTER, metric("revenue", line("a", -0.1, NOT_SHOWN, interval=WIDE))).verdict == "ship"
    assert ruling(BETTER, metric("revenue", losing, direction="decrease")).verdict == "ship"
    assert ruling(BETTER, metric("revenue", losing, role="secondary")).verdict == "ship"
    assert ruling(BETTER, metric("revenue", losing, role="guardrail", min_effect=0.2)).verdict == "ship"
    undecided = AlwaysValid(p_value=0.1, interval=WIDE, relative_interval=WIDE)
    guarded = line("a", -0.3, NOT_SHOWN, always_valid=undecided)
    assert ruling(BETTER, metric("revenue", guarded, role="guardrail", min_effect=0.2)).verdict == "keep_running"


def test_when_the_time_is_up_a_doubt_is_for_a_person() -> None:
    found = ruling(BETTER, metric("revenue", line("a", -0.1, NOT_SHOWN)), max_days=1, days=1.5)
    assert (found.verdict, found.arm) == ("review", "a")
    assert "a may be worse than control on Revenue" in found.reasons[1]


def test_of_two_better_arms_the_one_without_a_doubt_ships() -> None:
    clicks = metric("clicks", line("wild", 0.9), line("calm", 0.1))
    found = ruling(clicks, metric("revenue", line("wild", -0.1, NOT_SHOWN), line("calm", 0.1, NOT_SHOWN)))
    assert (found.verdict, found.arm) == ("ship", "calm")


def test_nothing_ships_before_a_goal_has_a_decision_whose_window_is_over() -> None:
    found = ruling(BETTER, metric("stayed", preliminary=True))
    assert found.verdict == "keep_running"
    assert found.reasons[1:] == ["Nothing is known of Stayed yet: no decision's window is over."]
    assert ruling(BETTER, metric("stayed", preliminary=True, role="guardrail")).verdict == "ship"


def test_the_margin_of_a_guardrail_is_a_share_of_the_controls_value() -> None:
    ends = IntervalDocument(low=-0.5, high=-0.3)
    worse = line("a", -0.4, always_valid=AlwaysValid(p_value=0.001, interval=ends, relative_interval=ends))

    def guard(control: float | None) -> MetricResults:
        values = [
            ArmValue(arm=name, segment=None, units=UNITS, decisions=UNITS, value=value, std_error=0.01)
            for name, value in (("control", control), ("a", 1.0))
        ]
        return metric("speed", worse, role="guardrail", min_effect=0.2, arms=values)

    assert ruling(BETTER, guard(1.0)).verdict == "stop", "0.3 is beyond a fifth of 1"
    assert ruling(BETTER, guard(2.0)).verdict == "ship", "and within a fifth of 2"
    assert ruling(BETTER, guard(-2.0)).verdict == "ship", "whatever its sign"
    assert ruling(BETTER, guard(None)).verdict == "stop", "of a control without a value there is no tolerance"
    near = IntervalDocument(low=-0.3, high=-0.1)
    little = line("a", -0.2, always_valid=AlwaysValid(p_value=0.001, interval=near, relative_interval=near))
    assert ruling(BETTER, guard(None).model_copy(update={"comparisons": [little]})).verdict == "stop"


def test_the_last_day_is_reached_exactly() -> None:
    quiet = metric("clicks", line("a", 0.1, NOT_SHOWN))
    assert ruling(quiet, days=2.0, max_days=2).verdict == "stop"
    assert ruling(quiet, days=1.999, max_days=2).verdict == "keep_running"


def test_what_speaks_against_an_arm_is_its_losses_and_nobody_elses() -> None:
    """Of the primary metrics and of guardrails, shown at every look; a gain, a doubt and a secondary metric say nothing."""
    first = metric("earned", line("worse", -0.2), line("better", 0.2), line("open", -0.2, NOT_SHOWN))
    guard = metric("calm", line("worse", 0.1), line("better", 0.0, NOT_SHOWN), line("open", -0.3), role="guardrail")
    other = metric("seen", line("worse", -0.2), line("better", -0.2), line("open", -0.2), role="secondary")
    config, results = judged(first, guard, other)
    codes = {
        name: [reason.code for reason in speaks_against(config, results, name)] for name in ("worse", "better", "open")
    }
    assert codes == {"worse": ["worse"], "better": [], "open": ["guardrail_crossed"]}
