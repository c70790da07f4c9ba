"""Charts and tables of results, for the page and for the report, from ``app.reporting.documents.results``."""

from collections.abc import Sequence

from markupsafe import Markup

from app.foundation.formats.intervals import IntervalDocument
from app.foundation.pages import charts
from app.foundation.pages.charts import Figure, Row, Tone
from app.foundation.pages.charts.parts import Write
from app.foundation.pages.format import (
    decimals,
    fixed,
    interval,
    number,
    p_value,
    percent,
    signed,
    signed_percent,
    when,
)
from app.reporting.documents.results import (
    ArmValue,
    ComparisonLine,
    Direction,
    MetricResults,
    Results,
    SampleRatio,
    ShrunkEffect,
)
from app.reporting.pages import sentences

HEAD = [
    "Arm",
    "Units",
    "Estimate",
    "Difference to control, relative lift",
    "Peek-safe interval",
    "Fixed-horizon interval",
    "p, any look, adjusted",
    "p, one look, adjusted",
    "Chance to win",
]
Table = tuple[list[str], list[list[str]]]  # head and rows
MOST_ROWS = 24  # in a forest plot; its table has all

LIKELY = 0.95  # higher chances to win are drawn in colour


def metric(results: MetricResults, method: str, index: int) -> Figure:
    """Draw every arm's difference to the control on one metric, with a table of all its figures."""
    caption = f"{results.name}: {_what(method)}"
    rows = [_row(line.arm, line, method, results.direction) for line in results.comparisons]
    chart = _chart(rows, results.comparisons, method, caption)
    return Figure(f"metric-{index}", caption, chart, *table(results, None), note=f"{_drawn(method)}.")


def segments(results: MetricResults, method: str, field: str) -> Figure:
    """Draw one metric split by a context field. The last lines weight both arms to the same shares of segments."""
    lines = sorted(results.comparisons, key=lambda line: line.segment is None)
    caption = f"{results.name} by {field}: {_what(method)}"
    note = f"{_drawn(method)}."
    if len(lines) > MOST_ROWS:
        note += f" The chart has the first {MOST_ROWS} lines, the table all {len(lines)}."
    drawn = lines[:MOST_ROWS]
    rows = [_row(_named(line.arm, line.segment, field), line, method, results.direction) for line in drawn]
    chart = _chart(rows, drawn, method, caption)
    return Figure(f"segments-{results.metric}", caption, chart, *table(results, field), note)


def summary(results: MetricResults, method: str) -> Table:
    """One row per arm with its interval drawn in the row, all on one scale: what a reader decides by."""
    lines = [line for line in results.comparisons if line.segment is None]
    rows = [_row(line.arm, line, method, results.direction) for line in lines]
    scale = charts.scale_of(rows, 0.0)
    axis: str = charts.cell_axis(scale, signed) if scale else Markup("")
    by_arm = {row.arm: row for row in results.arms if row.segment is None}
    value, difference = _value(results), _difference(results)
    body = [
        [f"{arm.arm} (control)", number(arm.units), value(arm.value), "", "", "", ""]
        for arm in by_arm.values()
        if arm.arm not in {line.arm for line in lines}
    ]
    for line, row in zip(lines, rows, strict=True):
        arm = by_arm.get(line.arm)
        won = line.chance_to_win
        body.append(
            [
                line.arm,
                number(arm.units) if arm else "",
                value(arm.value) if arm else "",
                _toned(signed_percent(line.relative_lift), row.tone),
                charts.cell(row, scale, difference) if scale and row.value is not None else "",
                f"{difference(line.difference)}\n{interval(_interval(line, method), difference)}",
                sentences.chance(won.probability) if won else "",
            ]
        )
    drawn = Markup("{}<br>{}").format(f"Difference to {lines[0].control}" if lines else "Difference", axis)
    name = "interval for one look" if method == "fixed" else "peek-safe interval"
    return ["Arm", "Units", "Estimate", "Lift", drawn, f"Difference, {name}", "Chance to win"], body


def _interval(line: ComparisonLine, method: str) -> IntervalDocument:
    return line.interval if method == "fixed" else line.always_valid.interval


def _toned(text: str, tone: Tone | None) -> Markup:
    """A figure with its sign for better or worse, which does not rest on the colour alone."""
    signs = {"better": "\N{BLACK UP-POINTING TRIANGLE} ", "worse": "\N{BLACK DOWN-POINTING TRIANGLE} "}
    sign = signs.get(tone or "", "")
    words = f'<span class="visually-hidden">{tone}</span>' if sign else ""
    return Markup('<span class="{}-text">{}{}</span>{}').format(tone or "open", sign, text, Markup(words))  # noqa: S704


def _value(results: MetricResults) -> Write:
    """How the estimates of one metric look: all with the same decimals."""
    digits = decimals(row.value for row in results.arms)
    return lambda value: fixed(value, digits)


def _difference(results: MetricResults) -> Write:
    """How the differences and their intervals look: all with the same decimals."""
    digits = decimals(line.difference for line in results.comparisons)
    return lambda value: fixed(value, digits, sign=True)


def table(results: MetricResults, field: str | None) -> Table:
    """All figures of one metric's arms, segment by segment, the control first.

    :param field: the context field that the report is split by, if any.
    """
    lines = results.comparisons
    guarded = any(line.non_inferiority for line in lines)
    shrunk = any(line.shrunk for line in lines)
    compared = {line.arm for line in lines}
    by_arm = {(row.arm, row.segment): row for row in results.arms}
    rows: list[list[str]] = []
    for segment in dict.fromkeys([line.segment for line in lines] + [row.segment for row in results.arms]):
        controls = [row for row in results.arms if row.segment == segment and row.arm not in compared]
        rows += [_control_row(row, field, _value(results)) for row in controls]
        for line in lines:
            if line.segment == segment:
                cells = _cells(line, by_arm.get((line.arm, segment)), field, _value(results), _difference(results))
                cells += [sentences.margin(line.non_inferiority)] if guarded else []
                rows.append(cells + ([_shrunk(line.shrunk)] if shrunk else []))
    head = [
        *HEAD,
        *(["Margin of the guardrail"] if guarded else []),
        *(["Shrunk towards all segments"] if shrunk else []),
    ]
    return head, [row + [""] * (len(head) - len(row)) for row in rows]


def ratio(sample_ratio: SampleRatio) -> Table:
    """Compare the units of each arm with those that its share promises."""
    total = sum(sample_ratio.observed.values())
    rows = [
        [arm, number(units), number(round(sample_ratio.expected[arm], 1)), percent(units / total if total else None, 2)]
        for arm, units in sample_ratio.observed.items()
    ]
    return ["Arm", "Units seen", "Units expected", "Share seen"], rows


def stretches(results: Results) -> Table:
    """The stretches of constant shares, oldest first."""
    arms = list(dict.fromkeys(arm for stretch in results.stretches for arm in stretch.shares))
    rows = [
        [when(stretch.began_at), *(percent(stretch.shares.get(arm, 0.0)) for arm in arms)]
        for stretch in results.stretches
    ]
    return ["Since", *arms], rows


def _row(label: str, line: ComparisonLine, method: str, direction: Direction) -> Row:
    given = _interval(line, method)
    return Row(label, line.difference, given.low, given.high, tone=sentences.tone(given, direction))


def _chart(rows: Sequence[Row], lines: Sequence[ComparisonLine], method: str, title: str) -> Markup:
    if method != "bayes":
        unit = "difference to control, in the metric's unit"
        return charts.forest(rows, title=title, unit=unit, write=signed, line_at=0.0)
    pairs = [(row.label, line.chance_to_win) for row, line in zip(rows, lines, strict=True)]
    bars = [Row(label, won.probability, strong=won.probability > LIKELY) for label, won in pairs if won]
    return charts.bars(bars, title=title, unit="chance to be the best arm", write=sentences.chance, high=1.0)


def _what(method: str) -> str:
    return "chance to be the best arm" if method == "bayes" else "difference to control"


def _drawn(method: str) -> str:
    tones = "green triangles up are better than the control, red triangles down are worse, grey circles are still open"
    return {
        "sequential": f"Peek-safe intervals: {tones}",
        "fixed": f"Fixed-horizon intervals, for one look: {tones}",
        "bayes": "Chance to be the best of all arms, control included; blue above 95%",
    }[method]


def _named(arm: str, segment: str | None, field: str | None) -> str:
    if field is None:
        return arm
    return f"{arm}, {'all, weighted alike' if segment is None else f'{field} = ' + (segment or '(none)')}"


def _control_row(row: ArmValue, field: str | None, value: Write) -> list[str]:
    return [f"{_named(row.arm, row.segment, field)} (control)", number(row.units), value(row.value)]


def _cells(line: ComparisonLine, arm: ArmValue | None, field: str | None, value: Write, difference: Write) -> list[str]:
    sequence = line.always_valid
    return [
        _named(line.arm, line.segment, field),
        number(arm.units) if arm else "",
        value(arm.value) if arm else "",
        _two_lines(difference(line.difference), signed_percent(line.relative_lift)),
        _two_lines(interval(sequence.interval, difference), interval(sequence.relative_interval, "signed_percent")),
        _two_lines(interval(line.interval, difference), interval(line.relative_interval, "signed_percent")),
        p_value(line.adjusted_running_p),
        p_value(line.adjusted_p_value),
        sentences.chance(line.chance_to_win.probability) if line.chance_to_win else "",
    ]


def _shrunk(effect: ShrunkEffect | None) -> str:
    return "" if effect is None else _two_lines(signed(effect.difference), interval(effect.interval, "signed"))


def _two_lines(absolute: str, relative: str) -> str:
    """The absolute figure and, below it, the relative one. Equal texts, such as a reason, appear once."""
    return absolute if absolute == relative else f"{absolute}\n{relative}"
