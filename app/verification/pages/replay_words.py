"""Words the replay of a decision: one function for each sentence of the page that depends on what happened."""

from typing import Final

from markupsafe import Markup
from pydantic import JsonValue

from app.deciding.answer import ineligible_answer
from app.deciding.store.decisions import StoredDecision
from app.design.experiment_config import ExperimentConfig
from app.foundation.pages.format import clipped, duration, number, plural, when
from app.verification.replay import Recomputed, Replay, Rewards

MOST_INELIGIBLE = 100  # actions without a chance that are shown
STATES: Final = {
    "active": "counts",
    "deferred": "not shown yet: its reward window opens when the app says so",
    "trial": "a trial: it counts nowhere",
    "unanswered": "does not count: the app never got the answer",
    "imported": "imported, not decided here",
}
WITHOUT: Final = {
    "personalise": "the control's answer was given, no context is stored, no model learns from it, and no report counts it",
    "learn": "it was decided as for anybody, and no model learns from it",
    "analyse": "it was decided as for anybody, and no report counts it",
    "message": "no action with a message could be chosen",
}
PARTS: Final = {
    "seal": "The seal over all fields is whole",
    "encoding": "The encoding of features is the same",
    "arm": "The unit hashes to this arm",
    "draw": "The id hashes to this draw",
    "holdout": "The global holdout holds this unit back, or not, as the log says",
    "distribution": "The model gives this distribution",
    "action": "The draw chooses this action",
    "propensity": "The action has this propensity",
}
AGGREGATIONS: Final = {"sum": "sum", "max": "largest", "mean": "mean", "first": "first", "last": "last"}


class ReplayWords:
    """The sentences of one page, as HTML that is safe: every value in them is escaped."""

    def __init__(self, replayed: Replay) -> None:
        self._replayed = replayed
        self._row: StoredDecision = replayed.row
        self._again: Recomputed | None = replayed.recomputed
        self._rewards: Rewards = replayed.rewards
        self._config: ExperimentConfig = replayed.config
        self._refused = self._row.withheld or []
        self.learns = any(arm.key == self._row.arm and arm.policy["type"] == "bandit" for arm in self._config.arms)

    @property
    def tone(self) -> str:
        """The class of the box at the top."""
        if self._again is None:
            return "wait"
        return "good" if self._again.same else "bad"

    def verdict(self) -> Markup:
        """Whether the decision can be recomputed, and what that showed."""
        again = self._again
        if again is None:
            return Markup(
                "This decision was imported with its log: another system made it. So it is shown as it was logged, and "
                "cannot be made again here."
            )
        if again.same and again.forgotten:
            return self._forgotten(again.forgotten)
        if again.same:
            return Markup(
                "<strong>Recomputing gives the same.</strong> Arm, distribution, draw, action and propensity were made again "
                "from the ids, the context and the model, and every bit agrees with the log."
            )
        if again.problem:
            return Markup(
                '<strong>The choice cannot be recomputed</strong>: <span class="user-text">{}</span>.'
            ).format(again.problem)
        return Markup(
            "<strong>Recomputing gives something else.</strong> The log was changed after the decision, or the server's "
            "secret key is another one. The parts that differ are marked below."
        )

    def _forgotten(self, what: str) -> Markup:
        if what == "person":
            return Markup(
                "<strong>The person behind this decision is forgotten</strong>, since {}: the time for which this experiment "
                "keeps people is over. What is left is what was chosen, from what, with which probability, and its rewards. "
                "The seal over that is whole, and the draw still chooses this action; the rest can be neither shown nor "
                "recomputed."
            ).format(when(self._row.erased_at))
        version = self._replayed.version
        return Markup(
            "<strong>The model that chose is forgotten</strong>, since {}: it had learned from a person who was erased, and "
            "what came after it was learned again without them. So the distribution cannot be recomputed. Everything else "
            "agrees with the log: arm, draw, action and propensity follow from the distribution as it was sealed."
        ).format(when(version.erased_at if version else None))

    def withheld(self) -> list[tuple[str, str]]:
        """Each purpose that the person denied, with what followed."""
        return [(purpose, WITHOUT.get(purpose, "it was withheld")) for purpose in self._refused]

    def fields(self) -> list[tuple[str, JsonValue]]:
        """The context's top-level fields."""
        parts = [self._row.context] if isinstance(self._row.context, dict) else self._row.context
        return [(name, value) for part in parts for name, value in part.items()]

    def no_context(self) -> str:
        """Why no field of the context is shown."""
        if self._row.erased_at:
            return "It is forgotten."
        if "personalise" in self._refused:
            return "None was used and none is stored, because there was no consent to personalise."
        if self.fields():
            return ""
        return "Nothing is left of what the app gave." if self._row.dropped else "The app gave no context."

    def dropped(self) -> str:
        """How many undeclared fields were not kept."""
        if not self._row.dropped:
            return ""
        were = "was" if self._row.dropped == 1 else "were"
        return (
            f"{plural(self._row.dropped, 'field')} of what the app sent {were} not declared by this experiment: dropped, not "
            "used and not stored."
        )

    def arm(self) -> Markup:
        """How the unit came to its arm. Except for a forgotten unit, the page shows its id first."""
        if self._row.erased_at:
            words = Markup("Its unit, which is forgotten, was in arm <strong>{}</strong>. The shares then:")
            return words.format(self._row.arm)
        if self._row.holdout:
            words = Markup(
                "Its unit is in the global holdout, which no experiment touches: the control decided, <strong>{}</strong>. The "
                "shares for all others then:"
            )
            return words.format(self._row.arm)
        if "personalise" in self._refused:
            words = Markup(
                "Without consent to personalise, it got the answer of an arm that does not look at the person: "
                "<strong>{}</strong>. The shares for all others then:"
            )
            return words.format(self._row.arm)
        was = "the configuration is still" if self._replayed.config_is_current else "it was"
        return Markup(
            "It belongs to arm <strong>{}</strong>. A unit's id is hashed with a secret number of this experiment, so that "
            "each arm gets its share of the units, and the same unit is always in the same arm. The shares then ({} version "
            "{}):"
        ).format(self._row.arm, was, self._row.config_version)

    def eligible(self) -> str:
        """How many actions could be chosen, of which list, and how many could not."""
        could = f"{plural(len(self._row.eligible), 'action')} could be chosen"
        if self._row.erased_at:
            of = "; what else there was is forgotten."
        elif self._row.actions is not None:
            of = f"; the call brought its own list of {len(self._row.actions)}."
        else:
            of = f" from the configuration's {len(self._config.all_actions())}."
        if self._row.ineligible:
            return f"{could}{of} {plural(len(self._row.ineligible), 'action')} could not:"
        return f"{could}{of}" if self._row.erased_at else f"{could}{of} None was excluded."

    def ineligible(self) -> list[tuple[str, str]]:
        """The first ineligible actions, each with its reason."""
        answers = [ineligible_answer(logged) for logged in (self._row.ineligible or [])[:MOST_INELIGIBLE]]
        return [
            (answer["id"], "the call excluded it" if answer["reason"] == "excluded" else answer["reason"])
            for answer in answers
        ]

    def no_model(self) -> str:
        """Why no model took part."""
        if self._again is None:
            return "No model took part."
        if not self.learns:
            return "No model took part: the arm's policy does not learn."
        return "No model took part: none could be used at that moment, so every action had the same chance."

    def no_contributions(self) -> str:
        """Why no feature is shown with what it did; empty when there are some."""
        again = self._again
        if again is None:
            return "Not known for an imported decision."
        if again.contributions:
            return ""
        if again.problem or again.forgotten:
            return "Not known, because the choice cannot be recomputed."
        if again.learns:
            return "Neither the context nor the chosen action has features besides the action's id."
        if not self.learns:
            return "None of them did anything: this arm's policy does not learn."
        return "None of them did anything: there was no trained model yet, and every action had the same chance."

    def largest_contribution(self) -> Markup:
        """What the strongest field did."""
        assert self._again is not None
        largest = self._again.contributions[0]
        if largest.change == 0:
            return Markup("None of the fields alone changed the probability.")
        return Markup(
            'The largest: without <code class="user-text">{}</code> the probability would have been {} instead of {}.'
        ).format(clipped(largest.name), number(largest.without), number(self._row.propensity))

    def unworded_message(self) -> str:
        """A message whose words are not in the log; empty when they are, or when none was sent."""
        if not self._row.channel or self._row.message:
            return ""
        words = "; its words are forgotten" if self._row.erased_at else ", by an app that says it in its own words"
        return f"A message of the channel {self._row.channel.replace('_', ' ')}{words}."

    def reward_rule(self) -> str:
        """How the experiment made a reward of the events, then."""
        spec = self._config.reward
        return (
            f"The rule then: the {AGGREGATIONS[spec.aggregation]} of the rewards that arrive within "
            f"{duration(spec.window_s)}, between {number(spec.min)} and {number(spec.max)}; {number(spec.default)} when there "
            "is none."
        )

    def outcome(self) -> Markup:
        """What the reward came to, or why it is not final."""
        if self._rewards.settled:
            return self._settled()
        if self._row.erased_at:
            return Markup("It is in no report since its person was forgotten; models keep what they learned.")
        if {"analyse", "personalise"} & set(self._refused):
            return Markup("Without consent it is in no report: nothing is made final of it.")
        if self._row.state != "active":
            return Markup("Its state is “{}”: {}.").format(self._row.state, STATES.get(self._row.state, ""))
        closes = Markup("closes {}").format(when(self._row.closes_at)) if self._row.closes_at else "has no end"
        words = Markup("So far that is {}. The window {}; soon after, it becomes final.")
        return words.format(number(self._rewards.so_far), closes)

    def _settled(self) -> Markup:
        settled = self._rewards.settled
        assert settled is not None
        version = settled.feedback_version
        schema = f", answers by version {version} of the feedback schema" if version else ""
        return Markup("It came to <strong>{}</strong> from {}, final since {}{}.").format(
            number(settled.reward), plural(settled.events, "event"), when(settled.settled_at), schema
        )

    def contradiction(self) -> str:
        """What the events of the log give now, if that is not the reward that was made final."""
        settled, so_far = self._rewards.settled, self._rewards.so_far
        if settled is None or so_far in (None, settled.reward) or self._row.state == "imported":
            return ""
        return f"The events of the log now give {number(so_far)}."

    def heirs(self) -> str:
        """Whether the version that serves now knows what a version learned from the decision."""
        knows = "Every version that was trained on top of that one knows it too"
        if self._rewards.serves_it:
            return f"{knows}, among them version {self._rewards.serving}, which serves now."
        if self._rewards.serves_it is False:
            return f"{knows}; version {self._rewards.serving}, which serves now, is not one of them, because of a rollback."
        return f"{knows}."

    def not_learned(self) -> str:
        """Why no model version learned it."""
        if not self.learns:
            return "No model version learned it: this arm does not learn."
        if self._refused:
            return "No model version learned it: there was no consent to it."
        waits = self._row.state == "active" and not self._rewards.settled and not self._row.erased_at
        return "No model version has learned it yet." if waits else "No model version learned it."

    def log_facts(self) -> list[tuple[str, str | Markup]]:
        """Where the decision stands in the log: names and values."""
        row = self._row
        current = "the current one" if self._replayed.config_is_current else "not the current one"
        channel = [("Channel", f"{row.channel.replace('_', ' ')}: it counts for caps")] if row.channel else []
        mono = Markup('<code class="mono">{}</code>')
        return [
            ("State", f"{row.state}: {STATES.get(row.state, '')}"),
            *channel,
            ("Configuration", f"version {row.config_version}, {current}"),
            ("Reward window closes", when(row.closes_at)),
            ("Seal", mono.format(row.seal or "none: imported")),
            ("Hash of the request", mono.format(row.body_hash or "none: Loopwise made the id")),
        ]
