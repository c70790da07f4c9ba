"""The tasks. Each is a shell of a few lines around a service."""

import gc
import socket
from functools import cache

from celery.signals import worker_process_init, worker_process_shutdown
from sqlalchemy import Engine

from app.deciding import runtime
from app.fairness import report as fairness
from app.fairness import targets
from app.foundation.isolation import in_turn
from app.foundation.store import old_keys, partitions
from app.foundation.store.engine import create
from app.foundation.store.locks import alone
from app.guardian import anomalies, context, quarantine, watching
from app.impact import holdout, kpis
from app.learning import challenge, refit, training
from app.learning import rebuild as rebuilding
from app.messaging.delivery import sending as delivering
from app.messaging.triggers import firing as firings
from app.messaging.triggers import matching
from app.notices import collecting
from app.notices import sending as notices
from app.off_policy import evaluations
from app.off_policy.life import apprentice, attaching, warming
from app.people import consent_counts, dropping, erasure, retention
from app.people.store.erasures import FIRING
from app.promotion import challengers, ramping, schedule, shipping
from app.reporting import activity, feedback_report, health_checks, long_term, results
from app.reporting.slots import report as slots
from app.reporting.whom import report as whom
from app.verification import standing_audit
from worker.celery_app import app, settings


@cache
def _engine() -> Engine:
    return create(settings.database_url, settings)  # made on first use: after the worker forked


@cache
def _runtime() -> runtime.Runtime:
    return runtime.start(settings, bound_waits=False)  # as _engine; its threads, too, must not be made before the fork


_couriers: dict[str, delivering.Courier] = {}


def _courier(name: str, work: delivering.Work) -> delivering.Courier:
    if name not in _couriers:
        engine = create(settings.database_url, settings, pool_size=2)
        _couriers[name] = delivering.Courier(engine, settings, work, name)
    return _couriers[name]


@worker_process_init.connect
def _start(**_: object) -> None:
    gc.collect()
    gc.freeze()  # what the libraries made lives as long as the process: no round or look scans it again


@worker_process_shutdown.connect
def _stop(**_: object) -> None:
    for courier in _couriers.values():
        courier.stop()


@app.task(name="worker.tasks.train")
def train() -> None:
    """Wake a round for every arm in which a reward window closed, and a refit for every arm that wants one."""
    for experiment_id, arm in training.due_arms(_engine()):
        train_arm.apply_async((experiment_id, arm), expires=settings.beat_interval_s)
    for experiment_id, arm in refit.due_arms(_engine()):
        refit_arm.apply_async((experiment_id, arm), expires=settings.beat_interval_s)
    for experiment_id, arm in challenge.due_arms(_engine()):
        challenge_arm.apply_async((experiment_id, arm), expires=settings.beat_interval_s)


@app.task(name="worker.tasks.train_arm")
def train_arm(experiment_id: int, arm: str) -> None:
    """One round of one arm: settle outcomes and learn."""
    training.train_round(_engine(), settings, experiment_id, arm)


@app.task(name="worker.tasks.refit_arm")
def refit_arm(experiment_id: int, arm: str) -> None:
    """Fit the model of one arm from nothing; one process of a machine at a time, so that rounds of other arms go on."""
    with alone(_engine(), f"refits on {socket.gethostname()}") as granted:
        if granted:
            refit.refit(_engine(), settings, experiment_id, arm)


@app.task(name="worker.tasks.challenge_arm")
def challenge_arm(experiment_id: int, arm: str) -> None:
    """Try a challenger of one arm; one process of a machine at a time fits models from nothing."""
    with alone(_engine(), f"refits on {socket.gethostname()}") as granted:
        if granted:
            challenge.challenge(_engine(), settings, experiment_id, arm)


@app.task(name="worker.tasks.rebuild")
def rebuild() -> None:
    """Bring changed feedback schemas into force, and let models follow what was excluded."""
    with alone(_engine(), "rebuild") as granted:
        if granted:
            in_turn(
                ("rebuild", lambda: rebuilding.apply_waiting(_engine(), settings)),
                (quarantine.KIND, lambda: quarantine.run_waiting(_engine(), settings)),
            )


@app.task(name="worker.tasks.erase")
def erase() -> None:
    """Erase the units that asked for it."""
    with alone(_engine(), "erase") as granted:
        if granted:
            erasure.run_waiting(_engine(), settings)


@app.task(name="worker.tasks.retain")
def retain() -> None:
    """Remove what is past its time (units, months, events, keys of old programs), and make the log's next parts."""
    with alone(_engine(), "retain") as granted:
        if granted:
            in_turn(
                (retention.KIND, lambda: retention.run(_engine(), settings)),
                (dropping.KIND, lambda: dropping.run(_engine(), settings)),
                ("events", lambda: retention.forget_events(_engine(), settings)),
                ("old keys", lambda: old_keys.drop_due(_engine())),
                ("partitions", lambda: partitions.make_ahead(_engine())),
                ("statistics", lambda: partitions.sample_grown(_engine())),
            )


@app.task(name="worker.tasks.report")
def report() -> None:
    """Compute requested and due reports; one process of a machine at a time, so that learning goes on."""
    with alone(_engine(), f"reports on {socket.gethostname()}") as granted:
        if granted:
            engine, every_s = _engine(), settings.report_interval_s
            in_turn(
                ("evaluations", lambda: evaluations.run_waiting(engine, settings)),
                (attaching.KIND, lambda: attaching.run_waiting(engine, settings)),
                (warming.KIND, lambda: warming.run_waiting(engine, settings)),
                (results.KIND, lambda: results.compute_stale(engine, every_s)),
                (health_checks.KIND, lambda: health_checks.compute_due(engine, every_s)),
                (feedback_report.KIND, lambda: feedback_report.compute_due(engine, every_s)),
                (long_term.KIND, lambda: long_term.compute_due(engine)),
                (whom.KIND, lambda: whom.compute_due(engine, settings)),
                (slots.KIND, lambda: slots.compute_due(engine, settings)),
                (fairness.KIND, lambda: fairness.compute_due(engine, settings)),
                (kpis.KIND, lambda: kpis.compute_due(engine)),
                (holdout.KIND, lambda: holdout.compute_due(engine)),
                (consent_counts.KIND, lambda: consent_counts.compute_due(engine, every_s)),
                (standing_audit.KIND, lambda: standing_audit.run_due(engine, settings)),
                (apprentice.KIND, lambda: apprentice.compute_due(engine, settings, every_s)),
                (challengers.KIND, lambda: challengers.compute_due(engine, settings, every_s)),
                (shipping.KIND, lambda: ramping.advance_due(engine)),
                (shipping.KIND, lambda: shipping.conclude_due(engine)),
            )


@app.task(name="worker.tasks.watch")
def watch() -> None:
    """Compute the live figures of the pages, look at what runs, and make the notices, whatever long report is computed."""
    with alone(_engine(), "watch") as granted:
        if granted:
            in_turn(
                (targets.KIND, lambda: targets.compute_due(_engine())),
                (activity.KIND, lambda: activity.compute_due(_engine())),
                (watching.KIND, lambda: watching.compute_due(_engine())),
                (collecting.KIND, lambda: collecting.collect(_engine(), settings)),
                (anomalies.KIND, lambda: anomalies.compute_due(_engine())),
                (context.KIND, lambda: context.compute_due(_engine())),
                (schedule.KIND, lambda: schedule.run_due(_engine())),
            )


@app.task(name="worker.tasks.match")
def match() -> None:
    """Match the waiting events with the triggers."""
    made = 0
    while (done := matching.match_some(_engine())).events:
        made += done.firings
    if made + done.firings:
        fire.apply_async(expires=settings.beat_interval_s)


@app.task(name="worker.tasks.fire")
def fire() -> None:
    """Decide for due firings; one process at a time, so that priorities apply."""
    made, more = 0, True
    while more:
        with alone(_engine(), FIRING) as granted:  # for one pass: an erasure may be waiting for its turn
            more = granted and firings.any_due(_engine())
            made += firings.fire_due(_runtime()).deliveries if more else 0
    if made:
        deliver.apply_async(expires=settings.beat_interval_s)


@app.task(name="worker.tasks.deliver")
def deliver() -> None:
    """Send due deliveries and notices; one process at a time, so that the limit of calls in flight to a webhook holds."""
    _courier("deliver", delivering.deliver_due).wake()
    _courier("notify", notices.send_due).wake()
