"""Decide: choose an action, store the choice durably with the distribution it was drawn from, answer.

The draw is a keyed hash of the decision id, so the same id draws the same; the stored row is the answer, so a retry gets
it again. What is not known to be stored is never answered.
"""

import hashlib
from typing import Any, NamedTuple

import orjson

from app.errors import Conflict, FieldError, Forbidden, LoopwiseError, Unavailable, within
from app.services import metrics
from app.services.experiment_config import action_problems, invalid
from app.services.group_commit import Handler
from app.services.ids import new_id
from app.services.keys import Caller
from app.services.lookup import unknown_experiment
from app.services.message_templates import NotFor, render
from app.services.requests import DecideRequest, MessageRequest
from app.services.runtime import Runtime
from app.services.seal import seal
from app.services.snapshot import Candidates, Experiment, compile_actions
from app.store import decisions, experiments
from app.store.decisions import NewDecision
from app.store.engine import AnyRow, transaction
from bandits import distribution as draws
from bandits.encoding import ENCODING_VERSION, FeatureError, encode_context
from bandits.model import distribution
from bandits.policy import BanditPolicy

ATTEMPTS = 5  # each needs another change of the experiment's configuration within milliseconds


class Decided(NamedTuple):
    """One answer."""

    answer: dict[str, Any]
    created: bool  # False: a retry got the stored answer
    message: dict[str, str] | None  # what is said, when a message was asked for; null: nothing


class Asked(NamedTuple):
    """One request with its identity."""

    request: DecideRequest
    body_hash: str
    decision_id: str
    actions: Any  # the call's candidates as they came, or null


class _Plan(NamedTuple):
    """A decision before it is stored."""

    row: NewDecision
    payload: Any  # of the chosen action, under the configuration that it was decided with
    experiment: str  # key


def asked(request: DecideRequest, body: Any) -> Asked:
    """Name a request: its id, and the hash that tells a retry from another request under the same id.

    :param body: the request as parsed JSON; the order of keys does not matter.
    """
    body_hash = hashlib.sha256(orjson.dumps(body, option=orjson.OPT_SORT_KEYS)).hexdigest()
    return Asked(request, body_hash, request.decision_id or new_id(), body.get("actions"))


def decide(runtime: Runtime, caller: Caller, requests: list[Asked]) -> list[Decided]:
    """Answer all requests in one commit, or none.

    :raises LoopwiseError: see ``app.errors``; then nothing was stored.
    """
    _refuse_twins(requests)
    answers: dict[int, Decided] = {}
    for _ in range(ATTEMPTS):
        planned = _plan_all(runtime, caller, requests, answers)
        if planned:
            stored, known = runtime.log_writer.submit(HANDLER, [plan.row for plan in planned.values()])
            _settle(runtime, requests, planned, stored, known, answers)
        if len(answers) == len(requests):
            return [answers[index] for index in range(len(requests))]
        runtime.snapshots.refresh()  # the experiment changed since this process last looked
    raise Unavailable("configuration_changing", "The experiment keeps changing; send the same request again.")


def find_experiment(runtime: Runtime, caller: Caller, key: str) -> Experiment:
    """The experiment of that key, if the caller may use it.

    :raises NotFound: there is none.
    :raises Forbidden: the caller's key is bound to another.
    """
    experiment = runtime.snapshots.current.experiments.get(key)
    if experiment is None or experiment.status != "running":  # another process may have started it a moment ago
        experiment = runtime.snapshots.refresh().experiments.get(key)
    if experiment is None:
        raise unknown_experiment(key)
    if caller.experiment_id not in (None, experiment.id):
        raise Forbidden("wrong_experiment", "This API key is bound to another experiment.")
    return experiment


def experiment_of(runtime: Runtime, experiment_id: int) -> Experiment:
    """The experiment of a stored decision, also when another process made it a moment ago."""
    known = runtime.snapshots.current.by_id.get(experiment_id)
    return known or runtime.snapshots.refresh().by_id[experiment_id]


def _refuse_twins(requests: list[Asked]) -> None:
    seen: dict[str, int] = {}
    for index, item in enumerate(requests):
        first = seen.setdefault(item.decision_id, index)
        if first != index:
            message = f"the same decision_id stands at /decisions/{first}; ids are unique within a batch"
            raise invalid((FieldError(f"/decisions/{index}/decision_id", message),))


def _plan_all(runtime: Runtime, caller: Caller, requests: list[Asked], answers: dict[int, Decided]) -> dict[int, _Plan]:
    planned = {}
    for index, item in enumerate(requests):
        if index in answers:
            continue
        experiment = find_experiment(runtime, caller, item.request.experiment)
        try:
            planned[index] = _plan(runtime, caller, experiment, item)
        except LoopwiseError as error:
            known = _stored_answer(runtime, item) if item.request.decision_id else None
            if known is None:
                raise (error if len(requests) == 1 else within(error, f"/decisions/{index}")) from None
            answers[index] = known
    return planned


def _plan(runtime: Runtime, caller: Caller, experiment: Experiment, item: Asked) -> _Plan:
    """Everything of a decision but its storage."""
    request = item.request
    if experiment.status != "running":
        raise Conflict("not_running", f"Experiment {experiment.key!r} is {experiment.status}; start it first.")
    candidates, ineligible = _eligible(experiment, request)
    messages: dict[str, dict[str, str] | None] = {}
    if isinstance(request, MessageRequest):
        candidates, ineligible, messages = _sayable(experiment, request, candidates, ineligible or [])
    arm = experiment.arms[draws.assign(experiment.salt, request.unit_id, experiment.shares)]
    version, sha256, predictor = 0, None, None
    if isinstance(arm.policy, BanditPolicy):
        serving = runtime.snapshots.current.serving[experiment.id, arm.key]
        version, sha256, predictor = runtime.models.get(serving, arm.policy)
    try:
        shared = encode_context(request.context)
    except FeatureError as error:
        raise invalid((FieldError(f"/context{error.path}", error.message),)) from None
    chances = distribution(arm.policy, predictor, shared, candidates.lines, candidates.ids).tolist()
    draw = draws.draw(experiment.salt, item.decision_id)
    chosen = draws.sample(chances, draw)
    row = NewDecision(
        id=item.decision_id,
        experiment_id=experiment.id,
        config_version=experiment.config_version,
        key_id=caller.key_id,
        body_hash=item.body_hash,
        unit_id=request.unit_id,
        arm=arm.key,
        policy_version=version,
        policy_sha256=sha256,
        actions=item.actions,
        eligible=candidates.ids,
        ineligible=ineligible,
        distribution=chances,
        chosen=chosen,
        propensity=chances[chosen],
        draw=draw,
        context=request.context,
        encoding_version=ENCODING_VERSION,
        message=messages.get(candidates.ids[chosen]),
        state="deferred" if request.defer_activation else "active",
        seal="",
        window_s=experiment.config.reward.window_s,
    )
    row = row._replace(seal=seal(runtime.settings.secret_key, row))
    return _Plan(row, candidates.payloads[candidates.ids[chosen]], experiment.key)


def _eligible(experiment: Experiment, request: DecideRequest) -> tuple[Candidates, list[dict[str, str]] | None]:
    if request.actions is None:
        candidates = experiment.candidates
    else:
        problems = action_problems(request.actions)
        if problems:
            raise invalid(tuple(problems))
        candidates = compile_actions(request.actions)
    ineligible = None
    if request.excluded_actions:
        excluded = set(request.excluded_actions)
        ineligible = [{"id": name, "reason": "excluded"} for name in candidates.ids if name in excluded]
        kept = [
            (name, line) for name, line in zip(candidates.ids, candidates.lines, strict=True) if name not in excluded
        ]
        candidates = Candidates([name for name, _ in kept], [line for _, line in kept], candidates.payloads)
    if not candidates.ids:
        message = "no action is eligible: give actions in the call or the experiment, and exclude fewer"
        raise invalid((FieldError("/actions", message),))
    return candidates, ineligible


def _sayable(
    experiment: Experiment, request: MessageRequest, candidates: Candidates, ineligible: list[dict[str, str]]
) -> tuple[Candidates, list[dict[str, str]] | None, dict[str, dict[str, str] | None]]:
    """The candidates that have a message for this person, before the draw; why the others have none; what each says."""
    if request.actions is not None:
        raise invalid((FieldError("/actions", "messages come from the experiment's own actions; leave this out"),))
    templates = {action.id: action.template for action in experiment.config.actions}
    messages: dict[str, dict[str, str] | None] = {}
    reasons = []
    for name in candidates.ids:
        template = templates[name]
        if template is None:
            messages[name] = None
        elif request.channel not in (None, template.channel):
            reasons.append({"id": name, "reason": f"its channel is {template.channel}"})
        else:
            try:
                messages[name] = render(template, request.locale, request.variables)._asdict()
            except NotFor as reason:
                reasons.append({"id": name, "reason": str(reason)})
    if not messages:
        words = "; ".join(f"{one['id']}: {one['reason']}" for one in reasons[:5])
        raise invalid((FieldError("/variables", f"no variant has a message for this person: {words}"),))
    kept = [(name, line) for name, line in zip(candidates.ids, candidates.lines, strict=True) if name in messages]
    sayable = Candidates([name for name, _ in kept], [line for _, line in kept], candidates.payloads)
    return sayable, [*ineligible, *reasons] or None, messages


def _settle(
    runtime: Runtime,
    requests: list[Asked],
    planned: dict[int, _Plan],
    stored: set[str],
    known: dict[str, AnyRow],
    answers: dict[int, Decided],
) -> None:
    """Turn what the writer found into answers; what is neither new nor known must be decided again."""
    for index, plan in planned.items():
        row = plan.row
        if row.id in stored:
            answers[index] = Decided(_answer(row, plan.payload), True, row.message)
            metrics.count_decision(plan.experiment, row.arm, row.propensity)
        elif row.id in known:
            answers[index] = _retried(runtime, requests[index], known[row.id])


def _stored_answer(runtime: Runtime, item: Asked) -> Decided | None:
    """The answer that a client's own id has already; null when it has none."""
    with transaction(runtime.engine) as connection:
        row = decisions.find(connection, item.decision_id)
    return None if row is None else _retried(runtime, item, row)


def _retried(runtime: Runtime, item: Asked, row: AnyRow) -> Decided:
    if row.body_hash != item.body_hash:
        message = f"decision_id {row.id!r} was used with another request; use a new id, or send the same body."
        raise Conflict("decision_id_reused", message)
    with transaction(runtime.engine) as connection:
        config = experiments.config_of(connection, row.experiment_id, row.config_version)
        state = decisions.confirm(connection, row.id) or row.state
        if state == "unanswered":  # its caller was told 503 and asks again: now it counts
            open_window(connection, experiment_of(runtime, row.experiment_id), row)
    actions = config["actions"] if row.actions is None else row.actions
    name = row.eligible[row.chosen]
    payload = next(action.get("payload") for action in actions if action["id"] == name)
    return Decided(_answer(row, payload), False, row.message)


def open_window(connection: Any, experiment: Experiment, row: AnyRow) -> bool:
    """Start the reward window of a decision that waited for it; False when it was open already."""
    window_s = experiment.config.reward.window_s
    return decisions.activate(connection, row.id, from_states=["deferred", "unanswered"], window_s=window_s)


def _answer(row: NewDecision | AnyRow, payload: Any) -> dict[str, Any]:
    others = sorted((i for i in range(len(row.eligible)) if i != row.chosen), key=lambda i: -row.distribution[i])
    return {
        "decision_id": row.id,
        "arm": row.arm,
        "action": {"id": row.eligible[row.chosen], "payload": payload},
        "propensity": row.propensity,
        "ranking": [{"id": row.eligible[i], "probability": row.distribution[i]} for i in (row.chosen, *others)],
        "policy_version": row.policy_version,
        "ineligible": row.ineligible or [],
    }


def _store(connection: Any, jobs: list[list[NewDecision]]) -> list[Any]:
    """The group commit's handler: per job the ids that are new and the rows that were there before."""
    rows: dict[str, NewDecision] = {}
    for job in jobs:
        for row in job:
            rows.setdefault(
                row.id, row
            )  # two requests with one id in one batch: the first is stored, the second finds it
    stored = decisions.insert_new(connection, list(rows.values()))
    missing = [row.id for job in jobs for row in job if row.id not in stored or rows[row.id] is not row]
    known = decisions.find_many(connection, missing) if missing else {}
    return [({row.id for row in job if row.id in stored and rows[row.id] is row}, known) for job in jobs]


def _unanswered(connection: Any, rows: list[NewDecision]) -> None:
    decisions.mark_unanswered(connection, [row.id for row in rows])


HANDLER = Handler(_store, _unanswered, one_statement=True)
