"""How each model version did while it served: what it earned, what it would have lost without exploring, how much it explored.

Progressive: a version learned none of the decisions that it made. Versions of one arm served one after the other, so their
figures also differ because times do; arms that ran side by side are compared by the results.
"""

from pydantic import Field
from sqlalchemy import Engine

from app.design.experiment_config import ExperimentConfig
from app.foundation.errors import NotFound
from app.foundation.fields import Document
from app.foundation.store.engine import transaction
from app.registry.lookup import stored_experiment
from app.registry.store import models
from app.verification.store import scorecards as store
from bandits.cost import cost_of

NEWEST = 50_000  # decisions of the experiment that are read
NEWEST_ON_PAGE = 10_000


class Scorecard(Document):
    """What one version did while it served."""

    arm: str
    version: int = Field(description="0: no trained model took part.")
    decisions: int = Field(description="That it made, among the newest that are read.")
    settled: int = Field(description="Of these, with an outcome.")
    reward: float | None = Field(description="Progressive: the mean reward of its settled decisions.")
    loss: float | None = Field(
        description="Cost from 0 to 1 of always taking what it liked best: settled decisions at which it did, each weighted "
        "by 1 / propensity, self-normalised."
    )
    explored: float = Field(description="Share of its decisions at which it did not take what it liked best.")


class Scorecards(Document):
    """The versions that served lately."""

    scorecards: list[Scorecard] = Field(description="By arm, newest version first.")
    read: int = Field(description="The newest so many decisions are read at most.")


def get(engine: Engine, key: str, arm: str | None = None, most: int = NEWEST) -> Scorecards:
    """The scorecards of one learning arm, or of all.

    :param most: newest decisions that are read.
    :raises NotFound: no such experiment, or the arm does not learn.
    """
    with transaction(engine) as connection:
        experiment = stored_experiment(connection, key)
        config = ExperimentConfig.model_validate(experiment.config)
        arms = sorted(row.arm for row in models.serving(connection, experiment_id=experiment.id))
        if arm is not None and arm not in arms:
            raise NotFound("unknown_version", f"Arm {arm!r} of {key!r} has no model versions.")
        low, high = config.reward.min, config.reward.max
        cards = [
            Scorecard(
                arm=name,
                version=row.version,
                decisions=row.decisions,
                settled=row.settled,
                reward=row.reward,
                loss=None if row.greedy is None else cost_of(row.greedy, low, high),
                explored=row.explored,
            )
            for name in ([arm] if arm is not None else arms)
            for row in store.scored(connection, experiment.id, name, most)
        ]
    return Scorecards(scorecards=cards, read=most)
