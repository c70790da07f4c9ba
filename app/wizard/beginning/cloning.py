"""A draft that begins as a copy of an experiment."""

from sqlalchemy import Engine

from app.design import experiments
from app.design.experiment_config import ExperimentConfig
from app.foundation.fields import JsonObject
from app.promotion.shipping import give, shares_before
from app.registry.lookup import every_key
from app.wizard.form import FORMS
from app.wizard.typed import typed_of

MAX_KEY, MAX_NAME = 100, 200


def copy_of(engine: Engine, key: str) -> JsonObject:
    """What a wizard's draft holds: the definition under a free key, with the shares of before an arm was shipped.

    :raises NotFound: no such experiment.
    """
    config = ExperimentConfig.model_validate(experiments.get(engine, key).config)
    give(config, shares_before(config))
    config.shipped = config.ramp = None
    config.key = _free(key, set(every_key(engine)))
    config.name = f"Copy of {config.name or key}"[:MAX_NAME]
    for arm in config.arms:
        arm.fallen_back = False
    saved = [step for step in FORMS if step != "plan"]
    return {"saved": saved, "document": typed_of(config.model_dump(mode="json"))}


def _free(key: str, taken: set[str]) -> str:
    number = 2
    while (made := f"{key[: MAX_KEY - 1 - len(str(number))]}-{number}") in taken:
        number += 1
    return made
