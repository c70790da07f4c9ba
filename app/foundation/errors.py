"""The errors that callers of Loopwise can meet, as one tree; each becomes one RFC 9457 problem document.

    LoopwiseError
    +-- BadRequest            400  malformed JSON, duplicate keys, wrong shape of the whole body
    +-- Unauthorized          401  no key, or one that is not known
    +-- Forbidden             403  the key lacks the scope, or is bound to another experiment
    +-- NotFound              404  unknown experiment, decision, version
    +-- TooSlow               408  the body did not arrive in time
    +-- Conflict              409  same id with another body, paused experiment, a forbidden change
    +-- TooLarge              413  body over the limit
    +-- Unprocessable         422  well-formed, but a value is not possible; ``fields`` says which
    +-- TooManyRequests       429  more is waiting than the process takes
    +-- Unavailable           503  the database did not answer in time; safe to retry with the same id

A message says what is wrong and what to change. It never carries a secret, a stack or SQL. ``code`` is stable and
explained in ``CODES``; a test compares the two.
"""

from collections.abc import Callable
from types import MappingProxyType
from typing import ClassVar, NamedTuple

from app.foundation.words import Params, api_sentence, page_sentence, plain

CODES = {
    "malformed_json": "The body is not valid JSON. NaN, Infinity and numbers beyond float64 are not JSON either.",
    "malformed_gzip": "The body says that it is gzip, and is not, or is cut off. Send it again, or unpacked.",
    "unknown_encoding": "The body is packed in a way that is not read. Send gzip, or the plain body.",
    "duplicate_key": "One object of the body has the same key twice. Keep one of them.",
    "too_deep": "The body nests deeper than LOOPWISE_MAX_JSON_DEPTH. Flatten it.",
    "nul_character": "A text holds the character NUL, which PostgreSQL cannot store. Remove it.",
    "not_an_object": "The body is a JSON string where an object is needed.",
    "invalid_value": "A value is missing, of the wrong type or out of range; `errors` names each with what to give.",
    "invalid_key": "No API key, or not a valid one. `loopwise keys create` makes one; send it as `Authorization: Bearer`.",
    "missing_scope": "The API key is valid but lacks the scope that this route needs. Make one with that scope.",
    "wrong_origin": "A publishable key works only on the web pages (origins) that it was made for.",
    "migration_failed": "The database could not be brought to the newest schema. The message says why.",
    "thread_stuck": "A part of this process hangs; the process ends itself and is started again. Send the request again.",
    "secret_key_needed": "The route is not for web pages. Call it from a server, with a key that was made without origins.",
    "unit_token_needed": "A page must prove for which unit it speaks. Its server gets a token by `POST /v1/units/token`.",
    "wrong_experiment": "The API key is bound to one experiment, and this is another.",
    "key_not_bound": "The Personalizer routes need a key made with `--experiment KEY`.",
    "unknown_experiment": "There is no experiment with that key.",
    "unknown_decision": "There is no decision with that id. A decision that was answered with 503 may not have been stored.",
    "unknown_slot": "The event has no slot with that id, or no action was left for it. Use the ids of the rank call.",
    "not_in_loopwise": "Azure Personalizer had this and Loopwise has not. The message says what to use instead.",
    "file_refused": "A file cannot be imported; the sentence names the line and what to fix. Nothing was stored.",
    "unknown_candidate": "The experiment has no candidate policy with that key. `GET .../candidates` lists them.",
    "evaluation_exists": "Your own ids of evaluations are unique within an experiment. Choose another, or delete the first.",
    "unknown_evaluation": "The experiment has no evaluation with that id. `GET .../evaluations` lists them.",
    "privacy_budget_spent": "The private reports of an experiment share one budget of epsilon, and too little is left.",
    "privacy_not_installed": "Private reports need the extra `privacy`: pip install loopwise[privacy].",
    "unknown_erasure": "There is no erasure with that id. `POST /v1/erasure` answers with it.",
    "unknown_version": "The arm has no model version with that number. `GET /v1/experiments/{key}/policy` lists them.",
    "unknown_key": "There is no valid API key with that id. `loopwise keys list` shows them.",
    "unknown_user": "There is no user with that name. `loopwise users list` shows them.",
    "user_exists": "A user with this name exists. Choose another name.",
    "last_admin": "At least one administrator has to remain. Make somebody else an administrator first.",
    "invalid_link": "This one-time link was used or has expired. Ask an administrator for a new one.",
    "sign_in_failed": "The name and the password do not match, or the user may not sign in.",
    "too_many_attempts": "Too many sign-ins failed, or too many at once. Wait as long as the message says.",
    "not_signed_in": "Sign in to see this page.",
    "missing_role": "Your role does not allow this. Viewers read, analysts evaluate, editors run experiments, "
    "administrators do the rest.",
    "form_expired": "This form is older than your last sign-in. Reload the page and submit it again.",
    "unknown_page": "There is no such page.",
    "unknown_draft": "There is no such draft: it was discarded, or made into an experiment.",
    "draft_changed": "Somebody else saved the draft in the meantime. Both versions are shown; choose what to keep.",
    "experiment_changed": "The experiment changed after you began this change. Review it and try again.",
    "experiment_exists": "An experiment with this key exists. Choose another key.",
    "approval_by_same": "Another person has to approve this. Ask a second editor.",
    "approval_needed": "Approvals are on. Ask for this on the experiment's page, where a second person approves it.",
    "approval_stale": "The experiment changed since this was asked for. Decline the request and ask again.",
    "approval_waits": "The same step waits for an approval already. Withdraw that request first.",
    "no_approval": "No such request waits. It was decided or withdrawn.",
    "concluded": "A concluded experiment cannot change. Create another one.",
    "already_ran": "This part of an experiment is fixed once it has run, because its log depends on it.",
    "unknown_arm": "The experiment has no arm of that name.",
    "unknown_incident": "The experiment has no incident of that number.",
    "unknown_suspect": "No matching decisions are held out of learning. `GET /v1/experiments/{key}/quarantine` lists what is.",
    "apprentice_unchanged": "The arm is an apprentice already, or is none already, so nothing was changed.",
    "apprentice_decides": "The arm is an apprentice: the first action of each call is shown. Switch it on first.",
    "no_fallback": "The arm has no fallback: it does not learn, or the control learns, too, and the arm names none.",
    "fallback_unchanged": "This already decides, so nothing was changed.",
    "fallback_decides": "The fallback of the incident's arm still decides. Let the arm decide first.",
    "nothing_to_undo": "Nothing was done about the incident, or it was undone already.",
    "wrong_status": "The experiment's status does not allow this step.",
    "archive_running": "A running experiment cannot be archived. Pause or conclude it first.",
    "not_a_draft": "Only an experiment that was never started can be deleted, because a log has to stay. Archive it instead.",
    "not_running": "Decisions are made only while an experiment is running. Start a draft or a paused one; a concluded one "
    "decides nothing any more, so show a default of your own.",
    "nothing_promoted": "No arm is ramping or shipped, so there is nothing to roll back or advance.",
    "no_ramp": "No arm of the experiment is ramping.",
    "arm_has_learned": "The arm has learned already.",
    "already_an_arm": "The candidate is an arm of the experiment already.",
    "no_step_back": "The challenger has no step back from where it stands: an arm that has decided stays, without a share.",
    "already_promoted": "An arm is ramping or shipped. Roll back first.",
    "decision_id_ambiguous": "Several experiments have a decision with that id, and the key may use them. Name the `experiment`.",
    "targeting_key_missing": "A flag is evaluated for somebody: the context needs a `targetingKey`.",
    "decision_id_reused": "This decision_id was used with a different body. Use a new id for a new decision.",
    "feedback_id_reused": "This feedback_id was used for a different answer. Use a new id for each answer.",
    "feedback_limit": "The unit gave as many answers as the feedback schema takes within its window. Wait for Retry-After.",
    "reward_limit": "The unit got as many rewards as the experiment takes within its window. Wait for Retry-After.",
    "event_id_reused": "This event_id was used for a different event. Use a new id for each event.",
    "unknown_trigger": "There is no trigger with that key. `GET /v1/triggers` lists them.",
    "trigger_exists": "A trigger with this key exists. Choose another key.",
    "trigger_changed": "Somebody changed the trigger after you began this change. Review it and try again.",
    "dry_run_too_large": "A dry run reads the stored events of seven days, and these are too many. Choose a rarer event.",
    "unknown_webhook": "There is no webhook with that key. `GET /v1/webhooks` lists them.",
    "webhook_exists": "A webhook with this key exists. Choose another key.",
    "webhook_changed": "Somebody changed the webhook after you began this change. Review it and try again.",
    "webhook_in_use": "A trigger delivers to the webhook, or notices go to it. Change or delete these first.",
    "unknown_saved_metric": "The library has no metric with that key. `GET /v1/saved-metrics` lists them.",
    "unknown_receiver": "There is no receiver of notices with that key. `GET /v1/notices/receivers` lists them.",
    "receiver_exists": "A receiver with this key exists. Choose another key.",
    "reader_exists": "PostgreSQL has a role with this name. Choose another name.",
    "no_mail_server": "LOOPWISE_SMTP_URL is empty, so no e-mail can be sent. Give a webhook, or set it.",
    "unknown_delivery": "There is no delivery with that id, or no message that is held under that decision_id.",
    "delivery_held": "A message that is held for its unit is fetched, not sent: there is nothing to replay.",
    "reward_id_reused": "This reward_id was used with a different value. Use a new id for each reward.",
    "too_many_calls": "Web pages call too often with a publishable key, from one address or for one unit. Wait for Retry-After.",
    "body_too_slow": "The body did not arrive in time. Send it again over a better connection, or in smaller parts.",
    "request_entity_too_large": "The body is larger than LOOPWISE_MAX_BODY_BYTES, or LOOPWISE_BROWSER_BODY_BYTES from web pages.",
    "too_many_rewards": "A decision takes 20 rewards from web pages, and 1,000 in all. Add them up before you send them.",
    "version_failed_checks": "That model version did not pass its checks and cannot serve.",
    "version_erased": "That model version was forgotten with a unit that it had learned from, and cannot serve.",
    "queue_full": "More rows wait to be stored than one process takes. Send it again later, and more slowly.",
    "overloaded": "More requests wait than can be answered in time, so this one was refused at once. Wait for Retry-After.",
    "configuration_changing": "The experiment changed again and again while this decision was made. Send it again.",
    "database_unavailable": "The database did not answer in time. Send the same request again: with the same ids it is safe.",
    "world_refused": "That world cannot be played. The message names what is wrong; docs/simulate.md explains the fields.",
    "no_database": "DATABASE_URL is empty. Start `loopwise up`, or name a PostgreSQL server.",
    "internal_error": "Loopwise failed. The server log has the details.",
}  # what each code means and how to fix it; the page /docs/errors shows it


class FieldError(NamedTuple):
    """One wrong value in a request."""

    path: str  # where, as a JSON pointer ("/actions/3/id"); "" is the whole body
    code: str  # what is wrong, a key of ``codes.WORDS``
    params: Params = MappingProxyType({})  # the values that the code's sentences name

    @property
    def message(self) -> str:
        """What is wrong and what to give instead, for a caller of the API."""
        return api_sentence(self.code, self.params)

    def on_page(self, write: Callable[[float], str] = plain) -> str:
        """The same for somebody at a form; ``write`` is how its field shows numbers."""
        return page_sentence(self.code, self.params, write)


class LoopwiseError(Exception):
    """Base of every error that a caller may see."""

    status: ClassVar[int] = 500
    title: ClassVar[str] = "Loopwise failed"

    def __init_subclass__(cls, *, status: int | None = None, title: str | None = None) -> None:
        """Without a status or a title a class has those of its base."""
        cls.status, cls.title = status or cls.status, title or cls.title

    def __init__(self, code: str, detail: str, fields: tuple[FieldError, ...] = (), *, retry_after_s: int = 1) -> None:
        super().__init__(detail)
        self.code = code  # stable, snake_case
        self.detail = detail  # a sentence or two
        self.fields = fields
        self.retry_after_s = retry_after_s  # when to try again, where that helps: 429 and 503


class BadRequest(LoopwiseError, status=400, title="The request cannot be read"): ...


class Unauthorized(LoopwiseError, status=401, title="A valid API key is needed"): ...


class Forbidden(LoopwiseError, status=403, title="This API key may not do that"): ...


class NotFound(LoopwiseError, status=404, title="There is no such thing"): ...


class TooSlow(LoopwiseError, status=408, title="The request did not arrive in time"): ...


class Conflict(LoopwiseError, status=409, title="The request contradicts what is stored"): ...


class TooLarge(LoopwiseError, status=413, title="The request is too large"): ...


class Unprocessable(LoopwiseError, status=422, title="A value in the request is not possible"): ...


class TooManyRequests(LoopwiseError, status=429, title="Too much is waiting"): ...


class Unavailable(LoopwiseError, status=503, title="The log cannot be written or read now"): ...


def within(error: LoopwiseError, pointer: str) -> LoopwiseError:
    """The same error, of one item of a batch: ``pointer`` is the item's JSON pointer."""
    fields = tuple(field._replace(path=f"{pointer}{field.path}") for field in error.fields)
    return type(error)(error.code, f"{pointer}: {error.detail}", fields, retry_after_s=error.retry_after_s)


def check_version(code: str, newest: int, began_from: int | None, *, saved_by: str = "") -> None:
    """Refuse a change that began from an older version than the newest, so that nobody overwrites what they did not see.

    :param code: of the error, such as ``trigger_changed``.
    :param began_from: null: the caller does not mind.
    :param saved_by: who made the newest version, where that is known.
    :raises Conflict: a newer version was saved in the meantime.
    """
    if began_from not in (None, newest):
        kind, saved = code.removesuffix("_changed"), f", saved by {saved_by}" if saved_by else ""
        message = (
            f"The {kind} is at version {newest}{saved}; this change began from {began_from}. Nothing was overwritten."
        )
        raise Conflict(code, message)
