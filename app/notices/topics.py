"""What notices are about, and where each source belongs."""

from types import MappingProxyType
from typing import Final, Literal

Topic = Literal["verdict", "guardrail", "drift", "anomaly", "audit", "stale_model", "pipeline", "shipped", "budget"]
# In the words of pages and mails.
TOPICS: Final = MappingProxyType(
    {
        "verdict": "The decision rule says ship, stop or review",
        "guardrail": "A guardrail is crossed",
        "drift": "An arm earns less than before or than its fallback, or the context changed",
        "anomaly": "Something unusual in the data",
        "audit": "The audit failed, or the log is biased",
        "stale_model": "Models do not learn, or do not serve",
        "pipeline": "Rewards, figures or webhooks fail",
        "shipped": "An arm was shipped, or an experiment concluded",
        "budget": "A budget is spent",
    }
)
OF_INCIDENTS: Final = MappingProxyType(
    {
        "value_fell": "drift",
        "behind_fallback": "drift",
        "context_drift": "drift",
        "rewards_lost": "pipeline",
        "rewards_doubled": "pipeline",
        "client_rewards_lost": "pipeline",
        "rewards_late": "pipeline",
        "stale_model": "stale_model",
        "guardrail": "guardrail",
    }
)  # by kind; any other is an anomaly
OF_BADGES: Final = MappingProxyType(
    {
        "audit": "audit",
        "biased_log": "audit",
        "sample_ratio": "pipeline",
        "uneven_units": "pipeline",
        "schema": "pipeline",
        "not_computed": "pipeline",
        "missing_rewards": "pipeline",
        "waiting": "stale_model",
        "stale_model": "stale_model",
    }
)  # by the first part of a badge's code; incidents speak for themselves
PAGES: Final = MappingProxyType(
    {"drift": "health", "anomaly": "health", "verdict": "results", "guardrail": "results", "stale_model": "policy"}
)  # by topic, the page of an experiment that shows more; any other: its first page
