"""The decision log: a browser, and the replay of one decision."""

from flask import request, url_for
from flask.typing import ResponseReturnValue

from app.accounts.pages.access import page
from app.design.pages.experiment import experiment_page
from app.foundation.pages.forms import time_of
from app.foundation.serving import process
from app.verification import browse
from app.verification import replay as replay_service
from app.verification.browse import Search
from app.verification.pages import figures
from app.verification.pages.replay_words import PARTS, STATES, ReplayWords


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
        "replay.html", key, "decisions", replayed=replayed, row=row, words=ReplayWords(replayed), parts=PARTS,
        distribution=figures.distribution(row), draw=figures.draw(replayed),
        contributions=figures.contributions(recomputed, row.propensity) if recomputed else None,
    )  # fmt: skip
