"""What a draft means for the people in it, in sentences: limits, consent, what is kept, what their answers are worth."""

import unicodedata

from app.design.experiment_config import ExperimentConfig
from app.design.feedback_config import FeedbackSpec
from app.design.pages.channel_words import NOUNS
from app.design.people_config import CapSpec, ConsentSpec, FatigueSpec, RepeatsSpec
from app.design.safety_config import SafetySpec
from app.foundation.pages.format import plural
from app.foundation.pages.typed import span, text

WITH_A_YES = {
    "personalise": "only those who said yes get what suits them, others what the control gets",
    "learn": "only decisions of those who said yes are learned from",
    "analyse": "only those who said yes are in reports",
    "message": "only those who said yes get messages",
}

_DIRECTIONS = dict.fromkeys(
    (*range(0x202A, 0x202F), *range(0x2066, 0x206A))
)  # marks that change the direction of the text around them


def sentences(config: ExperimentConfig) -> list[str]:
    """A sentence for each promise of the definition."""
    lines = _said(config)
    if config.fatigue is not None:
        lines += _limits(config.fatigue)
    if config.repeats is not None:
        lines += _repeats(config.repeats)
    if config.consent is not None:
        lines += _consent(config.consent)
    if config.profile is not None:
        lines.append("Learning also sees what was chosen for the user before, and what came of it.")
    if config.context_fields is not None:
        named = [
            f"{apart(field.name)} (scrambled)" if field.hashed else apart(field.name) for field in config.context_fields
        ]
        kept = f"only {listed(named)} {'is' if len(named) == 1 else 'are'}" if named else "nothing is"
        lines.append(f"Of the context {kept} used and stored.")
    if config.retention_s is not None:
        lines.append(f"After {exactly(config.retention_s)} it is forgotten whose decision it was.")
    if config.feedback is not None:
        lines += _answers(config.feedback, noun_of(config))
    if config.safety is not None:
        lines += _safety(config.safety)
    return lines


def noun_of(config: ExperimentConfig) -> str:
    """The noun for the things that are chosen: action or combination."""
    return "combination" if config.composition else "action"


def _said(config: ExperimentConfig) -> list[str]:
    speaking = config.channels()
    if not speaking or config.composition:  # another sentence says already how a message is composed
        return []
    silent = len(config.all_actions()) - len(speaking)
    nothing = f", and {silent} {'says' if silent == 1 else 'say'} nothing" if silent else ""
    return [f"{plural(len(speaking), 'action')} {'says' if len(speaking) == 1 else 'say'} something{nothing}."]


def _repeats(repeats: RepeatsSpec) -> list[str]:
    lines = []
    if repeats.in_a_row is not None:
        lines.append(f"A user gets {_group(repeats.by)} at most {plural(repeats.in_a_row, 'time')} in a row.")
    for cap in repeats.caps:
        lines.append(f"A user gets {_group(cap.by)} at most {plural(cap.limit, 'time')} in {exactly(cap.window_s)}.")
    return lines


def _group(by: str) -> str:
    return "the same action" if by == "action" else f"actions of the same {apart(by)}"


def _limits(fatigue: FatigueSpec) -> list[str]:
    lines = []
    if fatigue.caps:
        lines.append(f"Nobody gets more than {', nor more than '.join(_cap(cap) for cap in fatigue.caps)}.")
    quiet = fatigue.quiet_hours
    if quiet is not None:
        lines.append(
            f"It is quiet from {quiet.start} to {quiet.end} on the user's clock ({quiet.time_zone} where it is unknown)."
        )
    if fatigue.min_distance_s is not None:
        lines.append(f"Messages are at least {exactly(fatigue.min_distance_s)} apart.")
    return lines


def _cap(cap: CapSpec) -> str:
    many = plural(cap.limit, NOUNS.get(cap.channel or "", "message"))
    which = f" of “{apart(cap.action)}”" if cap.action else " of this experiment" if cap.across == "experiment" else ""
    return f"{many}{which} in {exactly(cap.window_s)}"


def _consent(consent: ConsentSpec) -> list[str]:
    needs = [words for name, words in WITH_A_YES.items() if getattr(consent, name) == "if_granted"]
    return [f"A yes is needed: {listed(needs)}."] if needs else []


def _answers(spec: FeedbackSpec, noun: str) -> list[str]:
    worth = []
    if spec.thumbs:
        worth.append(f"A thumb up is worth {text(spec.thumbs.up)}, a thumb down {text(spec.thumbs.down)}")
    if spec.stars:
        worth.append(f"one to five stars are worth {', '.join(text(value) for value in spec.stars)}")
    if spec.score:
        worth.append(f"a score is worth {text(spec.score.low)} (0) to {text(spec.score.high)} (10)")
    worth += [
        f"the reason “{apart(name)}” is worth {text(value)}" for name, value in list((spec.reasons or {}).items())[:5]
    ]
    for words, value in (("closing unread", spec.dismissed), ("“not interested”", spec.not_interested)):
        if value is not None:
            worth.append(f"{words} is worth {text(value)}")
    lines = []
    if worth:
        believed = "" if spec.confidence == 1 else f", and each is believed to {text(spec.confidence, 100)}%"
        worths = "; ".join(worth)
        lines.append(f"{worths[0].upper()}{worths[1:]}{believed}.")
    if spec.mute_s:
        lines.append(f"“Not interested” keeps the {noun} from that user for {exactly(spec.mute_s)}.")
    return lines


def _safety(spec: SafetySpec) -> list[str]:
    bound = f"at most {text(spec.unit_share, 100)}%" if spec.unit_share < 1 else "any part"
    lines = [f"One user may make up {bound} of what a model learns."]
    if spec.reward_limit is not None:
        lines.append(
            f"A user gets at most {plural(spec.reward_limit, 'reward')} in {exactly(spec.reward_limit_window_s)}."
        )
    if not spec.quarantine:
        lines.append("Users who stand out are reported, and still learned from.")
    tried = f"every {exactly(spec.challenge_every_s)}" if spec.challenge else "only after a change"
    lines.append(f"A new model is tried against the one that decides {tried}.")
    return lines


def exactly(seconds: float) -> str:
    """A duration in words, not rounded, because it is a promise."""
    value, unit = span(seconds)
    return f"{value} {unit.removesuffix('s') if value == '1' else unit}"


def apart(text: str) -> str:
    """A user's words within a sentence, isolated so that their direction of writing does not affect the rest."""
    plain = text.translate(_DIRECTIONS)
    reordered = any(unicodedata.bidirectional(letter) in ("R", "AL", "AN") for letter in plain)
    return f"\N{FIRST STRONG ISOLATE}{plain}\N{POP DIRECTIONAL ISOLATE}" if reordered else plain


def listed(parts: list[str]) -> str:
    """ "a, b and c"."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
