"""False alarms of sequential checks in simulated experiments; ``benchmarks.coverage`` prints them."""

from collections import defaultdict

import numpy as np

from experiments import sequences
from experiments.arms import group_sequential
from experiments.logs import choices, health


def false_alarms(runs: int, seed: int = 3) -> dict[str, float]:
    """Share of clean runs in which a sequential check alerts at any of 50 looks; every tenth run is a ramp."""
    rng = np.random.default_rng(seed)
    alarms: dict[str, list[bool]] = defaultdict(list)
    for run in range(runs):
        ramp = run % 10 == 0
        alarms["bandit SRM, anytime"].append(_choices_alert(rng, 50, 400, ramp=ramp, lost=0.0))
        shares = np.linspace(0.05, 0.5, 50) if ramp else np.full(50, 0.5)
        # A real ramp has a few steps, not fifty.
        steps = shares[(np.arange(50) // 10) * 10]
        counts = rng.binomial(400, steps)
        table = np.stack([400 - counts, counts], axis=1)
        check = health.sequential_sample_ratio(table, np.stack([1 - steps, steps], axis=1))
        alarms["SRM, sequential"].append(check.alert)
        alarms["bandit SRM, anytime, 30 model versions of 200 decisions"].append(_versions_alert(rng, 30, 200))
        alarms["difference, mSPRT / asymptotic sequence"].append(_aa_alert(rng, 50, 200))
        alarms["difference, group-sequential, 5 looks"].append(_group_alert(rng, 5, 400))
        alarms["difference, fixed p < 0.05 at every look (not valid)"].append(_naive_alert(rng, 50, 200))
    return {name: float(np.mean(alerts)) for name, alerts in alarms.items()}


def _choices_alert(rng: np.random.Generator, looks: int, rows: int, *, ramp: bool, lost: float) -> bool:
    """Whether the anytime check alerts at any look; `lost` is the share of arm 0's exposures that is not logged."""
    total: choices.ChoiceSums | None = None
    for look in range(looks):
        centre = np.array([0.05 + 0.3 * look / looks, 0.4, 0.3]) if ramp else np.array([0.3, 0.4, 0.3])
        p = rng.dirichlet(8 * np.append(centre, 0.2), size=rows)
        a = (rng.random((rows, 1)) > np.cumsum(p, axis=1)[:, :-1]).sum(axis=1)
        kept = (a != 0) | (rng.random(rows) >= lost)
        part = choices.choice_sums(a[kept], p[kept])
        total = part if total is None else choices.merge_choices(total, part)
        if choices.choice_balance(total).anytime_p_value < choices.ALPHA:
            return True
    return False


def _versions_alert(rng: np.random.Generator, versions: int, rows: int) -> bool:
    """Whether any model version alerts at any look, one look a version: chances in the thousandths occur, as with a floor."""
    sums: list[choices.ChoiceSums] = []
    for _ in range(versions):
        p = 0.02 + 0.92 * rng.dirichlet([0.3, 0.3, 0.3, 0.3], size=rows)
        p /= p.sum(axis=1, keepdims=True)
        a = np.minimum((rng.random((rows, 1)) > np.cumsum(p, axis=1)[:, :-1]).sum(axis=1), 3)
        sums.append(choices.choice_sums(a, p))
        if any(balance.alert for balance in choices.balance_by_group(sums)):
            return True
    return False


def _aa_alert(rng: np.random.Generator, looks: int, units: int) -> bool:
    x = rng.lognormal(0, 1, size=(2, looks * units))
    for look in range(1, looks + 1):
        n = look * units
        error = float(np.sqrt(x[:, :n].var(axis=1, ddof=1).sum() / n))
        gap = float(x[1, :n].mean() - x[0, :n].mean())
        if sequences.mixture_test(gap, error, sequences.mixture_tau(error, 2 * n)).p_value < 0.05:
            return True
    return False


def _naive_alert(rng: np.random.Generator, looks: int, units: int) -> bool:
    x = rng.lognormal(0, 1, size=(2, looks * units))
    n = np.arange(1, looks * units + 1)
    mean = np.cumsum(x, axis=1) / n
    variance = np.cumsum(x**2, axis=1) / n - mean**2
    z = (mean[1] - mean[0]) / np.sqrt(variance.sum(axis=0) / n + 1e-300)
    return bool((np.abs(z[units - 1 :: units]) > 1.96).any())


def _group_alert(rng: np.random.Generator, looks: int, units: int) -> bool:
    x = rng.lognormal(0, 1, size=(2, looks * units))
    information = [(look + 1) / looks for look in range(looks)]
    for look in range(1, looks + 1):
        n = look * units
        error = float(np.sqrt(x[:, :n].var(axis=1, ddof=1).sum() / n))
        gap = float(x[1, :n].mean() - x[0, :n].mean())
        if group_sequential.look(gap, error, information[:look]).reject:
            return True
    return False


def lost_exposures(runs: int, seed: int = 4, looks: int = 50, rows: int = 8000) -> float:
    """Share of runs in which 3% lost exposures of one arm of four are found within looks x rows decisions."""
    rng = np.random.default_rng(seed)
    return float(np.mean([_choices_alert(rng, looks, rows, ramp=False, lost=0.03) for _ in range(runs)]))
