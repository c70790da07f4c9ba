"""The npm clients of Personalizer, unmodified, in node: the old one (v1.0) and the newer one (v1.1-preview.3)."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.service import Client, Web, make_key, query
from tests.web.npm import installed
from tests.web.personalizer import ALL, make

PACKAGES = (
    "@azure/cognitiveservices-personalizer@2.0.1",
    "@azure-rest/ai-personalizer@1.0.0-beta.1",
    "@azure/ms-rest-js@2",
)
SETUP = """
const actions = ["pasta", "salad", "cake"].map((id) => ({ id, features: [{ first: id[0] }] }));
const contextFeatures = [{ timeOfDay: "morning" }];
const [url, key] = process.argv.slice(2);
const out = (value) => console.log(JSON.stringify(value));
"""
OLD = """
const { PersonalizerClient } = require("@azure/cognitiveservices-personalizer");
const { ApiKeyCredentials } = require("@azure/ms-rest-js");
const client = new PersonalizerClient(new ApiKeyCredentials({ inHeader: { "Ocp-Apim-Subscription-Key": key } }), url);
(async () => {
  const ranked = await client.rank({ actions, contextFeatures, eventId: "old", deferActivation: true });
  await client.events.activate("old");
  await client.events.reward("old", { value: 0.5 });
  const wrong = await client.events.reward("never", { value: 1 }).catch((error) => error.statusCode);
  out({ eventId: ranked.eventId, ids: ranked.ranking.map((one) => one.id), chosen: ranked.rewardActionId, wrong });
})();
"""
NEW = """
const createClient = require("@azure-rest/ai-personalizer").default;
const { isUnexpected } = require("@azure-rest/ai-personalizer");
const client = createClient(url, { key }, { allowInsecureConnection: true });
const done = async (answer) => {
  const { status, body } = await answer;
  return { status: Number(status), body };
};
(async () => {
  const at = (path, ...ids) => client.path(path, ...ids);
  const slots = [{ id: "a", baselineAction: "pasta" }, { id: "b", baselineAction: "salad", excludedActions: ["pasta"] }];
  const span = { startTime: "2020-01-01T00:00:00Z", endTime: "2040-01-01T00:00:00Z" };
  const evaluation = await done(at("/evaluations").post({ body: { name: "what if", policies: [], ...span } }));
  out({
    rank: await done(at("/rank").post({ body: { actions, contextFeatures, eventId: "new" } })),
    reward: await done(at("/events/{eventId}/reward", "new").post({ body: { value: 1 } })),
    slots: await done(at("/multislot/rank").post({ body: { actions, slots, eventId: "both" } })),
    rewards: await done(at("/multislot/events/{eventId}/reward", "both").post({ body: { reward: [{ slotId: "b", value: 1 }] } })),
    activate: await done(at("/multislot/events/{eventId}/activate", "both").post()),
    service: await done(at("/configurations/service").get()),
    policy: await done(at("/configurations/policy").get()),
    properties: await done(at("/model/properties").get()),
    model: await done(at("/model").get()),
    logs: await done(at("/logs/properties").get()),
    deleted: await done(at("/logs").delete()),
    evaluation,
    evaluations: await done(at("/evaluations").get()),
    found: await done(at("/evaluations/{evaluationId}", evaluation.body.id).get()),
    removed: await done(at("/evaluations/{evaluationId}", evaluation.body.id).delete()),
    unexpected: isUnexpected(await at("/rank").post({ body: { actions: [] } })),
  });
})();
"""


@pytest.fixture(scope="module")
def modules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the packages. Skips where npm or its registry is not there."""
    return installed(tmp_path_factory.mktemp("npm"), PACKAGES)


def _run(folder: Path, script: str, web: Web, database_url: str, experiment: str) -> Any:
    (folder / "run.js").write_text(SETUP + script, encoding="utf-8")
    arguments = [f"http://127.0.0.1:{web.port}", make_key(database_url, *ALL, experiment=experiment)]
    done = subprocess.run(
        ["node", "run.js", *arguments], cwd=folder, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_client_of_version_1_0(modules: Path, web: Web, client: Client, database_url: str) -> None:
    make(client, "npm-old", segments=["timeOfDay"])
    answer = _run(modules, OLD, web, database_url, "npm-old")
    assert (answer["eventId"], answer["wrong"], sorted(answer["ids"])) == ("old", 404, ["cake", "pasta", "salad"])
    assert answer["chosen"] == answer["ids"][0]
    assert query(database_url, "SELECT value FROM rewards WHERE decision_id = 'old'") == [(0.5,)]


def test_every_operation_of_the_newer_client(modules: Path, web: Web, client: Client, database_url: str) -> None:
    make(client, "npm-new")
    answers = _run(modules, NEW, web, database_url, "npm-new")
    assert answers.pop("unexpected") is True
    statuses = {name: answer["status"] for name, answer in answers.items()}
    assert statuses == {
        **dict.fromkeys(("rank", "slots", "evaluation"), 201),
        **dict.fromkeys(("reward", "rewards", "activate", "removed"), 204),
        **dict.fromkeys(("service", "policy", "properties", "logs", "evaluations", "found"), 200),
        **dict.fromkeys(("model", "deleted"), 400),
    }
    first, second = answers["slots"]["body"]["slots"]
    assert first["rewardActionId"] != second["rewardActionId"] != "pasta"
    assert query(database_url, "SELECT decision_id FROM rewards WHERE decision_id LIKE 'both%%'") == [("both#2",)]
    assert [item["name"] for item in answers["evaluations"]["body"]] == ["what if"]
    assert answers["found"]["body"]["status"] == "pending"
