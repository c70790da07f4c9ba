"""Being built."""

from app.admin.access import page
from app.admin.experiment import experiment_page


@page("/experiments/<key>/", "viewer")
def overview(key: str) -> str:
    """Being built."""
    return experiment_page("experiment.html", key, "overview")
