"""The JavaScript client as a package: packed by npm, imported by node as a server that renders pages does, and typed."""

import json
import subprocess
from pathlib import Path

import pytest

from tests.service import ROOT
from tests.tools import tool

FOLDER = ROOT / "clients" / "js"
TYPESCRIPT = "typescript@5.9.3"
NODE = """
import { Loopwise } from "loopwise-web";
const loopwise = new Loopwise({ url: "http://127.0.0.1:9", key: "lw_none", unitId: "u" });
loopwise.reward("decision", 1);
loopwise.event("lesson-done");
loopwise.listen();
loopwise.allow(true);
console.log(JSON.stringify([await loopwise.decide("tip", { fallback: "plain" }), await loopwise.message("tip")]));
"""
TYPED = """
import { Loopwise, type Decision, type Reason } from "loopwise-web";
const loopwise = new Loopwise({ url: "https://loopwise.example", key: "lw_", deadlineMs: 300 });
const decision: Decision<"plain"> = await loopwise.decide("tip", { fallback: "plain", context: { device: "phone" }, test: true });
if (decision.logged) console.log(decision.propensity.toFixed(2), decision.decisionId.length);
else { const reason: Reason = decision.reason; const action: "plain" = decision.action; console.log(reason, action); }
loopwise.reward(decision, 0.5, { metric: "bought" });
loopwise.event("lesson-done", { minutes: 5 });
// @ts-expect-error: there is no such answer
loopwise.feedback(decision, "shrug");
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project that has the packed client as its only package."""
    npm = tool("npm")
    tool("node")
    folder = tmp_path_factory.mktemp("project")
    packed = json.loads(_run(folder, npm, "pack", "--json", str(FOLDER)))[0]
    assert {item["path"] for item in packed["files"]} == {"README.md", "loopwise.d.ts", "loopwise.js", "package.json"}
    (folder / "package.json").write_text('{"type": "module"}')
    _run(folder, npm, "install", "--offline", "--no-audit", "--no-fund", f"./{packed['filename']}")
    return folder


def _run(folder: Path, *command: str) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_server_that_renders_pages_sends_nothing_and_gets_the_fallback(project: Path) -> None:
    (project / "page.js").write_text(NODE, encoding="utf-8")
    decision, message = json.loads(_run(project, "node", "page.js"))
    assert (decision["action"], decision["logged"], decision["reason"]) == ("plain", False, "server")
    assert (message["message"], message["reason"]) == (None, "server")


def test_the_types_are_those_of_the_code(project: Path) -> None:
    command = [tool("npm"), "install", "--no-audit", "--no-fund", "--ignore-scripts", "--no-save", TYPESCRIPT]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, timeout=180, check=False)
    if done.returncode:
        pytest.skip(f"npm cannot fetch TypeScript: {done.stderr.strip().splitlines()[-1:]}")
    (project / "app.mts").write_text(TYPED, encoding="utf-8")
    options = ("--noEmit", "--strict", "--target", "es2022", "--module", "nodenext", "--lib", "es2022,dom")
    _run(project, "node_modules/.bin/tsc", *options, "app.mts")
    declared = (FOLDER / "loopwise.d.ts").read_text(encoding="utf-8")
    script = (
        "import { Loopwise } from 'loopwise-web'; console.log(Object.getOwnPropertyNames(Loopwise.prototype).join())"
    )
    methods = _run(project, "node", "--input-type=module", "-e", script).strip().split(",")
    assert [name for name in methods if f"  {name}" not in declared and f"readonly {name}" not in declared] == []
