"""What will happen, in sentences: the review of a draft."""

from app.design.experiment_config import ArmSpec, ExperimentConfig, RewardSpec, lineages
from app.design.metric_config import MetricSpec
from app.design.pages import people_words
from app.design.pages.people_words import apart, listed, noun_of
from app.design.worked_example import Worked, work_out
from app.foundation.pages.format import duration, number, percent, plural

AGGREGATIONS = {
    "sum": "are added up",
    "max": "count as the largest of them",
    "mean": "count as their average",
    "first": "count as the first of them",
    "last": "count as the last of them",
}
SOURCES = (
    ("reward", "the reward itself"),
    ("value", "the sum of a reported metric"),
    ("count", "how often a metric is reported"),
    ("ratio", "one reported metric divided by another"),
    ("retention", "whether users come back after some days"),
    ("sessions", "visits per user"),
    ("event", "what users do later: their events"),
    ("quantile", "what a share of users stays below"),
)

PURPOSES = (
    (
        "personalise",
        "Choosing what suits somebody",
        "Without it they get what the control gets, and nothing is learned.",
    ),
    ("learn", "Learning from their decisions", "Without it they are decided for as anybody, and nothing is learned."),
    ("analyse", "Counting them in reports", "Without it they are in no report."),
    ("message", "Sending them messages", "Without it, they get no messages."),
)
PROFILE = (
    ("counts", "how often something was chosen for them, and said"),
    ("recency", "how long ago that was"),
    ("actions", "how often each action was chosen, and what came of it"),
    ("tags", "the same for each tag of the actions (their feature “tags”)"),
)

LEARNED = "what is learned to work best for them"
FIRST = "the first action of each call"
ROUNDING = 1e-9  # a percentage this near to a whole number is shown as one


def paragraph(config: ExperimentConfig) -> str:
    """Who gets what, what is learned from, when a verdict comes; what it means for people is ``about_people``."""
    reward = config.reward
    learning = [arm for arm in config.arms if arm.policy["type"] == "bandit"]
    parts = [
        f"Each time your app asks, Loopwise {_chooses(config)}.",
        *_list_words(config),
        f"Users are split for good: {listed([_arm(arm, config) for arm in config.arms if arm.share > 0])}.",
    ]
    if learning:
        parts.append(
            f"{listed([f'“{arm.key}”' for arm in learning])} {'learns' if len(learning) == 1 else 'learn'} from "
            f"every one of {'its' if len(learning) == 1 else 'their'} decisions once, when its window of "
            f"{duration(reward.window_s)} is over: {_reward_words(reward)}."
        )
    else:
        parts.append(f"Nothing learns here. A decision's reward is final after {duration(reward.window_s)}.")
    for name, arms in lineages(config.arms).items():
        quoted = listed([f"“{arm}”" for arm in arms])
        parts.append(f"{quoted} are lineages of “{name}”: results also say what that way of learning does in any run.")
    return " ".join([*parts, *_verdict(config)])


def _chooses(config: ExperimentConfig) -> str:
    spec, actions = config.composition, config.all_actions()
    if spec is None and config.lists is not None:
        among = f"the {plural(len(actions), 'action')}" if actions else "the actions that your app sends with each call"
        of = f"a list of {plural(config.lists.positions, 'different action')}"
        return f"answers with {of} from {among}, one position after the other"
    if spec is None:
        return f"chooses among {plural(len(actions), 'action') if actions else 'the actions that your app sends with each call'}"
    slots = listed([slot.name for slot in spec.slots])
    nothing = ", or says nothing" if spec.allow_nothing else ""
    return f"composes a message of {slots}, in one of {plural(len(spec.combinations), 'combination')}{nothing}"


def about_people(config: ExperimentConfig) -> str:
    """What the definition says about people: messages, limits, consent, and what is kept; empty: nothing."""
    return " ".join(people_words.sentences(config))


def _arm(arm: ArmSpec, config: ExperimentConfig) -> str:
    share = percent(arm.share, 0 if abs(arm.share * 100 - round(arm.share * 100)) < ROUNDING else 1)
    role = ", the control that others are compared with" if arm.key == config.control_arm else ""
    kind = arm.policy["type"]
    what = f"every {noun_of(config)} equally often"
    if kind == "fixed":
        action = apart(str(arm.policy["action"]))
        what = f"always “{action}”" if config.lists is None else f"“{action}” first and then any other equally often"
    elif kind == "first_action":
        what = FIRST
    elif kind == "bandit":
        what = FIRST + ", which is imitated until it is switched on" if arm.apprentice else LEARNED
    return f"{share} get {what} (arm “{arm.key}”{role})"


LIST_REWARDS = {
    "position": "Your app reports what each position earned",
    "list": "Your app reports what the whole list earned, for each of its positions",
}


def _list_words(config: ExperimentConfig) -> list[str]:
    """How lists are rewarded; nothing for single actions."""
    return (
        []
        if config.lists is None
        else [f"{LIST_REWARDS[config.lists.reward]}; each position is a decision of its own."]
    )


def _reward_words(reward: RewardSpec) -> str:
    return (
        f"several reported rewards {AGGREGATIONS[reward.aggregation]}, and a decision without any counts as "
        f"{number(reward.default)}"
    )


ON_CROSSED = {
    "fall_back": "its fallback decides, if it has one",
    "stop_arm": "the control gets its share",
    "pause": "the experiment pauses",
    "tell": "nothing is changed",
}


def _verdict(config: ExperimentConfig) -> list[str]:
    rule = config.decision_rule
    metrics = [metric for metric in config.all_metrics() if metric.role == "primary"]
    names = listed([_better(metric) for metric in metrics])
    sentences = [
        f"A verdict comes once every arm has {plural(rule.min_units, 'user')}"
        + (f" and {_days(rule.min_days)} have passed" if rule.min_days else "")
        + f": ship an arm when it is shown to be better than the control on {names}, accepting a false alarm in "
        f"{percent(rule.alpha, 0 if rule.alpha * 100 == round(rule.alpha * 100) else 1)} of experiments without a difference."
    ]
    guardrails = [metric for metric in config.all_metrics() if metric.role == "guardrail"]
    if guardrails:
        sentences.append(
            f"It says stop when an arm makes {listed([metric.name or metric.key for metric in guardrails])} worse."
        )
        sentences += [
            f"When an arm crosses {metric.name or metric.key}, {ON_CROSSED[metric.on_crossed]}."
            for metric in guardrails
        ]
    if rule.max_days is not None:
        sentences.append(f"After {_days(rule.max_days)} it says stop, whatever is shown.")
    return sentences


def _better(metric: MetricSpec) -> str:
    return f"{metric.name or metric.key} ({'higher' if metric.direction == 'increase' else 'lower'} is better)"


def _days(days: float) -> str:
    return f"{number(days)} day{'' if days == 1 else 's'}"


def worked(reward: RewardSpec, values: list[float]) -> list[str]:
    """A worked example of one decision's reward."""
    example: Worked = work_out(reward, values)
    window = duration(reward.window_s)
    lines = []
    if example.refused:
        refused = listed([number(value) for value in example.refused])
        lines.append(f"{refused} would be refused: a report must be from {number(reward.min)} to {number(reward.max)}.")
    if example.taken:
        taken = listed([number(value) for value in example.taken])
        many = "" if len(example.taken) == 1 else f"They {AGGREGATIONS[reward.aggregation]}: "
        lines.append(
            f"Your app reports {taken} within {window} of a decision. {many}{'t' if many else 'T'}he decision counts as "
            f"{number(example.joined)}."
        )
    lines.append(f"Your app reports nothing within {window}. The decision counts as {number(example.nothing)}.")
    lines.append(f"A report that comes after {window} is kept and marked late; nothing is learned from it.")
    return lines


def warnings(config: ExperimentConfig) -> list[str]:
    """Warnings about settings that are allowed, but mostly a mistake."""
    lines = []
    learning = any(arm.policy["type"] == "bandit" for arm in config.arms)
    if len([arm for arm in config.arms if arm.share > 0]) < 2:
        lines.append("Only one arm gets users: there is nothing to compare it with.")
    if config.control_arm is None:
        lines.append(f"No control is chosen: others will be compared with the first arm, {config.arms[0].key}.")
    rule, arms = config.decision_rule, len([arm for arm in config.arms if arm.share > 0])
    if rule.planned_units is not None and rule.planned_units < rule.min_units * arms:
        lines.append(
            f"You plan {plural(rule.planned_units, 'user')}, but the rule asks for {number(rule.min_units)} in each of "
            f"{plural(arms, 'arm')}, {number(rule.min_units * arms)} in all: it gives no verdict at the end of your plan."
        )
    actions = config.all_actions()
    if not actions:
        lines.append("There are no actions here: every call of your app has to send its own.")
    elif config.lists is not None and config.lists.positions > len(actions):
        lines.append(
            f"{plural(len(actions), 'action')} cannot fill {plural(config.lists.positions, 'position')}: "
            "the lowest positions stay empty."
        )
    elif len(actions) == 1:
        lines.append(f"With one {noun_of(config)} there is nothing to choose.")
    if learning and not any(action.features for action in actions):
        lines.append(
            "The actions have no features. Learning works by their ids; features of an action, sent with each call, mostly "
            "help most (what this user did with this action before)."
        )
    if not config.hypothesis.strip():
        lines.append("No hypothesis is written down. Those who read the results later will ask for it.")
    return lines
