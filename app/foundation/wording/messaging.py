"""Codes of wrong values in triggers, events, webhooks, and receivers of notices."""

from typing import Final

from app.foundation.wording.kinds import Words

MESSAGING: Final[dict[str, Words]] = {
    "trigger_exists": Words("there is a trigger {key!r} already; choose another key"),
    "trigger_key_kept": Words("a trigger keeps its key; create another one"),
    "webhook_exists": Words("there is a webhook {key!r} already; choose another key"),
    "no_such_experiment": Words("there is no experiment with this key"),
    "no_such_webhook": Words("there is no webhook with this key"),
    "experiment_without_message": Words("this experiment has no message: give one of its actions a template"),
    "trigger_variable_missing": Words(
        "a message of this experiment needs the variable {variable!r}; name the event's property that holds it",
        "add the variable {variable}: a message of this experiment needs it",
    ),
    "trigger_never_supplies": Words(
        "the trigger {trigger!r} never supplies {variable!r}, which a message needs now; change the trigger first, give the "
        "text a default, or leave `required` out",
        "the trigger {trigger} never supplies {variable}, which a message needs now. Change the trigger first, or give the text "
        "a default",
    ),
    "cadence_without_wait": Words("each action's payload must carry wait_s, seconds from 0 to 30 days"),
    "cadence_action_without_wait": Words(
        "each action's payload must carry wait_s, seconds from 0 to 30 days; {action!r} does not"
    ),
    "property_or_profile": Words("give either property or profile"),
    "in_takes_list": Words('"in" takes a list of 1 to 100 values'),
    "exists_takes_bool": Words('"exists" takes true or false', '"exists" takes yes or no'),
    "takes_one_value": Words('"{relation}" takes one value, not a list'),
    "takes_number_or_text": Words('"{relation}" takes a number or a text'),
    "count_takes_number": Words("a count is compared with a number, with eq, ne, gt, gte, lt or lte"),
    "properties_too_large": Words("give at most {limit} bytes of properties for one event"),
    "event_and_events": Words("give the fields of one event, or events with a list of them, not both"),
    "no_event": Words("give unit_id and name of one event, or events with a list of them"),
    "not_an_event_id": Words("give the id of the last event that was received"),
    "not_a_webhook_step": Words("give url, pause, start, rotate or delete"),
    "receiver_exists": Words("there is a receiver {key!r} already; choose another key"),
    "webhook_or_email": Words("give either a webhook or an e-mail address"),
    "not_an_email": Words("give an e-mail address, such as ann@example.com"),
    "not_a_time_of_day": Words("give a time of day, such as 22:00"),
    "quiet_from_and_until": Words("quiet hours have a beginning and an end"),
    "unknown_time_zone": Words("give a time zone, such as Europe/Berlin"),
    "no_such_user": Words("there is no user of this name"),
    "name_above": Words("an earlier row has this name already"),
    "not_confirmed": Words("type {key} to delete it"),
}
