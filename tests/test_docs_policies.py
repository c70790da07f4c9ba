"""docs/policies.md says of the policies what the code says."""

from pathlib import Path

from app.verification.recompute import TOLERANCE
from bandits.learner.auto import MOST_TOKENS
from bandits.learner.encoder import BUDGET
from bandits.learner.race import HALF_LIFE
from bandits.learner.state import MOST_ROWS
from bandits.parameters import ALGORITHMS, CANDIDATES, COMMON, INTERACTIONS, LEARNERS, Parameter
from bandits.policy import DEFAULT_FLOOR, FLOOR_HALVES_AFTER, LEARNER_FLOORS, MIN_FLOOR

TEXT = (Path(__file__).parents[1] / "docs" / "policies.md").read_text(encoding="utf-8")


def _range(spec: Parameter) -> str:
    return f"{format(spec.low, 'f').rstrip('0').rstrip('.') or '0'} - {spec.high:.10g} | {spec.default:g} |"


def test_every_common_parameter_stands_in_the_docs_with_its_range_and_default() -> None:
    for name, spec in COMMON.items():
        assert f"| `{name}` | {_range(spec)}" in TEXT, name


def test_every_algorithm_and_parameter_stands_in_the_docs_with_its_range_and_default() -> None:
    for algorithm, specs in ALGORITHMS.items():
        for name, spec in specs.items():
            assert f"| `{algorithm}` | `{name}` | {_range(spec)}" in TEXT, (algorithm, name)


def test_every_interaction_and_the_floor_stand_in_the_docs() -> None:
    for name in INTERACTIONS:
        assert f"`{name}`" in TEXT
    start, end = LEARNER_FLOORS
    assert (
        f"({MIN_FLOOR} to 1) is the floor for good: {end} by default" in TEXT
        and f"{DEFAULT_FLOOR} for the others" in TEXT
    )
    assert f"begin at {start} by default" in TEXT and f"(1 + n / {FLOOR_HALVES_AFTER})" in TEXT


def test_the_learners_and_their_limits_stand_in_the_docs() -> None:
    spec = LEARNERS["auto"]["exploration"]
    assert f"| `auto`, `thompson` | `exploration` | {_range(spec)}" in TEXT
    assert all(f"`{name}`" in TEXT for name in CANDIDATES if "+" not in name)
    assert f"newest {MOST_ROWS:,} decisions" in TEXT and f"{MOST_TOKENS // 10**6} million features" in TEXT
    assert f"at most {BUDGET:,} numbers" in TEXT and f"half-life of {HALF_LIFE:,.0f} decisions" in TEXT
    assert f"within {TOLERANCE:.0e}".replace("e-0", "e-") in TEXT
