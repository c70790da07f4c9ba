"""The use cases of Loopwise. One public function is one transaction; HTTP, pages and tasks call the same ones.

Nothing here knows Flask or Celery.
"""
