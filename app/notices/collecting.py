"""Compares what is so with what was told, and makes the notices for the difference.

Nobody calls this module when something happens. It reads what the platform knows anyway: incidents, the badges of the list of
experiments, the newest verdicts, webhooks that fail. So a notice cannot be lost with a process, and none is told twice: while its
condition holds it is one open row.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from sqlalchemy import Engine

from app.foundation.isolation import each
from app.foundation.settings import Settings
from app.foundation.store import latest
from app.foundation.store.engine import transaction
from app.foundation.store.latest import HomeRow
from app.guardian import incidents
from app.guardian.store import incidents as stored_incidents
from app.guardian.store.incidents import StoredIncident
from app.messaging.store import webhooks
from app.notices.store import notices as store
from app.notices.store.notices import PLATFORM, StoredNotice
from app.notices.topics import OF_BADGES, OF_INCIDENTS
from app.registry.store import experiments
from app.reporting import home
from app.reporting.documents.home import Summaries
from app.reporting.store import privacy

KIND = "notices"
SETTLED = timedelta(minutes=2)  # a badge that comes and goes is told of once; then it has to stay away for so long
SILENT_S = 600.0
REFUSED = 4  # times that a webhook refused the same delivery: some three minutes
FIRM = (
    "incident/",
    "verdict/",
    "shipped/",
)  # the end of such a condition is known; of others it is only not seen any more
VERDICTS = {
    "ship": "Verdict: ship {arm}.",
    "stop": "Verdict: stop.",
    "review": "Verdict: a person has to decide on {arm}.",
}


class Condition(NamedTuple):
    """Something that is so, and that somebody may want to know."""

    code: str
    topic: str
    text: str
    over: bool = False  # it began and ended of late


class _Known(NamedTuple):
    """What is read once for all experiments."""

    rows: dict[str, HomeRow]
    ids: dict[str, int]
    incidents: list[StoredIncident]
    open: list[StoredNotice]
    spent: dict[str, float]


def collect(engine: Engine, settings: Settings) -> list[str]:
    """Open and end notices of the platform and of every experiment; returns the experiments' keys.

    One process at a time may call this.
    """
    with transaction(engine) as connection:
        rows = {row.key: row for row in latest.home(connection)}
        ids = {key: number for number, key in experiments.keys_of_all(connection).items()}
        of_late, spent = stored_incidents.of_late(connection), privacy.spent_by_experiment(connection)
        known = _Known(rows, ids, of_late, store.still_open(connection), spent)
        troubles = webhooks.troubled(connection, silent_s=SILENT_S, attempts=REFUSED)
    failing = [
        Condition(
            f"webhook/{trouble.key}",
            "pipeline",
            f"The webhook {trouble.key} {'does not answer' if trouble.silent else 'refuses what it gets'}.",
        )
        for trouble in troubles
    ]
    _settle(engine, PLATFORM, failing, known.open)
    return each(engine, KIND, list(rows), lambda key: _of_experiment(engine, settings, known, key))


def _of_experiment(engine: Engine, settings: Settings, known: _Known, key: str) -> None:
    row, experiment_id = known.rows[key], known.ids[key]
    if row.status == "concluded":
        words = f"Concluded: {row.conclusion}" if row.conclusion else "Concluded."
        current = [Condition("concluded", "shipped", words)]
    else:
        current = [
            *_incidents(known.incidents, experiment_id, key),
            *_badges(row),
            *_verdict(row),
            *_shipped(row),
            *_budget(known.spent.get(key, 0.0), settings.privacy_budget),
        ]
    _settle(engine, experiment_id, current, known.open)


def _incidents(rows: Iterable[StoredIncident], experiment_id: int, key: str) -> Iterator[Condition]:
    for row in rows:
        if row.experiment_id == experiment_id:
            topic, words = OF_INCIDENTS.get(row.kind, "anomaly"), incidents.described(row, key).text
            yield Condition(f"incident/{row.id}", topic, words, over=row.closed_at is not None)


def _badges(row: HomeRow) -> Iterator[Condition]:
    for badge in home.badges(row, datetime.now(UTC)):
        topic = OF_BADGES.get(badge.code.partition("/")[0])
        if topic is not None:
            yield Condition(badge.code, topic, badge.text)


def _verdict(row: HomeRow) -> Iterator[Condition]:
    results = Summaries.model_validate(row.latest or {}).results
    if results is not None and results.verdict in VERDICTS:
        words = VERDICTS[results.verdict].format(arm=results.ship)
        yield Condition(f"verdict/{results.verdict}/{results.ship or ''}", "verdict", words)


def _shipped(row: HomeRow) -> Iterator[Condition]:
    if row.status == "shipped":
        arm = max(row.arms, key=lambda arm: float(str(arm["share"])))
        yield Condition(f"shipped/{arm['key']}", "shipped", f"Shipped: {arm['key']} decides for everybody it shall.")


def _budget(spent: float, budget: float) -> Iterator[Condition]:
    if budget > 0 and spent >= budget - 1e-9:
        yield Condition(
            "budget/privacy", "budget", f"The privacy budget of {budget:g} is spent: no more private reports."
        )


def _settle(
    engine: Engine, experiment_id: int, current: Sequence[Condition], every_open: Iterable[StoredNotice]
) -> None:
    """Open what is new and end what is over, in one transaction; nothing is written where nothing changed."""
    still_open = {notice.condition: notice for notice in every_open if notice.experiment_id == experiment_id}
    holding = {condition.code for condition in current if not condition.over}
    new = [condition for condition in current if condition.code not in still_open]
    back = [notice for code, notice in still_open.items() if code in holding and notice.gone_since is not None]
    missing = [notice for code, notice in still_open.items() if code not in holding]
    ended = [notice for notice in missing if _over(notice)]
    gone = [notice for notice in missing if notice.gone_since is None and notice not in ended]
    if not (new or back or ended or gone):
        return
    with transaction(engine) as connection:
        for notice in ended:
            store.end(connection, notice.id)
        for notice in (*back, *gone):
            store.set_gone(connection, notice.id, notice in gone)
        for condition in new:
            once = condition.code.startswith("incident/")
            began = store.begin(connection, experiment_id, condition.topic, condition.code, condition.text, once=once)
            if condition.over and began is not None:
                store.end(connection, began)


def _over(notice: StoredNotice) -> bool:
    if notice.condition.startswith(FIRM):
        return True
    return notice.gone_since is not None and datetime.now(UTC) - notice.gone_since > SETTLED
