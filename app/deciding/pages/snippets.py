"""Programs that ask for a decision and report a reward, filled in with one experiment. Each is complete and runs.

Texts of the experiment's own (ids, keys) go in as JSON literals, which Python and JavaScript read as they stand, or
quoted for the shell: whatever they hold, they stay texts.
"""

import json
import shlex
from typing import Any, NamedTuple

from app.design.experiment_config import ActionSpec, ExperimentConfig
from app.foundation.fields import JsonObject

LISTED = 20  # actions that a snippet spells out
CANDIDATES = [
    ActionSpec(id="first-tip", features={"minutes": 3}, payload={"text": "Watch the tour"}),
    ActionSpec(id="second-tip", features={"minutes": 5}, payload={"text": "Five first steps"}),
]  # for an experiment whose app sends its own
CONTEXT = {"device": "phone", "new_user": True}


class Snippet(NamedTuple):
    """One program."""

    name: str  # curl, python, javascript, personalizer
    title: str
    text: str
    note: str


class _Given(NamedTuple):
    """What all of them are filled in with."""

    url: str
    key: str | None  # null: from the environment
    config: ExperimentConfig

    @property
    def context(self) -> JsonObject:
        """An example of what the app knows: with the fields that are kept, where they are declared."""
        declared = self.config.context_fields
        names = self.config.segments if declared is None else [one.name for one in declared]
        return {name: CONTEXT.get(name, "...") for name in names} if declared is not None or names else CONTEXT

    @property
    def question(self) -> JsonObject:
        """The body of the call, without its id."""
        asked: JsonObject = {"experiment": self.config.key, "unit_id": "user-42", "context": self.context}
        if self.says and self.config.variables:
            asked["variables"] = {one.name: one.sample for one in self.config.variables}
        if not self.config.all_actions():
            asked["actions"] = [action.model_dump(mode="json") for action in CANDIDATES]
        return asked

    @property
    def says(self) -> bool:
        """True when Loopwise itself makes what is shown: messages out of templates or of parts."""
        return bool(self.config.channels())

    @property
    def path(self) -> str:
        return "/v1/messages/decide" if self.says else "/v1/decide"

    @property
    def reward(self) -> float:
        return self.config.reward.max


def snippets(config: ExperimentConfig, url: str, key: str | None = None) -> list[Snippet]:
    """Every program.

    :param url: of this server, without a slash at the end.
    :param key: an API key to write into them; without one they read LOOPWISE_KEY from the environment.
    """
    given = _Given(url, key, config)
    found = [
        Snippet("curl", "curl", _curl(given), "For a terminal; it needs nothing else."),
        Snippet("python", "Python", _python(given), "The standard library is enough."),
        Snippet(
            "javascript",
            "JavaScript",
            _javascript(given),
            "For a server (Node 18 or newer). Not for a browser: whoever sees the page could read the key, and report "
            "rewards that never were. Let your server ask, and hand on what to show.",
        ),
        Snippet(
            "personalizer",
            "Personalizer SDK",
            _personalizer(given),
            "For apps that use Azure Personalizer's client (package azure-cognitiveservices-personalizer): give it this "
            "address and a key that is bound to this experiment. The actions come with each call.",
        ),
    ]
    return found[:-1] if config.composition else found  # its actions never come with a call


def _curl(given: _Given) -> str:
    head, tail = '{"decision_id": "', '", ' + json.dumps(given.question, ensure_ascii=False, indent=2)[1:].lstrip()
    key = f"export LOOPWISE_KEY={given.key}\n" if given.key else ': "${LOOPWISE_KEY:?set it to an API key}"\n'
    return f"""{key}URL={shlex.quote(given.url)}
DECISION="try-$(date +%s)-$RANDOM$RANDOM"   # your own id: asking again with it gives the same answer

# Decide. "{"message" if given.says else "action"}" in the answer is what to show.
curl --fail-with-body -sS "$URL{given.path}" -H "Authorization: Bearer $LOOPWISE_KEY" \\
  -H "Content-Type: application/json" --data {shlex.quote(head)}"$DECISION"{shlex.quote(tail)} && echo &&

# Reward: what came of it.
curl --fail-with-body -sS "$URL/v1/reward" -H "Authorization: Bearer $LOOPWISE_KEY" \\
  -H "Content-Type: application/json" --data '{{"decision_id": "'"$DECISION"'", "value": {given.reward:g}}}' && echo
"""


def _python(given: _Given) -> str:
    key = repr(given.key) if given.key else 'os.environ["LOOPWISE_KEY"]'
    imports = "import json\n" if given.key else "import json\nimport os\n"
    return f"""{imports}import urllib.request

URL = {given.url!r}
KEY = {key}


def call(path, body):
    headers = {{"Authorization": f"Bearer {{KEY}}", "Content-Type": "application/json"}}
    request = urllib.request.Request(URL + path, json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=5) as response:
        return json.load(response)


question = {{
{_members(given.question)}
}}
decision = call("{given.path}", question)
print("show:", decision["action"]["id"], decision{'["message"]' if given.says else '["action"]["payload"]'})

# Later, when you know what came of it:
call("/v1/reward", {{"decision_id": decision["decision_id"], "value": {given.reward:g}}})
print("rewarded:", decision["decision_id"])
"""


def _javascript(given: _Given) -> str:
    key = json.dumps(given.key) if given.key else "process.env.LOOPWISE_KEY"
    return f"""const URL = {json.dumps(given.url)};
const KEY = {key};

async function call(path, body) {{
  const headers = {{ Authorization: `Bearer ${{KEY}}`, "Content-Type": "application/json" }};
  const answer = await fetch(URL + path, {{ method: "POST", headers, body: JSON.stringify(body) }});
  if (!answer.ok) throw new Error(`${{path}}: ${{answer.status}} ${{await answer.text()}}`);
  return answer.json();
}}

async function main() {{
  const decision = await call("{given.path}", {_indented(json.dumps(given.question, indent=2))});
  console.log("show:", decision.action.id, decision.{"message" if given.says else "action.payload"});

  // Later, when you know what came of it:
  await call("/v1/reward", {{ decision_id: decision.decision_id, value: {given.reward:g} }});
  console.log("rewarded:", decision.decision_id);
}}

main().catch((error) => {{ console.error(error); process.exitCode = 1; }});
"""


def _personalizer(given: _Given) -> str:
    actions = given.config.actions or CANDIDATES
    more = len(actions) - LISTED
    key = repr(given.key) if given.key else 'os.environ["LOOPWISE_KEY"]'
    lines = [
        f"    RankableAction(id={action.id!r}, features={_listed(action.features)!r})," for action in actions[:LISTED]
    ]
    lines += [f"    # and {more} more"] if more > 0 else []
    imports = "" if given.key else "import os\n\n"
    return f"""{imports}from azure.cognitiveservices.personalizer import PersonalizerClient
from azure.cognitiveservices.personalizer.models import RankableAction, RankRequest
from msrest.authentication import CognitiveServicesCredentials

URL = {given.url!r}
KEY = {key}

client = PersonalizerClient(URL, CognitiveServicesCredentials(KEY))
actions = [
{chr(10).join(lines)}
]
answer = client.rank(RankRequest(actions=actions, context_features=[{given.context!r}]))
print("show:", answer.reward_action_id)

# Later, when you know what came of it:
client.events.reward(event_id=answer.event_id, value={given.reward:g})
print("rewarded:", answer.event_id)
"""


def _listed(features: Any) -> list[Any]:
    return features if isinstance(features, list) else [features] if features else []


def _members(document: JsonObject) -> str:
    """The members of a Python dict, one a line. ``repr`` writes true, false and null as Python has them."""
    return "\n".join(f"    {name!r}: {value!r}," for name, value in document.items())


def _indented(text: str) -> str:
    """The same text inside of a function."""
    return text.replace("\n", "\n  ")
