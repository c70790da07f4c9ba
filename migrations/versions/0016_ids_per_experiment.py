"""Ids of decisions are unique per experiment: whatever names a decision names its experiment, too."""

from alembic import op

from migrations import online

revision = "0016"
down_revision = "0015"

OLD = {  # what programs of before name in ON CONFLICT; they may still run for a while
    "rewards": "decision_id, reward_id",
    "feedback": "decision_id, feedback_id",
    "deliveries": "decision_id",
    "decisions": "id",
}


def upgrade() -> None:
    with op.get_context().autocommit_block():
        for table, columns in OLD.items():
            online.keep_unique(table, columns)
        online.replace_primary_key("awaiting_outcome", "decision_id, experiment_id")
        online.replace_primary_key("rewards", "decision_id, experiment_id, reward_id")
        online.replace_primary_key("feedback", "decision_id, experiment_id, feedback_id")
        online.replace_unique_key(
            "deliveries",
            "deliveries_decision_id_key",
            "deliveries_decision_id_experiment_id_key",
            "decision_id, experiment_id",
        )
        # The last one: from its swap on, what belongs to a decision has a key that names the experiment.
        online.replace_primary_key("decisions", "id, experiment_id")
