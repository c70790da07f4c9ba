"""The integration page of an experiment: complete programs for it, and an API key for them."""

from typing import Any

from flask import render_template, url_for
from markupsafe import Markup

from app.accounts import keys
from app.accounts.keys import NewKey
from app.accounts.pages.access import page, user
from app.deciding.arrivals import arrivals, seen_context
from app.deciding.pages.snippet_inputs import LISTED, reported
from app.deciding.pages.snippets import snippets
from app.design import experiments
from app.design.experiment_config import ExperimentConfig
from app.design.metric_config import EventSource
from app.design.pages.experiment import experiment_page
from app.foundation.pages.format import duration, number, plural
from app.foundation.pages.forms import public_url
from app.foundation.serving import process

SCOPES = ("decide", "reward")


@page("/experiments/<key>/integration", "viewer")
def integration(key: str) -> str:
    """Show the programs, which read their key from the environment."""
    return _page(key, None)


@page("/experiments/<key>/integration/key", "admin", ("POST",))
def integration_key(key: str) -> str:
    """Create an API key of this experiment and show it once, in the programs."""
    name = f"made on the integration page of {key}"
    new = keys.create_key(process().engine, scopes=SCOPES, experiment_key=key, name=name, actor=user().name)
    process().refresh()
    return _page(key, new)


@page("/experiments/<key>/integration/live", "viewer")
def integration_live(key: str) -> str:
    """Serve what arrived from the app so far, alone."""
    return _live(key, ExperimentConfig.model_validate(experiments.get(process().engine, key).config))


def _live(key: str, config: ExperimentConfig) -> str:
    return render_template("integration_live.html", key=key, config=config, **arrivals(process().engine, key)._asdict())


def expected(config: ExperimentConfig) -> list[tuple[str, str]]:
    """Return what an app has to send and to show, as pairs of a name and a sentence."""
    actions = [action.id for action in config.all_actions()]
    more = f" and {number(len(actions) - LISTED)} more" if len(actions) > LISTED else ""
    reward = config.reward
    limits = f"from {number(reward.min)} to {number(reward.max)}, within {duration(reward.window_s)} of the decision"
    lines = [
        ("May be chosen", ", ".join(actions[:LISTED]) + more if actions else "what your app sends as actions"),
        *_list_lines(config),
        ("Reward", f"{limits}; without one the decision counts as {number(reward.default)}"),
    ]
    names = sorted({name for metric in config.metrics for name in reported(metric)})
    if names:
        lines.append(("Also reported", f"{', '.join(names)}: as a reward is, with its name as metric"))
    events = sorted({metric.source.event for metric in config.metrics if isinstance(metric.source, EventSource)})
    if events:
        lines.append(("Events", f"{', '.join(events)}: for the same unit, with POST /v1/events, and no decision's id"))
    if config.segments:
        lines.append(("In the context", f"{', '.join(config.segments)}: results are split by it"))
    if config.context_fields is not None:
        names_kept = ", ".join(field.name for field in config.context_fields) or "nothing"
        lines.append(("Kept of the context", f"{names_kept}; anything else is dropped"))
    return lines


def _list_lines(config: ExperimentConfig) -> list[tuple[str, str]]:
    """What an app of lists has to send; nothing for single actions."""
    if config.lists is None:
        return []
    positions = plural(config.lists.positions, "position")
    told = (
        "what the whole list earned, for each of its positions"
        if config.lists.reward == "list"
        else "what each position earned"
    )
    return [
        (
            "List",
            f"{positions}: send slots {config.lists.positions}. Each position has a decision_id of its own; report {told}",
        )
    ]


def _page(key: str, new: NewKey | None) -> str:
    experiment = experiments.get(process().engine, key)
    config = ExperimentConfig.model_validate(experiment.config)
    shown: list[Any] = snippets(config, public_url(), new.secret_text if new else None)
    return experiment_page(
        "integration.html",
        key,
        "integration",
        experiment=experiment,
        snippets=shown,
        new=new,
        expected=expected(config),
        context=seen_context(process().engine, key),
        live=Markup(_live(key, config)),  # noqa: S704 - rendered, and with that escaped, by the fragment's own template
        address=url_for("admin.integration_live", key=key, fragment=1),
    )
