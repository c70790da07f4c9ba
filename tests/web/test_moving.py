"""docs/moving-from-personalizer.md, step by step, in its order."""

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from azure.ai.personalizer import PersonalizerAdministrationClient
from azure.cognitiveservices.personalizer import PersonalizerClient
from azure.cognitiveservices.personalizer.models import RankableAction, RankRequest
from azure.core.credentials import AzureKeyCredential
from msrest.authentication import CognitiveServicesCredentials

from app.off_policy.evaluations import run_waiting
from tests.service import ROOT, Client, Web, engine_of, loopwise, query, settings

GUIDE = (ROOT / "docs" / "moving-from-personalizer.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```[a-z]*\n(.*?)^```", GUIDE, re.MULTILINE | re.DOTALL)


def _command(words: str) -> list[str]:
    """The guide's command that begins like this, without the program's name."""
    return next(block for block in BLOCKS if block.startswith(f"loopwise {words}")).split()[1:]


def _event(number: int) -> dict[str, Any]:
    """A line of a resource's log, as that service wrote it."""
    chosen = number % 2
    return {
        "_label_cost": -float(number % 4 == 0),
        "_label_probability": 0.5,
        "_label_Action": chosen + 1,
        "_labelIndex": chosen,
        "Timestamp": (datetime(2024, 1, 1, tzinfo=UTC) + timedelta(minutes=number)).isoformat(),
        "Version": "1",
        "EventId": f"event-{number}",
        "a": [chosen + 1, 2 - chosen],
        "c": {"timeOfDay": "morning", "_multi": [{"_tag": "pasta"}, {"_tag": "salad"}]},
        "p": [0.5, 0.5],
        "VWState": {"m": "x"},
    }


def _rank_and_reward(url: str, key: str) -> str:
    """Step 4, with the SDK of the guide."""
    line = next(block for block in BLOCKS if block.startswith("client = ")).strip()
    assert line == 'client = PersonalizerClient("http://127.0.0.1:8000", CognitiveServicesCredentials(KEY))'
    client = PersonalizerClient(url, CognitiveServicesCredentials(key))
    actions = [RankableAction(id=name, features=[{"name": name}]) for name in ("pasta", "salad")]
    event = client.rank(RankRequest(actions=actions, context_features=[{"timeOfDay": "morning"}])).event_id
    client.events.reward(event, 1.0)
    return str(event)


def test_every_step(web: Web, client: Client, database_url: str, tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{web.port}"
    definition = json.loads(next(block for block in BLOCKS if block.startswith("{")))  # step 2
    assert client.post("/v1/experiments", definition).status == 201
    assert client.post("/v1/experiments/front-page/start").status == 200
    made = loopwise(tmp_path, database_url, *_command("keys create"))  # step 3
    key = re.findall(r"lw_\S+", made.stdout + made.stderr)[0]
    event = _rank_and_reward(url, key)
    assert query(database_url, "SELECT value FROM rewards WHERE decision_id = %s", event) == [(1.0,)]

    log = tmp_path / "personalizer.dsjson"  # step 5
    log.write_text("\n".join(json.dumps(_event(number)) for number in range(300)), encoding="utf-8")
    done = loopwise(tmp_path, database_url, *_command("import"))
    assert done.returncode == 0, done.stderr

    more = ["keys", "create", "--scopes", "read,manage", "--experiment", "front-page-2024"]  # step 6
    text = loopwise(tmp_path, database_url, *more)
    asking = re.findall(r"lw_\S+", text.stdout + text.stderr)[0]
    sdk = PersonalizerAdministrationClient(url, AzureKeyCredential(asking))
    policies = [
        {"name": "theirs", "arguments": "--cb_explore_adf --epsilon 0.2 --power_t 0 -l 0.001 --cb_type mtr -q ::"}
    ]
    span = {"startTime": "2024-01-01T00:00:00Z", "endTime": "2024-02-01T00:00:00Z"}
    sdk.create_evaluation("what-if", {"name": "What if?", "policies": policies, **span})
    with engine_of(database_url) as engine:
        run_waiting(engine, settings(database_url))
    now = datetime.now(UTC)
    answer = sdk.get_evaluation("what-if", start_time=now, end_time=now)
    values = {line["name"]: line for line in answer["content"]["value"]}
    assert answer["status"] == "Succeeded", answer
    assert {"uniform", "theirs"} <= set(values)
    assert values["uniform"]["summary"]["expectedReward"] is not None
    assert values["theirs"]["policySource"] == "Custom" and values["uniform"]["policySource"] == "Random"
