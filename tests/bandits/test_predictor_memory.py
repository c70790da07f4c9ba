"""The memory that predictors say they take is what they take, and later ones get it. In a process of its own."""

import json
import subprocess
import sys

import pytest

SCRIPT = """
import gc, json, random, sys
from app.foundation.running.memory import give_memory_back
from bandits.encoding import encode_action, encode_context
from bandits.examples import Example
from bandits.model import initial_model, learn, Predictor
from bandits.policy import parse_policy

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096

give_memory_back()
policy, generator = parse_policy(json.loads(sys.argv[1])), random.Random(1)
actions = [encode_action(f"a{k}", {"price": k * 1.5}) for k in range(3)]
context = lambda: encode_context({"user": str(generator.randrange(2000)), "x": generator.random()})
examples = [Example(context(), actions, generator.randrange(3), 1 / 3, generator.random()) for _ in range(2000)]
model = learn(initial_model(policy), policy, examples)
first = Predictor(model, policy)
first.distribution(context(), actions, 0.05)
gc.collect()
before = resident()
kept = [Predictor(model, policy) for _ in range(80)]
for predictor in kept:
    predictor.distribution(context(), actions, 0.05)
held, counted = resident() - before, sum(predictor.memory_bytes for predictor in kept)
for n in range(240):
    kept[n % 80] = predictor = Predictor(model, policy)
    predictor.distribution(context(), actions, 0.05)
gc.collect()
print(json.dumps({"held": held, "counted": counted, "later": resident() - before}))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize(
    "policy",
    [
        {"type": "bandit", "algorithm": "epsilon_greedy"},
        {"type": "bandit", "algorithm": "bag", "parameters": {"bits": 20}},
        {"type": "bandit", "algorithm": "auto", "parameters": {"candidate": "linear+ca"}},
    ],
    ids=["18 bits", "20 bits", "belief and regression"],
)
def test_predictors_count_what_they_hold_and_leave_it_to_others(policy: dict[str, object]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, json.dumps(policy)], check=True, capture_output=True, text=True
    )
    memory = json.loads(done.stdout.splitlines()[-1])
    assert 0.5 < memory["held"] / memory["counted"] < 1.1, memory
    assert memory["later"] < 1.15 * memory["counted"], memory
