"""The decision log: a browser, and the replay of one decision."""

from flask import request, url_for
from flask.typing import ResponseReturnValue
from pydantic import JsonValue

from app.accounts.pages.access import page
from app.deciding.answer import ineligible_answer
from app.deciding.store.decisions import StoredDecision
from app.design.pages.experiment import experiment_page
from app.foundation.pages.forms import time_of
from app.foundation.serving import process
from app.verification import browse
from app.verification import replay as replay_service
from app.verification.browse import Search
from app.verification.pages import figures

MOST_INELIGIBLE = 100  # actions without a chance that are shown
STATES = {
    "active": "counts",
    "deferred": "not shown yet: its reward window opens when the app says so",
    "unanswered": "does not count: the app never got the answer",
    "imported": "imported, not decided here",
}
WITHOUT = {
    "personalise": "the control's answer was given, no context is stored, no model learns from it, and no report counts it",
    "learn": "it was decided as for anybody, and no model learns from it",
    "analyse": "it was decided as for anybody, and no report counts it",
    "message": "no action with a message could be chosen",
}
PARTS = {
    "seal": "The seal over all fields is whole",
    "encoding": "The encoding of features is the same",
    "arm": "The unit hashes to this arm",
    "draw": "The id hashes to this draw",
    "distribution": "The model gives this distribution",
    "action": "The draw chooses this action",
    "propensity": "The action has this propensity",
}


@page("/experiments/<key>/decisions", "viewer")
def decisions(key: str) -> ResponseReturnValue:
    """The log, newest first."""
    given = {name: request.args.get(name, "") for name in ("id", "unit", "action", "arm", "since", "until")}
    errors: dict[str, str] = {}
    times = {name: time_of(given[name], name, errors) for name in ("since", "until")}
    at, last = time_of(request.args.get("before", ""), "before", errors), request.args.get("before_id", "")
    wanted = Search(given["id"], given["unit"], given["action"], given["arm"], times["since"], times["until"])
    results = browse.search(process().engine, key, wanted, (at, last) if at else None)
    older = None
    if results.older is not None:
        moment, name = results.older
        older = url_for(
            "admin.decisions",
            key=key,
            before=moment.isoformat(),
            before_id=name,
            id=given["id"],
            unit=given["unit"],
            action=given["action"],
            arm=given["arm"],
            since=given["since"],
            until=given["until"],
        )
    shown = experiment_page(
        "decisions.html", key, "decisions", results=results, given=given, errors=errors, older=older, states=STATES,
        first_page=at is None, filtered=any(given.values()), scanned=browse.SCANNED,
    )  # fmt: skip
    return shown, 422 if errors else 200


@page("/experiments/<key>/replay", "viewer")
def replay(key: str) -> str:
    """Show everything about one decision. Its id is a query parameter, because an id may hold any character."""
    at = process()
    replayed = replay_service.replay(at.engine, at.settings, key, request.args.get("id", ""))
    row = replayed.row
    recomputed = replayed.recomputed
    return experiment_page(
        "replay.html", key, "decisions", replayed=replayed, row=row, states=STATES, parts=PARTS, without=WITHOUT,
        distribution=figures.distribution(row), draw=figures.draw(replayed),
        contributions=figures.contributions(recomputed, row.propensity) if recomputed else None,
        ineligible=_ineligible(row), fields=_fields(row.context),
    )  # fmt: skip


def _ineligible(row: StoredDecision) -> list[tuple[str, str]]:
    """The first ineligible actions, each with its reason."""
    answers = [ineligible_answer(logged) for logged in (row.ineligible or [])[:MOST_INELIGIBLE]]
    return [
        (answer["id"], "the call excluded it" if answer["reason"] == "excluded" else answer["reason"])
        for answer in answers
    ]


def _fields(context: dict[str, JsonValue] | list[dict[str, JsonValue]]) -> list[tuple[str, JsonValue]]:
    """The context's top-level fields."""
    parts = [context] if isinstance(context, dict) else context
    return [(name, value) for part in parts for name, value in part.items()]
