"""What would another cap be worth? Asked of the log, at once, for an experiment that sends messages."""

from typing import Any

from flask import request
from pydantic import ValidationError

from app.accounts.pages.access import page
from app.design import experiments
from app.design.experiment_config import ExperimentConfig
from app.design.pages.experiment import experiment_page
from app.foundation.errors import LoopwiseError
from app.foundation.fields import invalid, pydantic_fields
from app.foundation.pages import charts
from app.foundation.pages.charts import Figure, Row
from app.foundation.pages.format import duration, interval, number, signed
from app.foundation.pages.typed import UNITS, span
from app.foundation.serving import process
from app.foundation.words import plain
from app.messaging.pages.trigger_form import CHANNELS
from app.off_policy import cap_evaluation
from app.off_policy.cap_evaluation import CapQuestion

MOST = 10_000  # newest decisions that a page looks at, in well under a second; the API looks at more
FIELDS = ("limit", "window", "unit", "channel", "across")
_NAMES = {"window_s": "window", "cap": "limit"}


@page("/experiments/<key>/off-policy/cap", "viewer")
def cap_question(key: str) -> Any:
    """The question, and its answer once a limit is given."""
    experiment = experiments.get(process().engine, key)
    config = ExperimentConfig.model_validate(experiment.config)
    given = {name: request.args.get(name, "").strip() for name in FIELDS}
    errors: dict[str, str] = {}
    found = None
    if "limit" in request.args:
        try:
            found = _rounded(cap_evaluation.evaluate(process().engine, key, _question(given)))
        except LoopwiseError as error:
            if error.status != 422:
                raise
            for field in error.fields:
                name = field.path.rpartition("/")[2]
                errors[_NAMES.get(name, name)] = field.on_page(duration if name == "window_s" else plain)
    else:
        given = asked_first(config)
    shown = experiment_page(
        "cap_question.html",
        key,
        "off_policy",
        experiment=experiment,
        given=given,
        errors=errors,
        found=found,
        most=MOST,
        figures=[_values(found), _difference(found)] if found else [],
        **choices(),
    )
    return shown, 422 if errors else 200


def choices() -> dict[str, Any]:
    """What the form offers."""
    return {
        "units": [(name, name) for name in UNITS if name in ("hours", "days", "minutes")],
        "channels": [("", "of every channel"), *((name, f"{words} only") for name, words in CHANNELS if name)],
        "reach": [("platform", "of all experiments"), ("experiment", "of this experiment only")],
    }


def asked_first(config: ExperimentConfig) -> dict[str, str]:
    """One message less than the first cap allows; two a week without one."""
    cap = config.fatigue.caps[0] if config.fatigue and config.fatigue.caps else None
    if cap is None:
        return {"limit": "2", "window": "7", "unit": "days", "channel": "", "across": "platform"}
    window, unit = span(cap.window_s)
    if unit == "seconds":
        window, unit = f"{cap.window_s / 60:.6g}", "minutes"
    limit = str(max(1, cap.limit - 1))
    return {"limit": limit, "window": window, "unit": unit, "channel": cap.channel or "", "across": cap.across}


def _question(given: dict[str, str]) -> CapQuestion:
    limit, window = _number(given["limit"]), _number(given["window"])
    cap: dict[str, Any] = {"limit": int(limit) if isinstance(limit, float) and limit.is_integer() else limit}
    cap["window_s"] = window * UNITS.get(given["unit"], 1) if isinstance(window, float) else window
    cap |= {"channel": given["channel"] or None, "across": given["across"] or "platform"}
    try:
        return CapQuestion.model_validate({"cap": cap, "max_decisions": MOST})
    except ValidationError as error:
        raise invalid(pydantic_fields(error)) from None


def _rounded(found: dict[str, Any]) -> dict[str, Any]:
    """Without what only rounding makes of two equal sums."""
    ends = [round(one, 12) for one in found["difference_interval"]]
    return found | {"difference": round(found["difference"], 12), "difference_interval": ends}


def _number(text: str) -> float | str:
    """As typed when it is no number: the rules say what is wrong with it."""
    try:
        return float(text)
    except ValueError:
        return text


def _values(found: dict[str, Any]) -> Figure:
    low, high = found["interval"]
    caption = "What a unit earns in all, with its interval"
    rows = [Row("as it was", found["logged"]), Row("under the cap", found["value"], low, high, strong=True)]
    chart = charts.forest(rows, title=caption, unit="sum of a unit's rewards, mean over units")
    table = [
        ["as it was", number(found["logged"]), "counted, not estimated"],
        ["under the cap", number(found["value"]), interval({"low": low, "high": high})],
    ]
    return Figure("values", caption, chart, ["Rule", "Value per unit", "95% interval"], table)


def _difference(found: dict[str, Any]) -> Figure:
    low, high = found["difference_interval"]
    caption = "What the cap changes"
    rows = [Row("under the cap − as it was", found["difference"], low, high, strong=True)]
    unit = "difference of the value per unit"
    chart = charts.forest(rows, title=caption, unit=unit, line_at=0, write=signed)
    table = [["under the cap − as it was", signed(found["difference"]), interval({"low": low, "high": high}, "signed")]]
    note = "Paired: each unit is held against itself. An interval that holds 0: no difference is shown."
    return Figure("difference", caption, chart, ["Difference", "Per unit", "95% interval"], table, note)
