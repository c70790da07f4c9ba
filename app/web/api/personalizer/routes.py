"""All routes of that service: a module adds its own to the blueprint when it is imported."""

from typing import Final

from app.web.api.personalizer import configuration, evaluations, model_and_logs, multislot, rank
from app.web.api.personalizer.shapes import blueprint

__all__ = ["MODULES", "blueprint"]
MODULES: Final = (rank, multislot, configuration, evaluations, model_and_logs)
