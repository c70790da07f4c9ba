"""Pieces of SQL that several stores write into their statements."""

from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

# How a decision d is joined to its outcome o. "+ 0" hides from the planner that these are one experiment's outcomes: it takes
# an experiment that began after its statistics were gathered to have one row, and would read them all for each decision.
# Other statements that find an experiment's rows by another key have "+ 0" for the same reason.
ITS_OUTCOME = "o.experiment_id = d.experiment_id + 0 AND o.decision_id = d.id"


def its_decision(row: str, at: str | None = None, *, experiment: str = "experiment_id") -> str:
    """How a row of the log, by its alias, is joined to its decision d.

    The log is partitioned by time, and its index has experiment, time and id: so the time is needed, too.

    :param at: SQL of the decision's time, where the row has it; None: the table of ids has it.
    :param experiment: the row's column for the experiment of the decision.
    """
    its = f"{row}.{experiment} + 0"
    time = at or (
        f"(SELECT known.decided_at FROM decision_ids known"
        f" WHERE known.decision_id = {row}.decision_id AND known.experiment_id = {its})"
    )
    return f"d.id = {row}.decision_id AND d.experiment_id = {its} AND d.decided_at = {time}"


class Span(NamedTuple):
    """The times of the first and the last of some decisions."""

    first: datetime
    last: datetime


def decision_of(row: str, at: str | None = None, *, experiment: str = "experiment_id", spanned: bool = False) -> str:
    """What looks up the decision d of each row of the log, by the row's alias; parameters as of ``its_decision``.

    :param spanned: the statement has a ``Span`` of the decisions as parameters. Then the planner looks only at the parts of the
        log that lie in it, and a look-up costs the same however many months the log has.

    "OFFSET 0" keeps the planner from anything else than look-ups. It takes each of them to read all parts of the log, though
    the time leaves one, and would rather read the whole log.
    """
    if at is None:
        condition = f"known.decision_id = {row}.decision_id AND known.experiment_id = {row}.{experiment}"
        source = f"decision_ids known JOIN decisions d ON {its_decision('known', 'known.decided_at')} WHERE {condition}"
    else:
        source = f"decisions d WHERE {its_decision(row, at)}"
    if spanned:
        source += " AND d.decided_at >= :first AND d.decided_at <= :last"
    return f"CROSS JOIN LATERAL (SELECT d.* FROM {source} OFFSET 0) d"


# An id is unique within its experiment. So a decision is named by both, and every join compares both.
DecisionKey = tuple[int, str]  # (experiment id, decision id)
KEYS = "unnest(CAST(:experiment_ids AS bigint[]), CAST(:ids AS text[])) AS k (experiment_id, decision_id)"
IN_KEYS = f"IN (SELECT k.experiment_id, k.decision_id FROM {KEYS})"
# Conditions on decisions d: those of some keys, and one of an experiment.
OF_KEYS = f"""
    (d.experiment_id, d.decided_at, d.id) IN (
        SELECT known.experiment_id, known.decided_at, known.decision_id FROM {KEYS}
        JOIN decision_ids known ON known.decision_id = k.decision_id AND known.experiment_id = k.experiment_id)
"""
OF_ID = """
    d.id = :id AND d.experiment_id = :experiment_id AND d.decided_at = (
        SELECT known.decided_at FROM decision_ids known
        WHERE known.decision_id = :id AND known.experiment_id + 0 = :experiment_id)
"""
# The decisions d of some ids of an experiment.
DECISIONS_OF_IDS = f"""(
    SELECT d.* FROM decision_ids i {decision_of("i", "i.decided_at")}
    WHERE i.decision_id = ANY(:ids) AND i.experiment_id + 0 = :experiment_id) d"""


def keys(of: Iterable[DecisionKey]) -> dict[str, list[int] | list[str]]:
    """Return the parameters of ``KEYS``."""
    pairs = list(of)
    return {"experiment_ids": [experiment_id for experiment_id, _ in pairs], "ids": [id_ for _, id_ in pairs]}


# A trial: a decision that a call or a key marked as a test. It is made and logged like any other, and it has no reward window,
# so that it has no outcome and no model learns from it. What reads decisions without their outcomes leaves trials out with
# ``NOT_A_TRIAL`` (``NOT_TRIAL`` where the decision has no alias d); tests/deciding/test_trials.py finds who does not.
TRIAL = "trial"
NOT_TRIAL = f"state <> '{TRIAL}'"
NOT_A_TRIAL = f"d.{NOT_TRIAL}"

# How long work that failed waits for its next try: from 10 s, doubled each time, to an hour.
RETRY_PAUSE = "make_interval(secs => least(3600, 10 * 2 ^ least(failures, 10)))"

# The distribution of a decision d, with 0 where an imported log does not hold the probability.
KNOWN_CHANCES = "array_replace(d.distribution, NULL, 0::float8)"

# The position of a decision d in its list, from 2; null: it is the first, or a plain decision. Ids of imported logs may end
# like those of later positions, so the context has to agree (as in ``app.off_policy.log_table``).
LATER_POSITION = """
    CASE WHEN d.id ~ '#[0-9]+$' AND d.context ->> 'position' = substring(d.id FROM '#([0-9]+)$')
    THEN CAST(d.context ->> 'position' AS int) END
"""

# The actions at the earlier positions of a decision d's list, in their order; null where there are none.
ABOVE = """
    CASE WHEN d.ineligible IS NOT NULL THEN (
        SELECT array_agg(i.value ->> 'id' ORDER BY (i.value -> 'params' ->> 'position')::float8)
        FROM json_array_elements(d.ineligible) i WHERE i.value ->> 'code' = 'earlier_position'
    ) END
"""

# Within a transaction, lets the view ``analysed`` leave out what is held out of rounds for suspects.
WITHOUT_HELD_OUT = "SELECT set_config('loopwise.held_out', 'without', true)"
