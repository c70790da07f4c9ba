"""Codes of what is wrong with typed texts in the wizard."""

from typing import Final

from app.foundation.wording.kinds import Words

WIZARD: Final[dict[str, Words]] = {
    "not_json": Words("{reason}"),
    "member_without_name": Words("give the value a name, or empty it"),
    "member_repeated": Words("another row has this name; give each its own"),
    "member_without_value": Words('give it a value; "" is an empty text. To leave it out, empty its name, too'),
    "number_too_large": Words("this number is too large"),
    "texts_without_channel": Words("choose where the message is shown, or empty its texts"),
    "locale_repeated": Words("another text has this language; give each its own"),
    "language_repeated": Words("this language appears twice; keep one of its texts"),
    "part_without_text": Words("write its text, or say that it adds nothing"),
    "half_a_pair": Words("choose the other part of the pair, or none"),
    "holdout_without_control": Words("a holdout gets what the control gets: choose the control first"),
    "both_values": Words("give both values, or none"),
    "all_values": Words("give all five values, or none"),
    "reason_without_name": Words("give the reason a name, as your app sends it"),
    "reason_repeated": Words("another reason has this name; give each its own"),
    "names_without_choice": Words("choose that only these fields are used, or empty the two lists of names"),
    "plan_experiment": Words("give the key of an experiment"),
    "plan_value": Words("say what the control is expected to reach"),
    "rehearse_draft": Words("a rehearsal needs a draft without errors: the step Review lists them"),
    "rehearse_mode": Words("a rehearsal answers the question about two arms: choose it first"),
    "rehearse_source": Words("a rehearsal needs typed values: choose to type them"),
    "plan_std": Words("say how much the value varies between users"),
    "plan_effect": Words("say which improvement you must not miss"),
    "plan_power": Words("give a chance, mostly 80"),
    "plan_arms": Words("two arms are compared: give the control and another arm a share first"),
    "plan_rounds": Words("give {low} to {high} decisions"),
    "plan_floor": Words("give a share, mostly 5"),
    "plan_means": Words("give the expected reward of two actions or more, one a line; the control's first"),
}
