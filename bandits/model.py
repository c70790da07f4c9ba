"""Models of every kind of learner: bytes in, a distribution or better bytes out.

`bandits.learner.auto` knows the learners that Loopwise adds, `bandits.learner.vw_learner` Vowpal Wabbit's algorithms with what
Loopwise adds to them, `bandits.vw_model` these alone: models that began so go on so. The same inputs give the same bytes.
A policy with `features_off` is hidden these fields here, for learning and for deciding alike.
"""

from collections.abc import Iterable, Sequence

from bandits import vw_model
from bandits.distribution import FloatArray, mix_floor, uniform
from bandits.diversity import diversified
from bandits.encoding import hide
from bandits.examples import Example
from bandits.exposure import Counts, constrained
from bandits.learner import auto, vw_learner
from bandits.learner.predictor import AutoPredictor
from bandits.learner.state import MOST_ROWS, State
from bandits.learner.vw_learner import ScaledPredictor
from bandits.policy import BanditPolicy, FirstActionPolicy, FixedPolicy, Policy, UniformPolicy
from bandits.vw_model import VwPredictor


class Predictor:
    """A model of any kind loaded for serving. It is thread-safe and never learns; no call changes a later answer.

    Raises `ModelError` when the bytes are damaged or do not fit the policy.
    """

    def __init__(self, model_bytes: bytes, policy: BanditPolicy) -> None:
        self._model = _load(model_bytes, policy)
        self._off = policy.features_off

    @property
    def examples(self) -> int:
        """Decisions that the model has learned from, each counted once."""
        return self._model.examples

    @property
    def memory_bytes(self) -> int:
        """Estimate of the memory that the model takes."""
        return self._model.memory_bytes

    def distribution(self, shared_line: str, action_lines: Sequence[str], floor: float) -> FloatArray:
        """The distribution over the lines with the floor mixed in, shape (K,). Raises `ValueError` on unusable lines."""
        return self._model.distribution(hide(shared_line, self._off), action_lines, floor)

    def own(self, shared_line: str, action_lines: Sequence[str]) -> list[list[float]]:
        """Every distribution that the model gives before the floor: a single one, or one per slot for slates."""
        return self._model.own(hide(shared_line, self._off), action_lines)

    def close(self) -> None:
        """Frees memory. Further calls do nothing."""
        self._model.close()


def _load(model_bytes: bytes, policy: BanditPolicy) -> AutoPredictor | VwPredictor | ScaledPredictor:
    if policy.rebuilds:
        return AutoPredictor(model_bytes, policy)
    return VwPredictor(model_bytes, policy) if _is_plain(model_bytes, policy) else vw_learner.load(model_bytes, policy)


def _is_plain(model_bytes: bytes, policy: BanditPolicy) -> bool:
    """Whether it is a model of Vowpal Wabbit alone, which began before `bandits.learner.vw_learner`."""
    return not policy.scaling and not vw_learner.is_framed(model_bytes)


def initial_model(policy: BanditPolicy) -> bytes:
    """The bytes of an untrained model of this policy: the parent of a lineage's first round."""
    return auto.untrained() if policy.rebuilds else vw_learner.initial_model(policy)


def learn(parent_bytes: bytes, policy: BanditPolicy, examples: Iterable[Example], passes: int = 1) -> bytes:
    """The child model: the parent after the examples in their order, `passes` times. The same bytes every time.

    A policy with `rebuilds` chooses the passes itself: several from an untrained parent, which is a rebuild. All examples
    are checked first, so that a bad example changes nothing. Without examples the parent's bytes return. Raises
    `TrainingDataError` (an example) and `ModelError` (the parent).
    """
    examples = _seen(policy, examples)
    if policy.rebuilds:
        return auto.learn(parent_bytes, policy, examples)
    if _is_plain(parent_bytes, policy):
        return vw_model.learn(parent_bytes, policy, examples, passes)
    return vw_learner.learn(parent_bytes, policy, examples, passes)


def learn_from_nothing(
    policy: BanditPolicy, examples: Sequence[Example], incumbent: str, earlier: int, pinned: str = ""
) -> bytes:
    """A model of a policy with `rebuilds` after a log, whatever it knew before. Raises `TrainingDataError` like `learn`.

    :param incumbent: the candidate that served; it serves on unless another is clearly better.
    :param earlier: decisions that count as learned and are not among the examples.
    :param pinned: the candidate that a person pinned; "" for none.
    """
    return auto.learn(auto.untrained(incumbent, earlier, pinned), policy, _seen(policy, examples))


def _seen(policy: BanditPolicy, examples: Iterable[Example]) -> Iterable[Example]:
    """Examples as the policy sees them."""
    if not policy.features_off:
        return examples
    return [example._replace(shared_line=hide(example.shared_line, policy.features_off)) for example in examples]


def learn_forward(untrained: bytes, policy: BanditPolicy, log: Sequence[Example], rounds: Sequence[int]) -> bytes:
    """The model after a log, learned as the policy would have learned if it had run: round by round, oldest first.

    :param untrained: the bytes of the model that it begins with; see `initial_model`.
    :param rounds: the number of examples in each round.
    """
    model, done = untrained, 0
    for size in rounds:
        done += size
        if size:
            model = learn_onwards(model, policy, log[:done], size)
    return model


def learn_onwards(parent_bytes: bytes, policy: BanditPolicy, log: Sequence[Example], new: int) -> bytes:
    """The child after the newest `new` examples of a log, then fitted from nothing if it wants to be, as the service does.

    :param log: what the parent and its ancestors learned, and then the new examples.
    """
    child = learn(parent_bytes, policy, log[len(log) - new :])
    known = describe(child, policy)
    if not known.get("wants_fit"):
        return child
    newest = log[-min(int(str(known["window"])), MOST_ROWS) :]
    return learn_from_nothing(policy, newest, str(known["served"]), len(log) - len(newest))


def describe(model_bytes: bytes, policy: BanditPolicy) -> dict[str, object]:
    """What a person should know of a model of a policy that scales its features; empty for other policies."""
    if policy.rebuilds:
        return State.from_bytes(model_bytes).describe()
    return {} if _is_plain(model_bytes, policy) else vw_learner.describe(model_bytes, policy)


def distribution(
    policy: Policy,
    predictor: Predictor | None,
    shared_line: str,
    action_lines: Sequence[str],
    action_ids: Sequence[str],
    above: Sequence[str] = (),
    *,
    counts: Counts | None = None,
) -> FloatArray:
    """The distribution over the eligible actions, shape (K,), in their order. Serving and audit both call this.

    Fixed: 1 on its action; uniform when that is not eligible. First action: 1 on the first one of them. Bandit: uniform
    while `predictor` is None (nothing learned yet), otherwise the model's distribution with the exploration floor mixed in.
    Both are moved away from what is like the actions `above` by its `diversity`, and then within the bounds of its
    `exposure`. With a policy `instead`, that one's but for a share of `probe`. Raises `ValueError` when there is no action
    or the lines and ids differ in number.

    :param above: encoded actions at earlier positions of the list.
    :param counts: of the window over which its `exposure` is a target.
    """
    if len(action_ids) != len(action_lines):
        raise ValueError(f"{len(action_lines)} action lines for {len(action_ids)} action ids")
    if not isinstance(policy, BanditPolicy):
        return _unlearned(policy, action_ids)
    if policy.instead is not None and not policy.probe:
        return _unlearned(policy.instead, action_ids)
    learned = uniform(len(action_ids))
    if predictor is not None:
        learned = predictor.distribution(shared_line, action_lines, policy.floor_at(predictor.examples))
    if policy.diversity and above:
        learned = diversified(learned, action_lines, above, policy.diversity)
    if policy.exposure is not None:
        learned = constrained(learned, action_lines, policy.exposure, counts)
    if policy.instead is None:
        return learned
    return mix_floor((1.0 - policy.probe) * _unlearned(policy.instead, action_ids) + policy.probe * learned, 0.0)


def _unlearned(policy: FixedPolicy | UniformPolicy | FirstActionPolicy, action_ids: Sequence[str]) -> FloatArray:
    """The distribution of a policy that does not learn, shape (K,). Raises `ValueError` when there is no action."""
    index = None
    if isinstance(policy, FixedPolicy) and policy.action in action_ids:
        index = action_ids.index(policy.action)
    elif isinstance(policy, FirstActionPolicy) and action_ids:
        index = 0
    if index is None:
        return uniform(len(action_ids))
    return mix_floor([float(place == index) for place in range(len(action_ids))], 0.0)
