"""Is it alive, is it ready, and how is it doing: for load balancers and Prometheus."""

import hmac
import time
from collections.abc import Iterable
from functools import partial
from typing import Final

from flask import Blueprint, Flask, Response, current_app, request
from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily

from app.accounts import keys
from app.accounts.api.auth import known, needs
from app.deciding.runtime import Runtime
from app.deciding.serving import runtime
from app.deciding.snapshot import Snapshot
from app.foundation import metrics
from app.foundation.api.respond import as_json
from app.foundation.errors import Forbidden, Unavailable
from app.foundation.running import disk, threads
from app.foundation.serving import PUBLIC
from app.foundation.store.engine import transaction, unavailable
from app.guardian.store import incidents
from app.learning.store import training
from app.registry.store import models
from app.web.api.prompt import Prompt
from app.web.metrics_server import CONTENT_TYPE
from app.web.store import backlog

READY_S: Final = 1.0  # a database that answered so lately counts as one that answers
GAUGES_S: Final = 15.0

blueprint = Blueprint("health", __name__)


@blueprint.get("/healthz")
@needs(PUBLIC)
def healthz() -> Response:
    """200 while the process answers."""
    return as_json({"status": "alive"})


@blueprint.get("/readyz")
@needs(PUBLIC)
def readyz() -> Response:
    """200 when decisions can be stored: the database answers, and every background thread of this process takes its turns."""
    if wrong := threads.problems():
        raise Unavailable("thread_stuck", f"This process is about to end itself: {'; '.join(wrong)}.")
    snapshot = prompts()[0].answer()
    if snapshot is None:
        raise unavailable()
    return as_json({"status": "ready", "revision": snapshot.revision})


@blueprint.get("/metrics")
@needs(PUBLIC)
def prometheus() -> Response:
    """Prometheus' text format; asks for LOOPWISE_METRICS_TOKEN, or for a key with the scope read."""
    _check_metrics_access(runtime().settings.metrics_token)
    gauges = [*_of_process(runtime()), *(prompts()[1].answer() or ())]  # missing: the database does not answer
    return Response(metrics.render(gauges), content_type=CONTENT_TYPE)


def _check_metrics_access(token: str) -> None:
    kind, _, presented = request.headers.get("Authorization", "").partition(" ")
    if kind.lower() != "bearer":
        raise keys.unknown_key()
    if token and hmac.compare_digest(token.encode(), presented.encode()):
        return
    if not known(presented.strip()).may("read"):
        raise Forbidden("missing_scope", "This key lacks the scope 'read'.")


def prepare(app: Flask) -> None:
    """Give the app its questions to the database."""
    at = app.extensions["loopwise"]
    app.extensions["loopwise_prompts"] = (
        Prompt(partial(_refreshed, at), READY_S),
        Prompt(partial(_of_database, at), GAUGES_S),
    )


def _refreshed(at: Runtime) -> Snapshot:
    return at.snapshots.refresh()


def prompts() -> tuple[Prompt[Snapshot], Prompt[list[Metric]]]:
    """Whether the database answers, and the gauges that it knows."""
    made: tuple[Prompt[Snapshot], Prompt[list[Metric]]] = current_app.extensions["loopwise_prompts"]
    return made


def _of_process(at: Runtime) -> Iterable[Metric]:
    snapshot = at.snapshots.current
    age = GaugeMetricFamily("loopwise_model_age_seconds", "Age of the serving model.", labels=["experiment", "arm"])
    examples = GaugeMetricFamily(
        "loopwise_model_examples", "Decisions that the serving model learned from.", labels=["experiment", "arm"]
    )
    decides = GaugeMetricFamily(
        "loopwise_fallback_decides", "1 while an arm's fallback decides.", labels=["experiment", "arm"]
    )
    for (experiment_id, arm), serving in snapshot.serving.items():
        experiment = snapshot.by_id.get(experiment_id)
        if experiment is not None and experiment.status == "running":
            age.add_metric([experiment.key, arm], time.time() - serving.created_at.timestamp())
            examples.add_metric([experiment.key, arm], serving.examples)
            fallen = any(spec.key == arm and spec.fallen_back for spec in experiment.config.arms)
            decides.add_metric([experiment.key, arm], float(fallen))
    yield from (age, examples, decides)
    yield GaugeMetricFamily("loopwise_disk_free_bytes", "Free space of the disk.", value=disk.look(at.settings).free)


def _of_database(at: Runtime) -> list[Metric]:
    with transaction(at.engine) as connection:
        waiting, lag_s = training.lag(connection)
        queues, silent = backlog.waited(connection), backlog.silent_webhooks(connection)
        unlearned = models.left_out(connection)
        counted = incidents.counted(connection)
    help_lag = "Seconds since the oldest decision that waits for training was due; 0 when none waits."
    training_waiting = GaugeMetricFamily(
        "loopwise_training_waiting", "Decisions that are due for training.", value=waiting
    )
    unused = GaugeMetricFamily(
        "loopwise_features_left_out",
        "Features that the serving model does not learn from.",
        labels=["experiment", "arm", "reason"],
    )
    for experiment_key, arm, reason, features in unlearned:
        unused.add_metric([experiment_key, arm, reason], features)
    still_open = GaugeMetricFamily("loopwise_incidents_open", "Open incidents.", labels=["experiment", "kind"])
    for experiment_key, kind, count in counted:
        still_open.add_metric([experiment_key, kind], count)
    oldest = GaugeMetricFamily("loopwise_queue_seconds", "Seconds that the oldest has been due.", labels=["queue"])
    for name, seconds in queues.items():
        oldest.add_metric([name], seconds)
    return [
        GaugeMetricFamily("loopwise_training_lag_seconds", help_lag, value=lag_s),
        training_waiting,
        unused,
        still_open,
        oldest,
        GaugeMetricFamily("loopwise_webhooks_silent", "Webhooks that did not answer their last call.", value=silent),
    ]
