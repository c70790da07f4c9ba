"""What `auto` costs at decide: the whole of a decision against `squarecb`, at 4, 10 and 100 actions, and memory per model."""

import os
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from app.registry import versions
from bandits.encoding import encode_action, encode_context
from bandits.examples import Example
from bandits.model import Predictor, initial_model, learn
from bandits.policy import BanditPolicy
from benchmarks import figures
from benchmarks.load import Load, closed_loop
from benchmarks.rig import Rig
from benchmarks.workload import Workload

ACTIONS = (4, 10, 100)
AIM = 0.9
SECONDS = 3.0
CALLS = 300
COPIES = 8
POLICY = BanditPolicy("auto", {})


def measure(rig: Rig, rounds: int) -> None:
    """Print the ratios of rates and of latencies, and the memory of a loaded model."""
    figures.title("7. auto against squarecb: durable decisions, 20 context features, actions with a feature")
    for count in ACTIONS:
        requests = {name: _requests(rig, name, count) for name in ("squarecb", "auto")}
        rates: dict[str, list[float]] = {name: [] for name in requests}
        singles: dict[str, list[Load]] = {name: [] for name in requests}
        for name in [name for _ in range(rounds) for name in requests]:
            closed_loop(rig.port, requests[name], connections=32, seconds=0.3)
            rates[name].append(closed_loop(rig.port, requests[name], connections=32, seconds=SECONDS).rate)
            singles[name].append(closed_loop(rig.port, requests[name], connections=1, count=CALLS))
        served = versions.describe(rig.engine, f"auto-{count}")["arms"][0]["versions"][-1]["manifest"]["learner"][
            "served"
        ]
        both = list(zip(rates["auto"], rates["squarecb"], strict=True))
        figures.ratio(f"{count} actions, 32 connections: auto ({served})", both, "/s", "squarecb", AIM)
        half = {name: figures.median(load.percentile_ms(0.5) for load in loads) for name, loads in singles.items()}
        figures.line(
            f"{count} actions, one connection: p50 of auto, squarecb",
            f"{half['auto']:.2f} ms",
            f"{half['squarecb']:.2f} ms   rate {half['squarecb'] / half['auto']:.2f}",
        )
    for count in ACTIONS:
        figures.line(f"memory of a loaded model of auto, {count} actions", f"{_memory_mb(count):.1f} MB")


def _requests(rig: Rig, name: str, count: int) -> list[bytes]:
    workload, key = Workload(count, algorithm=name), f"{name}-{count}"
    rig.make_experiment(workload, key)
    rig.teach(workload, [key], 2000)
    return [rig.request("/v1/decide", workload.request(key, n)) for n in range(1024)]


def _memory_mb(count: int) -> float:
    """Growth of a new process for each of several loaded copies of one model that has answered."""
    with ProcessPoolExecutor(1, get_context("spawn"), max_tasks_per_child=1) as pool:
        model = pool.submit(_model, count).result()  # by another process, whose freed memory would be taken first
        return pool.submit(_growth_mb, count, model).result()


def _model(count: int) -> bytes:
    lines, contexts = _lines(count)
    examples = [Example(shared, lines, n % count, 1 / count, n % count / count) for n, shared in enumerate(contexts)]
    return learn(initial_model(POLICY), POLICY, examples)


def _growth_mb(count: int, model: bytes) -> float:
    lines, contexts = _lines(count)
    before, predictors = _resident_mb(), []
    for _ in range(COPIES):
        predictors.append(Predictor(model, POLICY))
        for shared in contexts[:50]:
            predictors[-1].distribution(shared, lines, 0.01)
    return (_resident_mb() - before) / COPIES


def _lines(count: int) -> tuple[list[str], list[str]]:
    actions = [encode_action(f"action {n}", {"price": n / 7}) for n in range(count)]
    return actions, [encode_context(context) for context in Workload(count).contexts[:1000]]


def _resident_mb() -> float:
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
