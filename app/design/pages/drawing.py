"""Choices drawn as an experiment would make them before anything is learned: for the previews of lists and composed messages."""

import random
import secrets
from collections.abc import Sequence
from typing import NamedTuple

from app.content.composition_config import NOTHING, CompositionSpec, TooMany
from app.content.previews import Seen, composed_previews
from app.design.experiment_config import MAX_POSITIONS
from app.foundation.fields import JsonObject
from app.foundation.pages.format import clipped
from bandits.encoding import FeatureError, encode_action, encode_context
from bandits.model import distribution
from bandits.policy import Policy, PolicyError, parse_policy

DRAW_BYTES = 8
LONGEST_WORDS = 80  # characters of an action that a list shows


class DrawnList(NamedTuple):
    """A list as an arm would decide it."""

    arm: str
    share: float
    actions: list[str]  # from the top, what people read of each: its title and text, or its id
    unfilled: int  # positions for which no action was left


def new_draw() -> str:
    """A word that stands for a new drawing."""
    return secrets.token_hex(DRAW_BYTES)


def draw_lists(document: JsonObject, draw: str) -> list[DrawnList]:
    """A list of each arm that has a share; empty while the actions or the arms have errors.

    :param draw: the same word draws the same lists.
    """
    actions, positions = document["actions"], (document["lists"] or {}).get("positions")
    if not isinstance(positions, int) or not actions:
        return []
    try:
        lines = [encode_action(action["id"], action["features"]) for action in actions]
    except (FeatureError, KeyError):
        return []
    chance = random.Random(draw)  # noqa: S311 - a preview
    return [
        DrawnList(arm["key"], arm["share"], *_drawn(policy, actions, lines, min(positions, MAX_POSITIONS), chance))
        for arm in document["arms"]
        if arm.get("key") and arm.get("share", 0) > 0 and (policy := _readable(arm["policy"])) is not None
    ]


def _readable(policy: JsonObject) -> Policy | None:
    try:
        return parse_policy(policy)
    except PolicyError:
        return None


def _drawn(
    policy: Policy, actions: Sequence[JsonObject], lines: Sequence[str], positions: int, chance: random.Random
) -> tuple[list[str], int]:
    """The actions of a list, each drawn among those that the positions above left, and the positions that stay empty."""
    left, above = list(range(len(actions))), list[int]()
    context = encode_context({})
    while left and len(above) < positions:
        own, ids = [lines[index] for index in left], [actions[index]["id"] for index in left]
        chances = distribution(policy, None, context, own, ids, [lines[index] for index in above])
        (index,) = chance.choices(left, chances.tolist())
        above.append(index)
        left.remove(index)
    return [_shown(actions[index]) for index in above], max(0, positions - len(above))


def _shown(action: JsonObject) -> str:
    payload = action.get("payload")
    texts = [payload.get(name) for name in ("title", "text")] if isinstance(payload, dict) else [payload]
    words = " ".join(text for text in texts if isinstance(text, str) and text.strip())
    return clipped(words, LONGEST_WORDS) or str(action["id"])


def draw_message(spec: CompositionSpec | None, variables: object, draw: str) -> Seen | None:
    """A composed message drawn among the allowed combinations, as every arm that learns begins; null: there are errors."""
    if spec is None:
        return None
    try:
        ids = spec.action_ids()
    except TooMany:
        return None
    if not ids or not composed_previews(spec, variables, []):
        return None
    chosen = random.Random(draw).choice(ids)  # noqa: S311 - a preview
    title = "A message drawn by chance"
    if chosen == NOTHING:
        return Seen(title, NOTHING, [])
    return composed_previews(spec, variables, [chosen])[-1]._replace(title=title)
