"""The time range of charts over time: everything, or the newest days."""

from flask import request

from app.foundation.pages.format import moment
from app.reporting.documents.activity import Activity, ArmActivity
from app.reporting.results import Look

DAY = 86_400.0
RANGES = {"": "All", "28": "Last 28 days", "7": "Last 7 days", "1": "Last day"}


def chosen() -> str:
    """The range in the address; everything where it names none of ours."""
    days = request.args.get("days", "")
    return days if days in RANGES else ""


def ranges(first: object, last: object) -> dict[str, str]:
    """The ranges worth a choice: those shorter than what there is. Empty where there is nothing to choose."""
    start, end = moment(first), moment(last)
    if start is None or end is None:
        return {}
    known = (end - start).total_seconds()
    shorter = {days: words for days, words in RANGES.items() if days and int(days) * DAY < known}
    return {"": RANGES[""], **shorter} if shorter else {}


def newest_activity(activity: Activity, days: str) -> Activity:
    """The activity whose points over time are those of the newest days."""
    ends = [point.end for arm in activity.arms for point in arm.points]
    if not days or not ends:
        return activity
    since = max(ends) - int(days) * DAY
    return activity.model_copy(update={"arms": [_newest(arm, since) for arm in activity.arms]})


def _newest(arm: ArmActivity, since: float) -> ArmActivity:
    points = [point for point in arm.points if point.end > since]
    return arm.model_copy(update={"points": points, "rates": [rate for rate in arm.rates if rate.end > since]})


def newest_looks(looks: list[Look], days: str) -> list[Look]:
    """The looks of the newest days."""
    if not days or not looks:
        return looks
    last = max(look.computed_at for look in looks).timestamp()
    return [look for look in looks if look.computed_at.timestamp() > last - int(days) * DAY]
