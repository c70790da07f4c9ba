"""The state of a learner, and its bytes: an envelope, canonical JSON, and arrays as little-endian float64.

    offset 0   8 bytes  b"LOOPAU1\\n"
           8   8 bytes  decisions learned, little-endian
          16  32 bytes  SHA-256 of bytes 8..16 and of everything from 48 on
          48   4 bytes  length of the JSON, little-endian; then the JSON, the arrays, and the regressions' files

The JSON lists the arrays and files in their order, with their sizes. Symmetric matrices are stored as their lower triangles.
Nothing is executed when bytes are read, and the regressions' options are checked before Vowpal Wabbit sees them.
"""

import hashlib
import json
import math
import struct
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import numpy as np

from bandits.distribution import FloatArray
from bandits.learner.beliefs import STRICTEST, Belief, Precision, Sums
from bandits.learner.encoder import Encoder
from bandits.learner.race import Race
from bandits.learner.regressions import check_options
from bandits.learner.scaling import Scaler
from bandits.model_file import ModelError

MAGIC: Final = b"LOOPAU1\n"
ENVELOPE_BYTES: Final = 48
VERSION: Final = 1
MOST_ROWS: Final = 200_000  # newest decisions that a fit learns
GROWTH: Final = 0.1  # share of what the last fit learned
LEAST_GROWTH: Final = 50  # decisions


class RewardScale(NamedTuple):
    """How rewards in [0, 1] become rewards near [-1, 1] in which 0 is the average: y = (r - center) / unit."""

    center: float = 0.0
    unit: float = 1.0  # above 0
    low: float = -1.0  # smallest and largest centred reward seen
    high: float = 1.0

    def centred(self, rewards: FloatArray) -> FloatArray:
        """Rewards in [0, 1] as centred rewards."""
        return (rewards - self.center) / self.unit

    def believable(self, predicted: FloatArray) -> FloatArray:
        """Predictions, held within a quarter of the range beyond any reward that was seen."""
        reach = 0.25 * (self.high - self.low)
        return np.minimum(np.maximum(predicted, self.low - reach), self.high + reach)


UNSCALED: Final = RewardScale()


@dataclass
class State:
    """What a learner knows. `fitted` is 0 for one that has learned nothing."""

    examples: int  # decisions learned, each once
    fitted: int = 0  # decisions learned at the last fit from nothing
    window: int = 0  # newest decisions that are known: those that the fit used, and the rounds since
    earlier: int = 0  # decisions learned before those that a fit is given: they were too many, or are gone from the log
    incumbent: str = ""  # candidate that served before a fit from nothing; "" without one
    pinned: str = ""  # candidate that a person pinned in what runs; "": the policy or the race decides
    scale: RewardScale = UNSCALED
    scaler: Scaler | None = None
    actions: tuple[str, ...] = ()  # actions that have blocks, in their order
    planned: int = 0  # number of blocks at the last fit, for which the sizes were made
    sums: dict[str, Sums] = field(default_factory=dict)  # by belief
    precisions: dict[str, Precision] = field(default_factory=dict)  # by belief, of its prior
    regressions: dict[str, bytes] = field(default_factory=dict)  # by name, Vowpal Wabbit's files
    race: Race = field(default_factory=lambda: Race.new(()))

    def encoder(self) -> Encoder:
        """The encoding of this state. It must have been fitted."""
        assert self.scaler is not None, "a state that was never fitted has no encoding"
        return Encoder(self.scaler, self.actions, self.planned)

    @property
    def wants_fit(self) -> bool:
        """Whether a fit from nothing is due: the log grew by a tenth, or what is served predicts worse than it used to."""
        new = self.examples - self.fitted
        held = min(self.window - new, MOST_ROWS)
        return new >= max(LEAST_GROWTH, GROWTH * held) or (new > 0 and self.race.drifted)

    def belief(self, name: str) -> Belief:
        """A solved belief."""
        return self.sums[name].belief(self.precisions[name])

    def describe(self) -> dict[str, object]:
        """What a person should know of the state, as plain JSON values: the race, the fit, and what was left out and why."""
        means = self.race.means().tolist()
        scored = bool(self.race.weight)
        return {
            "served": self.race.names[self.race.served] if self.race.names else None,
            "candidates": [
                {
                    "name": name,
                    "loss": mean if scored else None,
                    "lead": self.race.lead(index) if scored else None,
                    "error": self.race.error(index) if scored else None,
                }
                for index, (name, mean) in enumerate(zip(self.race.names, means, strict=True))
            ],
            "scored": self.race.weight,
            "noise": self.noise,
            "reward_center": self.scale.center,
            "reward_unit": self.scale.unit,
            # Columns whose weights are not held to 0 as strictly as those of columns that say nothing.
            "relevant": {
                name: sum(precision < STRICTEST for precision in precisions)
                for name, precisions in self.precisions.items()
                if isinstance(precisions, tuple)
            },
            "precisions": {name: one for name, one in self.precisions.items() if isinstance(one, float)},
            "fitted": self.fitted,
            "window": self.window,
            "wants_fit": self.wants_fit,
            "pinned": self.pinned or None,
            "drifted": self.race.drifted,
            "notes": [] if self.scaler is None else [{"code": code, **params} for code, params in self.scaler.notes()],
            "columns": 0 if self.scaler is None else self.encoder().columns,
            "columns_left_out": 0 if self.scaler is None else self.encoder().left_out,
        }

    @property
    def noise(self) -> float:
        """Variance of the rewards around the served candidate's predictions, in centred units, at most 1."""
        mean = float(self.race.means()[self.race.served]) if self.race.weight else 1.0
        return min(max(mean, 1e-4), 1.0)

    def to_bytes(self) -> bytes:
        """The bytes of the state; equal states have equal bytes."""
        race = self.race
        arrays = {"race/losses": race.losses, "race/products": race.products, "race/recent": race.recent}
        for name, sums in sorted(self.sums.items()):
            lower = np.tril_indices(sums.gram.shape[1])
            arrays |= {f"{name}/gram": sums.gram[:, *lower], f"{name}/moment": sums.moment}
        header = {
            "version": VERSION,
            "fitted": self.fitted,
            "window": self.window,
            "earlier": self.earlier,
            "incumbent": self.incumbent,
            **({"pinned": self.pinned} if self.pinned else {}),
            "scale": list(self.scale),
            "scaler": None if self.scaler is None else self.scaler.to_json(),
            "actions": list(self.actions),
            "planned": self.planned,
            "race": {"names": list(race.names), "served": race.served, "weight": race.weight},
            "ridges": self.precisions,
            "arrays": [[name, list(array.shape)] for name, array in arrays.items()],
            "files": [[name, len(content)] for name, content in sorted(self.regressions.items())],
        }
        text = json.dumps(header, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()
        parts = [struct.pack("<I", len(text)), text]
        parts += [np.ascontiguousarray(array, dtype="<f8").tobytes() for array in arrays.values()]
        parts += [content for _, content in sorted(self.regressions.items())]
        body, counted = b"".join(parts), struct.pack("<Q", self.examples)
        return b"".join((MAGIC, counted, hashlib.sha256(counted + body).digest(), body))

    @classmethod
    def from_bytes(cls, model_bytes: bytes) -> "State":
        """The state of bytes that `to_bytes` wrote. Raises `ModelError` on any other."""
        if len(model_bytes) <= ENVELOPE_BYTES or model_bytes[:8] != MAGIC:
            raise ModelError("not a model of this learner: the first bytes are wrong or missing")
        counted, body = model_bytes[8:16], model_bytes[ENVELOPE_BYTES:]
        if hashlib.sha256(counted + body).digest() != model_bytes[16:ENVELOPE_BYTES]:
            raise ModelError("the model is damaged: truncated or changed after it was written")
        try:
            state = _read(struct.unpack("<Q", counted)[0], body)
        except (KeyError, TypeError, ValueError, IndexError, struct.error) as error:
            raise ModelError(f"the model cannot be read: {error}") from None
        for name, content in state.regressions.items():
            check_options(name, content)
        return state


def _read(examples: int, body: bytes) -> State:
    (size,) = struct.unpack_from("<I", body)
    header: dict[str, Any] = json.loads(body[4 : 4 + size])
    if header["version"] != VERSION:
        raise ValueError(f"version {header['version']!r}, this is {VERSION}")
    at, arrays = 4 + size, {}
    for name, shape in header["arrays"]:
        count = math.prod(shape)
        arrays[name] = np.frombuffer(body, dtype="<f8", count=count, offset=at).reshape(shape).copy()
        at += 8 * count
    files = {}
    for name, length in header["files"]:
        files[name] = body[at : at + length]
        at += length
    if at != len(body):
        raise ValueError("its length is wrong")
    scaler, race = header["scaler"], header["race"]
    return State(
        examples,
        header["fitted"],
        header["window"],
        header["earlier"],
        header["incumbent"],
        header.get("pinned", ""),
        RewardScale(*header["scale"]),
        None if scaler is None else Scaler.from_json(scaler),
        tuple(header["actions"]),
        header["planned"],
        {name.partition("/")[0]: _sums(arrays, name) for name in arrays if name.endswith("/gram")},
        {name: tuple(value) if isinstance(value, list) else value for name, value in header["ridges"].items()},
        files,
        Race(
            tuple(race["names"]),
            race["served"],
            race["weight"],
            arrays["race/losses"],
            arrays["race/products"],
            arrays["race/recent"],
        ),
    )


def _sums(arrays: dict[str, FloatArray], name: str) -> Sums:
    packed, moment = arrays[name], arrays[name.partition("/")[0] + "/moment"]
    size = moment.shape[1]
    gram = np.zeros((len(packed), size, size))
    rows, columns = np.tril_indices(size)
    gram[:, rows, columns] = packed
    gram[:, columns, rows] = packed
    return Sums(gram, moment)
