"""docs/policies.md says of the policies what the code says."""

from pathlib import Path

from bandits.policy import ALGORITHMS, COMMON, DEFAULT_FLOOR, INTERACTIONS, MIN_FLOOR, Parameter

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
    assert f"({MIN_FLOOR} to 1, default {DEFAULT_FLOOR})" in TEXT
