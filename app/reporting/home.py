"""The list of experiments as a product manager needs it: how each stands, and in words what is wrong with it.

Everything comes from figures that the worker computed; each says how old they are. What a stopped worker could not tell
itself (that nothing is learned any more) is looked up at the moment.
"""

from datetime import UTC, datetime
from typing import Any, NamedTuple

from sqlalchemy import Engine

from app.foundation.store import latest
from app.foundation.store.engine import transaction
from app.foundation.store.latest import HomeRow

STALE_S = 300.0  # outcomes that should have been settled for so long: the worker is stopped or behind
SORTS = ("newest", "name", "decisions", "lift", "problems")
STATUSES = ("draft", "running", "paused", "concluded")


class Badge(NamedTuple):
    """Something that somebody should look at."""

    text: str
    kind: str  # bad, warn, info
    tab: str  # the page that shows more


class Line(NamedTuple):
    """One experiment in the list."""

    key: str
    name: str
    status: str
    owner: str
    days: float | None  # running so far; null: never started
    decisions: int
    decisions_today: int
    rewards_today: int
    shares: list[tuple[str, float]]
    lift: dict[str, Any] | None  # {metric, arm, lift, lift_interval, direction}
    verdict: str | None
    badges: list[Badge]
    computed_at: Any  # of the figures; null: none yet


def lines(engine: Engine, *, search: str = "", status: str = "", sort: str = "newest") -> list[Line]:
    """Every experiment that matches, sorted.

    :param search: words that the key, the name or the owner must hold.
    :param sort: one of ``SORTS``; anything else is newest.
    """
    with transaction(engine) as connection:
        rows = latest.home(connection)
    now = datetime.now(UTC)
    words = search.lower().split()
    found = [
        _line(row, now)
        for row in rows
        if status in ("", row.status) and all(word in f"{row.key} {row.name} {row.owner}".lower() for word in words)
    ]
    if sort == "name":
        found.sort(key=lambda line: (line.name or line.key).lower())
    elif sort == "decisions":
        found.sort(key=lambda line: -line.decisions_today)
    elif sort == "lift":
        found.sort(key=lambda line: -_gain(line))
    elif sort == "problems":
        found.sort(key=lambda line: [-sum(one.kind == kind for one in line.badges) for kind in ("bad", "warn")])
    return found


def _gain(line: Line) -> float:
    if line.lift is None or line.lift["lift"] is None:
        return float("-inf")
    return float(line.lift["lift"] if line.lift["direction"] == "increase" else -line.lift["lift"])


def _line(row: HomeRow, now: datetime) -> Line:
    kinds = row.latest or {}
    results, activity = kinds.get("results"), kinds.get("activity")
    today = activity is not None and activity["day"] == now.date().isoformat()
    ended = row.concluded_at or now
    return Line(
        key=row.key,
        name=row.name,
        status=row.status,
        owner=row.owner,
        days=None if row.started_at is None else (ended - row.started_at).total_seconds() / 86_400,
        decisions=activity["decisions"] if activity else 0,
        decisions_today=activity["decisions_today"] if activity and today else 0,
        rewards_today=activity["rewards_today"] if activity and today else 0,
        shares=[(arm["key"], arm["share"]) for arm in row.arms],
        lift=results if results and results["arm"] else None,
        verdict=results["verdict"] if results else None,
        badges=badges(row, now),
        computed_at=activity["computed_at"] if activity else None,
    )


def badges_of(engine: Engine, key: str) -> list[Badge]:
    """What is wrong with one experiment, the worst first; nothing for one that does not exist."""
    with transaction(engine) as connection:
        rows = latest.home(connection, key)
    return [badge for row in rows for badge in badges(row, datetime.now(UTC))]


def badges(row: HomeRow, now: datetime) -> list[Badge]:
    """What is wrong, the worst first."""
    kinds = row.latest or {}
    found = []
    audit, results, activity = kinds.get("audit"), kinds.get("results"), kinds.get("activity")
    health = kinds.get("health") or {}
    if audit and not audit["ok"]:
        found.append(Badge(f"Audit failed: {audit['text']}", "bad", "overview"))
    if results and results["sample_ratio"]:
        found.append(Badge("Sample ratio mismatch: the arms' units do not match their shares", "bad", "results"))
    if health.get("choices"):
        found.append(Badge(f"Biased log: {health['choices']}", "bad", "results"))
    for text in results["crossed"] if results else []:
        found.append(Badge(f"Guardrail crossed: {text}", "bad", "results"))
    if row.schema_problem:
        found.append(Badge(f"Feedback schema not applied: {row.schema_problem}", "bad", "feedback"))
    if row.waiting_since and (now - row.waiting_since).total_seconds() > STALE_S:
        found.append(Badge(_stale_words(row, now), "warn", "policy"))
    if row.problem:
        found.append(Badge(f"Stale model: the newest round does not serve ({row.problem})", "warn", "policy"))
    if activity and activity["missing_rewards"]:
        found.append(Badge(f"Missing rewards: {activity['missing_rewards']}", "warn", "overview"))
    return found


def _stale_words(row: HomeRow, now: datetime) -> str:
    minutes = (now - row.waiting_since).total_seconds() / 60
    return f"Stale: nothing was learned for {minutes:.0f} minutes although rewards wait; is the worker running?"
