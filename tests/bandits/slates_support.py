"""A world of composed messages: three slots, forbidden pairs, and people in moods."""

import itertools
import random

from bandits.distribution import draw, sample
from bandits.encoding import encode_action, encode_context
from bandits.examples import Example
from bandits.model import Predictor, distribution
from bandits.policy import (
    BanditPolicy,
)
from bandits.vw_model import initial_model, learn

SUBJECTS = ["progress", "question", "news"]


TONES = ["warm", "brisk"]


BUTTONS = ["go", "later", "see"]


FORBIDDEN = {("question", "brisk"), ("news", "later")}


NOTHING = encode_action("nothing")


def line(subject: str, tone: str, button: str) -> str:
    named = zip(("subject", "tone", "button"), (subject, tone, button), strict=True)
    return " ".join(encode_action(f"{slot}={part}", {slot: {"length": len(part)}}) for slot, part in named)


def allowed(subject: str, tone: str, button: str) -> bool:
    return not {(subject, tone), (tone, button), (subject, button)} & FORBIDDEN


COMBINATIONS = [parts for parts in itertools.product(SUBJECTS, TONES, BUTTONS) if allowed(*parts)]


LINES = [*(line(*parts) for parts in COMBINATIONS), NOTHING]


IDS = ["|".join(parts) for parts in COMBINATIONS] + ["nothing"]


MOODS = ("curious", "tired", "hurried")


BEST = {"curious": ("news", "warm", "see"), "tired": None, "hurried": ("progress", "brisk", "go")}


def policy(algorithm: str = "squarecb", floor: float = 0.05, **parameters: object) -> BanditPolicy:
    return BanditPolicy(algorithm, {"bits": 14, **parameters}, floor, slates=True)


def value(mood: str, parts: tuple[str, ...] | None) -> float:
    """Mean reward: every fitting part adds to it; for tired people silence is best."""
    best = BEST[mood]
    if parts is None:
        return 0.7 if best is None else 0.3
    if best is None:
        return 0.1
    return 0.1 + 0.25 * sum(ours == theirs for ours, theirs in zip(parts, best, strict=True))


def round_of(number: int, size: int, used: BanditPolicy, predictor: Predictor | None) -> list[Example]:
    """Logged decisions, drawn as the service draws them."""
    generator, examples = random.Random(f"slates/{number}"), []
    for index in range(size):
        mood = generator.choice(MOODS)
        shared = encode_context({"mood": mood})
        p = distribution(used, predictor, shared, LINES, IDS)
        chosen = sample(p, draw(b"salt", f"{number}/{index}"))
        parts = COMBINATIONS[chosen] if chosen < len(COMBINATIONS) else None
        cost = float(generator.random() >= value(mood, parts))
        examples.append(Example(shared, LINES, chosen, float(p[chosen]), cost, p))
    return examples


def online(used: BanditPolicy, rounds: int, size: int) -> tuple[bytes, list[list[Example]]]:
    model, logged, predictor = initial_model(used), [], None
    for number in range(rounds):
        logged.append(round_of(number, size, used, predictor))
        model = learn(model, used, logged[-1])
        if predictor:
            predictor.close()
        predictor = Predictor(model, used)
    if predictor:
        predictor.close()
    return model, logged
