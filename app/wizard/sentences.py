"""A rule's message in the words of the wizard's forms, and its field in words."""

import re

from app.foundation.pages.forms import as_sentence

_KEY = "Give letters, digits, dots, - or _ (at most 100), beginning with a letter or a digit; no spaces"
_PLAIN = (
    (r"String should match pattern .*", _KEY),
    (r"String should have at least 1 characters?", "Give an id: your app gets it back to know what was chosen"),
    (r"String should have at most (\d+) characters", r"Keep it to \1 characters"),
    (r"Input should be greater than or equal to (\S+)", r"Give \1 or more"),
    (r"Input should be less than or equal to (\S+)", r"Give at most \1"),
    (r"Input should be greater than (\S+)", r"Give more than \1"),
    (r"Input should be less than (\S+)", r"Give less than \1"),
    (r"Input should be a valid integer.*", "Give a whole number"),
    (r"Input should be a valid number.*", "Give a number"),
    (r"Input should be a valid (dictionary|list).*", 'Give a JSON object, such as {"size": 3}'),
    (r"Input should be (.+)", r"Give one of \1"),
    (r"List should have at least 1 item.*", "Add one"),
    (r"List should have at least (\d+) items.*", r"Give at least \1"),
    (r"List should have at most (\d+) items.*", r"Keep at most \1"),
    (r"Dictionary should have at least 1 item.*", "Write its text, or say that it adds nothing"),
    (r"Input tag .*", "Choose what it counts"),
    (r"add an action without a template: (.*)", r"Add an action without a message: \1"),
    (r"a message has a body: .*", "A message has a text: let one of the slots stand in it"),
    (r"say true: (.*)", r"Let saying nothing be a choice: \1"),
    (r"must be (.*)", r"Give \1"),
    (r"Value error, (.*)", r"\1"),
    (r"max must be above min.*", "The largest value must be above the smallest"),
    (r"another arm has this key.*", "Another arm has this key; give each its own"),
)
_OF_FIELDS = {  # where a rule speaks of patterns or seconds, by the last part of the field's name
    "locale": "Give a language such as en or de-AT",
    "body": "Write what the message says",
    "window": "Give a time of at least one second, and of at most 90 days (a year for a metric)",
    "limit_window": "Give a time of at least one second, and of at most 90 days",
    "distance": "Give a time of at least one second, and of at most 90 days",
    "half_life": "Give a time of at least one minute, and of at most 90 days",
    "retention": "Give a time of at least one day",
    "mute": "Give a time of at most 365 days",
    "quiet_start": "Give a time of day, such as 22:00",
    "quiet_end": "Give a time of day, such as 08:00",
}
_OF_NAMES = (  # the same for fields that are known by their whole name
    (
        r"variables-\d+-name",
        "Give small letters, digits and _ (at most 50), beginning with a letter; for example user_name",
    ),
    (r"languages-\d+", _OF_FIELDS["locale"]),
    (
        r"slots-\d+-name",
        "Give small letters, digits and _ (at most 30), beginning with a letter; for example subject",
    ),
    (
        r"slots-\d+-parts-\d+-id",
        "Give letters, digits, dots, - or _ (at most 40), beginning with a letter or a digit; for example warm",
    ),
)
_RULE = re.compile(r"(String|Input|List|Dictionary) should .*")
_PERCENT = ("floor", "share", "alpha", "winsorize", "min_effect", "confidence")  # typed in percent, judged as shares
_BOUND = re.compile(r"(?<![\w.])(\d+(?:\.\d+)?)(?![\w.]*\w)")


def where(step: str, field: str) -> str:
    """A field in words, for a list of mistakes: "arm 2, share"."""
    _, rows, rest = field.partition("rows-")
    place, _, name = rest.partition("-")
    nouns = {"arms": "arm", "metrics": "metric", "actions": "action", "people": "limit", "reward": "reason"}
    noun = nouns.get(step, "")
    text = re.fullmatch(r"texts-(\d+)-(.*)", name)
    if text:
        name = f"text {int(text[1]) + 1}, {text[2]}"
    variable = re.fullmatch(r"variables-(\d+)-(.*)", field)
    if variable:
        return f"variable {int(variable[1]) + 1}, {variable[2]}"
    if step == "actions" and not rows and field not in ("rows", "among"):
        return re.sub(r"(slot|part|text|language|pair)s-(\d+)", _counted, field).replace("-", ", ")
    parts = (
        [f"{noun} {int(place) + 1}", name]
        if rows and place.isdecimal()
        else [field if field not in ("rows", "among") else ""]
    )
    return ", ".join(part.replace("_", " ") for part in parts if part)


def _counted(found: "re.Match[str]") -> str:
    return f"{found[1]} {int(found[2]) + 1}"


def sentence(field: str, message: str) -> str:
    """A rule's message in the words of the form."""
    if _RULE.fullmatch(message):
        named = next((words for pattern, words in _OF_NAMES if re.fullmatch(pattern, field)), None)
        words = named or _OF_FIELDS.get(field.rpartition("-")[2])
        if words:
            return as_sentence(words)
    for pattern, words in _PLAIN:
        if re.fullmatch(pattern, message):
            message = re.sub(pattern, words, message)
            break
    if field.rpartition("-")[2] in _PERCENT:
        message = in_percent(message)
    return as_sentence(message)


def in_percent(message: str) -> str:
    """The same words with each share in percent."""
    return _BOUND.sub(lambda found: f"{float(found[1]) * 100:g}%", message)
