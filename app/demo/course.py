"""The world of the messages' demo: a course with learners who differ, and what they do with what they are shown.

Chances are written down here, so that the platform's results can be compared with the truth.
"""

import random
from typing import NamedTuple

import numpy as np

from app.foundation.fields import JsonObject

PERSONAS = ("curious", "busy", "competitive")
SUBJECTS = dict(zip(PERSONAS, ("question", "short", "ranking"), strict=True))  # the subject that each opens
TONES = dict(zip(PERSONAS, ("warm", "plain", "bold"), strict=True))
BUTTONS = {"phone": "now", "desktop": "later"}
LESSONS = {f"{topic}-{n}": topic for topic in ("words", "grammar", "listening", "culture") for n in (1, 2)}
NUDGES = dict(zip(PERSONAS, ("discover", "five-minutes", "overtake"), strict=True))  # the message that each likes
BEGINS = {True: 0.7, False: 0.25}  # the chance of a lesson after a nudge, by whether it suits
RATES = 0.75  # the chance of stars for a nudge that was seen
WEEK = 7  # days


class Person(NamedTuple):
    """A person, as far as the app knows."""

    persona: str
    device: str
    topic: str

    def context(self) -> JsonObject:
        """The context that the app sends."""
        return self._asdict()


def somebody(chance: random.Random) -> Person:
    """A visitor."""
    return Person(chance.choice(PERSONAS), chance.choice(list(BUTTONS)), chance.choice(sorted(set(LESSONS.values()))))


def opens(person: Person, parts: dict[str, str]) -> float:
    """The chance that a headline is followed: the sum of its parts' chances."""
    fits = (
        (0.30, parts["subject"] == SUBJECTS[person.persona]),
        (0.25, parts["tone"] == TONES[person.persona]),
        (0.20, parts["button"] == BUTTONS[person.device]),
    )
    return 0.05 + sum(worth for worth, true in fits if true)


def takes(person: Person, lesson: str, position: int) -> float:
    """The chance that a recommended lesson is begun; lower positions are looked at less."""
    return (0.7 if LESSONS[lesson] == person.topic else 0.1) * 0.85 ** (position - 1)


def answers(said: int, says: bool) -> float:
    """The chance that somebody comes back after a reminder, or without one, given how many they had this week."""
    return max(0.7 - 0.3 * said, 0.0) if says else max(0.3 - 0.1 * said, 0.0)


def worth_under_cap(cap: int, speak: float = 0.5, people: int = 400_000, seed: int = 3) -> float:
    """The mean number of returns in a week of daily chances when a cap really applies."""
    rng = np.random.default_rng(seed)
    said, total = np.zeros(people, dtype=np.int64), 0.0
    table = np.array([[answers(n, says) for says in (False, True)] for n in range(WEEK + 1)])
    for _ in range(WEEK):
        says = (said < cap) & (rng.random(people) < speak)
        total += float(table[said, says.astype(np.int64)].mean())
        said += says
    return total
