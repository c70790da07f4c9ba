"""Being built."""

from app.admin.access import page
from app.admin.experiment import experiment_page


@page("/experiments/<key>/policy", "viewer")
def policy(key: str) -> str:
    """Being built."""
    return experiment_page("experiment.html", key, "policy")
