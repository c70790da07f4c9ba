"""The page Health of an experiment and of the platform: what is watched, the evidence, incidents, and the way back."""

import math
from typing import NamedTuple

from flask import flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from app.accounts.pages.access import page, user
from app.design.experiment_config import ArmSpec, ExperimentConfig, FallbackSpec
from app.design.experiments import get
from app.design.fallbacks import rule_of, trusted_policy
from app.design.pages.experiment import experiment_page
from app.foundation.errors import FieldError
from app.foundation.fields import invalid
from app.foundation.pages import charts
from app.foundation.pages.charts import Figure, Point, Series
from app.foundation.pages.format import moment, number, percent
from app.foundation.pages.typed import whole_number
from app.foundation.serving import process
from app.guardian import dry_run, guardrails, incidents, overview, quarantine
from app.guardian.documents import Incident, WatchDocument, WatchedNow, WatchedSubject
from app.guardian.dry_run import DryRun
from bandits.policy import FirstActionPolicy, FixedPolicy

MOST_DAYS = 365
STREAMS = {
    "value": "Reward per decision",
    "rewarded": "Share of decisions with a reward event",
    "once": "Reward events of a rewarded decision",
    "fallback": "Reward compared with the fallback",
}
SUBJECTS = {
    "context_field": "Context field {}",
    "client_rewards": "Share of the decisions of the API key {} with a reward event",
    "reward_delay": "Part of the reward window that is left when rewards come",
}
UNARMED = {
    "context_field": "learning what is usual, for a week",
    "client_rewards": "not watched: fewer than 9 of 10 have a reward, or there are too few",
    "reward_delay": "learning what is usual",
}
ACTIONS = {
    "relearn": "the model is learned again",
    "fell_back": "the fallback decides",
    "told": "nothing was changed",
    "restored": "the learned policy decides again",
    "closed": "closed",
    "paused": "the experiment is paused",
    "stopped_arm": "the control gets the arm's share",
    "undone": "what was done is undone",
    "recovered": "it is again what it was",
    "held": "its decisions are held out of learning",
    "released": "released: it is learned after all",
    "excluded": "excluded: the models are learned again without it",
}


class ArmRule(NamedTuple):
    """What one learning arm falls back to, in words."""

    key: str
    words: str
    fallen_back: bool
    has_fallback: bool
    margin: str  # in percent
    probe: str


@page("/experiments/<key>/health", "viewer")
def guardian(key: str) -> str:
    """What is watched, what happened, what is done about it."""
    guarded = overview.guarded(process().engine, key)
    stored = get(process().engine, key)
    config = ExperimentConfig.model_validate(stored.config)
    return experiment_page(
        "guardian.html",
        key,
        "guardian",
        experiment=stored,
        guarded=guarded,
        still_open=[incident for incident in guarded.incidents if incident.closed_at is None],
        watched=[*map(_line, guarded.watched), *map(_subject_line, guarded.over_all_arms)],
        figures=_figures(overview.watches(process().engine, key)),
        rules=[_rule(config, arm) for arm in config.arms if arm.policy["type"] == "bandit"],
        timeline=_timeline,
        trial=_trial(key),
        held=sum(quarantine.listed(process().engine, key).held.values()),
    )


def _trial(key: str) -> DryRun | None:
    """What the rule of the address would have done: ``?try=ARM&margin=10&probe=5&days=30``, in percent and days."""
    arm, given = request.args.get("try", ""), {}
    if not arm:
        return None
    for name, per in (("margin", 100.0), ("probe", 100.0), ("days", 1.0)):
        if text := request.args.get(name, "").strip():
            try:
                given[name] = float(text.replace(",", ".")) / per
            except ValueError:
                raise invalid((FieldError(f"/{name}", "not_a_number"),)) from None
    config = ExperimentConfig.model_validate(get(process().engine, key).config)
    old = next((rule_of(each) for each in config.arms if each.key == arm), FallbackSpec())
    days = given.pop("days", 30.0)
    if not 0 < days <= MOST_DAYS:
        raise invalid(
            (FieldError("/days", "not_above" if days <= 0 else "too_large", {"limit": 0 if days <= 0 else MOST_DAYS}),)
        )
    rule = FallbackSpec.model_construct(**(old.model_dump() | given))
    return dry_run.try_rule(process().engine, key, arm, rule, days)


@page("/health", "viewer")
def all_incidents() -> str:
    """The incidents of every experiment."""
    found = overview.everywhere(process().engine)
    return render_template("incidents.html", section="health", incidents=found, timeline=_timeline)


@page("/experiments/<key>/health/turn", "editor", ("POST",))
def turn_arm(key: str) -> ResponseReturnValue:
    """Let an arm's fallback decide, or what it learned again."""
    do, arm = request.form.get("do", ""), request.form.get("arm", "")
    if do not in ("fall_back", "restore"):
        raise invalid((FieldError("/do", "not_a_choice", {"expected": ["fall_back", "restore"]}),))
    change = incidents.fall_back if do == "fall_back" else incidents.restore
    change(process().engine, key, arm, "a person asked for it", user().name)
    process().refresh()
    flash(f"The {'fallback' if do == 'fall_back' else 'learned policy'} of {arm} decides now.")
    return redirect(url_for("admin.guardian", key=key))


@page("/experiments/<key>/health/close", "editor", ("POST",))
def close_incident(key: str) -> ResponseReturnValue:
    """End an incident."""
    incidents.close(process().engine, key, whole_number(request.form.get("incident", "")) or 0, user().name)
    return redirect(url_for("admin.guardian", key=key))


@page("/experiments/<key>/health/undo", "editor", ("POST",))
def undo_incident(key: str) -> ResponseReturnValue:
    """Take back what was done about a crossed guardrail."""
    guardrails.undo(process().engine, key, whole_number(request.form.get("incident", "")) or 0, user().name)
    process().refresh()
    flash("What was done is undone.")
    return redirect(url_for("admin.guardian", key=key))


def _timeline(incident: Incident) -> list[tuple[str, str]]:
    """What happened, as times and words."""
    begun = [(incident.began_at, "it began, most likely"), (incident.opened_at, "noticed")]
    done = [(action.at, f"{ACTIONS[action.code]} ({action.actor})") for action in incident.actions]
    return [*begun, *done]


def _line(watch: WatchedNow) -> tuple[str, str, str, str, str]:
    """A row of the table of watches: arm, number, observations, evidence, state."""
    state = "watched" if watch.armed and watch.level is not None else "learning what is usual"
    return watch.arm, STREAMS[watch.stream], number(watch.observations), _evidence(watch), state


def _subject_line(watch: WatchedSubject) -> tuple[str, str, str, str, str]:
    """As `_line`, of something that is watched over all arms."""
    state = "watched" if watch.armed else UNARMED[watch.kind]
    return "all", SUBJECTS[watch.kind].format(watch.subject), number(watch.observations), _evidence(watch), state


def _evidence(watch: WatchedNow | WatchedSubject) -> str:
    # Where nothing fell, the evidence is about the number of observations. On a log scale, how much of the way from there?
    way = math.log(watch.threshold / max(watch.observations, 1))
    share = math.log(max(watch.strength / max(watch.observations, 1), 1.0)) / way if way > 0 else 0.0
    return percent(min(share, 1.0), 0) if share > 0 else "none"


def _figures(watches: list[WatchDocument]) -> list[Figure]:
    """For each arm, what was observed at every look, beside the level that is bet on."""
    figures = []
    for watch in watches:
        if watch.stream != "value" or len(watch.points) < 2:
            continue
        times = [(at.timestamp() if (at := moment(point.at)) else 0.0) for point in watch.points]
        observed = [Point(x, point.mean) for x, point in zip(times, watch.points, strict=True)]
        levels = [Point(x, point.level) for x, point in zip(times, watch.points, strict=True)]
        caption = f"{watch.arm}: reward per decision at every look"
        series = [Series("observed", observed), Series("an incident begins well below", levels)]
        rows = [
            [point.at[:19], number(point.mean), number(point.level), number(point.strength, 2)]
            for point in watch.points
        ]
        chart = charts.lines(series, title=caption, unit="reward per decision")
        head = ["Look", "Observed", "Level that is bet on", "Evidence"]
        figures.append(Figure(f"watch-{watch.arm}", caption, chart, head, rows, "Each unit counts once a look."))
    return figures


def _rule(config: ExperimentConfig, arm: ArmSpec) -> ArmRule:
    trusted, rule = trusted_policy(config, arm), rule_of(arm)
    if arm.apprentice:
        words = "An apprentice: the first action of each call is shown, and the tab Policy says how it does."
        return ArmRule(arm.key, words, False, False, "", "")
    if trusted is None:
        words = "It has no fallback, because the control learns, too. Name one in its definition."
        return ArmRule(arm.key, words, False, False, "", "")
    to = f"always {trusted.action}" if isinstance(trusted, FixedPolicy) else "every action alike"
    to = "the first action of each call" if isinstance(trusted, FirstActionPolicy) else to
    words = (
        f"Falls back to: {to}, when it earns less by more than {percent(rule.margin, 0)} and learning again does not help. "
        f"Meanwhile {percent(rule.probe, 0)} of its decisions stay with what it learned, to be measured."
    )
    if not rule.act:
        words = f"Only tells. Its fallback is: {to}."
    return ArmRule(arm.key, words, arm.fallen_back, True, f"{rule.margin * 100:g}", f"{rule.probe * 100:g}")
