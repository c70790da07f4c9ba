"""The policies of a search in words: what was tried, how it scored, and what became of it."""

from typing import NamedTuple

from app.design.pages.policy_words import ALGORITHMS, PARAMETERS
from app.off_policy.documents import TunedLine

SHOWN = 20  # lines; the API has all


class BoardLine(NamedTuple):
    """One policy."""

    place: int
    algorithm: str
    meaning: str  # of the algorithm
    settings: list[tuple[str, str, str]]  # name, value, meaning
    learned: str
    score: str
    candidate: str | None
    reason: str


def lines(board: list[TunedLine]) -> list[BoardLine]:
    """The best policies of a search, best first."""
    return [_line(place, line) for place, line in enumerate(board[:SHOWN], start=1)]


def _line(place: int, line: TunedLine) -> BoardLine:
    algorithm, own = str(line.policy["algorithm"]), line.policy.get("parameters")
    parameters = {} if not isinstance(own, dict) else own
    settings = [(name, _text(value), PARAMETERS.get(name, "")) for name, value in parameters.items()]
    settings.append(
        ("exploration_floor", _text(line.policy.get("exploration_floor")), "Share that keeps exploring for good")
    )
    if line.policy.get("scaling"):
        settings.append(("scaling", "on", "Each number is learned at its own scale"))
    score = "" if line.value is None else f"{line.value:.3f}"
    if score and line.std_error is not None:
        score += f" ± {line.std_error:.3f}"
    return BoardLine(
        place,
        algorithm,
        ALGORITHMS.get(algorithm, ""),
        settings,
        f"{line.learned:,}",
        score,
        line.candidate,
        line.reason,
    )


def _text(value: object) -> str:
    return (
        ", ".join(map(str, value))
        if isinstance(value, list)
        else f"{value:g}"
        if isinstance(value, float)
        else str(value)
    )
