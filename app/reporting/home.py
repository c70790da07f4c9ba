"""Lists the experiments for a product manager: the state of each, and in words what is wrong with it.

The figures are those that the worker computed, with their age. A stopped worker cannot report that it stopped, so this
module looks up at each request whether rewards wait to be learned from.
"""

from collections.abc import Collection, Iterator
from datetime import UTC, datetime
from typing import NamedTuple

from sqlalchemy import Engine

from app.design.life.beginning import OVERDUE_S
from app.foundation.store import latest
from app.foundation.store.engine import transaction
from app.foundation.store.latest import HomeRow
from app.reporting.comparison.progress import Progress, progress
from app.reporting.documents.home import Summaries
from app.reporting.documents.results import ResultsSummary

SORTS = ("newest", "name", "decisions", "lift", "problems")
STATUSES = ("draft", "running", "ramping", "shipped", "paused", "concluded", "archived")


class Badge(NamedTuple):
    """A problem that somebody should look at."""

    text: str
    kind: str  # bad, warn, info
    tab: str  # the page that shows more
    code: str  # what is wrong, however its text changes


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
    lift: ResultsSummary | None  # null: nothing can be compared yet
    verdict: str | None
    badges: list[Badge]
    computed_at: datetime | None  # of the figures; null: none yet
    progress: Progress | None  # null: not started
    tags: list[str]

    @property
    def shown(self) -> ResultsSummary | None:
        """The best arm's result, once there is an interval; before that a number would be noise."""
        given = self.lift.lift_interval if self.lift else None
        return self.lift if given is not None and given.low is not None and given.high is not None else None


class Totals(NamedTuple):
    """The whole platform, without archived experiments."""

    running: int
    decisions: int
    decisions_today: int
    rewards_today: int


class Home(NamedTuple):
    """What the first page shows before anybody searches."""

    needs: list[tuple[Line, list[Badge]]]  # experiments with a verdict or a problem, the worst first
    own: list[Line]  # and starred ones
    others: list[Line]
    totals: Totals


MOVES = {"ship": ("good", "results"), "stop": ("bad", "results"), "review": ("info", "results")}


def home(engine: Engine, name: str, starred: Collection[str] = ()) -> Home:
    """What needs somebody, then the person's own experiments, then the others.

    :param name: the person's.
    :param starred: keys of the experiments that the person has starred.
    """
    every = lines(engine)
    needs = [(line, found) for line in every if (found := [*_verdicts(line), *line.badges])]
    return Home(
        needs=sorted(needs, key=lambda pair: -sum(badge.kind == "bad" for badge in pair[1])),
        own=[line for line in every if line.owner == name or line.key in starred],
        others=[line for line in every if line.owner != name and line.key not in starred],
        totals=Totals(
            running=sum(line.status in ("running", "ramping", "shipped") for line in every),
            decisions=sum(line.decisions for line in every),
            decisions_today=sum(line.decisions_today for line in every),
            rewards_today=sum(line.rewards_today for line in every),
        ),
    )


def _verdicts(line: Line) -> Iterator[Badge]:
    """What the rule asks somebody to do now; nothing where it is done, or cannot be done any more."""
    if line.status != "running" or line.verdict not in MOVES:
        return
    kind, tab = MOVES[line.verdict]
    arm = f" {line.lift.ship}" if line.lift and line.lift.ship else ""
    yield Badge(f"The rule says: {line.verdict}{arm}", kind, tab, "verdict")


def lines(
    engine: Engine, *, search: str = "", status: str = "", tag: str = "", owner: str = "", sort: str = "newest"
) -> list[Line]:
    """Every experiment that matches, sorted.

    :param search: words; each must occur in the key, the name, the owner, the hypothesis, the conclusion or a note.
    :param tag: only experiments with this tag; empty: any.
    :param owner: only experiments of this owner; empty: any.
    :param sort: one of ``SORTS``; anything else sorts by newest.
    """
    with transaction(engine) as connection:
        rows = latest.home(connection)
        words = search.lower().split()
        texts = latest.texts(connection) if words else {}
    now = datetime.now(UTC)
    matching = [
        _line(row, now)
        for row in rows
        if _listed(row, status)
        and (not tag or tag in row.tags)
        and owner in ("", row.owner)
        and all(
            word in f"{row.key} {row.name} {row.owner} {' '.join(row.tags)} {texts.get(row.key, '')}".lower()
            for word in words
        )
    ]
    if sort == "name":
        matching.sort(key=lambda line: (line.name or line.key).lower())
    elif sort == "decisions":
        matching.sort(key=lambda line: -line.decisions_today)
    elif sort == "lift":
        matching.sort(key=lambda line: -_gain(line))
    elif sort == "problems":
        matching.sort(key=lambda line: [-sum(badge.kind == kind for badge in line.badges) for kind in ("bad", "warn")])
    return matching


def _listed(row: HomeRow, status: str) -> bool:
    """Whether a list of that status shows it; archived experiments are in a list of their own."""
    if row.archived_at is not None or status == "archived":
        return status == "archived" and row.archived_at is not None
    return status in ("", row.status)


def _gain(line: Line) -> float:
    gain = line.lift.gain() if line.lift else None
    return float("-inf") if gain is None else gain


def _line(row: HomeRow, now: datetime) -> Line:
    stored = Summaries.model_validate(row.latest or {})
    results, activity = stored.results, stored.activity
    today = activity if activity and activity.day == now.date().isoformat() else None
    ended = row.concluded_at or now
    return Line(
        key=row.key,
        name=row.name,
        status=row.status,
        owner=row.owner,
        days=None if row.started_at is None else (ended - row.started_at).total_seconds() / 86_400,
        decisions=activity.decisions if activity else 0,
        decisions_today=today.decisions_today if today else 0,
        rewards_today=today.rewards_today if today else 0,
        shares=[(str(arm["key"]), float(str(arm["share"]))) for arm in row.arms],
        lift=results if results and results.arm else None,
        verdict=results.verdict if results else None,
        badges=badges(row, now),
        computed_at=activity.computed_at if activity else None,
        progress=None
        if row.started_at is None
        else progress(
            row.rule or {},
            sum(float(str(arm["share"])) > 0 for arm in row.arms),
            results.units if results else 0,
            row.started_at,
            ended,
        ),
        tags=row.tags,
    )


def badges_of(engine: Engine, key: str) -> list[Badge]:
    """What is wrong with one experiment, the worst first; empty when there is no such experiment."""
    with transaction(engine) as connection:
        rows = latest.home(connection, key)
    return [badge for row in rows for badge in badges(row, datetime.now(UTC))]


def badges(row: HomeRow, now: datetime) -> list[Badge]:
    """What is wrong, the worst first."""
    stored = Summaries.model_validate(row.latest or {})
    return [*_untrustworthy(row, stored), *_not_computed(row), *_behind(row, stored, now)]


def _untrustworthy(row: HomeRow, stored: Summaries) -> Iterator[Badge]:
    if stored.audit and not stored.audit.ok:
        yield Badge(f"Audit failed: {stored.audit.text}", "bad", "overview", "audit")
    if stored.guardian and stored.guardian.open:
        yield Badge(f"Incident: {stored.guardian.text}", "bad", "guardian", "incident")
    if stored.results and stored.results.sample_ratio:
        yield Badge(
            "Sample ratio mismatch: the arms' units do not match their shares", "bad", "results", "sample_ratio"
        )
    if stored.health and stored.health.choices:
        yield Badge(f"Biased log: {stored.health.choices}", "bad", "results", "biased_log")
    if stored.health and stored.health.units:
        yield Badge(f"Uneven units: {stored.health.units}", "warn", "results", "uneven_units")
    for text in stored.results.crossed if stored.results else []:
        yield Badge(f"Guardrail crossed: {text}", "bad", "results", f"guardrail/{text}")
    if row.schema_problem:
        yield Badge(f"Feedback schema not applied: {row.schema_problem}", "bad", "feedback", "schema")


TABS = {
    "activity": "overview",
    "results": "results",
    "health": "results",
    "feedback": "feedback",
    "audit": "overview",
    "retention": "overview",
    "long_term": "results",
    "whom": "whom",
    "fairness": "fairness",
    "guardian": "guardian",
    "notices": "overview",
    "schedule": "promotion",
}


def _not_computed(row: HomeRow) -> Iterator[Badge]:
    for kind, tab in TABS.items():
        problem = (row.latest or {}).get(latest.PROBLEM + kind)
        if isinstance(problem, dict):
            yield Badge(f"Not computed: the newest {kind} ({problem['text']})", "bad", tab, f"not_computed/{kind}")


def _behind(row: HomeRow, stored: Summaries, now: datetime) -> Iterator[Badge]:
    if row.waiting_since and (waited_s := (now - row.waiting_since).total_seconds()) > OVERDUE_S:
        minutes = f"{waited_s / 60:.0f} minutes"
        text = f"Behind: reward windows closed up to {minutes} ago and are still being settled"
        if not row.settling:
            text = f"Stale: nothing was settled or learned for {minutes}. Check that a worker runs (`loopwise worker`)"
        yield Badge(text, "warn", "policy", "waiting")
    if row.problem:
        yield Badge(f"Stale model: the newest round does not serve ({row.problem})", "warn", "policy", "stale_model")
    if stored.activity and stored.activity.missing_rewards:
        yield Badge(f"Missing rewards: {stored.activity.missing_rewards}", "warn", "overview", "missing_rewards")
