"""Fields that more than one form has: those of a policy, and of a cap."""

from typing import Final

from app.foundation.pages.fields.kinds import Boxes, Duration, Findings, Flag, Number, Text, Typed, Value, percent
from app.foundation.pages.fields.trees import Part
from bandits.parameters import ALGORITHMS, COMMON, DEFAULT_INTERACTIONS, LEARNERS, Parameter
from bandits.policy import DEFAULT_ALGORITHM, LEARNER_FLOORS

_GROUPS: Final = {**LEARNERS, **ALGORITHMS, "": COMMON}
KNOWN: Final[dict[str, Parameter]] = {name: spec for group in _GROUPS.values() for name, spec in group.items()}
GROUPS: Final = {  # the algorithms that have a parameter
    name: [*ALGORITHMS] if name in COMMON else [group for group, specs in _GROUPS.items() if name in specs]
    for name in KNOWN
}

FLOOR: Final = f"{100 * LEARNER_FLOORS[1]:g}"
KEY: Final = Text(empty="")
PARAMETERS: Final = Part(
    {name: Number(whole=isinstance(spec.default, int)) for name, spec in KNOWN.items()}
    | {"interactions": Boxes(DEFAULT_INTERACTIONS), "candidate": Text()}
)
EXPOSURE: Final = Part(
    {
        **{"by": Text(), "least": percent(""), "most": percent(""), "parity": percent("")},
        **{"window": Number(whole=True), "window_s": Duration()},
    }
)
POLICY: Final = Part(
    {
        **{"type": Text("bandit"), "action": KEY, "algorithm": Text(DEFAULT_ALGORITHM)},
        **{"exploration_floor": percent(FLOOR), "exploration_floor_start": percent("")},
        **{"parameters": PARAMETERS, "scaling": Flag(), "exposure": EXPOSURE, "diversity": percent("")},
        **{"features_off": Boxes(), "learns": Text()},  # of staged arms; no form offers them, and a change keeps them
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
        f"{group + ': ' if group and len(groups) > 1 else ''}{spec.low:g} to {spec.high:.10g}, empty: {spec.default:g}"
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
    floors = ["exploration_floor", "exploration_floor_start"]
    result = fields.values(typed, pointer, findings, ["type", "algorithm", *floors, "diversity"])
    exposure = EXPOSURE.values(typed["exposure"], f"{pointer}/exposure", findings)
    if exposure:
        result["exposure"] = exposure
    if exposure and "by" not in exposure:
        findings.add(f"{pointer}/exposure/by", "exposure_without_by")
    algorithm = typed["algorithm"]
    if algorithm in LEARNERS:
        names = [*LEARNERS[algorithm], *(["candidate"] if algorithm == "auto" else [])]
    else:
        names = [*COMMON, *ALGORITHMS.get(algorithm, {}), "interactions"]
        result |= {"scaling": True} if typed["scaling"] else {}
    result |= {"features_off": typed["features_off"]} if typed.get("features_off") else {}
    result |= {"learns": False} if typed.get("learns") == str(False) else {}
    parameters = PARAMETERS.values(typed["parameters"], f"{pointer}/parameters", findings, names)
    return result | {"parameters": parameters}
