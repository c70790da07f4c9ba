"""Queries of a training round: due decisions with their rewards, outcomes, and the ledger of what was learned."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from itertools import accumulate, pairwise
from operator import attrgetter
from typing import Any, NamedTuple

import orjson
from sqlalchemy import Connection, func, select, text

from app.foundation.store import chain, tables
from app.foundation.store.fragments import decision_of, its_decision
from app.foundation.store.locks import Kind, hold, try_hold, try_share

PATIENCE_S = 120  # longest wait for running rounds
_ledger = tables.training_ledger
_lineages = tables.lineages


class Due(NamedTuple):
    """One decision with everything that settling its outcome and learning from it need."""

    id: str
    unit_id: str
    key_id: str
    decided_at: datetime
    config_version: int
    actions: Any  # the call's own candidates; null: the configuration's
    eligible: list[str]
    chosen: int
    propensity: float
    context: Any
    rewards: list[list[Any]]  # [value, occurred_at as ISO 8601, reward id, metric] of those in time; empty: none
    feedback: list[list[Any]]  # [kind, value, occurred_at as ISO 8601, feedback id] of answers in time; empty: none
    refused: list[str]  # purposes that its unit refused at decision time or refuses now; all of them once it is erased
    holdout: bool | None  # true: its unit was in the global holdout; nobody learns from it, and it is in no result
    arm: str
    stands_for: float | None  # imported: decisions of which only this one was logged; null: 1
    mixture: list[float] | None = None  # over all arms, in a ledger of decisions of any arm; null: its own arm drew it
    source_id: int | None = None  # the experiment whose decision a warm start learned; null: the arm's own


class Owner(NamedTuple):
    """Whose decision it is: the part of ``Due`` that says whether it may be learned."""

    id: str
    unit_id: str
    key_id: str
    decided_at: datetime
    refused: list[str]


class Outcome(NamedTuple):
    """The joined reward of one decision."""

    decision: Due
    reward: float  # joined by the experiment's rule
    events: int  # number of rewards and counted answers; 0: the reward is the default


def arms_with_due_decisions(connection: Connection) -> list[tuple[int, str]]:
    """Return (experiment id, arm) for every arm in which a reward window has closed."""
    query = "SELECT DISTINCT experiment_id, arm FROM awaiting_outcome WHERE closes_at <= clock_timestamp()"
    return [(row.experiment_id, row.arm) for row in connection.execute(text(query))]


def lock_lineage(connection: Connection, experiment_id: int, arm: str) -> bool:
    """Lock a lineage until the transaction ends; returns False if it, or its whole experiment, is already locked."""
    everything = try_share(connection, Kind.LINEAGES_OF_EXPERIMENT, str(experiment_id))
    return everything and try_hold(connection, Kind.LINEAGE, f"{experiment_id}/{arm}")


def lock_every_lineage(connection: Connection, experiment_id: int) -> None:
    """Lock all lineages of an experiment until the transaction ends, including lineages that are added in the meantime.

    This waits for running rounds, and no round begins while it waits. Lock several experiments in the order of their
    ids, to avoid deadlocks.
    """
    connection.execute(text(f"SET LOCAL lock_timeout = '{PATIENCE_S}s'"))
    hold(connection, Kind.LINEAGES_OF_EXPERIMENT, str(experiment_id))


_REFUSED = """
    coalesce(d.withheld, '{}') || coalesce((SELECT denied FROM restrictions u WHERE u.unit_id = d.unit_id), '{}')
        || CASE WHEN d.erased_at IS NOT NULL THEN ARRAY['learn', 'analyse'] WHEN d.holdout THEN ARRAY['learn'] ELSE '{}' END
        AS refused
"""
# SQL only collects the rewards. Training joins them in Python, with the same rule as the audit.
OWNER_COLUMNS = f"d.id, d.unit_id, d.key_id, d.decided_at, {_REFUSED}"
EXAMPLE_COLUMNS = f"""
    d.id, d.unit_id, d.key_id, d.decided_at, d.config_version, d.actions, d.eligible, d.chosen, d.propensity, d.context,
        coalesce((SELECT json_agg(json_build_array(r.value, r.occurred_at, r.reward_id, r.metric)) FROM rewards r
            WHERE r.decision_id = d.id AND r.experiment_id = d.experiment_id AND NOT r.late
        ), '[]') AS rewards,
        coalesce((SELECT json_agg(json_build_array(f.kind, f.value, f.occurred_at, f.feedback_id)) FROM feedback f
            WHERE f.decision_id = d.id AND f.experiment_id = d.experiment_id AND f.kind <> 'comment' AND NOT f.late
        ), '[]') AS feedback,
        {_REFUSED}, d.holdout, d.arm, d.stands_for
"""
as_due = attrgetter(*Due._fields[:-2])  # mixture and source are the ledger's
_DUE = text(
    f"""
    SELECT {EXAMPLE_COLUMNS}
    FROM awaiting_outcome a {decision_of("a")}
    WHERE a.experiment_id = :experiment_id AND a.arm = :arm AND a.closes_at <= :until
    ORDER BY d.decided_at, d.id LIMIT :most
    FOR UPDATE OF a
    """
)
_OF_VERSION = text(
    f"""
    SELECT {EXAMPLE_COLUMNS}, l.reward AS learned, l.mixture
    FROM training_ledger l {decision_of("l")}
    WHERE l.version_id = :version_id AND l.position >= :first AND l.position < :until ORDER BY l.position
    """
)


_SETTLED = text(
    f"""
    SELECT {EXAMPLE_COLUMNS}, o.reward AS settled, o.feedback_version
    FROM outcomes o JOIN decisions d ON {its_decision("o", "o.decided_at")}
    WHERE o.experiment_id = :experiment_id AND d.state <> 'imported'
      AND o.settled_at >= coalesce(CAST(:since AS timestamptz), '-infinity')
    """
).execution_options(stream_results=True, max_row_buffer=5000)


def each_outcome(
    connection: Connection, experiment_id: int, since: datetime | None = None
) -> Iterator[tuple[float, int, Due]]:
    """Yield the settled reward, the feedback schema version and the logged decision of every outcome since a time.

    Imported decisions are left out.
    """
    for row in connection.execute(_SETTLED, {"experiment_id": experiment_id, "since": since}):
        yield row.settled, row.feedback_version, Due(*as_due(row))


def due(connection: Connection, experiment_id: int, arm: str, until: datetime, most: int) -> list[Due]:
    """Return up to ``most`` unsettled decisions whose window closed by ``until``, oldest first."""
    values = {"experiment_id": experiment_id, "arm": arm, "until": until, "most": most}
    return [Due(*row) for row in connection.execute(_DUE, values)]


def rounds_of(
    connection: Connection, version_id: int, sizes: Sequence[int] | None
) -> Iterator[list[tuple[float, Due]]]:
    """Yield what a version learned, round by round: pairs of the reward in the ledger and the logged decision.

    :param sizes: the number of decisions in each round of a rebuild, from its manifest; None: the version is one round.
    """
    ends = [0, *accumulate(sizes)] if sizes is not None else _ALL
    for first, until in pairwise(ends):
        values = {"version_id": version_id, "first": first, "until": until}
        rows = connection.execute(_OF_VERSION, values)
        yield [(row.learned, Due(*as_due(row))._replace(mixture=row.mixture)) for row in rows]


_SETTLE = text(
    f"""
    WITH input AS (
        SELECT * FROM json_to_recordset(:rows) AS t (
            decision_id text, unit_id text, reward float8, events int, decided_at timestamptz, analysed boolean,
            config_version int, window_s float8, holdout boolean)
    ), settled AS (
        INSERT INTO outcomes (experiment_id, decision_id, arm, unit_id, reward, events, decided_at, feedback_version,
            config_version, opened_at, settled_at, holdout)
        SELECT :experiment_id, i.decision_id, :arm, unit_id, reward, events, decided_at, :feedback_version,
            config_version, greatest(decided_at, a.closes_at - make_interval(secs => window_s)),
            statement_timestamp(), holdout
        FROM input i JOIN awaiting_outcome a ON a.decision_id = i.decision_id AND a.experiment_id + 0 = :experiment_id
        WHERE analysed
        RETURNING *
    ), links AS ({chain.link(chain.OUTCOMES, "settled")})
    DELETE FROM awaiting_outcome a USING input i
    WHERE a.decision_id = i.decision_id AND a.experiment_id + 0 = :experiment_id AND {chain.ADDED}
    """
)
_LEDGER = text(
    """
    INSERT INTO training_ledger (experiment_id, arm, generation, decision_id, version_id, position, reward, mixture)
    SELECT :experiment_id, :arm, :generation, decision_id, :version_id, position, reward, mixture
    FROM json_to_recordset(:rows) AS t (decision_id text, position int, reward float8, mixture float8[])
    """
)
_ALL = [-(2**31), 2**31 - 1]  # every position
NOT_LEARNED = 0  # instead of a version id: the decision is settled, and deliberately not learned from


def settle(
    connection: Connection,
    experiment_id: int,
    arm: str,
    outcomes: list[Outcome],
    feedback_version: int,
    windows_s: Mapping[int, float],
) -> None:
    """Make outcomes final. Settling a decision twice is an error that makes the round fail.

    A decision that may not be analysed gets no outcome, but it is no longer due either.

    :param windows_s: the reward window by configuration version. It ended when a decision became due, so it began so long before.
    """
    documents = [
        {
            "decision_id": due.id,
            "unit_id": due.unit_id,
            "reward": reward,
            "events": events,
            "decided_at": due.decided_at,
            "analysed": "analyse" not in due.refused,
            "config_version": due.config_version,
            "window_s": windows_s[due.config_version],
            "holdout": bool(due.holdout),
        }
        for due, reward, events in outcomes
    ]
    values = {"experiment_id": experiment_id, "arm": arm, "feedback_version": feedback_version}
    connection.execute(_SETTLE, values | {"rows": orjson.dumps(documents).decode()} | chain.key(connection))


class Generation(NamedTuple):
    """One generation of an arm's ledger. Each is complete, and each rebuild adds one."""

    experiment_id: int
    arm: str
    number: int

    def following(self) -> "Generation":
        """Return the next generation, which a rebuild writes."""
        return self._replace(number=self.number + 1)


def write_ledger(
    connection: Connection,
    generation: Generation,
    version_id: int,
    rewards: Sequence[tuple[str, float]],
    first: int = 0,
    mixtures: Mapping[str, Sequence[float]] = {},
) -> None:
    """Record what a version learned, or with ``NOT_LEARNED`` which decisions are not learned from.

    A decision that is already in this generation of the ledger is an error that makes the round fail.

    :param rewards: (decision id, reward) in the order of learning.
    :param first: the position of the first decision.
    :param mixtures: by decision, the distribution that it is learned with, where that is not its own.
    """
    documents = [
        {"decision_id": decision_id, "position": position, "reward": reward, "mixture": mixtures.get(decision_id)}
        for position, (decision_id, reward) in enumerate(rewards, first)
    ]
    experiment_id, arm, number = generation
    values = {"experiment_id": experiment_id, "arm": arm, "generation": number, "version_id": version_id}
    connection.execute(_LEDGER, values | {"rows": orjson.dumps(documents).decode()})


def lag(connection: Connection) -> tuple[int, float]:
    """Return the number of decisions that are due for training, and for how many seconds the oldest has been due."""
    query = """
        SELECT count(*) AS waiting, coalesce(extract(epoch FROM clock_timestamp() - min(closes_at)), 0) AS lag_s
        FROM awaiting_outcome WHERE closes_at <= clock_timestamp()
    """
    row = connection.execute(text(query)).one()
    return int(row.waiting), float(row.lag_s)


def has_erased(connection: Connection, version_id: int) -> bool:
    """Return True if a decision that a version learned from was erased, so that it cannot be learned from again."""
    lessons_of = f"training_ledger l {decision_of('l')} WHERE l.version_id = :id AND d.erased_at IS NOT NULL"
    query = f"SELECT EXISTS (SELECT FROM {lessons_of})"
    return bool(connection.execute(text(query), {"id": version_id}).scalar_one())


LEARNED_KINDS = ("incremental", "rebuild", "staged")  # versions whose manifest counts their own rows in the ledger


def lessons(connection: Connection, version_id: int) -> int:
    """Count the rows of the ledger that name a version."""
    query = select(func.count()).select_from(_ledger).where(_ledger.c.version_id == version_id)
    return int(connection.execute(query).scalar_one())


def ledger_size(connection: Connection, experiment_id: int) -> int:
    """Count the ledger rows of one experiment in each arm's current generation."""
    current = (_lineages.c.experiment_id == _ledger.c.experiment_id) & (_lineages.c.arm == _ledger.c.arm)
    current &= _lineages.c.generation == _ledger.c.generation
    query = select(func.count()).select_from(_ledger).join(_lineages, current)
    return int(connection.execute(query.where(_ledger.c.experiment_id == experiment_id)).scalar_one())


def current_generation(connection: Connection, experiment_id: int, arm: str) -> Generation:
    """Return the current generation of a learning arm's ledger."""
    query = select(_lineages.c.generation).where(_lineages.c.experiment_id == experiment_id, _lineages.c.arm == arm)
    return Generation(experiment_id, arm, int(connection.execute(query).scalar_one()))
