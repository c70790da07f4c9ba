"""The dashboards, the alert rules and the files beside them: every query is a query, and names metrics and labels that exist."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.service import Client, Web, bandit, make_key, query, running_web, running_worker, wait_for

DOCKER = Path(__file__).resolve().parents[1] / "docker"
OPERATIONS = (DOCKER.parent / "docs/operations.md").read_text(encoding="utf-8")
BOARDS = {
    path.stem: json.loads(path.read_text(encoding="utf-8")) for path in (DOCKER / "grafana/dashboards").glob("*.json")
}
ROW = re.compile(r"^\| `(loopwise_\w+)` \| (\w+) \|([^|]*)\|", re.MULTILINE)
TOKEN = re.compile(
    r'\s+|(?P<name>[a-zA-Z_][\w:]*)|(?P<text>"[^"]*")|(?P<number>\d+(\.\d+)?(e\d+)?)|(?P<range>\[\d+[smhd]\])|(?P<sign>[(){}=,]|[<>]=?|[*/+-])'
)
FUNCTIONS = {"sum", "max", "min", "topk", "rate", "increase", "histogram_quantile"}
PARTS = ("_bucket", "_sum", "_count")


def _known() -> dict[str, set[str]]:
    """By metric, as documented (another test compares that with the code), its labels as a scraper sees them."""
    known: dict[str, set[str]] = {}
    for name, kind, cell in ROW.findall(OPERATIONS):
        labels = set(re.findall(r"`(\w+)`", cell)) | ({"role"} if kind in ("counter", "histogram") else set())
        for end in PARTS if kind == "histogram" else ("",):
            known[name + end] = labels | ({"le"} if end == "_bucket" else set())
    return known


def _alerts() -> dict[str, str]:
    groups = yaml.safe_load((DOCKER / "alerts.yml").read_text(encoding="utf-8"))["groups"]
    return {rule["alert"]: rule["expr"] for group in groups for rule in group["rules"]}


def _queries() -> Iterator[tuple[str, str]]:
    for name, board in BOARDS.items():
        for panel in board["panels"]:
            for target in panel["targets"]:
                yield f"{name}: {panel['title']}", target["expr"]
    yield from _alerts().items()


def _tokens(expression: str) -> list[tuple[str, str]]:
    """Kind and text of every token; fails at what is none."""
    tokens, at = [], 0
    while at < len(expression):
        match = TOKEN.match(expression, at)
        assert match is not None, expression[at:]
        if match.lastgroup is not None:
            kind = next(kind for kind in ("name", "text", "number", "range", "sign") if match[kind] is not None)
            tokens.append((kind, match[0]))
        at = match.end()
    return tokens


def _check(expression: str) -> None:
    """Brackets close, functions exist, and every metric has every label that is asked of it.

    Labels within braces belong to the metric before; those of ``by`` to all metrics of the aggregation that follows.
    """
    known, tokens = _known(), _tokens(expression)
    assert [text for _, text in tokens].count("(") == [text for _, text in tokens].count(")")
    metric, metrics, grouped, inside, by = "", [], set[str](), False, 0
    for index, (kind, text) in enumerate(tokens):
        following = tokens[index + 1][1] if index + 1 < len(tokens) else ""
        inside = (inside or text == "{") and text != "}"
        if kind != "name":
            by -= text == ")" and by > 0
        elif text == "by":
            by = 1
        elif by:
            grouped.add(text)
        elif inside:
            assert text in known[metric], f"{metric} has no label {text}"
        elif following == "(" or text in FUNCTIONS:
            assert text in FUNCTIONS, text
        else:
            assert text in known, f"there is no metric {text}"
            metric = text
            metrics.append(text)
    assert metrics
    for label in grouped:
        assert all(label in known[name] for name in metrics), f"{label} of {metrics}"


@pytest.mark.parametrize(("name", "expression"), list(_queries()), ids=[name for name, _ in _queries()])
def test_every_query_names_metrics_and_labels_that_exist(name: str, expression: str) -> None:
    _check(expression)


@pytest.mark.parametrize(
    "wrong",
    [
        "sum(loopwise_ghosts_total)",
        "sum by (ghost) (rate(loopwise_decisions_total[5m]))",
        'loopwise_queue_seconds{ghost="x"}',
        "sum(rate(loopwise_decisions_total[5m])",
        "guess(loopwise_queue_seconds)",
        "loopwise_request_seconds > 3",
    ],
)
def test_the_check_finds_faults(wrong: str) -> None:
    with pytest.raises((AssertionError, KeyError)):
        _check(wrong)


def test_the_dashboards_are_provisioned_under_their_own_names() -> None:
    assert set(BOARDS) == {"platform", "experiment", "guardian"}
    assert len({board["uid"] for board in BOARDS.values()}) == 3
    source = yaml.safe_load((DOCKER / "grafana/provisioning/datasources/prometheus.yml").read_text(encoding="utf-8"))
    (uid,) = [each["uid"] for each in source["datasources"]]
    for board in BOARDS.values():
        assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
        assert {target["datasource"]["uid"] for panel in board["panels"] for target in panel["targets"]} == {uid}
        _do_not_overlap(board["panels"])


def _do_not_overlap(panels: list[dict[str, Any]]) -> None:
    fields = [
        (x, y)
        for panel in panels
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(fields) == len(set(fields)) and max(x for x, _ in fields) < 24


def test_the_files_of_the_monitoring_fit_together() -> None:
    compose = yaml.safe_load((DOCKER / "monitoring.yaml").read_text(encoding="utf-8"))
    scraped = yaml.safe_load((DOCKER / "prometheus.yml").read_text(encoding="utf-8"))["scrape_configs"][0]
    command = compose["services"]["worker"]["command"]
    assert scraped["static_configs"][0]["targets"] == [
        "web:8000",
        f"worker:{command[command.index('--metrics-port') + 1]}",
    ]
    for service in ("prometheus", "grafana"):
        for volume in compose["services"][service]["volumes"]:
            source = volume.partition(":")[0]
            assert source in compose["volumes"] or (DOCKER / source).exists(), source
    provider = yaml.safe_load((DOCKER / "grafana/provisioning/dashboards/loopwise.yml").read_text(encoding="utf-8"))
    path = provider["providers"][0]["options"]["path"]
    assert any(volume.split(":")[1] == path for volume in compose["services"]["grafana"]["volumes"])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("metrics")


@pytest.fixture(scope="module")
def web(database_url: str, folder: Path) -> Iterator[Web]:
    with running_web(database_url, LOOPWISE_METRICS_DIR=str(folder)) as server:
        yield server


@pytest.mark.slow
def test_a_running_stack_shows_what_the_dashboards_ask_for(
    web: Web, folder: Path, database_url: str, redis_url: str
) -> None:
    client = web.client(make_key(database_url))
    feedback = {"thumbs": {"up": 1.0, "down": 0.0}}
    client.make("shown", arms=bandit(), feedback=feedback, context_fields=[{"name": "n"}], reward={"window_s": 1})
    with running_worker(database_url, redis_url, LOOPWISE_METRICS_DIR=str(folder)):
        answers = [client.decide("shown", f"u{n}", context={"n": n, "ghost": 1}) for n in range(40)]
        for answer in answers:
            assert client.reward(answer.body["decision_id"], 1).status == 201
            thumb = {"decision_id": answer.body["decision_id"], "kind": "thumbs", "value": "up"}
            assert client.post("/v1/feedback", thumb).status == 201
        client.post("/v1/events", {"unit_id": "u0", "name": "came", "event_id": "e"})
        wait_for(lambda: query(database_url, "SELECT 1 FROM model_versions WHERE number > 0"), 60, "a model")
        # A watch that cannot be read fails, and is counted.
        query(
            database_url,
            "UPDATE latest SET body = '{}', computed_at = now() - interval '1 day' WHERE kind = 'guardian'",
        )
        client.decide("shown", "once more", context={"n": 1})
        asked = {name for _, expression in _queries() for kind, name in _tokens(expression) if name in _known()}
        rare = {
            "loopwise_fallbacks_total",
            "loopwise_features_left_out",
        }  # a broken model, and features that say nothing
        wait_for(lambda: asked - rare <= set(_shown(client)), 60, "every metric")
        shown, known = _shown(client), _known()
        assert [name for name in asked & set(shown) if not shown[name] <= known[name]] == []


def _shown(client: Client) -> dict[str, set[str]]:
    """By metric, the labels of its lines."""
    shown: dict[str, set[str]] = {}
    for name, labels in re.findall(
        r"^(loopwise_\w+)(?:\{(.*)\})? \S+$", client.get("/metrics").raw.decode(), re.MULTILINE
    ):
        shown.setdefault(name, set()).update(re.findall(r'(\w+)="', labels))
    return shown
