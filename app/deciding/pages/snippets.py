"""Generate programs that request a decision and report a reward in one experiment. Each is complete and runs.

Texts from the experiment (ids, keys) are inserted as JSON literals, which Python and JavaScript read unchanged, or quoted
for the shell, so that no text can be read as code.
"""

import json
import shlex
from typing import Any, NamedTuple

from app.design.experiment_config import ActionSpec, ExperimentConfig
from app.design.metric_config import CountSource, MetricSpec, QuantileSource, RatioSource, ValueSource
from app.foundation.fields import JsonObject

LISTED = 20  # actions that a snippet spells out
CANDIDATES = [
    ActionSpec(id="first-tip", features={"minutes": 3}, payload={"text": "Watch the tour"}),
    ActionSpec(id="second-tip", features={"minutes": 5}, payload={"text": "Five first steps"}),
]  # for experiments whose app sends its own actions
LIST_NOTE = "For several actions at once, such as recommendations. The tab Off-policy says what each position earned."
CONTEXT = {"device": "phone", "new_user": True}


class Snippet(NamedTuple):
    """One program."""

    name: str  # curl, python, javascript, personalizer
    title: str
    text: str
    note: str


class _Inputs(NamedTuple):
    """What all programs need."""

    url: str
    key: str | None  # None: from the environment
    config: ExperimentConfig

    @property
    def context(self) -> JsonObject:
        """An example of a context, with the declared fields if the experiment declares any."""
        if self.config.context_schema:
            return {field.name: field.sample for field in self.config.context_schema}
        declared = self.config.context_fields
        names = self.config.segments if declared is None else [field.name for field in declared]
        return {name: CONTEXT.get(name, "...") for name in names} if declared is not None or names else CONTEXT

    @property
    def question(self) -> JsonObject:
        """The body of the call, without its decision id."""
        body: JsonObject = {"experiment": self.config.key, "unit_id": "user-42", "context": self.context}
        if self.has_messages and self.config.variables:
            body["variables"] = {variable.name: variable.sample for variable in self.config.variables}
        if not self.config.all_actions():
            body["actions"] = [action.model_dump(mode="json") for action in CANDIDATES]
        return body

    @property
    def has_messages(self) -> bool:
        """True if Loopwise renders messages, from templates or from parts."""
        return bool(self.config.channels())

    @property
    def path(self) -> str:
        return "/v1/messages/decide" if self.has_messages else "/v1/decide"

    @property
    def positions(self) -> int:
        """The length of a list in the example; 0: messages are not ranked."""
        return 0 if self.has_messages else min(3, len(self.config.actions) or len(CANDIDATES))

    @property
    def metrics(self) -> list[str]:
        """The names that the app reports beside the reward."""
        return sorted({name for metric in self.config.metrics for name in reported(metric)})

    @property
    def reward(self) -> float:
        return self.config.reward.max


def reported(metric: MetricSpec) -> list[str]:
    """The names under which an app reports the values of a metric."""
    source = metric.source
    if isinstance(source, RatioSource):
        return [source.numerator, source.denominator]
    return [source.metric] if isinstance(source, ValueSource | CountSource | QuantileSource) else []


def snippets(config: ExperimentConfig, url: str, key: str | None = None) -> list[Snippet]:
    """Return all programs.

    :param url: the address of this server, without a slash at the end.
    :param key: an API key to write into the programs; without a key they read LOOPWISE_KEY from the environment.
    """
    inputs = _Inputs(url, key, config)
    programs = [
        Snippet("curl", "curl", _curl(inputs), "For a terminal; it needs nothing else."),
        Snippet("python", "Python", _python(inputs), "The standard library is enough."),
        Snippet(
            "javascript",
            "JavaScript",
            _javascript(inputs),
            "For a server (Node 18 or newer). Not for a browser: whoever sees the page could read the key, and report "
            "rewards that never were. Let your server ask, and hand on what to show.",
        ),
        *([Snippet("list", "A list, in Python", _list(inputs), LIST_NOTE)] if inputs.positions > 1 else []),
        Snippet(
            "personalizer",
            "Personalizer SDK",
            _personalizer(inputs),
            "For apps that use Azure Personalizer's client (package azure-cognitiveservices-personalizer): give it this "
            "address and a key that is bound to this experiment. The actions come with each call.",
        ),
    ]
    return programs[:-1] if config.composition else programs  # a composed message takes no actions from the call


def _curl(inputs: _Inputs) -> str:
    head, tail = '{"decision_id": "', '", ' + json.dumps(inputs.question, ensure_ascii=False, indent=2)[1:].lstrip()
    key = f"export LOOPWISE_KEY={inputs.key}\n" if inputs.key else ': "${LOOPWISE_KEY:?set it to an API key}"\n'
    return f"""{key}URL={shlex.quote(inputs.url)}
DECISION="try-$(date +%s)-$RANDOM$RANDOM"   # your own id: asking again with it gives the same answer

# Decide. "{"message" if inputs.has_messages else "action"}" in the answer is what to show.
curl --fail-with-body -sS "$URL{inputs.path}" -H "Authorization: Bearer $LOOPWISE_KEY" \\
  -H "Content-Type: application/json" --data {shlex.quote(head)}"$DECISION"{shlex.quote(tail)} && echo &&

# Reward: what came of it.
curl --fail-with-body -sS "$URL/v1/reward" -H "Authorization: Bearer $LOOPWISE_KEY" \\
  -H "Content-Type: application/json" --data '{{"decision_id": "'"$DECISION"'", "value": {inputs.reward:g}}}' && echo
"""


def _python(inputs: _Inputs) -> str:
    shown = 'decision["message"]' if inputs.has_messages else 'decision["action"]["payload"]'
    metrics = "".join(
        f'call("/v1/reward", {{"decision_id": decision["decision_id"], "metric": {name!r}, "value": 1}})\n'
        for name in inputs.metrics
    )
    return f"""{_called(inputs)}
question = {{
{_members(inputs.question)}
}}
decision = call("{inputs.path}", question)
print("show:", decision["action"]["id"], {shown})

# Later, when you know what came of it:
call("/v1/reward", {{"decision_id": decision["decision_id"], "value": {inputs.reward:g}}})
{metrics}print("rewarded:", decision["decision_id"])
"""


def _list(inputs: _Inputs) -> str:
    return f"""{_called(inputs)}
question = {{
{_members(inputs.question | {"slots": inputs.positions})}
}}
decision = call("/v1/decide", question)
for place in decision["positions"]:
    print("show:", place["position"], place["action"]["id"], place["action"]["payload"])

# Later, when you know which one was taken; each position has a decision_id, and a reward, of its own:
taken = decision["positions"][-1]
call("/v1/reward", {{"decision_id": taken["decision_id"], "value": {inputs.reward:g}}})
print("rewarded:", taken["decision_id"])
"""


def _called(inputs: _Inputs) -> str:
    """How a program in Python begins: the key, and a function that calls a route."""
    key = repr(inputs.key) if inputs.key else 'os.environ["LOOPWISE_KEY"]'
    imports = "import json\n" if inputs.key else "import json\nimport os\n"
    return f"""{imports}import urllib.request

URL = {inputs.url!r}
KEY = {key}


def call(path, body):
    headers = {{"Authorization": f"Bearer {{KEY}}", "Content-Type": "application/json"}}
    request = urllib.request.Request(URL + path, json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=5) as response:
        return json.load(response)

"""


def _javascript(inputs: _Inputs) -> str:
    key = json.dumps(inputs.key) if inputs.key else "process.env.LOOPWISE_KEY"
    return f"""const URL = {json.dumps(inputs.url)};
const KEY = {key};

async function call(path, body) {{
  const headers = {{ Authorization: `Bearer ${{KEY}}`, "Content-Type": "application/json" }};
  const answer = await fetch(URL + path, {{ method: "POST", headers, body: JSON.stringify(body) }});
  if (!answer.ok) throw new Error(`${{path}}: ${{answer.status}} ${{await answer.text()}}`);
  return answer.json();
}}

async function main() {{
  const decision = await call("{inputs.path}", {_indented(json.dumps(inputs.question, indent=2))});
  console.log("show:", decision.action.id, decision.{"message" if inputs.has_messages else "action.payload"});

  // Later, when you know what came of it:
  await call("/v1/reward", {{ decision_id: decision.decision_id, value: {inputs.reward:g} }});
  console.log("rewarded:", decision.decision_id);
}}

main().catch((error) => {{ console.error(error); process.exitCode = 1; }});
"""


def _personalizer(inputs: _Inputs) -> str:
    actions = inputs.config.actions or CANDIDATES
    more = len(actions) - LISTED
    key = repr(inputs.key) if inputs.key else 'os.environ["LOOPWISE_KEY"]'
    lines = [
        f"    RankableAction(id={action.id!r}, features={_listed(action.features)!r})," for action in actions[:LISTED]
    ]
    lines += [f"    # and {more} more"] if more > 0 else []
    imports = "" if inputs.key else "import os\n\n"
    return f"""{imports}from azure.cognitiveservices.personalizer import PersonalizerClient
from azure.cognitiveservices.personalizer.models import RankableAction, RankRequest
from msrest.authentication import CognitiveServicesCredentials

URL = {inputs.url!r}
KEY = {key}

client = PersonalizerClient(URL, CognitiveServicesCredentials(KEY))
actions = [
{chr(10).join(lines)}
]
answer = client.rank(RankRequest(actions=actions, context_features=[{inputs.context!r}]))
print("show:", answer.reward_action_id)

# Later, when you know what came of it:
client.events.reward(event_id=answer.event_id, value={inputs.reward:g})
print("rewarded:", answer.event_id)
"""


def _listed(features: Any) -> list[Any]:
    return features if isinstance(features, list) else [features] if features else []


def _members(document: JsonObject) -> str:
    """Format the members of a Python dict, one per line. ``repr`` writes true, false and null as Python spells them."""
    return "\n".join(f"    {name!r}: {value!r}," for name, value in document.items())


def _indented(text: str) -> str:
    """Indent a text by two spaces, except for its first line."""
    return text.replace("\n", "\n  ")
