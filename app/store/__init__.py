"""All SQL of Loopwise: tables, connections, and one module of plain functions per family of tables.

A function here takes an open connection, never opens a transaction, and knows nothing of HTTP or Celery.
"""
