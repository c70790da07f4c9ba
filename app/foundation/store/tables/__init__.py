"""The tables, as SQLAlchemy sees them. ``migrations/`` makes them; a test compares the two.

There are two kinds. *Configuration* (experiments, keys, model versions) is small, changes rarely, and every change takes
the next ``platform.revision``, so that one small query tells each process what changed. The *log* (decisions,
rewards, outcomes, the training ledger) is append-only but for a decision's activation; no foreign key leads out of it, so that it
can be partitioned and distributed.
"""

from app.foundation.store.tables.accounts import (
    approvals,
    drafts,
    saved_filters,
    sessions,
    sign_in_failures,
    sign_in_links,
    stars,
    users,
)
from app.foundation.store.tables.base import metadata
from app.foundation.store.tables.chain import log_anchors, log_links
from app.foundation.store.tables.ledger import held_out, suspects, training_ledger, warm_lessons
from app.foundation.store.tables.loop import (
    api_keys,
    awaiting_outcome,
    changes,
    decision_ids,
    decisions,
    experiment_configs,
    experiments,
    holdouts,
    lineages,
    model_versions,
    outcomes,
    platform,
    rewards,
)
from app.foundation.store.tables.messages import (
    awaiting_match,
    deliveries,
    delivery_attempts,
    events,
    firings,
    triggers,
    webhooks,
)
from app.foundation.store.tables.notices import notice_messages, notice_receivers, notices
from app.foundation.store.tables.people import (
    consents,
    erasures,
    feedback,
    feedback_schemas,
    privacy_ledger,
    restrictions,
)
from app.foundation.store.tables.reports import (
    candidates,
    evaluations,
    excluded_units,
    incidents,
    latest,
    reports,
    saved_metrics,
)
from app.foundation.store.tables.sums import unit_sum_states, unit_sums

__all__ = [
    "api_keys",
    "approvals",
    "awaiting_match",
    "awaiting_outcome",
    "candidates",
    "changes",
    "consents",
    "decision_ids",
    "decisions",
    "deliveries",
    "delivery_attempts",
    "drafts",
    "erasures",
    "evaluations",
    "events",
    "excluded_units",
    "experiment_configs",
    "experiments",
    "feedback",
    "feedback_schemas",
    "firings",
    "held_out",
    "holdouts",
    "incidents",
    "latest",
    "lineages",
    "log_anchors",
    "log_links",
    "metadata",
    "model_versions",
    "notice_messages",
    "notice_receivers",
    "notices",
    "outcomes",
    "platform",
    "privacy_ledger",
    "reports",
    "restrictions",
    "rewards",
    "saved_filters",
    "saved_metrics",
    "sessions",
    "sign_in_failures",
    "sign_in_links",
    "stars",
    "suspects",
    "training_ledger",
    "triggers",
    "unit_sum_states",
    "unit_sums",
    "users",
    "warm_lessons",
    "webhooks",
]
