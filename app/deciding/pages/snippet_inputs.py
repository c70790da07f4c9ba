"""What the programs of the integration page are made from: an experiment's definition, an address, and perhaps a key."""

from typing import NamedTuple

from app.deciding.prepare import POSITION
from app.design.experiment_config import ActionSpec, ExperimentConfig
from app.design.metric_config import CountSource, MetricSpec, QuantileSource, RatioSource, ValueSource
from app.foundation.fields import JsonObject

LISTED = 20  # actions that a snippet spells out
CANDIDATES = [
    ActionSpec(id="first-tip", features={"minutes": 3}, payload={"text": "Watch the tour"}),
    ActionSpec(id="second-tip", features={"minutes": 5}, payload={"text": "Five first steps"}),
]  # for experiments whose app sends its own actions
CONTEXT: JsonObject = {"device": "phone", "new_user": True}


class Snippet(NamedTuple):
    """One program."""

    name: str  # client, web, curl, python, javascript, list, personalizer
    title: str
    text: str
    note: str


class Inputs(NamedTuple):
    """What all programs need."""

    url: str
    key: str | None  # None: from the environment
    config: ExperimentConfig

    @property
    def context(self) -> JsonObject:
        """An example of a context, with the declared fields if the experiment declares any."""
        example: JsonObject = CONTEXT
        if self.config.context_schema:
            example = {field.name: field.sample for field in self.config.context_schema}
        else:
            declared = self.config.context_fields
            names = self.config.segments if declared is None else [field.name for field in declared]
            if declared is not None or names:
                example = {name: CONTEXT.get(name, "...") for name in names}
        # Loopwise fills the position in lists, and refuses a call that does.
        return {name: value for name, value in example.items() if name != POSITION or not self.positions}

    @property
    def question(self) -> JsonObject:
        """The body of the call, without its decision id."""
        body: JsonObject = {"experiment": self.config.key, "unit_id": "user-42", "context": self.context}
        if self.has_messages and self.config.variables:
            body["variables"] = {variable.name: variable.sample for variable in self.config.variables}
        if not self.config.all_actions():
            body["actions"] = [action.model_dump(mode="json") for action in CANDIDATES]
        return body | ({"slots": self.positions} if self.asks_for_lists else {})

    @property
    def has_messages(self) -> bool:
        """True if Loopwise renders messages, from templates or from parts."""
        return bool(self.config.channels())

    @property
    def path(self) -> str:
        return "/v1/messages/decide" if self.has_messages else "/v1/decide"

    @property
    def positions(self) -> int:
        """The length of a list in the example; 0: messages are not ranked."""
        if self.config.lists is not None:
            return self.config.lists.positions
        return 0 if self.has_messages else min(3, len(self.config.actions) or len(CANDIDATES))

    @property
    def filled(self) -> int:
        """How many positions of a list can have an action."""
        return min(self.positions, len(self.config.actions) or len(CANDIDATES))

    @property
    def asks_for_lists(self) -> bool:
        """True if the experiment says that its app asks for lists: then every program does."""
        return self.config.lists is not None

    @property
    def whole_list(self) -> bool:
        """True if the app reports one value for the whole list."""
        return self.config.lists is not None and self.config.lists.reward == "list"

    @property
    def metrics(self) -> list[str]:
        """The names that the app reports beside the reward."""
        return sorted({name for metric in self.config.metrics for name in reported(metric)})

    @property
    def reward(self) -> float:
        return self.config.reward.max

    @property
    def defaults(self) -> list[str]:
        """What an app shows without an answer: an action, or one for each position of a list."""
        ids = [action.id for action in self.config.actions or CANDIDATES]
        return ids[: self.positions] if self.asks_for_lists else ids[:1]


def reported(metric: MetricSpec) -> list[str]:
    """The names under which an app reports the values of a metric."""
    source = metric.source
    if isinstance(source, RatioSource):
        return [source.numerator, source.denominator]
    return [source.metric] if isinstance(source, ValueSource | CountSource | QuantileSource) else []
