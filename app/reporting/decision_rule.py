"""Evaluates the rule that was written down at launch: ship, stop, or keep running, with the reasons.

It reads a finished results document and computes no statistics of its own.
"""

from datetime import UTC, datetime
from typing import Any

from app.design.experiment_config import ExperimentConfig


def judge(config: ExperimentConfig, body: dict[str, Any], started_at: datetime | None) -> dict[str, Any]:
    """The verdict on an experiment's results (``verdict``, ``arm``, ``reasons``) beside the rule."""
    rule = config.decision_rule
    days = 0.0 if started_at is None else (datetime.now(UTC) - started_at).total_seconds() / 86_400
    verdict, arm, reasons = _verdict(config, body, days)
    return {
        "rule": rule.model_dump(mode="json"),
        "verdict": verdict,
        "arm": arm,
        "reasons": reasons,
        "crossed": _crossed_guardrails(body),
        "days": round(days, 3),
    }


def _verdict(config: ExperimentConfig, body: dict[str, Any], days: float) -> tuple[str, str | None, list[str]]:
    rule = config.decision_rule
    if body["sample_ratio"]["alert"]:
        return (
            "stop",
            None,
            ["The arms' units do not match their shares: nothing below may be believed; find the cause."],
        )
    crossed = _crossed_guardrails(body)
    if crossed:
        return "stop", None, crossed
    fewest = min(body["units"].get(arm.key, 0) for arm in config.arms if arm.share > 0)
    if fewest < rule.min_units:
        return "keep_running", None, [f"An arm has {fewest} units; the rule asks for {rule.min_units}."]
    if days < rule.min_days:
        return "keep_running", None, [f"It ran {days:.1f} days; the rule asks for {rule.min_days:g}."]
    winners, losers = _significant(body, rule.alpha)
    if winners:
        return "ship", winners[0][0], [text for _, text in winners]
    if rule.max_days is not None and days >= rule.max_days:
        return "stop", None, [f"After {days:.1f} of at most {rule.max_days:g} days no arm is shown to be better."]
    arms = {arm.key for arm in config.arms} - {body["control"]}
    if losers and {arm for arm, _ in losers} == arms:
        return "stop", body["control"], [text for _, text in losers]
    return "keep_running", None, [text for _, text in losers] or ["No difference is shown yet at every look together."]


def _good(metric: dict[str, Any], difference: float) -> float:
    return difference if metric["direction"] == "increase" else -difference


def _significant(body: dict[str, Any], alpha: float) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """Arms shown to be better, and worse, than control on a primary metric, best first."""
    better: list[tuple[float, str, str]] = []
    worse: list[tuple[float, str, str]] = []
    for metric in body["metrics"]:
        if metric["role"] != "primary":
            continue
        for line in metric["comparisons"]:
            p = line["adjusted_running_p"]
            if p is None or p > alpha or line["difference"] is None:
                continue
            if line["running_sign"] not in (None, 0) and line["running_sign"] * line["difference"] < 0:
                continue  # shown once, but the other way round: now it says neither
            gain = _good(metric, line["difference"])
            words = "better" if gain > 0 else "worse"
            text = (
                f"{line['arm']} is {words} than {line['control']} on {metric['name']} (p {p:.2g}, valid at every look)."
            )
            (better if gain > 0 else worse).append((gain, line["arm"], text))
    ordered = sorted(better, reverse=True)
    return [(arm, text) for _, arm, text in ordered], [(arm, text) for _, arm, text in worse]


def _crossed_guardrails(body: dict[str, Any]) -> list[str]:
    """Guardrails on which an arm is shown, at every look together, to be worse by more than the margin."""
    found = []
    for metric in body["metrics"]:
        if metric["role"] != "guardrail":
            continue
        control = {arm["arm"]: arm["value"] for arm in metric["arms"] if arm["segment"] is None}
        for line in metric["comparisons"]:
            interval = line["always_valid"]["interval"]
            if interval["low"] is None or interval["high"] is None:
                continue
            best = _good(metric, interval["high"] if metric["direction"] == "increase" else interval["low"])
            margin = metric["min_effect"] * abs(control.get(line["control"]) or 0.0)
            if best < -margin:
                found.append(f"{line['arm']} crosses the guardrail {metric['name']}: worse than {line['control']}.")
    return found
