"""Codes of wrong metrics, formulas and holdouts with their words."""

from typing import Final

from app.foundation.wording.kinds import Words

MEASURING: Final[dict[str, Words]] = {
    "event_sum_field": Words(
        "give the property that is summed with the value sum, and only there",
        "name the property that is summed, and leave it empty for everything else",
    ),
    "event_without_window": Words(
        "a metric of events needs window_s: for how long after a unit's first exposure its events count",
        "say for how long after a user's first decision events count",
    ),
    "repeats_empty": Words("give in_a_row, or a cap"),
    "formula_empty": Words("write a formula, such as reward + 0.2 * dwell"),
    "formula_too_long": Words("a formula has at most 500 characters"),
    "formula_too_deep": Words("character {position}: at most 20 parentheses or signs may stand inside each other"),
    "formula_character": Words(
        "character {position}: a formula has numbers, names of metrics, +, -, *, parentheses; put a name with other characters "
        "in double quotes"
    ),
    "formula_number": Words("character {position}: this number is too large"),
    "formula_sign": Words("character {position}: write +, - or * before this"),
    "formula_value": Words("character {position}: a number, a name or a parenthesis is missing here"),
    "formula_ends": Words("the formula ends too early: a number or a name is missing"),
    "formula_parenthesis": Words("character {position}: close the parenthesis"),
}
