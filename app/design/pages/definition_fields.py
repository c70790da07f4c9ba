"""Fields that more than one form has: those of a policy, and of a cap."""

from typing import Final

from app.foundation.pages.fields.kinds import Boxes, Duration, Findings, Number, Text, Typed, Value, percent
from app.foundation.pages.fields.trees import Part
from bandits.policy import ALGORITHMS, COMMON, DEFAULT_INTERACTIONS, Parameter

_GROUPS: Final = {**ALGORITHMS, "": COMMON}
KNOWN: Final[dict[str, Parameter]] = {
    name: spec for group in (COMMON, *ALGORITHMS.values()) for name, spec in group.items()
}
GROUPS: Final = {name: [group for group, specs in _GROUPS.items() if name in specs] for name in KNOWN}

KEY: Final = Text(empty="")
PARAMETERS: Final = Part(
    {name: Number(whole=isinstance(spec.default, int)) for name, spec in KNOWN.items()}
    | {"interactions": Boxes(DEFAULT_INTERACTIONS)}
)
POLICY: Final = Part(
    {
        **{"type": Text("bandit"), "action": KEY, "algorithm": Text("squarecb")},
        **{"exploration_floor": percent("5"), "parameters": PARAMETERS},
    }
)
CAP: Final = Part(
    {
        **{"limit": Number(whole=True, needed=True), "window_s": Duration(needed=True), "channel": Text()},
        **{"action": Text(), "across": Text("platform")},
    }
)


def range_of(name: str) -> str:
    """What a parameter may be, for each way of learning that has it."""
    groups = [(group, specs[name]) for group, specs in _GROUPS.items() if name in specs]
    texts = [
        f"{group + ': ' if group else ''}{spec.low:g} to {spec.high:.10g}, empty: {spec.default:g}"
        for group, spec in groups
    ]
    return f"{name}. {'; '.join(texts)}."


def policy_of(fields: Part, typed: Typed, pointer: str, findings: Findings) -> dict[str, Value]:
    """The policy that was typed, with the fields of its type and the parameters of its algorithm only.

    :param fields: ``POLICY``, or the same fields of another form.
    """
    kind = typed["type"]
    if kind != "bandit":
        return fields.values(typed, pointer, findings, ["type", *(["action"] if kind == "fixed" else [])])
    result = fields.values(typed, pointer, findings, ["type", "algorithm", "exploration_floor"])
    names = [*COMMON, *ALGORITHMS.get(typed["algorithm"], {}), "interactions"]
    parameters = PARAMETERS.values(typed["parameters"], f"{pointer}/parameters", findings, names)
    return result | {"parameters": parameters}
