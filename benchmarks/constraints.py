"""python -m benchmarks.constraints: what bounds on exposure and diverse lists add to the CPU of a decision.

A trained `auto` with ten actions of three suppliers decides 2,000 contexts, as the third position of a list, with and without.
Each line is the median over 9 interleaved rounds of the CPU of one `bandits.model.distribution`, and its ratio to a whole
decision of the web process (246 us, `python -m benchmarks decide`).
"""

import time

import numpy as np

from bandits.encoding import encode_action, encode_context
from bandits.examples import Example
from bandits.model import Predictor, distribution, initial_model, learn
from bandits.policy import BanditPolicy, parse_policy

ROUNDS, CALLS, ACTIONS, DECISION_US = 9, 2_000, 10, 246.0
KINDS: dict[str, dict[str, object]] = {
    "without": {},
    "exposure": {"exposure": {"by": "supplier", "least": 0.25}},
    "diversity": {"diversity": 0.5},
    "both": {"exposure": {"by": "supplier", "least": 0.25}, "diversity": 0.5},
}


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
    taken: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for _ in range(ROUNDS):
        for kind, policy in policies.items():
            began = time.process_time()
            for line in shared:
                distribution(policy, predictor, line, lines[2:], ids[2:], lines[:2])
            taken[kind].append((time.process_time() - began) / CALLS * 1e6)
    medians = {kind: float(np.median(times)) for kind, times in taken.items()}
    for kind, micros in medians.items():
        more = micros - medians["without"]
        print(f"{kind:10} {micros:6.1f} us  {more:+5.1f} us, {more / DECISION_US:+.1%} of a decision")


if __name__ == "__main__":
    main()
