"""How much of Vowpal Wabbit's own speed the `bandits` package keeps: python -m benchmarks.vw_rates [decisions]

10 actions, 20 context features (half words, half numbers), context*action interactions, squarecb. Two action sets: a
catalogue (the same ten lines at each decision) and candidates with features of their own at each call. Each figure is
the best of five runs, beside its ratio to the bare loop over VW that does the same work.

This file may import vowpalwabbit, because the bare loops are what it measures against.
"""

import random
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import vowpalwabbit

from bandits.arguments import runtime_arguments, vw_arguments
from bandits.distribution import draw, sample
from bandits.encoding import encode_action, encode_context
from bandits.examples import Example, example_text
from bandits.model import Predictor, distribution
from bandits.model_file import unseal
from bandits.policy import BanditPolicy
from bandits.vw_model import initial_model, learn

ACTIONS = 10
POLICY = BanditPolicy("squarecb", {}, 0.05)
IDS = [f"action {index}" for index in range(ACTIONS)]


def contexts(count: int) -> list[dict[str, str | float]]:
    generator = random.Random(1)
    words = [f"word{index}" for index in range(10)]
    numbers = [f"number{index}" for index in range(10)]
    return [
        {name: f"value {generator.randrange(10)}" for name in words} | {name: generator.random() for name in numbers}
        for _ in range(count)
    ]


def examples(count: int, fresh_actions: bool) -> list[Example]:
    generator = random.Random(2)
    catalogue = [encode_action(action_id, {"price": index / 7}) for index, action_id in enumerate(IDS)]
    made = []
    for context in contexts(count):
        lines = [encode_action(action_id, {"price": generator.random()}) for action_id in IDS]
        chosen = generator.randrange(ACTIONS)
        made.append(
            Example(
                encode_context(context), lines if fresh_actions else catalogue, chosen, 1 / ACTIONS, generator.random()
            )
        )
    return made


def rate(work: Callable[[], object], count: int, runs: int = 5) -> float:
    """Decisions per second of the fastest run."""
    best = float("inf")
    for _ in range(runs):
        started = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - started)
    return count / best


def show(name: str, value: float, against: float | None = None) -> None:
    ratio = "" if against is None else f"{value / against:10.2f}"
    print(f"  {name:<58}{value:>10,.0f}/s{ratio}")


def predict_rates(model: bytes, data: list[Example], title: str) -> None:
    print(f"predict, {title}")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model")
        path.write_bytes(unseal(model).payload)
        bare = vowpalwabbit.Workspace(arg_list=["-t", "--quiet", "-i", str(path)])
    texts = ["\n".join((example.shared_line, *example.action_lines)) for example in data]
    own = rate(lambda: [bare.predict(text) for text in texts], len(data))
    bare.finish()
    show("Vowpal Wabbit, bare loop over ready texts", own)
    predictor = Predictor(model, POLICY)
    show(
        "Predictor.own",
        rate(lambda: [predictor.own(e.shared_line, e.action_lines) for e in data], len(data)),
        own,
    )
    json_contexts = contexts(len(data))

    def decide() -> None:
        for index, (context, example) in enumerate(zip(json_contexts, data, strict=True)):
            p = distribution(POLICY, predictor, encode_context(context), example.action_lines, IDS)
            sample(p, draw(b"salt", str(index)))

    show("JSON context -> line -> distribution -> draw -> choice", rate(decide, len(data)), own)
    predictor.close()


def learn_rates(data: list[Example], title: str) -> None:
    print(f"learn, {title}")
    texts = [example_text(example).rstrip("\n") for example in data]

    def one_by_one() -> None:
        workspace = vowpalwabbit.Workspace(vw_arguments(POLICY))
        for text in texts:
            workspace.learn(text)
        workspace.finish()

    with tempfile.TemporaryDirectory() as folder:
        file, parent = Path(folder, "data"), Path(folder, "parent")
        file.write_text("\n\n".join(texts) + "\n\n", encoding="utf-8")
        parent.write_bytes(unseal(initial_model(POLICY)).payload)
        arguments = [*runtime_arguments(POLICY).split(), "-i", str(parent), "-d", str(file)]
        own = rate(lambda: vowpalwabbit.Workspace(arg_list=arguments).finish(), len(data))
    show("Vowpal Wabbit, from a ready file", own)
    show("Vowpal Wabbit, one by one over ready texts", rate(one_by_one, len(data)), own)
    empty = initial_model(POLICY)
    show("learn: check, write, learn, save", rate(lambda: learn(empty, POLICY, data), len(data)), own)
    show("learn, 4 passes (examples x passes)", rate(lambda: learn(empty, POLICY, data, 4), 4 * len(data), 2), own)


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    print(
        f"{count:,} decisions, {ACTIONS} actions, 20 context features, context*action; last column: ratio to VW's own"
    )
    for fresh, title in ((False, "a catalogue of 10 actions"), (True, "new action features at each call")):
        data = examples(count, fresh)
        model = learn(initial_model(POLICY), POLICY, data)
        predict_rates(model, data, title)
        learn_rates(data, title)


if __name__ == "__main__":
    main()
