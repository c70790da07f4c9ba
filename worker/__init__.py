"""The Celery app, its schedule, and its tasks, which only call services of the features."""
