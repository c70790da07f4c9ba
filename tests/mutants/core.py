"""Which files are the core, which tests must notice a fault in each, and which mutants behave like the code they come from."""

from typing import NamedTuple


class Target(NamedTuple):
    """A file, and the tests that must notice a fault in it."""

    path: str
    tests: tuple[str, ...]
    only: tuple[str, ...] | None = None  # functions and classes; null: the whole file
    texts: tuple[tuple[str, str], ...] = ()  # faults in SQL: a text of the file, and what takes its place
    servers: bool = False  # the tests need fixtures of tests/conftest.py; without them, loading it takes longest


_TOLD_IN_TIME = "coalesce(i.occurred_at, n.now), n.now"
_LATE = "coalesce(n.now > d.closes_at, false)"
# Lateness goes by the database's clock at arrival, not by the caller's; what has no window yet is in time.
LATENESS = (
    (_LATE, "coalesce(coalesce(i.occurred_at, n.now) > d.closes_at, false)"),
    (_LATE, "coalesce(n.now < d.closes_at, false)"),
    (_LATE, "coalesce(n.now > d.closes_at, true)"),
    (_TOLD_IN_TIME, "n.now, n.now"),
    (_TOLD_IN_TIME, "coalesce(i.occurred_at, n.now), coalesce(i.occurred_at, n.now)"),
)
_DUE = "a.arm = :arm AND a.closes_at <= :until\n    ORDER BY d.decided_at, d.id LIMIT"
LEDGER = (
    (_DUE, "a.arm = :arm AND a.closes_at <= :until\n    ORDER BY d.decided_at DESC, d.id LIMIT"),
    (_DUE, "a.arm = :arm AND a.closes_at <= :until\n    ORDER BY d.decided_at, d.id DESC LIMIT"),
    (_DUE, "a.arm = :arm AND a.closes_at <= :until\n    ORDER BY d.decided_at DESC, d.id DESC LIMIT"),
    (_DUE, "a.arm = :arm AND a.closes_at <= :until\n    ORDER BY a.closes_at, d.id LIMIT"),
    (_DUE, "a.arm = :arm AND a.closes_at <= :until\n    ORDER BY d.id LIMIT"),
    (_DUE, "a.arm = :arm AND a.closes_at <= :until\n    LIMIT"),
    (_DUE, "a.arm = :arm AND a.closes_at < :until\n    ORDER BY d.decided_at, d.id LIMIT"),
    (_DUE, "a.arm = :arm AND a.closes_at >= :until\n    ORDER BY d.decided_at, d.id LIMIT"),
    (_DUE, "a.closes_at <= :until\n    ORDER BY d.decided_at, d.id LIMIT"),
    (
        "SELECT DISTINCT experiment_id, arm FROM awaiting_outcome WHERE closes_at <=",
        "SELECT experiment_id, arm FROM awaiting_outcome WHERE closes_at >=",
    ),
    ("r.experiment_id = d.experiment_id AND NOT r.late", "r.experiment_id = d.experiment_id"),
    ("r.experiment_id = d.experiment_id AND NOT r.late", "r.experiment_id = d.experiment_id AND r.late"),
    ("f.kind <> 'comment' AND NOT f.late", "f.kind <> 'comment'"),
    ("f.kind <> 'comment' AND NOT f.late", "NOT f.late"),
    ("l.position >= :first", "l.position > :first"),
    ("l.position < :until", "l.position <= :until"),
    ("ORDER BY l.position", "ORDER BY l.position DESC"),
    ("\n        WHERE analysed\n", "\n"),
    ("\n    WHERE a.decision_id = i.decision_id AND", "\n    WHERE a.decision_id = i.decision_id AND i.analysed AND"),
)

_TRAINING = "tests/learning/test_training.py::test_"
ROUNDS = (
    f"{_TRAINING}rounds_learn_each_decision_once_and_the_policy_prefers_rewarded_actions",
    f"{_TRAINING}rounds_learn_the_oldest_decisions_first_and_keep_the_order_within_a_round",
    f"{_TRAINING}a_decision_with_an_open_window_is_not_learned_from",
    f"{_TRAINING}a_late_reward_is_stored_and_marked_but_not_learned_from",
    f"{_TRAINING}a_tampered_parent_stops_training_with_a_reason_and_loses_nothing",
    f"{_TRAINING}a_round_leaves_an_arm_to_the_process_that_trains_it",
    f"{_TRAINING}a_round_of_an_arm_that_does_not_learn_settles_and_promotes_nothing",
    "tests/learning/test_withheld.py",
    "tests/learning/test_held_out.py::test_an_erasure_takes_what_is_held_out_with_it",
    "tests/guardian/test_quarantine.py::test_a_round_of_released_decisions_alone",
)

CORE = (
    Target("bandits/distribution.py", ("tests/bandits/test_distribution.py",)),
    Target("bandits/untried.py", ("tests/bandits/learner/test_vw_learner.py",)),
    Target("bandits/rewards.py", ("tests/bandits/test_rewards_and_cost.py",)),
    Target("bandits/encoding.py", ("tests/bandits/test_encoding.py",)),
    Target("experiments/off_policy/verdict.py", ("tests/experiments/test_verdict.py",)),
    Target("experiments/off_policy/intervals.py", ("tests/experiments/test_interval_formulas.py",)),
    Target("experiments/off_policy/value_sequence.py", ("tests/experiments/test_value_sequence_formulas.py",)),
    Target("experiments/off_policy/unit_sums.py", ("tests/experiments/test_unit_sum_formulas.py",)),
    Target("app/foundation/secrets.py", ("tests/foundation/test_secrets.py",)),
    Target(
        "app/foundation/group_commit.py",
        ("tests/foundation/test_group_commit.py",),
        ("GroupCommit._take",),
        servers=True,
    ),
    Target("app/accounts/keys.py", ("tests/accounts/test_scopes.py",), servers=True),
    Target("app/deciding/eligibility.py", ("tests/deciding/test_eligibility.py",)),
    Target("app/deciding/seal.py", ("tests/deciding/test_seal.py",)),
    Target("app/learning/store/rewards.py", ("tests/learning/test_lateness.py",), (), LATENESS, servers=True),
    Target("app/learning/store/feedback.py", ("tests/learning/test_lateness.py",), (), LATENESS, servers=True),
    Target(
        "app/learning/store/training.py",
        ("tests/learning/test_ledger.py",),
        ("due", "rounds_of", "write_ledger", "settle"),
        LEDGER,
        servers=True,
    ),
    Target("app/learning/training.py", ROUNDS, ("train_round", "learnable"), servers=True),
    Target("app/reporting/comparison/decision_rule.py", ("tests/reporting/test_ruling.py",), servers=True),
)

EQUIVALENT: dict[str, dict[str, str]] = {
    "bandits/untried.py": {
        "share_untried: total = math.fsum((p for p, known in zip(probabilities, tried, strict=False) if known))": (
            "the last line finds other lengths"
        ),
    },
    "bandits/encoding.py": {
        "_encode_object: if kind is float and kind is int:": "numbers then take the longer way, which writes the same",
        "escape: delete if text.isidentifier():": "an identifier holds nothing that is escaped: this only saves time",
    },
    "bandits/distribution.py": {
        "assign: possible = [arm for arm, share in shares.items() if share >= 0.0]": "first_arm leaves them out, too",
        "assign: possible = [arm for arm, share in shares.items() if share > -1.0]": "first_arm leaves them out, too",
        "assign: return possible[0] if len(possible) == 0 else first_arm(arm_draws(salt, unit_id, possible), shares)": (
            "drawing among one arm gives it: this only saves time"
        ),
        "assign: return possible[-1] if len(possible) == 1 else first_arm(arm_draws(salt, unit_id, possible), shares)": (
            "the first of one is the last"
        ),
    },
    "app/deciding/eligibility.py": {
        "withheld: return [purpose for purpose in PURPOSES if consent.get(purpose, 'granted' if getattr(rules, purpose) == "
        "'unless_denied' else 'denied_') != 'granted']": "any word but granted withholds",
        "is_quiet: clock = datetime.fromtimestamp(now, UTC).astimezone(quiet.zone(time_zone)).strftime('%H:%M_')": (
            "only makes equal times compare as later, which every comparison already does"
        ),
    },
    "app/foundation/group_commit.py": {
        "GroupCommit._take: if batch and (job.handler is not batch[-1].handler or rows + len(job.rows) > self._batch_rows):": (
            "all jobs of a batch have one handler"
        ),
    },
    "app/learning/training.py": {
        "train_round: newest = (rows or released)[-0].config_version": "an arm that has run keeps its policy",
    },
    "app/learning/store/training.py": {
        "rounds_of: ends = [-1, *accumulate(sizes)] if sizes is not None else _ALL": "positions begin with 0",
    },
    "experiments/off_policy/unit_sums.py": {
        "kish: largest = float(np.abs(x).max(initial=-1.0))": "only without units, and then there is nothing to scale",
        "_freedom: return min(2 * len(pulls) / max(kurtosis - 1, 1.000000001), unequal)": (
            "a kurtosis below 3 gives more degrees than there are units, of which unequal has at most as many"
        ),
        "one_look: if float(scores.factors @ scores.pulls ** 2) < NO_SPREAD:": "no sum is exactly 1e-24",
        "independent_difference: if sum(variances) < NO_SPREAD:": "no sum is exactly 1e-24",
        "always_valid_p: if spread < NO_SPREAD:": "no sum is exactly 1e-24",
        "_alike: if abs(value - low) < ROUNDING * (high - low):": "no value is exactly a billionth of the range away",
        "_alike: if abs(value - high) < ROUNDING * (high - low):": "no value is exactly a billionth of the range away",
        "_accepted: if isinf(squared) or curvature < 0:": "no curvature is exactly 0",
        "independent_difference: freedom = sum(variances) ** 2 / sum((v ** 2 / df for v, (_, _, df) in zip(variances, known, "
        "strict=False)))": "both have two sides",
    },
    "experiments/off_policy/value_sequence.py": {
        "excludes: return max(sides) > threshold": "no capital is exactly the threshold",
        "_least_mean: if _log_capital(bets, rows, 0.0) < threshold:": "then the root is 0 as well",
        "_least_mean: if _log_capital(bets, rows, 1.0) > threshold:": "then the root is 1 as well",
        "_least_mean: return float(optimize.brentq(lambda mean: _log_capital(bets, rows, mean) - threshold, -1.0, 1.0, "
        "xtol=1e-14))": "there is one root, and it lies between 0 and 1",
        "_least_mean: return float(optimize.brentq(lambda mean: _log_capital(bets, rows, mean) - threshold, 0.0, 2.0, "
        "xtol=1e-14))": "there is one root, and it lies between 0 and 1",
    },
    "experiments/off_policy/verdict.py": {
        "weight_z: if abs(gap) <= ROUNDING:": "no two floats differ from 1 by exactly 1e-9",
    },
}
"""By file: mutants that no test can notice, each with the reason."""
