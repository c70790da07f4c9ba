"""Reads the lines that `bandits.encoding` writes (version 1) back into numbers and words.

The learner works on these lines, because they are what decisions, rounds and audits already have. A name in an encoded line
holds no `:` and no `=`, so the first of them ends the name.
"""

from typing import NamedTuple


class Tokens(NamedTuple):
    """What one line says."""

    numbers: dict[str, float]  # by encoded name; equal names of a list add up, as in Vowpal Wabbit
    words: list[str]  # indicators such as `plan=pro`, `member==true`; an action's id is the word `=id`


def read_line(line: str) -> Tokens:
    """The tokens of a context line (`shared |c ...`) or an action line (`|a ...`). Raises `ValueError` on any other."""
    head, _, body = line.partition("|")
    if head not in {"shared ", ""} or body[:1] not in {"c", "a"} or body[1:2] not in {" ", ""}:
        raise ValueError("the line differs from what encode_context and encode_action write")
    numbers: dict[str, float] = {}
    words = []
    for token in body[2:].split(" "):
        if ":" in token:
            name, _, value = token.partition(":")
            numbers[name] = numbers.get(name, 0.0) + float(value)
        elif token:
            words.append(token)
    return Tokens(numbers, words)


def feature_of(word: str) -> str:
    """The encoded name of the feature that an indicator belongs to; empty for an action's id."""
    return word.partition("=")[0]


def action_key(line: str) -> str:
    """The escaped id in an action line, without reading its features. Raises `ValueError` on a context line."""
    if not line.startswith("|a ="):
        raise ValueError("the line differs from what encode_action writes")
    end = line.find(" ", 4)
    return line[4:] if end < 0 else line[4:end]
