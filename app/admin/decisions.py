"""Being built."""

from app.admin.access import page
from app.admin.experiment import experiment_page


@page("/experiments/<key>/decisions", "viewer")
def decisions(key: str) -> str:
    """Being built."""
    return experiment_page("experiment.html", key, "decisions")
