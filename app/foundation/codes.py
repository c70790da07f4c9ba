"""Every code of a wrong value with its words: for callers of the API, and for people at a form where those differ.

A code is stable; its words may change. ``{name}`` in a sentence is a parameter. A test compares the table with its uses.
"""

from typing import Final

from app.foundation.wording.kinds import Words
from app.foundation.wording.measuring import MEASURING
from app.foundation.wording.messaging import MESSAGING
from app.foundation.wording.wizard import WIZARD

_KEY = "give letters, digits, dots, - or _ (at most 100), beginning with a letter or a digit; no spaces"
_EARLY = "decisions were made under the old reward; create another experiment"

# Errors of one value by itself; most come from Pydantic, see ``fields``.
VALUES: Final[dict[str, Words]] = {
    "missing": Words("this field is required", "fill this in"),
    "missing_type": Words("say in {field} which kind this is", "choose one"),
    "unknown_field": Words("there is no such field; leave it out"),
    "wrong_form": Words("this value has the wrong form"),
    "not_a_text": Words("give a text"),
    "not_a_uuid": Words("web pages choose UUIDs (crypto.randomUUID()) as ids of new things, or leave them out"),
    "not_a_number": Words("give a number", "write a number, such as 0.5"),
    "not_a_whole_number": Words("give a whole number", "write a whole number, such as 5"),
    "not_true_or_false": Words("give true or false", "write yes or no"),
    "not_an_object": Words('give a JSON object, such as {{"size": 3}}'),
    "not_a_list": Words("give a list"),
    "not_null": Words("leave this out"),
    "not_a_choice": Words("give one of {expected}"),
    "empty": Words("give at least 1 character", "fill this in"),
    "no_items": Words("give at least 1", "add one"),
    "too_small": Words("give at least {limit}"),
    "too_large": Words("give at most {limit}"),
    "not_above": Words("give more than {limit}"),
    "not_below": Words("give less than {limit}"),
    "out_of_range": Words("give a number from {low} to {high}"),
    "not_whole_in_range": Words("give a whole number from {low} to {high}"),
    "too_short": Words("give at least {limit} characters"),
    "too_long": Words("give at most {limit} characters", "keep it to {limit} characters"),
    "too_few": Words("give at least {limit}"),
    "too_many": Words("give at most {limit}", "keep at most {limit}"),
    "retention_ends_early": Words("give more than the {days} days after which returning begins"),
    "wrong_length": Words("write {low} to {high} characters"),
    "pattern": Words("give a text that matches {pattern}", "this has characters that are not possible here"),
    "key_of_path": Words("give the key of the address, {key}, or leave the address to that key"),
    "library_full": Words("the library holds at most {limit} metrics; remove one first"),
    "key_shape": Words(_KEY),
    "locale_shape": Words("give a language such as en or de-AT"),
    "variable_shape": Words(
        "give small letters, digits and _ (at most 50), beginning with a letter; for example user_name"
    ),
    "slot_shape": Words("give small letters, digits and _ (at most 30), beginning with a letter; for example subject"),
    "part_shape": Words(
        "give letters, digits, dots, - or _ (at most 40), beginning with a letter or a digit; for example warm"
    ),
    "path_shape": Words("give a property's name without spaces; dots lead into nested objects, as cart.total"),
    "clock_shape": Words("give a time of day, such as 22:00"),
    "not_a_time_zone": Words("give a time zone's name as in Europe/Vienna"),
    "not_a_cursor": Words("give the `next` of the page before, as it was"),
    "not_a_time": Words("give a time as ISO 8601 with an offset, such as 2026-01-31T12:00:00Z"),
    "time_out_of_range": Words("give a time between the years {first} and {last}"),
    "id_too_long": Words("give an id of at most {limit} bytes in UTF-8"),
    "name_taken": Words(
        "another {what} has this name; names are unique", "another {what} has this name; give each its own"
    ),
    "address_refused": Words("{reason}"),
}
_DESIGN: Final[dict[str, Words]] = {
    "experiment_exists": Words("there is an experiment {key!r} already; choose another key"),
    "experiment_key_kept": Words(
        "an experiment keeps its key; create another one",
        "an experiment keeps its key, {key}; make another experiment instead",
    ),
    "draft_too_large": Words("a draft holds at most {megabytes} megabytes; type less"),
    "not_start_or_pause": Words("give start or pause"),
    "action_id_repeated": Words(
        "the same id is also at {first}; ids are unique", "another action has this id; ids are unique"
    ),
    "half_surrogate": Words("this holds half of a surrogate pair, which is no text"),
    "feature_list_items": Words("a list of features must hold objects only"),
    "feature_type": Words("a feature cannot be of type {type}"),
    "feature_not_a_number": Words("this is not a number (NaN)"),
    "feature_too_large": Words("beyond 1e9 in size: scale it, or send it as a string if it is an identifier"),
    "features_not_an_object": Words(
        "features must be an object, not {type}", 'give a JSON object, such as {{"size": 3}}'
    ),
    "example_of_other_type": Words("give an example of the type {type}, or leave it out"),
    "not_in_context_schema": Words(
        "the context schema has no field {field!r}; it has {known}",
        "the context schema has no field {field}: add it in the step People, or choose one of {known}",
    ),
    "unknown_action": Words("no action of this experiment has this id"),
    "arm_key_repeated": Words("another arm has this key; give each its own"),
    "shares_sum": Words("the shares sum to {total}; make them sum to {whole}"),
    "unknown_arm": Words("no arm has this key; give one of {known}"),
    "metric_key_repeated": Words("the key {key!r} appears twice; keys are unique"),
    "no_primary_metric": Words("no metric is primary; say which one decides"),
    "max_below_min": Words("max must be above min ({min})", "the largest value must be above the smallest"),
    "default_out_of_range": Words("give a value between min ({min}) and max ({max})"),
    "reward_too_wide": Words("bounds beyond 1e12 cannot be learned exactly; use a larger unit"),
    "worth_out_of_range": Words("give a value from {low} to {high}, the bounds of the reward"),
    "slates_without_composition": Words("true where the experiment has a composition, and only there; leave it out"),
    "actions_and_composition": Words(
        "the composition's combinations are the actions; leave this empty (and see allow_nothing)"
    ),
    "lists_of_messages": Words(
        "there are no lists of messages: leave the lists out, or the messages",
        "there are no lists of messages: choose “One action” above, or take the message out",
    ),
    "no_silent_action": Words(
        "add an action without a template: it says nothing, for people who must not get a message now",
        "add an action without a message: it says nothing, for people who must not get a message now",
    ),
    "nothing_not_allowed": Words(
        "give true: people who must not get a message now get none",
        "let saying nothing be a choice: people who must not get a message now get none",
    ),
    "retention_too_short": Words(
        "caps and distance look back {lookback} s; keep the unit of a decision at least that long"
    ),
    "profile_field_reserved": Words('the field "profile" is filled by Loopwise; leave it out here'),
    "reward_fixed": Words(_EARLY),
    "control_fixed": Words("the control is fixed once an experiment has run"),
    "arm_has_decisions": Words("arm {arm!r} has decisions; keep it with share 0 instead"),
    "shares_promoted": Words("arm {arm!r} is shipped or on its way, which sets the shares; roll back first"),
    "ramp_of_control": Words("the control is what other arms are compared with; choose one of those"),
    "holdout_of_control": Words("the control needs no holdout of itself; leave it at 0"),
    "holdout_of_no_unit": Words(
        "of the {units} units so far, this holdout keeps none; give a larger one, or 0",
        "of the {units} units so far, this keeps none: give a larger share, or 0",
    ),
    "window_longer_than_rule": Words(
        "this window is longer than the experiment, which the rule ends after {days} days; shorten it, or raise max_days",
        "this is longer than the experiment, which the decision rule ends after {days} days",
    ),
    "ramp_steps": Words("give growing shares above 0 and up to 1, such as 0.05, 0.25, 0.5, 1"),
    "time_not_ahead": Words("give a time that lies ahead"),
    "policy_fixed": Words("the policy of arm {arm!r} is fixed once it has run; add another arm with the new policy"),
    "apprentice_learns_not": Words("only a learning arm can be an apprentice; leave this out"),
    "fallback_learns_not": Words("only a learning arm falls back; leave this out"),
    "fallback_learns": Words("a fallback does not learn; name a fixed action, or uniform"),
    "lineage_learns_not": Words("only an arm that learns is a lineage; leave this out"),
    "lineage_is_control": Words("the control is no lineage; leave this out", "the control is no lineage; empty this"),
    "lineage_alone": Words(
        "no other arm is a lineage of {lineage!r}; one alone shows no spread: give two arms or more this name"
    ),
    "lineage_differs": Words(
        "lineages of {lineage!r} have equal policies and shares; this arm differs from the first of them"
    ),
    "lineage_fixed": Words("the lineages of {lineage!r} are fixed once they have run; give new arms another name"),
    "policy_unknown_key": Words("unknown key for type {type}"),
    "policy_action": Words("give the id of an action", "choose which action this arm always takes"),
    "policy_parameter": Words("unknown parameter; {algorithm} has {allowed}"),
    "policy_floor_start": Words("give a number of at least exploration_floor ({floor}), which it falls to"),
    "no_race": Words("this arm's model has no race yet, or its way of learning has none"),
    "quiet_hours_of_no_length": Words(
        "quiet hours that begin and end at the same minute hold no time; give two different times"
    ),
    "policy_features_off": Words("give a list without repeats of at most {limit} names of context fields"),
    "policy_exposure": Words(
        "give by, the name of a text feature of the actions or action, and least (0 to 0.5) and most (more than least, up "
        "to 1), or only parity (0 to 0.5); window (100 to 10000 decisions) or window_s (60 to 2592000 seconds) makes them a "
        "target over a window",
        "Give at least (0 to 50) and at most (more than that, up to 100), or only equal shares, give or take (0 to 50). A window "
        "has 100 to 10,000 decisions, or 1 minute to 30 days.",
    ),
    "policy_diversity_slates": Words("composed messages are no lists and take no diversity; leave it out"),
    "exposure_without_by": Words("Name a feature of the actions, or action."),
    "policy_exposure_slates": Words("composed messages take no exposure; leave it out"),
    "policy_scaling": Words("{algorithm} always scales its features; leave scaling out"),
    "policy_no_slates": Words("{algorithm} does not learn composed messages; use one of {usable}"),
    "policy_interactions": Words("give a list without repeats of names from: {names}"),
}
_CONTENT: Final[dict[str, Words]] = {
    "no_body_slot": Words(
        'a message has a body: give a slot the place "body"', "a message has a text: let one of the slots be part of it"
    ),
    "slot_reserved": Words('"{name}" is where Loopwise decides whether to say something; choose another'),
    "part_id_repeated": Words("another part of this slot has this id; ids are unique"),
    "unknown_slot": Words("no slot has this name; there are {known}"),
    "unknown_part": Words("slot {slot} has no such part"),
    "pair_in_one_slot": Words("two parts of one slot never meet; name two slots"),
    "too_many_combinations": Words(
        "there are {count} combinations; at most {limit} can be decided among: use fewer parts, or forbid more pairs"
    ),
    "too_many_not_forbidden": Words(
        "there are {count} combinations, and more than {limit} of them are not forbidden: use fewer parts, or forbid more pairs"
    ),
    "too_many_to_look_at": Words(
        "there are {count} combinations before the forbidden ones are left out, and at most {limit} can be decided among: "
        "use fewer parts"
    ),
    "part_in_no_combination": Words("every combination with this part is forbidden; leave it out, or forbid less"),
    "no_common_locale": Words("the parts of {combination} have no locale in common; give each part the same"),
    "combination_unsayable": Words("{combination} in {locale}, with sample values: {reason}"),
    "text_language": Words("{locale!r} is not a language that is known; give one such as en or de-AT"),
    "text_syntax": Words("cannot be read: {reason}"),
    "text_unknown_variable": Words("line {line}: {name!r} is not a declared variable; declared are {known}"),
    "text_no_default": Words(
        '{name!r} may be missing and has no default; write {{{{ {name} | default: "..." }}}}, or declare the variable as '
        "required: then people without it do not get this variant"
    ),
    "text_sample": Words("with sample values: {reason}"),
}
_DECIDING: Final[dict[str, Words]] = {
    "actions_not_taken": Words("messages come from the experiment's own actions; leave this out"),
    "profile_filled": Words("Loopwise fills this field in this experiment; leave it out"),
    "no_action": Words("no action is eligible: give actions in the call or the experiment, and exclude fewer"),
    "nothing_eligible": Words("no action is eligible for this unit now: {reasons}"),
    "list_id_ending": Words(
        "an id may not end with # and a number, because the ids of a list's later positions end like this"
    ),
    "no_list_of_messages": Words("this route decides one message; ask /v1/decide for a list"),
    "position_filled": Words("Loopwise fills this field in lists; leave it out"),
    "policy_name_repeated": Words("the policy at {first} has the same name; names are unique within an evaluation"),
    "slot_id_repeated": Words("the same slot is also at {first}; ids of slots are unique within an event"),
    "slots_not_fillable": Words(
        "the slots cannot all have an action of their own: give at least as many actions as slots, and exclude fewer"
    ),
    "decision_id_repeated": Words("the same decision_id is also at {first}; ids are unique within a batch"),
    "too_many_decisions": Words(
        "{total} decisions, with all positions of lists counted; one call makes at most {limit}"
    ),
    "reward_out_of_bounds": Words("give a value from {low} to {high}, the bounds of experiment {experiment!r}"),
    "value_not_taken": Words("leave it out: {kind!r} takes no value"),
    "not_a_thumb": Words('give "up" or "down"'),
    "no_reason": Words("give a reason's name"),
    "unknown_reason": Words("the experiment's reasons are: {known}"),
    "no_comment": Words("write the comment"),
    "yes_without_time": Words(
        "give the time at which the person said yes; then a retry cannot undo what was revoked in the meantime"
    ),
    "in_the_future": Words("this is in the future: check the clock"),
    "not_a_unit": Words("give the id of a unit as your app knows it: 1 to 500 characters"),
    "no_explanation": Words("say why, for people who read the trail later"),
}
_REPORTING: Final[dict[str, Words]] = {
    "unknown_segment": Words("{segment!r} is not a segment of this experiment; declared are {known}"),
    "no_segments": Words("{segment!r} is not a segment of this experiment; the experiment declares none"),
    "metric_or_bandit": Words("give either metric or bandit"),
    "too_many_rounds": Words("rounds times runs may be at most {limit}; ask for fewer runs"),
    "no_means": Words("give the mean rewards, or an experiment to take them from"),
    "no_effect": Words("give effect or relative_effect"),
    "no_units": Words("give the units in both arms together"),
    "no_expected_value": Words("give the control's expected value, or an experiment to take it from"),
    "no_deviation": Words("give the standard deviation per unit"),
    "unknown_metric": Words("the experiment has no metric {key!r}"),
    "epsilon_out_of_range": Words("give a number from {low} to {high}, such as 0.5"),
    "ends_before_it_begins": Words("give a time after `since`", "give a time after the one that it begins at"),
    "not_a_percentage": Words("give a percentage above 0 and below 100"),
    "too_many_candidates": Words("an experiment has at most {limit} candidates; remove one"),
    "arm_does_not_learn": Words("{arm!r} is not a learning arm; those are {known}"),
    "unknown_version": Words("arm {arm!r} has no model version {version}"),
    "version_forgotten": Words("version {version} was forgotten: a unit that it had learned from was erased"),
    "candidate_not_valued": Words(
        "no evaluation has valued {key!r} as it is defined now; ask for one, and stage the model that it valued",
        "evaluate it first: what is staged is the model that was valued",
    ),
    "nothing_to_learn": Words("experiment {key!r} has no settled decisions to learn from; choose another log"),
    "no_action_agrees": Words("no action and no feature of an action agrees: that log has {theirs}; here are {own}"),
    "no_field_agrees": Words("no context field agrees in name and type: that log has {theirs}; here are {own}"),
    "unknown_candidate": Words("no candidate {key!r} is stored; known are {known}"),
    "candidate_key_reserved": Words("{key!r} names a built-in policy; choose another key"),
    "policy_or_model": Words("give either a policy or a model"),
    "not_a_model": Words('give {{"arm": KEY, "version": NUMBER}}', "give the number of a version"),
    "slates_not_composed": Words("this experiment composes no messages; leave it out"),
    "no_settled_decisions": Words("there are no settled decisions yet to answer from"),
    "log_cannot_answer": Words("{reason}"),
}
_ACCOUNTS: Final[dict[str, Words]] = {
    "reader_name": Words("give 3 to 63 small letters, digits or _, beginning with a letter"),
    "user_name_taken": Words("somebody has this name already; choose another"),
    "user_name_shape": Words(
        "give 1 to 100 letters, digits or . _ @ + -, beginning with a letter or digit; an e-mail address will do"
    ),
    "password_length": Words("give {low} to {high} characters; a few words are easier to remember than signs"),
    "too_many_filters": Words("you have {limit} saved filters; remove one first"),
    "owner_unknown": Words("give the name of a user, as the page Users lists it"),
    "password_wrong": Words("this is not your current password"),
    "password_easy": Words("choose one that nobody would try first"),
    "scopes_unknown": Words("give one or more of {known}"),
    "scopes_not_publishable": Words("everybody can read a publishable key: it may have no scope but {known}"),
    "not_an_origin": Words(
        "give 1 to {limit} origins as https://shop.example, without a path (http for localhost only)"
    ),
}
WORDS: Final[dict[str, Words]] = (
    VALUES | _DESIGN | _CONTENT | _DECIDING | MEASURING | MESSAGING | _REPORTING | WIZARD | _ACCOUNTS
)
