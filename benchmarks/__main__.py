"""python -m benchmarks [name ...]: every benchmark, or those that are named. ``benchmarks/README.md`` explains them."""

import argparse

from benchmarks import (
    anomalies,
    auto_rates,
    batch,
    contexts,
    decide,
    events,
    guardian,
    idle,
    latency,
    learning,
    learning_quality,
    memory,
    noise,
    overload,
    pipeline,
    predicted,
    processes,
    sequences,
    unit_coverage,
    units,
    watching,
    whom,
    worlds,
    writer,
)
from benchmarks.rig import Rig

BENCHMARKS = {
    "decide": decide.measure,
    "batch": batch.measure,
    "learning": learning.measure,
    "latency": latency.measure,
    "memory": memory.measure,
    "events": events.measure,
    "units": units.measure,
    "writer": writer.measure,
    "processes": processes.measure,
    "overload": overload.measure,
    "idle": idle.measure,
    "auto_rates": auto_rates.measure,
    "watching": watching.measure,
}
# They need no server, and run only when they are named.
SIMULATIONS = {
    "sequences": sequences.measure,
    "unit_coverage": unit_coverage.measure,
    "noise": noise.measure,
    "guardian": guardian.measure,
    "anomalies": anomalies.measure,
    "contexts": contexts.measure,
    "pipeline": pipeline.measure,
    "whom": whom.measure,
    "learning_quality": learning_quality.measure,
    "predicted": predicted.measure,
    "worlds": worlds.measure,
}


def main() -> None:
    """Run the benchmarks one after the other, each with its own database and server."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "names",
        nargs="*",
        metavar="name",
        help=f"one or more of {', '.join([*BENCHMARKS, *SIMULATIONS])}; default: {', '.join(BENCHMARKS)}",
    )
    parser.add_argument("--rounds", type=int, default=5, help="interleaved rounds of each; medians are printed")
    arguments = parser.parse_args()
    known = [*BENCHMARKS, *SIMULATIONS]
    unknown = [name for name in arguments.names if name not in known]
    if unknown:
        parser.error(f"there is no benchmark {unknown[0]!r}; there are {', '.join(known)}")
    if arguments.rounds < 1:
        parser.error("--rounds must be at least 1")
    for name in arguments.names or BENCHMARKS:
        if name in SIMULATIONS:
            SIMULATIONS[name]()
            continue
        with Rig() as rig:
            BENCHMARKS[name](rig, arguments.rounds)
        print(flush=True)


if __name__ == "__main__":
    main()
