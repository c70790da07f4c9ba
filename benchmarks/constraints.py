"""python -m benchmarks.constraints: what bounds on exposure, diverse lists and limits on repeats add to the CPU of a decision.

A trained `auto` with ten actions of three suppliers decides 2,000 contexts, as the third position of a list, with and without.
"window" is a target over a window, with the counts looked up as the service does; "repeats" applies a limit on rows and two caps
to a unit with 500 earlier decisions (reading these takes a query, which is not in it). Each line is the median over 9
interleaved rounds of the CPU of one `bandits.model.distribution`, and its ratio to a whole decision of the web process (246 us,
`python -m benchmarks decide`).
"""

import time

import numpy as np

from app.deciding.rules import repeats
from app.deciding.snapshot import Candidates
from app.deciding.store.units import Past
from app.deciding.windows import targets
from app.deciding.windows.targets import ArmCounts, ExperimentCounts
from app.design.people_config import RepeatsSpec
from bandits.encoding import encode_action, encode_context
from bandits.examples import Example
from bandits.exposure import Exposure
from bandits.model import Predictor, distribution, initial_model, learn
from bandits.policy import BanditPolicy, parse_policy

ROUNDS, CALLS, ACTIONS, DECISION_US = 9, 2_000, 10, 246.0
KINDS: dict[str, dict[str, object]] = {
    "without": {},
    "exposure": {"exposure": {"by": "supplier", "least": 0.25}},
    "diversity": {"diversity": 0.5},
    "both": {"exposure": {"by": "supplier", "least": 0.25}, "diversity": 0.5},
    "window": {"exposure": {"by": "supplier", "least": 0.25, "window": 1000}},
    "repeats": {},
}
WINDOWS = {"learned": Exposure("supplier", 0.25, window=1000)}
GROUPS = {"supplier=x": 200, "supplier=y": 300, "supplier=z": 500}
COUNTED = ExperimentCounts(
    {
        "learned": ArmCounts(
            *("supplier", 1000, None, 1000),
            *(GROUPS, dict.fromkeys(GROUPS, 1000), dict.fromkeys(GROUPS, 333.3), 60.0),
        )
    },
    time.monotonic(),
)
LIMITS = RepeatsSpec.model_validate(
    {
        "in_a_row": 2,
        "by": "supplier",
        "caps": [
            {"by": "supplier", "limit": 60, "window_s": 86_400},
            {"by": "action", "limit": 40, "window_s": 86_400},
        ],
    }
)


def main() -> None:
    """Print one line for each kind of constraint."""
    random = np.random.default_rng(1)
    ids = [f"a{n}" for n in range(ACTIONS)]
    lines = [encode_action(name, {"supplier": "xyz"[n % 3], "price": n}) for n, name in enumerate(ids)]
    shared = [encode_context({"plan": f"p{random.integers(4)}", "age": int(random.integers(80))}) for _ in range(CALLS)]
    policies: dict[str, BanditPolicy] = {}
    for kind, added in KINDS.items():
        policy = parse_policy({"type": "bandit", **added})
        assert isinstance(policy, BanditPolicy)
        policies[kind] = policy
    chosen = random.integers(0, ACTIONS, 600).tolist()
    examples = [
        Example(shared[n], lines, action, 1 / ACTIONS, -float(action == n % 3), None) for n, action in enumerate(chosen)
    ]
    plain = policies["without"]
    predictor = Predictor(learn(initial_model(plain), plain, examples), plain)
    offered, now = Candidates(ids[2:], lines[2:], {}), time.time()
    past = [Past(ids[n % ACTIONS], None, now - 60.0 * n, None) for n in range(500)]
    taken: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for _ in range(ROUNDS):
        for kind, policy in policies.items():
            began = time.process_time()
            for line in shared:
                counts = None
                if kind == "window":
                    counts = targets.counts_of(targets.seen(WINDOWS, COUNTED, ids[2:], lines[2:]), "learned")
                elif kind == "repeats":
                    repeats.reasons(LIMITS, offered, past, now)
                distribution(policy, predictor, line, lines[2:], ids[2:], lines[:2], counts=counts)
            taken[kind].append((time.process_time() - began) / CALLS * 1e6)
    medians = {kind: float(np.median(times)) for kind, times in taken.items()}
    for kind, micros in medians.items():
        more = micros - medians["without"]
        print(f"{kind:10} {micros:6.1f} us  {more:+5.1f} us, {more / DECISION_US:+.1%} of a decision")


if __name__ == "__main__":
    main()
