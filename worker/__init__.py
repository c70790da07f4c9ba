"""Celery's side: the app, the schedule, and tasks that are shells around ``app.services``."""
