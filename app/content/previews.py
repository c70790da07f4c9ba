"""Messages as the sample user would get them: with the variables' sample values."""

from collections.abc import Sequence
from typing import NamedTuple

from app.content import composition_rules
from app.content.composition import Composer
from app.content.composition_config import CompositionSpec
from app.content.message_config import MessageTemplate, VariableSpec
from app.content.message_templates import Rendered, problems, render
from app.foundation.fields import Readable

_VARIABLES: Readable[list[VariableSpec]] = Readable(list[VariableSpec])
_TEMPLATE: Readable[MessageTemplate] = Readable(MessageTemplate)


class Seen(NamedTuple):
    """One combination."""

    title: str
    id: str
    previews: list[Rendered]  # by language; none: these parts never stand in one message


def previews(template: object, variables: object) -> list[Rendered]:
    """A message in each language; none while something in it is wrong.

    :param template: as in a definition, and so ``variables``.
    """
    known, message = _VARIABLES.of(variables), _TEMPLATE.of(template)
    if known is None or message is None or problems(message, known, ""):
        return []
    samples = {variable.name: variable.sample for variable in known}
    return [render(message, locale, samples) for locale in message.texts]


def composed_previews(spec: CompositionSpec, variables: object, picked: Sequence[str]) -> list[Seen]:
    """The first combination, and those that were picked; none while something in it is wrong."""
    known = _VARIABLES.of(variables)
    if known is None or composition_rules.problems(None, spec, known):
        return []
    samples = {variable.name: variable.sample for variable in known}
    titles = ["The first combination"] + ["The combination that you picked"] * len(picked)
    seen = []
    for title, name in zip(titles, [spec.combinations[0].id, *picked], strict=True):
        locales = spec.by_id[name].locales if name in spec.by_id else []
        seen.append(Seen(title, name, [Composer(spec, locale, samples).render(name) for locale in locales]))
    return seen
