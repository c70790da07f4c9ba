"""How an app joins an experiment: programs filled in with it, and a key for them."""

from typing import Any

from app.admin.access import page, user
from app.admin.experiment import experiment_page
from app.admin.forms import public_url
from app.admin.snippets import snippets
from app.services import experiments, keys
from app.services.experiment_config import ExperimentConfig
from app.services.keys import NewKey
from app.serving import runtime

SCOPES = ("decide", "reward")


@page("/experiments/<key>/integration", "viewer")
def integration(key: str) -> str:
    """The programs, reading their key from the environment."""
    return _page(key, None)


@page("/experiments/<key>/integration/key", "admin", ("POST",))
def integration_key(key: str) -> str:
    """A new key of this experiment, written into the programs this once."""
    name = f"made on the integration page of {key}"
    new = keys.create_key(runtime().engine, scopes=SCOPES, experiment_key=key, name=name, actor=user().name)
    runtime().snapshots.refresh()
    return _page(key, new)


def _page(key: str, new: NewKey | None) -> str:
    found = experiments.get(runtime().engine, key)
    config = ExperimentConfig.model_validate(found.config)
    shown: list[Any] = snippets(config, public_url(), new.secret_text if new else None)
    return experiment_page("integration.html", key, "integration", experiment=found, snippets=shown, new=new)
