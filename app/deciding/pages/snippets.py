"""Generate programs that request a decision and report a reward in one experiment. Each is complete and runs.

Texts from the experiment (ids, keys) are inserted as JSON literals, which Python and JavaScript read unchanged, or quoted
for the shell, so that no text can be read as code. Those of our own clients are in ``client_snippets``.
"""

import json
import shlex
from typing import Any

from app.deciding.pages import client_snippets
from app.deciding.pages.snippet_inputs import CANDIDATES, LISTED, Inputs, Snippet
from app.design.experiment_config import ExperimentConfig
from app.foundation.fields import JsonObject

LIST_NOTE = "For several actions at once, such as recommendations. The tab Results says what each position earned."


def snippets(config: ExperimentConfig, url: str, key: str | None = None) -> list[Snippet]:
    """Return all programs, those of our own clients first.

    :param url: the address of this server, without a slash at the end.
    :param key: an API key to write into the programs; without a key they read LOOPWISE_KEY from the environment.
    """
    inputs = Inputs(url, key, config)
    programs = [
        *client_snippets.snippets(inputs),
        Snippet("curl", "curl", _curl(inputs), "For a terminal; it needs nothing else."),
        Snippet("python", "Python over HTTP", _python(inputs), "The standard library is enough."),
        Snippet(
            "javascript",
            "JavaScript over HTTP",
            _javascript(inputs),
            "For a server (Node 18 or newer). Not for a browser: whoever sees the page could read the key, and report "
            "rewards that never were. Let your server ask, and hand on what to show.",
        ),
    ]
    if not inputs.asks_for_lists and inputs.positions > 1:
        programs.append(Snippet("list", "A list, in Python over HTTP", _python(inputs, inputs.positions), LIST_NOTE))
    if not inputs.asks_for_lists and config.composition is None:  # a composed message takes no actions from the call
        programs.append(
            Snippet(
                "personalizer",
                "Personalizer SDK",
                _personalizer(inputs),
                "For apps that use Azure Personalizer's client (package azure-cognitiveservices-personalizer): give it this "
                "address and a key that is bound to this experiment. The actions come with each call.",
            )
        )
    return programs


def _curl(inputs: Inputs) -> str:
    head, tail = '{"decision_id": "', '", ' + json.dumps(inputs.question, ensure_ascii=False, indent=2)[1:].lstrip()
    key = f"export LOOPWISE_KEY={inputs.key}\n" if inputs.key else ': "${LOOPWISE_KEY:?set it to an API key}"\n'
    shown = '"positions"' if inputs.asks_for_lists else '"message"' if inputs.has_messages else '"action"'
    return f"""{key}URL={shlex.quote(inputs.url)}
DECISION="try-$(date +%s)-$RANDOM$RANDOM"   # your own id: asking again with it gives the same answer

# Decide. {shown} in the answer is what to show.
curl --fail-with-body -sS "$URL{inputs.path}" -H "Authorization: Bearer $LOOPWISE_KEY" \\
  -H "Content-Type: application/json" --data {shlex.quote(head)}"$DECISION"{shlex.quote(tail)} && echo &&

{_curl_reward(inputs)}"""


def _curl_reward(inputs: Inputs) -> str:
    call = f"""curl --fail-with-body -sS "$URL/v1/reward" -H "Authorization: Bearer $LOOPWISE_KEY" \\
  -H "Content-Type: application/json" --data '{{"decision_id": "'"$ID"'", "value": {inputs.reward:g}}}' && echo
"""
    if inputs.whole_list:
        places = " ".join(["''", *(f"'#{place}'" for place in range(2, 1 + inputs.filled))])
        return f"""# Reward: what the whole list earned, for each position.
for PLACE in {places}; do ID="$DECISION$PLACE"
{call}done
"""
    if inputs.asks_for_lists:
        last = f"#{inputs.filled}" if inputs.filled > 1 else ""
        return f"""# Reward: what a position earned. The first position has the id $DECISION, the second $DECISION#2, and so on.
ID="$DECISION{last}" &&
{call}"""
    return "# Reward: what came of it.\n" + call.replace('"$ID"', '"$DECISION"')


def _python(inputs: Inputs, positions: int = 0) -> str:
    """:param positions: the length of a list to ask for, where the experiment does not say that its app asks for lists."""
    question = inputs.question | ({"slots": positions} if positions else {})
    shown = 'decision["message"]' if inputs.has_messages else 'decision["action"]["payload"]'
    rewarded = "decision"
    lines = [f'print("show:", decision["action"]["id"], {shown})', "", "# Later, when you know what came of it:"]
    if "slots" in question:
        shown = 'print("show:", place["position"], place["action"]["id"], place["action"]["payload"])'
        lines = ['for place in decision["positions"]:', f"    {shown}", ""]
    elif inputs.config.composition is not None:
        lines[1:1] = [
            'for slot in decision["slots"]:  # the part that was chosen in each slot',
            '    print("slot:", slot["slot"], slot["part"], slot["propensity"])',
        ]
    report = f'call("/v1/reward", {{"decision_id": {{0}}["decision_id"], "value": {inputs.reward:g}}})'
    if "slots" in question and inputs.whole_list:
        lines += [
            "# Later, when you know what the whole list earned: the same value for each position.",
            'for place in decision["positions"]:',
            "    " + report.replace("{0}", "place"),
        ]
    elif "slots" in question:
        rewarded = "taken"
        lines += [
            "# Later, when you know which one was taken; each position has a decision_id, and a reward, of its own:",
            'taken = decision["positions"][-1]',
            report.replace("{0}", "taken"),
        ]
    else:
        lines.append(report.replace("{0}", "decision"))
    lines += [
        f'call("/v1/reward", {{"decision_id": {rewarded}["decision_id"], "metric": {name!r}, "value": 1}})'
        for name in inputs.metrics
    ]
    path = "/v1/decide" if positions else inputs.path
    ending = chr(10).join([*lines, f'print("rewarded:", {rewarded}["decision_id"])'])
    return f"""{_called(inputs)}
question = {{
{_members(question)}
}}
decision = call("{path}", question)
{ending}
"""


def _called(inputs: Inputs) -> str:
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


def _javascript(inputs: Inputs) -> str:
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
{_javascript_rest(inputs)}
}}

main().catch((error) => {{ console.error(error); process.exitCode = 1; }});
"""


def _javascript_rest(inputs: Inputs) -> str:
    """What a program in JavaScript does with the decision."""
    report = f'await call("/v1/reward", {{ decision_id: NAME.decision_id, value: {inputs.reward:g} }});'
    listed = """  for (const place of decision.positions) {
    console.log("show:", place.position, place.action.id, place.action.payload);
  }
"""
    if inputs.whole_list:
        return f"""{listed}
  // Later, when you know what the whole list earned: the same value for each position.
  for (const place of decision.positions) {report.replace("NAME", "place")}
  console.log("rewarded:", decision.decision_id);"""
    if inputs.asks_for_lists:
        return f"""{listed}
  // Later, when you know which one was taken; each position has a decision_id, and a reward, of its own:
  const taken = decision.positions.at(-1);
  {report.replace("NAME", "taken")}
  console.log("rewarded:", taken.decision_id);"""
    return f"""  console.log("show:", decision.action.id, decision.{"message" if inputs.has_messages else "action.payload"});

  // Later, when you know what came of it:
  {report.replace("NAME", "decision")}
  console.log("rewarded:", decision.decision_id);"""


def _personalizer(inputs: Inputs) -> str:
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
