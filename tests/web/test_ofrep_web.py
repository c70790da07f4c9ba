"""OpenFeature's provider for web pages (npm), unmodified, in node: all flags in one call, and again for another unit."""

import json
import subprocess
from pathlib import Path

import pytest

from tests.lab import arm
from tests.service import Client, Web, make_key, query
from tests.web.npm import installed

PACKAGES = ("@openfeature/ofrep-web-provider", "@openfeature/web-sdk")
SCRIPT = """
// What only a browser has: providers keep flags in localStorage, and notice when a page comes back to the front.
const kept = new Map();
globalThis.localStorage ??= {
  getItem: (name) => kept.get(name) ?? null,
  setItem: (name, value) => kept.set(name, value), removeItem: (name) => kept.delete(name),
};
globalThis.document ??= { addEventListener() {}, removeEventListener() {}, visibilityState: "visible" };
globalThis.window ??= globalThis;
const { OpenFeature } = require("@openfeature/web-sdk");
const { OFREPWebProvider } = require("@openfeature/ofrep-web-provider");
const [url, key] = process.argv.slice(2);
const statuses = [];
const fetchImplementation = async (request, init) => {
  const answer = await fetch(request, init);
  statuses.push(answer.status);
  return answer;
};
(async () => {
  const provider = new OFREPWebProvider(
    { baseUrl: url, headers: [["Authorization", `Bearer ${key}`]], pollInterval: 0, fetchImplementation },
  );
  await OpenFeature.setContext({ targetingKey: "user-1", plan: "free" });
  await OpenFeature.setProviderAndWait(provider);
  const client = OpenFeature.getClient();
  const split = client.getStringDetails("split", "none");
  const found = {
    theme: client.getObjectValue("theme", {}), on: client.getBooleanValue("on", false), limit: client.getNumberValue("limit", 1),
    split: [split.value, split.variant, split.reason], decision: split.flagMetadata.decisionId,
    missing: client.getStringDetails("nothing", "mine").errorCode, wrong: client.getStringDetails("on", "mine").errorCode,
  };
  await OpenFeature.setContext({ targetingKey: "user-2", plan: "pro" });
  console.log(JSON.stringify({ ...found, other: client.getStringDetails("split", "none").flagMetadata.decisionId, statuses }));
  await OpenFeature.close();
  process.exit(0);
})().catch((error) => { console.error(error); process.exit(1); });
"""


@pytest.fixture(scope="module")
def modules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return installed(tmp_path_factory.mktemp("npm"), PACKAGES)


def test_the_provider_for_web_pages(modules: Path, web: Web, client: Client, database_url: str) -> None:
    for key, value in {"theme": {"colour": "blue"}, "on": True, "limit": 5}.items():
        client.make(key, actions=[{"id": "shown", "payload": value}], arms=[arm("only", 1.0, "shown")])
    client.make("split", actions=[{"id": "on"}, {"id": "off"}], arms=[arm("even", 1.0)])
    (modules / "page.js").write_text(SCRIPT, encoding="utf-8")
    arguments = [f"http://127.0.0.1:{web.port}", make_key(database_url, "decide")]
    done = subprocess.run(
        ["node", "page.js", *arguments], cwd=modules, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["theme"], found["on"], found["limit"]) == ({"colour": "blue"}, True, 5)
    value, variant, reason = found["split"]
    assert value == variant and value in ("on", "off") and reason == "SPLIT"
    assert (found["missing"], found["wrong"]) == ("FLAG_NOT_FOUND", "TYPE_MISMATCH")
    assert set(found["statuses"]) == {200} and found["decision"] != found["other"]
    stored = "SELECT unit_id, context, state FROM decisions WHERE id IN (%s, %s) ORDER BY unit_id"
    assert query(database_url, stored, found["decision"], found["other"]) == [
        ("user-1", {"plan": "free"}, "deferred"),
        ("user-2", {"plan": "pro"}, "deferred"),
    ]
