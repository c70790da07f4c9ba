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
    """The previews of a combination."""

    title: str
    id: str
    previews: list[Rendered]  # by language; empty: these parts never stand in the same message


def previews(template: object, variables: object) -> list[Rendered]:
    """Render a message with sample values in each language; empty while the message has errors.

    :param template: the JSON of a definition, like ``variables``.
    """
    declared, message = _VARIABLES.of(variables), _TEMPLATE.of(template)
    if declared is None or message is None or problems(message, declared, ""):
        return []
    samples = {variable.name: variable.sample for variable in declared}
    return [render(message, locale, samples) for locale in message.texts]


def composed_previews(spec: CompositionSpec, variables: object, picked: Sequence[str]) -> list[Seen]:
    """Render the first combination and the picked ones with sample values; empty while the composition has errors."""
    declared = _VARIABLES.of(variables)
    if declared is None or composition_rules.problems(None, spec, declared):
        return []
    samples = {variable.name: variable.sample for variable in declared}
    titles = ["The first combination"] + ["The combination that you picked"] * len(picked)
    rendered = []
    for title, name in zip(titles, [spec.combinations[0].id, *picked], strict=True):
        locales = spec.by_id[name].locales if name in spec.by_id else []
        rendered.append(Seen(title, name, [Composer(spec, locale, samples).render(name) for locale in locales]))
    return rendered
