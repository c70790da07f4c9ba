"""The page of apprentices: how often each would have shown what was shown, what it expects to earn, and the switch."""

from typing import NamedTuple

from flask import flash, redirect, request, url_for
from flask.typing import ResponseReturnValue

from app.accounts.pages.access import page, user
from app.design.experiment_config import ArmSpec, ExperimentConfig
from app.design.experiments import get
from app.design.pages.experiment import asked, experiment_page
from app.foundation.errors import FieldError
from app.foundation.fields import JsonObject, invalid, read
from app.foundation.pages import charts
from app.foundation.pages.charts import Figure, Point, Series
from app.foundation.pages.format import interval, moment, number, percent
from app.foundation.serving import process
from app.off_policy.life import apprentice
from app.off_policy.life.apprentice import LEAST, NEWEST, READY
from app.off_policy.life.apprentice_documents import AgreementPoint, Apprentice, SwitchRequest, Valued

REASON = "a person asked for it"
ADVICE = {
    "wait": f"It needs {LEAST} settled decisions before its agreement says anything.",
    "go_on": f"Leave it an apprentice: its agreement is not yet shown to be {percent(READY, 0)} or more.",
    "switch_on": "Its agreement is high enough. Switch it on, and it decides and tries other actions.",
    "switched_on": "It was switched on: what it learned decides. These are its numbers as an apprentice.",
}


class ShownApprentice(NamedTuple):
    """One apprentice in words and figures."""

    arm: str
    active: bool
    advice: str
    ready: bool
    tiles: list[tuple[str, str, str]]  # number, label, note
    sentences: list[str]
    figure: Figure | None


@page("/experiments/<key>/policy/apprentice", "viewer")
def apprentice_page(key: str) -> str:
    """Show every apprentice, and the learning arms that could be one."""
    stored = get(process().engine, key)
    config, found = ExperimentConfig.model_validate(stored.config), apprentice.get(process().engine, key)
    known = {one.arm for one in found.apprentices}
    return experiment_page(
        "apprentice.html",
        key,
        "policy",
        experiment=stored,
        apprentices=[_shown(one) for one in found.apprentices],
        computed_at=found.computed_at,
        others=[arm.key for arm in config.arms if arm.policy["type"] == "bandit" and arm.key not in known],
    )


@page("/experiments/<key>/policy/apprentice/switch", "editor", ("POST",))
def switch_apprentice(key: str) -> ResponseReturnValue:
    """Let what an apprentice learned decide, or show the first action of each call again."""
    do, arm = request.form.get("do", ""), request.form.get("arm", "")
    if do not in ("on", "off"):
        raise invalid((FieldError("/do", "not_a_choice", {"expected": ["on", "off"]}),))
    reason = request.form.get("reason", "").strip() or REASON
    wanted = read(SwitchRequest, {"arm": arm, "apprentice": do == "off", "reason": reason})
    if do == "on" and process().settings.approvals:
        config = ExperimentConfig.model_validate(get(process().engine, key).config)
        return asked(key, "change", {"arms": [_switched(one, arm, config) for one in config.arms]})
    apprentice.switch(process().engine, key, wanted, user().name)
    process().refresh()
    flash(f"What {arm} learned decides now." if do == "on" else f"The first action of each call is shown in {arm} now.")
    return redirect(url_for("admin.apprentice_page", key=key))


def _switched(arm: ArmSpec, key: str, config: ExperimentConfig) -> JsonObject:
    """An arm as a change asks for it: switched on if it is this one, or of its lineage."""
    lineage = next((one.lineage_of for one in config.arms if one.key == key), None)
    on = arm.key == key or (lineage is not None and arm.lineage_of == lineage)
    return arm.model_dump(mode="json") | ({"apprentice": False} if on else {})


def _shown(one: Apprentice) -> ShownApprentice:
    tiles = [(number(one.decisions), "settled decisions scored", "")]
    if one.agreement is not None:
        agreement = f"{interval(one.interval, 'percent')}; it likes best what was shown in {percent(one.same, 0)}"
        tiles.append((percent(one.agreement, 0), f"agreement over the newest {NEWEST:,}", agreement))
    if one.earned is not None:
        tiles.append((number(one.earned), "earned per decision by what was shown", interval(one.earned_interval)))
    if one.value is not None:
        tiles.append((number(one.value.expected), "that its model expects to earn per decision", ""))
    return ShownApprentice(
        one.arm,
        one.active,
        ADVICE[one.advice],
        one.advice == "switch_on",
        tiles,
        [] if one.value is None else _sentences(one.value),
        _figure(one) if one.course else None,
    )


def _sentences(value: Valued) -> list[str]:
    """What is known of its value, and what is not."""
    bounds = (
        f"The decisions at which it agrees earned what they earned. So its value lies from {number(value.at_least)} to "
        f"{number(value.at_most)}: at one end everything else that it would have shown earns the least reward, at the other the "
        "largest."
    )
    guess = (
        "What it expects is the prediction of a model of the rewards of earlier decisions. For actions that were never shown it "
        "is a guess: the first action had a probability of 1, so this arm's log says nothing of any other."
    )
    if value.estimate is not None:
        return [
            f"Other arms tried other actions meanwhile. From their probabilities, its value is {number(value.estimate)} "
            f"{interval(value.interval)}.",
            guess,
        ]
    return [bounds, guess]


def _figure(one: Apprentice) -> Figure:
    points = [_point(part) for part in one.course]
    caption = f"{one.arm}: how likely it was to show what was shown"
    chart = charts.lines([Series("agreement", points)], title=caption, unit="agreement, from 0 to 1")
    rows = [
        [part.at[:19], number(part.decisions), percent(part.agreement), interval(part.interval, "percent")]
        for part in one.course
    ]
    note = (
        "Each decision is scored by the version that served then, which had not learned from it. Bands are 95% intervals for one "
        "look, in which each unit counts once."
    )
    return Figure(f"agreement-{one.arm}", caption, chart, ["Until", "Decisions", "Agreement", "Interval"], rows, note)


def _point(part: AgreementPoint) -> Point:
    """A point with its band, if units differ at all."""
    at = moment(part.at)
    low, high = (None, None) if part.interval.note else (part.interval.low, part.interval.high)
    return Point(at.timestamp() if at else 0.0, part.agreement, low, high, f"{part.decisions} decisions")
