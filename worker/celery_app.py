"""The Celery app and its schedule.

Tasks are wake-ups: they carry no data, may be lost, and may come twice. PostgreSQL holds the work to do.
"""

from celery import Celery
from celery.signals import setup_logging

from app.foundation.running import logs
from app.foundation.settings import from_environment, signing

RETAIN_S = 600.0  # rows that are kept for days may go some minutes later

settings = signing(from_environment())
logs.configure(settings.log_level)
setup_logging.connect(lambda **_: None, weak=False)  # Celery, too, logs through what we just configured

app = Celery("loopwise", broker=settings.redis_url or None, include=["worker.tasks"])
app.conf.update(
    task_ignore_result=True,
    task_acks_late=False,  # a lost wake-up is followed by the next; a stranded one would wait for an hour
    task_time_limit=3600,
    worker_prefetch_multiplier=1,
    worker_hijack_root_logger=False,
    broker_connection_retry_on_startup=True,
    broker_connection_max_retries=None,  # Redis may be away for any time
    broker_transport_options={"socket_timeout": 10, "socket_connect_timeout": 3},
    beat_schedule={
        name: {
            "task": f"worker.tasks.{name}",
            "schedule": settings.beat_interval_s,
            "options": {"expires": settings.beat_interval_s},  # a stopped worker finds one wake-up, not a thousand
        }
        for name in ("train", "rebuild", "erase", "report", "watch", "match", "fire", "deliver")
    }
    | {"retain": {"task": "worker.tasks.retain", "schedule": RETAIN_S, "options": {"expires": RETAIN_S}}},
    beat_max_loop_interval=min(settings.beat_interval_s, 5.0),
    timezone="UTC",
)
