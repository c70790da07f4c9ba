"""README.md and docs/ say what is so: routes, commands, links, metrics and the bodies of requests."""

import json
import re
import shlex
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import unquote

import click
import pytest
from prometheus_client import Counter, Histogram

from app.commands.lazy import LazyCommand
from app.commands.main import main
from app.deciding.requests import DecideRequest
from app.design.definition_rules import parse_config
from app.foundation import metrics
from app.guardian.store import incidents
from app.learning.feedback_request import FeedbackRequest
from app.learning.reward_request import RewardRequest
from app.learning.store import training
from app.registry.store import models
from app.web.addresses import routed
from app.web.api import health
from app.web.app import create_app
from app.web.store import backlog
from tests.service import query, settings

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "benchmarks").glob("*.md"))]
TEXTS = {str(page.relative_to(ROOT)): page.read_text(encoding="utf-8") for page in PAGES}
FENCED = re.compile(r"^```[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`([^`]+)`")
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
ROUTE = re.compile(r"^\| (\w+) \| `(/[^`]+)` \| ([^|]+) \|", re.MULTILINE)
METRIC = re.compile(r"^\| `(loopwise_\w+)` \| (\w+) \|([^|]*)\|", re.MULTILINE)

each_page = pytest.mark.parametrize("page", TEXTS)


def _blocks(text: str) -> list[str]:
    return FENCED.findall(text)


def _spans(text: str) -> list[str]:
    """Inline code; a span that is broken over two lines is one."""
    return [" ".join(span.split()) for span in INLINE.findall(FENCED.sub("", text))]


# Routes


def _app() -> Any:
    return create_app(settings=settings(""), runtime=SimpleNamespace(engine=None, stopping=None))  # type: ignore[arg-type]


def _routes() -> set[tuple[str, str, str]]:
    """Method, path and scope of every route that needs a key."""
    app = _app()
    return {
        (method, _nameless(rule.rule), app.view_functions[rule.endpoint].scope)
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
        if rule.rule.startswith(("/v1/", "/personalizer/", "/ofrep/"))
    }


def _nameless(path: str) -> str:
    return re.sub(r"\{\w+\}|<[^>]+>", "{}", path)


def test_the_table_of_routes_is_the_one_of_the_app() -> None:
    written = [(method, _nameless(path), scope) for method, path, scope in ROUTE.findall(TEXTS["docs/api.md"])]
    assert set(written) == _routes()
    assert len(written) == len(set(written))


@each_page
def test_every_path_of_the_api_that_is_named_is_served(page: str) -> None:
    served = [re.escape(path).replace(r"\{\}", "[^/]+") for _, path, _ in _routes()]
    named = re.findall(r"(?<![\w.])/(?:v1|personalizer|ofrep)/[\w./{}-]*[\w}]", TEXTS[page])
    assert [path for path in named if not any(re.fullmatch(rule, routed(path)) for rule in served)] == []


# Commands


def _commands(page: str) -> Iterator[str]:
    for block in _blocks(TEXTS[page]):
        yield from (line for line in block.replace("\\\n", " ").splitlines() if line.startswith("loopwise "))
    yield from (span for span in _spans(TEXTS[page]) if span.startswith("loopwise "))


def _resolve(command: str) -> tuple[click.Command, list[str]]:
    """The command that is meant, and the words after it. Raises `KeyError` when there is none."""
    words = shlex.split(re.sub(r"[\[\]|]", " ", command), comments=True)[1:]
    resolved: click.Command = main
    while isinstance(resolved, click.Group) and words and not words[0].startswith("-"):
        resolved = resolved.commands[words.pop(0)]
    return _loaded(resolved), words


def _loaded(command: click.Command) -> click.Command:
    """The command itself, where only its name was imported so far."""
    return command.loaded() if isinstance(command, LazyCommand) else command


def _options(command: click.Command) -> set[str]:
    return {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}


@each_page
def test_every_command_that_is_named_exists_with_its_options(page: str) -> None:
    wrong = []
    for line in _commands(page):
        try:
            command, words = _resolve(line)
        except KeyError as error:
            wrong.append(f"{line}: no command {error}")
            continue
        given = {word.partition("=")[0] for word in words if word.startswith("-")}
        wrong += [f"{line}: no option {name}" for name in given - _options(command) - {"-h", "--help"}]
    assert wrong == []


def _all_commands(group: click.Group) -> Iterator[click.Command]:
    for command in group.commands.values():
        if isinstance(command, click.Group):
            yield from _all_commands(command)
        else:
            yield _loaded(command)


@each_page
def test_every_option_that_is_named_alone_is_one_of_a_command_or_a_benchmark(page: str) -> None:
    known = set(_options(main)).union(*map(_options, _all_commands(main)))
    for script in (ROOT / "benchmarks").glob("*.py"):
        known.update(re.findall(r'add_argument\(\s*"(--[\w-]+)"', script.read_text(encoding="utf-8")))
    named = {span.split()[0].partition("=")[0] for span in _spans(TEXTS[page]) if span.startswith("--")}
    assert named - known == set()


@each_page
def test_every_module_and_make_target_that_is_named_exists(page: str) -> None:
    code = "\n".join([*_blocks(TEXTS[page]), *_spans(TEXTS[page])])
    for module in re.findall(r"python3? -m (benchmarks(?:\.\w+)?)", code):
        assert list(ROOT.glob(module.replace(".", "/") + ".py")) or module == "benchmarks", module
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert set(re.findall(r"^ *make ([\w-]+)", code, re.MULTILINE)) <= set(targets)


# Links


def _anchors(text: str) -> set[str]:
    """Ids of the headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", FENCED.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@each_page
def test_every_relative_link_leads_somewhere(page: str) -> None:
    broken = []
    for target in LINK.findall(FENCED.sub("", TEXTS[page])):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = unquote(target).partition("#")
        file = (ROOT / page).parent / path if path else ROOT / page
        if not file.exists() or (anchor and anchor not in _anchors(file.read_text(encoding="utf-8"))):
            broken.append(target)
    assert broken == []


# Metrics


def _exported(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, str, list[str]]]:
    """Name, type and labels of every metric, as Prometheus sees them."""
    for metric in vars(metrics).values():
        if isinstance(metric, Counter | Histogram):
            (family,) = metric.describe()
            ending = "_total" if family.type == "counter" else ""
            yield family.name + ending, family.type, list(metric._labelnames)
    monkeypatch.setattr(health, "transaction", lambda engine: nullcontext())
    monkeypatch.setattr(training, "lag", lambda connection: (0, 0.0))
    monkeypatch.setattr(backlog, "waited", lambda connection: {})
    monkeypatch.setattr(backlog, "silent_webhooks", lambda connection: 0)
    monkeypatch.setattr(models, "left_out", lambda connection: [])
    monkeypatch.setattr(incidents, "counted", lambda connection: [])
    snapshot = SimpleNamespace(current=SimpleNamespace(serving={}, by_id={}))
    at: Any = SimpleNamespace(snapshots=snapshot, engine=None, settings=settings(""))
    for gauge in (*health._of_process(at), *health._of_database(at)):
        yield gauge.name, gauge.type, list(gauge._labelnames)  # type: ignore[attr-defined]


def test_the_table_of_metrics_is_the_one_of_the_code(monkeypatch: pytest.MonkeyPatch) -> None:
    written = {name: (kind, INLINE.findall(cell)) for name, kind, cell in METRIC.findall(TEXTS["docs/operations.md"])}
    assert written == {name: (kind, labels) for name, kind, labels in _exported(monkeypatch)}


def test_the_table_of_views_is_the_one_of_the_database(database_url: str) -> None:
    rows = re.findall(r"^\| `bi\.(\w+)` \|[^|]*\| ([^|]*) \|$", TEXTS["docs/operations.md"], re.MULTILINE)
    columns = query(
        database_url,
        "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = 'bi' ORDER BY 1, ordinal_position",
    )
    assert {name: INLINE.findall(cell) for name, cell in rows} == {
        name: [column for view, column in columns if view == name] for name, _ in columns
    }


# Bodies of requests


CHECKS: dict[str, Callable[[Any], object]] = {
    "/v1/experiments": parse_config,
    "/v1/decide": DecideRequest.model_validate,
    "/v1/reward": RewardRequest.model_validate,
    "/v1/feedback": FeedbackRequest.model_validate,
}


def _calls(page: str) -> list[tuple[str, str]]:
    """Path and body of every curl command that sends one."""
    matches = re.findall(
        r"curl (?:(?!curl ).)*?(/v1/\S+)(?:(?!curl ).)*? -d '([^']*)'", "".join(_blocks(TEXTS[page])), re.DOTALL
    )
    return [(str(path), str(body)) for path, body in matches]


@pytest.mark.parametrize("page", ["README.md", "docs/api.md"])
def test_every_body_that_is_shown_is_accepted(page: str) -> None:
    calls = _calls(page)
    assert calls, "the pattern finds no call any more"
    assert len(calls) == TEXTS[page].count(" -d '")
    for path, body in calls:
        CHECKS[path](json.loads(body))
