"""Being built."""

from app.admin.access import page
from app.admin.experiment import experiment_page


@page("/experiments/<key>/results", "viewer")
def results(key: str) -> str:
    """Being built."""
    return experiment_page("experiment.html", key, "results")
