"""Pieces of SQL that several stores write into their statements."""

# How a decision d is joined to its outcome o. "+ 0" hides from the planner that these are one experiment's outcomes: it takes
# an experiment that began after its statistics were gathered to have one row, and would read them all for each decision.
# Other statements that find an experiment's rows by another key have "+ 0" for the same reason.
ITS_OUTCOME = "o.experiment_id = d.experiment_id + 0 AND o.decision_id = d.id"

# How long work that failed waits for its next try: from 10 s, doubled each time, to an hour.
RETRY_PAUSE = "make_interval(secs => least(3600, 10 * 2 ^ least(failures, 10)))"

# Within a transaction, lets the view ``analysed`` leave out what is held out of rounds for suspects.
WITHOUT_HELD_OUT = "SELECT set_config('loopwise.held_out', 'without', true)"
