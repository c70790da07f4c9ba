"""Logs whose service dropped events at random (``pdrop``): each event stands for 1 / (1 - pdrop). The truth is known here."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import vowpalwabbit

from app.design.experiments import get
from app.files.exporting import export_log
from app.files.file_evaluation import EvaluateRequest, evaluate_file
from app.files.records import AS_EXPORTED, read_decisions
from app.files.refused import FileRefused
from app.files.transfer import import_log
from app.foundation.store.engine import transaction
from app.off_policy import evaluations
from app.off_policy.documents import EvaluationResult
from app.off_policy.evaluation_request import EvaluationRequest
from app.off_policy.life import warm_start, warming
from app.off_policy.life.warm_start import WarmStartRequest
from app.registry import signed_bytes
from app.registry.store import models
from bandits.arguments import vw_arguments
from bandits.encoding import encode_action, encode_context
from bandits.model import Predictor
from bandits.policy import BanditPolicy, parse_policy, policy_to_json
from tests.lab import Lab, arm
from tests.service import query

EVENTS = 12_000
TRUTH = {"tea": 0.3, "cake": 0.1}  # the chance of a reward
PDROP = 0.8  # of events without a reward; those with one are all kept


def _thinned(path: Path, *, weights: bool = True) -> Path:
    """Two actions at random; four of five events without a reward were dropped, so plain means are far too high."""
    random, lines = np.random.default_rng(5), []
    for number in range(EVENTS):
        chosen = int(random.integers(2))
        reward = float(random.random() < list(TRUTH.values())[chosen])
        if reward == 0 and random.random() < PDROP:
            continue
        event: dict[str, Any] = {
            "_label_cost": -reward, "_label_probability": 0.5, "_label_Action": chosen + 1, "_labelIndex": chosen,
            "Timestamp": f"2026-01-{1 + number // 1000:02d}T00:{number // 60 % 60:02d}:{number % 60:02d}Z",
            "EventId": f"e{number}", "a": [chosen + 1, 2 - chosen], "p": [0.5, 0.5],
            "c": {"_multi": [{"_tag": name} for name in TRUTH]},
        }  # fmt: skip
        lines.append(json.dumps(event | ({"pdrop": 0.0 if reward else PDROP} if weights else {})))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def _evaluated(lab: Lab, key: str) -> EvaluationResult:
    evaluations.ask(lab.runtime.engine, key, EvaluationRequest(), "test")
    evaluations.run_waiting(lab.runtime.engine, lab.runtime.settings)
    answer = evaluations.newest_done(lab.runtime.engine, key)
    assert answer is not None and answer.result is not None
    return answer.result


def test_a_file_is_valued_with_the_weights_of_what_was_dropped(tmp_path: Path) -> None:
    request = EvaluateRequest(target="fixed:tea")
    weighted = evaluate_file(_thinned(tmp_path / "log.dsjson"), request).report
    plain = evaluate_file(_thinned(tmp_path / "plain.dsjson", weights=False), request).report
    for interval in (weighted.headline.always_valid, weighted.headline.one_look):
        assert interval.covers(TRUTH["tea"])
    assert abs(weighted.logged_value - 0.2) < 0.02 and weighted.verdict.identified
    assert not plain.headline.always_valid.covers(TRUTH["tea"]) and plain.logged_value > 0.5


def test_an_evaluation_values_what_the_service_saw_and_says_so(lab: Lab, tmp_path: Path) -> None:
    for key, weights in (("thinned", True), ("plain", False)):
        import_log(lab.runtime.engine, _thinned(tmp_path / f"{key}.dsjson", weights=weights), key)
    weighted, plain = (_evaluated(lab, key) for key in ("thinned", "plain"))
    assert abs(weighted.logged_value - 0.2) < 0.03 and plain.logged_value > 0.5
    assert any("pdrop" in text for text in weighted.assumptions) and not any(
        "pdrop" in text for text in plain.assumptions
    )
    best, wrong = (next(line for line in found.policies if "tea" in line.text) for found in (weighted, plain))
    assert best.interval is not None and best.interval.low < TRUTH["tea"] < best.interval.high
    assert (
        wrong.estimators["snips"].value or 0.0
    ) > 0.5 and wrong.status != "identified"  # its weights do not average 1
    gained = best.against_running
    assert gained is not None and gained.interval.low < TRUTH["tea"] - 0.2 < gained.interval.high
    assert best.course and best.course[-1].value == pytest.approx(best.value)


@pytest.mark.parametrize("kind", ["dsjson", "jsonl", "csv", "parquet"])
def test_an_export_brings_the_weights_back(lab: Lab, tmp_path: Path, kind: str) -> None:
    if not query(lab.database_url, "SELECT 1 FROM experiments WHERE key = 'weights'"):
        import_log(lab.runtime.engine, _thinned(tmp_path / "log.dsjson"), "weights")
    copy = tmp_path / f"copy.{kind}"
    export_log(lab.runtime.engine, lab.runtime.settings, "weights", copy)
    found = {decision.reward: decision.stands_for for _, decision in read_decisions(copy, kind, AS_EXPORTED)}
    assert found == {1.0: None, 0.0: pytest.approx(5.0)}


def test_a_log_that_was_thinned_out_alike_needs_no_weights(lab: Lab, tmp_path: Path) -> None:
    path = _thinned(tmp_path / "log.dsjson", weights=False)
    alike = [json.loads(line) | {"pdrop": 0.5} for line in path.read_text().splitlines()]
    path.write_text("\n".join(map(json.dumps, alike)), encoding="utf-8")
    import_log(lab.runtime.engine, path, "alike")
    assert not any("pdrop" in text for text in _evaluated(lab, "alike").assumptions)


@pytest.mark.parametrize("weight", ["0", "-1", "1e9", "many"])
def test_a_weight_that_is_none_is_refused(tmp_path: Path, weight: str) -> None:
    path = tmp_path / "log.csv"
    path.write_text(f"action,propensity,reward,stands_for\na,0.5,1,{weight}\n", encoding="utf-8")
    with pytest.raises(FileRefused, match="line 2: stands_for is"):
        list(read_decisions(path, "csv", AS_EXPORTED))


KINDS = ("k0", "k1", "k2")


def _as_vw_reads_it(path: Path, folder: Path, policy: BanditPolicy) -> list[list[float]]:
    """Vowpal Wabbit learns a file of dsjson by itself, and says what it would choose at each of its lines."""
    arguments = vw_arguments(policy).replace("--no_stdin", "")
    for more in (f"-f {folder}/vw.model", f"-t -i {folder}/vw.model -p {folder}/chances"):
        options = arguments if "-t" not in more else "--quiet --preserve_performance_counters"
        vowpalwabbit.Workspace(f"{options} --dsjson -d {path} {more}").finish()
    lines = [line for line in (folder / "chances").read_text().splitlines() if line]
    named = [dict(part.split(":") for part in line.split(",")) for line in lines]
    return [[float(chances[str(index)]) for index in range(len(chances))] for chances in named]


def test_an_arm_learns_a_thinned_log_with_the_weights_that_vowpal_wabbit_gives_it(lab: Lab, tmp_path: Path) -> None:
    """The same file, read by Vowpal Wabbit and imported here: the models choose alike, and not as without the weights."""
    random, names, path = np.random.default_rng(3), [*TRUTH], tmp_path / "log.dsjson"
    events = []
    for number in range(300):
        chosen, kind, pdrop = int(random.integers(2)), int(random.integers(3)), (0.0, 0.5, 0.9)[number % 3]
        reward = float(random.random() < (0.2 + 0.3 * ((chosen + kind) % 2)))
        events.append({
            "_label_cost": 1.0 - reward, "_label_probability": 0.5, "_label_Action": chosen + 1, "_labelIndex": chosen,
            "Timestamp": f"2026-01-01T00:{number // 60:02d}:{number % 60:02d}Z", "EventId": f"e{number}",
            "a": [chosen + 1, 2 - chosen], "p": [0.5, 0.5], "pdrop": pdrop,
            "c": {"kind": KINDS[kind], "_multi": [{"_tag": name, "id": name} for name in names]},
            "_loopwise": {"id_feature": "id"},
        })  # fmt: skip
    path.write_text("\n".join(map(json.dumps, events)) + "\n", encoding="utf-8")
    policy = parse_policy(
        {"type": "bandit", "algorithm": "softmax", "parameters": {"interactions": [], "lambda_": 5.0}}
    )
    assert isinstance(policy, BanditPolicy)
    theirs = _as_vw_reads_it(path, tmp_path, policy)
    alike = tmp_path / "alike.dsjson"
    alike.write_text("\n".join(json.dumps(event | {"pdrop": 0.0}) for event in events) + "\n", encoding="utf-8")
    unweighted = _as_vw_reads_it(alike, tmp_path, policy)

    # Here a reward is 1 less the cost, between 0 and 1, so that models learn the very costs of the file.
    rewarded = [event | {"_label_cost": event["_label_cost"] - 1.0} for event in events]
    path.write_text("\n".join(map(json.dumps, rewarded)) + "\n", encoding="utf-8")
    import_log(lab.runtime.engine, path, "read-by-both")
    lab.make("warm", actions=[{"id": name} for name in names], arms=[arm("learned", 1.0, policy_to_json(policy))])
    request = WarmStartRequest.model_validate({"arm": "learned", "source": {"experiment": "read-by-both"}})
    warm_start.ask(lab.runtime.engine, "warm", request, "test")
    assert warming.run_waiting(lab.runtime.engine, lab.settings) == ["learned"]
    with transaction(lab.runtime.engine) as connection:
        (serving,) = models.serving(connection, experiment_id=get(lab.runtime.engine, "warm").id)
        _, plain = signed_bytes.load(connection, serving.version_id, lab.settings.secret_key)
    predictor = Predictor(plain, policy)
    lines = [encode_action(name) for name in names]
    ours = [predictor.own(encode_context({"kind": event["c"]["kind"]}), lines)[0] for event in events]
    assert np.abs(np.array(ours) - np.array(theirs)).max() < 1e-5
    assert np.abs(np.array(theirs) - np.array(unweighted)).max() > 0.01
    assert lab.audit("warm").ok
