"""How an app joins an experiment: programs filled in with it, and a key for them."""

from typing import Any

from app.accounts import keys
from app.accounts.keys import NewKey
from app.accounts.pages.access import page, user
from app.deciding.pages.snippets import LISTED, snippets
from app.design import experiments
from app.design.experiment_config import ExperimentConfig
from app.design.metric_config import CountSource, MetricSpec, RatioSource, ValueSource
from app.design.pages.experiment import experiment_page
from app.foundation.pages.format import duration, number
from app.foundation.pages.forms import public_url
from app.foundation.serving import process

SCOPES = ("decide", "reward")


@page("/experiments/<key>/integration", "viewer")
def integration(key: str) -> str:
    """The programs, reading their key from the environment."""
    return _page(key, None)


@page("/experiments/<key>/integration/key", "admin", ("POST",))
def integration_key(key: str) -> str:
    """A new key of this experiment, written into the programs this once."""
    name = f"made on the integration page of {key}"
    new = keys.create_key(process().engine, scopes=SCOPES, experiment_key=key, name=name, actor=user().name)
    process().refresh()
    return _page(key, new)


def expected(config: ExperimentConfig) -> list[tuple[str, str]]:
    """What an app has to send, and be ready to show: (what, in words)."""
    actions = [action.id for action in config.all_actions()]
    more = f" and {number(len(actions) - LISTED)} more" if len(actions) > LISTED else ""
    reward = config.reward
    limits = f"from {number(reward.min)} to {number(reward.max)}, within {duration(reward.window_s)} of the decision"
    found = [
        ("May be chosen", ", ".join(actions[:LISTED]) + more if actions else "what your app sends as actions"),
        ("Reward", f"{limits}; without one the decision counts as {number(reward.default)}"),
    ]
    names = sorted({name for metric in config.metrics for name in _reported(metric)})
    if names:
        found.append(("Also reported", f"{', '.join(names)}: as a reward is, with its name as metric"))
    if config.segments:
        found.append(("In the context", f"{', '.join(config.segments)}: results are split by it"))
    if config.context_fields is not None:
        kept = ", ".join(one.name for one in config.context_fields) or "nothing"
        found.append(("Kept of the context", f"{kept}; anything else is dropped"))
    return found


def _reported(metric: MetricSpec) -> list[str]:
    """Names under which an app reports what a metric is made of."""
    source = metric.source
    if isinstance(source, RatioSource):
        return [source.numerator, source.denominator]
    return [source.metric] if isinstance(source, ValueSource | CountSource) else []


def _page(key: str, new: NewKey | None) -> str:
    found = experiments.get(process().engine, key)
    config = ExperimentConfig.model_validate(found.config)
    shown: list[Any] = snippets(config, public_url(), new.secret_text if new else None)
    return experiment_page(
        "integration.html", key, "integration", experiment=found, snippets=shown, new=new, expected=expected(config)
    )
