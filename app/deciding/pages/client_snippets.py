"""Programs of our own clients: the Python package ``loopwise-client``, and ``loopwise.js`` in a web page."""

import json

from app.deciding.pages.snippet_inputs import CANDIDATES, Inputs, Snippet
from app.foundation.fields import JsonObject

PYTHON_NOTE = (
    "Our package loopwise-client (clients/python in this repository, Python 3.9 or newer). It keeps its connections, retries "
    "with the same ids, and gives your default when no answer comes in time."
)
WEB_NOTE = (
    "Put our file loopwise.js (clients/js in this repository) beside your page. Everybody can read its key, so make a "
    "publishable one, which works only on these pages: loopwise keys create --scopes decide,reward --origin https://shop.example"
)
PUBLISHABLE = "lw_..."


def snippets(inputs: Inputs) -> list[Snippet]:
    """The programs of our clients that fit the experiment."""
    programs = [Snippet("client", "Python, with our client", _python(inputs), PYTHON_NOTE)]
    if not inputs.has_messages:  # those need the proof of a server that the page speaks for its unit
        programs.append(Snippet("web", "Web page, with our client", _web(inputs), WEB_NOTE))
    return programs


def _python(inputs: Inputs) -> str:
    key = repr(inputs.key) if inputs.key else 'os.environ["LOOPWISE_KEY"]'
    more = ", Reward" if inputs.whole_list else ""
    imports = "" if inputs.key else "import os\n\n"
    return f"""{imports}from loopwise_client import Client{more}

URL = {inputs.url!r}
KEY = {key}

with Client(URL, KEY) as client:
{_indented(_asked(inputs) + _rewarded(inputs))}"""


def _asked(inputs: Inputs) -> str:
    question = inputs.question
    given = {name: value for name, value in question.items() if name not in ("experiment", "unit_id")}
    if not inputs.has_messages:
        given["default"] = inputs.defaults if inputs.asks_for_lists else inputs.defaults[0]
    arguments = "".join(f"    {name}={value!r},\n" for name, value in given.items())
    call = "message" if inputs.has_messages else "decide"
    shown = 'print("show:", decision.action_id, decision.payload)\n'
    if inputs.asks_for_lists:
        shown = 'for place in decision.positions:\n    print("show:", place.position, place.action_id, place.payload)\n'
    elif inputs.has_messages:
        shown = """if decision.message is not None:  # None: say nothing
    print("show:", decision.action_id, decision.message.title, decision.message.body)
"""
    if inputs.config.composition is not None:
        shown += """for slot in decision.slots:  # the part that was chosen in each slot
    print("slot:", slot.slot, slot.part, slot.propensity)
"""
    return (
        f"decision = client.{call}(\n    {inputs.config.key!r},\n    {question['unit_id']!r},\n{arguments})\n{shown}\n"
    )


def _rewarded(inputs: Inputs) -> str:
    value = f"{inputs.reward:g}"
    named, lines = "decision", ["# Later, when you know what came of it:"]
    if inputs.whole_list:
        lines = [
            "# Later, when you know what the whole list earned: the same value for each position.",
            f"client.reward_batch([Reward(place, {value}) for place in decision.positions])",
        ]
    elif inputs.asks_for_lists:
        named = "taken"
        lines = [
            "# Later, when you know which position was taken. Positions without a report count as "
            f"{inputs.config.reward.default:g} when the window ends.",
            "taken = decision.positions[-1]",
            f"client.reward(taken, {value})",
        ]
    else:
        lines.append(f"client.reward(decision, {value})")
    lines += [f"client.reward({named}, 1, metric={name!r})" for name in inputs.metrics]
    return "\n".join([*lines, f'print("rewarded:", {named}.decision_id)', ""])


def _web(inputs: Inputs) -> str:
    question = inputs.question
    options: JsonObject = {name: question[name] for name in ("context", "slots") if name in question}
    if "actions" in question:
        options["actions"] = [action.model_dump(mode="json") for action in CANDIDATES]
    options["fallback"] = inputs.defaults[0]
    shown = '  console.log("show:", decision.action, decision.payload);'
    if inputs.asks_for_lists:
        shown = """  for (const place of decision.positions ?? []) {
    console.log("show:", place.position, place.action.id, place.action.payload);
  }"""
    return f"""<script type="module">
  import {{ Loopwise }} from "./loopwise.js";

  const loopwise = new Loopwise({{
    url: {_literal(inputs.url)},
    key: {_literal(PUBLISHABLE)}, // publishable: made for the address of this page
    unitId: {_literal(question["unit_id"])},
  }});
  const decision = await loopwise.decide({_literal(inputs.config.key)}, {_literal(options, 2)});
{shown}

{_web_reward(inputs)}</script>
"""


def _web_reward(inputs: Inputs) -> str:
    value = f"{inputs.reward:g}"
    if inputs.whole_list:
        return f"""  // Later, when you know what the whole list earned: the same value for each position.
  for (const place of decision.positions ?? []) loopwise.reward(place.decision_id, {value});
"""
    if inputs.asks_for_lists:
        return f"""  // Later, when you know which place was taken; each has a decision_id, and a reward, of its own.
  const taken = decision.positions?.at(-1);
  if (taken) loopwise.reward(taken.decision_id, {value});
"""
    return f"""  // Later, when you know what came of it:
  loopwise.reward(decision, {value});
"""


def _literal(value: object, indent: int | None = None) -> str:
    """A value as JavaScript within a page: no text can end the script."""
    text = json.dumps(value, indent=indent).replace("<", "\\u003c")
    return text.replace("\n", "\n  ")


def _indented(text: str) -> str:
    return "".join(f"    {line}\n" if line else "\n" for line in text.split("\n")).rstrip("\n") + "\n"
