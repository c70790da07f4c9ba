"""Clients generated from the OpenAPI document make decisions, and linters accept the document and the metrics."""

import importlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from tests.service import Client, Web
from tests.tools import tool
from tests.web.npm import installed

NPM = ("openapi-typescript@7.13.0", "@redocly/openapi-core@1.34.24", "openapi-fetch@0.17.0", "typescript@5.9.3")
TYPES = ("--default-non-nullable", "false")  # a member with a default need not be sent
TYPED = """
declare const process: { argv: string[] };
import createClient from "openapi-fetch";
import type { components, paths } from "./schema";
const [baseUrl, key] = process.argv.slice(2);
const client = createClient<paths>({ baseUrl, headers: { Authorization: `Bearer ${key}` } });
const arms: components["schemas"]["ArmSpec"][] = [{ key: "all", share: 1, policy: { type: "uniform" } }];
const body = { key: "typed", actions: [{ id: "a" }, { id: "b" }], arms };
const made = await client.POST("/v1/experiments", { body });
await client.POST("/v1/experiments/{key}/start", { params: { path: { key: made.data!.key } } });
const decided = await client.POST("/v1/decide", { body: { experiment: "typed", unit_id: "u", context: { hour: 7 } } });
const { decision_id, action, propensity } = decided.data!;
const rewarded = await client.POST("/v1/reward", { body: { decision_id, value: 1 } });
const wrong = await client.POST("/v1/decide", { body: { experiment: "missing", unit_id: "u" } });
console.log(JSON.stringify([action.id, propensity, rewarded.data!.late, wrong.error!.code]));
// @ts-expect-error: there is no such member
await client.POST("/v1/decide", { body: { experiment: "typed", unit: "u" } });
// @ts-expect-error: a share is a number
const bad: components["schemas"]["ArmSpec"] = { key: "all", share: "1", policy: {} };
"""
LINT = """
import { createConfig, lint } from "@redocly/openapi-core";
const problems = await lint({ ref: "openapi.json", config: await createConfig({ extends: ["recommended"] }) });
console.log(JSON.stringify(problems.map((problem) => `${problem.ruleId}: ${problem.message}`)));
"""


@pytest.fixture(scope="module")
def document(web: Web) -> Any:
    return web.client().get("/openapi.json").body


@pytest.fixture(scope="module")
def project(document: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the document and what generates and checks code in TypeScript."""
    folder = installed(tmp_path_factory.mktemp("typed"), NPM)
    (folder / "openapi.json").write_text(json.dumps(document), encoding="utf-8")
    return folder


def _run(folder: Path, *command: str) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=180, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_generated_python_client_makes_an_experiment_and_a_decision(
    web: Web, client: Client, document: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "openapi.json").write_text(json.dumps(document), encoding="utf-8")
    programs = str(Path(sys.executable).parent)  # the generator formats with ruff
    options = ("--path", "openapi.json", "--output-path", "loopwise_generated", "--meta", "none", "--fail-on-warning")
    _run(tmp_path, "env", f"PATH={programs}:/usr/bin:/bin", f"{programs}/openapi-python-client", "generate", *options)
    monkeypatch.syspath_prepend(str(tmp_path))
    made = importlib.import_module("loopwise_generated")
    api, models = (importlib.import_module(f"loopwise_generated.{name}") for name in ("api", "models"))
    caller = made.AuthenticatedClient(base_url=f"http://127.0.0.1:{web.port}", token=client.key)

    def call(operation: str, **arguments: Any) -> Any:
        group = operation.partition("_")[0]
        return importlib.import_module(f"{api.__name__}.{group}.{operation}").sync(client=caller, **arguments)

    body = {
        "key": "generated",
        "actions": [{"id": "a"}, {"id": "b"}],
        "arms": [{"key": "all", "share": 1.0, "policy": {"type": "uniform"}}],
    }
    experiment = call("experiments_create_post", body=models.ExperimentConfig.from_dict(body))
    assert experiment.arms[0].share == 1.0
    call(
        "experiments_start_key_start_post", key="generated", body=models.ExperimentConfig.from_dict(body)
    ) if False else (client.post("/v1/experiments/generated/start"))
    decision = call("apps_decide_decide_post", body=models.DecideRequest(experiment="generated", unit_id="u"))
    assert (decision.action.id in ("a", "b"), decision.propensity) == (True, 0.5)
    reward = call("apps_reward_reward_post", body=models.RewardRequest(decision_id=decision.decision_id, value=1.0))
    assert reward.late is False
    refused = call("apps_decide_decide_post", body=models.DecideRequest(experiment="missing", unit_id="u"))
    assert (type(refused).__name__, refused.code) == ("Problem", "unknown_experiment")


def test_a_generated_typescript_client_makes_an_experiment_and_a_decision(
    project: Path, web: Web, client: Client
) -> None:
    (project / "app.mts").write_text(TYPED, encoding="utf-8")
    _run(project, "node_modules/.bin/openapi-typescript", "openapi.json", *TYPES, "--output", "schema.d.ts")
    options = ("--strict", "--target", "es2022", "--module", "preserve", "--moduleResolution", "bundler")
    _run(project, "node_modules/.bin/tsc", *options, "--lib", "es2022,dom", "app.mts")
    answer = json.loads(_run(project, tool("node"), "app.mjs", f"http://127.0.0.1:{web.port}", client.key))
    assert (answer[0] in ("a", "b"), answer[1:]) == (True, [0.5, False, "unknown_experiment"])


def test_the_document_has_no_lint(project: Path) -> None:
    (project / "lint.mjs").write_text(LINT, encoding="utf-8")
    assert json.loads(_run(project, tool("node"), "lint.mjs")) == []


def test_no_two_shapes_have_one_name(document: Any) -> None:
    """The library that writes the document keeps the last one, silently."""
    shapes: dict[str, set[type[BaseModel]]] = {}
    waiting: list[type[BaseModel]] = [BaseModel]
    import app.web.app  # noqa: F401 - defines all of them

    while waiting:
        for shape in waiting.pop().__subclasses__():
            waiting.append(shape)
            if shape.__module__.startswith("app.") and shape.__name__ in document["components"]["schemas"]:
                shapes.setdefault(shape.__name__, set()).add(shape)
    assert {name: found for name, found in shapes.items() if len(found) > 1} == {}
    assert len(shapes) > 200


def test_promtool_accepts_the_metrics(web: Web, client: Client) -> None:
    client.make("measured")
    client.reward(client.decide("measured").body["decision_id"], 1.0)
    answer = client.get("/metrics")
    assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert b"loopwise_decisions_total{" in answer.raw
    command = [tool("promtool"), "check", "metrics"]
    done = subprocess.run(command, input=answer.raw, capture_output=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
