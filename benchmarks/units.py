"""The cost of rules about units: decisions with caps, quiet hours, consent and a profile, compared with plain ones."""

from typing import Any

from benchmarks import figures
from benchmarks.load import Load, closed_loop
from benchmarks.rig import Rig
from benchmarks.workload import Workload

CONNECTIONS = 32
SECONDS = 3.0
UNITS = 2000  # each has many decisions, so that it has a history


class _Careful(Workload):
    """The same requests, for an experiment with rules about its units."""

    def definition(self, key: str, window_s: float) -> dict[str, Any]:
        plain = super().definition(key, window_s)
        for action in plain["actions"][1:]:
            action["template"] = {"texts": {"en": {"body": "Go on."}}}
        return plain | {
            "fatigue": {
                "caps": [{"limit": 1000, "window_s": 604800}],
                "quiet_hours": {"start": "03:00", "end": "03:01"},
            },
            "consent": {},
            "profile": {"lookback": 20},
        }


def measure(rig: Rig, rounds: int) -> None:
    """Print the ratio and the latencies."""
    plain, careful = Workload(), _Careful()
    rig.make_experiment(plain, "plain")
    rig.make_experiment(careful, "careful")
    requests = {
        key: [
            rig.request("/v1/decide", workload.request(key, n) | {"unit_id": f"unit-{n % UNITS}"}) for n in range(4096)
        ]
        for key, workload in (("plain", plain), ("careful", careful))
    }
    runs: dict[str, list[Load]] = {"plain": [], "careful": []}
    for _ in range(rounds):
        for key, bodies in requests.items():
            closed_loop(rig.port, bodies, connections=CONNECTIONS, seconds=0.3)
            runs[key].append(closed_loop(rig.port, bodies, connections=CONNECTIONS, seconds=SECONDS))
    figures.title(f"7. units: decisions/s with caps, quiet hours, consent and a profile; {UNITS:,} units with a past")
    both = [(ours.rate, theirs.rate) for ours, theirs in zip(runs["careful"], runs["plain"], strict=True)]
    figures.ratio("decisions that look at their unit", both, "/s", "decisions that do not", 0.5)
    for key, name in (("plain", "without"), ("careful", "with")):
        for share in (0.5, 0.99):
            value = figures.median(load.percentile_ms(share) for load in runs[key])
            figures.line(f"latency {name} a look at the unit, p{100 * share:g}", f"{value:.1f} ms")
