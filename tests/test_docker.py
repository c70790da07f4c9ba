"""Checks of the images that need no container engine: files, commands and settings exist."""

import re
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from app.commands.main import main
from app.embedded.postgres import PRIVATE_LOG
from app.foundation.settings import SETTINGS

_ROOT = Path(__file__).resolve().parents[1]
_COMPOSE = yaml.safe_load((_ROOT / "docker/compose.yaml").read_text(encoding="utf-8"))
_DOCKERFILE = (_ROOT / "docker/Dockerfile").read_text(encoding="utf-8")
_OURS = {name: service for name, service in _COMPOSE["services"].items() if "build" in service}
_OF_THE_IMAGES = {
    "postgres": {"POSTGRES_USER", "POSTGRES_DB", "POSTGRES_PASSWORD"},
    "redis": {"REDIS_PASSWORD", "REDISCLI_AUTH"},  # the first is read by our own command line, the second by redis-cli
}


def test_every_role_and_both_servers_are_there() -> None:
    assert set(_OURS) == {"migrate", "web", "worker", "beat"}
    assert set(_COMPOSE["services"]) - set(_OURS) == {"postgres", "redis"}


@pytest.mark.parametrize("name", _OURS)
def test_every_command_exists_with_its_options(name: str) -> None:
    _parse(_OURS[name]["command"])


def test_the_image_starts_with_a_command_that_exists() -> None:
    words = re.search(r"^CMD (\[.*\])$", _DOCKERFILE, re.MULTILINE)
    assert words is not None
    _parse(yaml.safe_load(words.group(1)))
    assert 'ENTRYPOINT ["python", "-P", "-m", "app.commands"]' in _DOCKERFILE


@pytest.mark.parametrize("name", _COMPOSE["services"])
def test_every_setting_is_one(name: str) -> None:
    known = {setting.name for setting in SETTINGS} if name in _OURS else _OF_THE_IMAGES[name]
    assert set(_COMPOSE["services"][name]["environment"]) <= known


def test_the_example_names_everything_that_is_given_from_outside_and_no_value() -> None:
    asked = set(re.findall(r"\$\{(\w+):[?-]\}", (_ROOT / "docker/compose.yaml").read_text(encoding="utf-8")))
    lines = (_ROOT / "docker/.env.example").read_text(encoding="utf-8").splitlines()
    assert {line for line in lines if line and not line.startswith("#")} == {f"{name}=" for name in asked}


def test_the_image_runs_as_a_numeric_user_that_is_not_root() -> None:
    user = re.search(r"^USER (\d+):(\d+)$", _DOCKERFILE, re.MULTILINE)
    assert user is not None
    assert int(user[1]) > 0
    assert f"--uid {user[1]}" in _DOCKERFILE


def test_redis_keeps_an_append_only_file() -> None:
    assert "--appendonly yes" in " ".join(_COMPOSE["services"]["redis"]["command"])


def test_postgresql_logs_no_more_than_the_embedded_one() -> None:
    command = _COMPOSE["services"]["postgres"]["command"]
    assert command == ["postgres", *(f"-c{name}={value}" for name, value in PRIVATE_LOG.items())]


def test_services_wait_for_services_that_exist() -> None:
    for service in _OURS.values():
        assert set(service.get("depends_on", {})) <= set(_COMPOSE["services"])


def test_every_file_that_the_image_copies_exists() -> None:
    copied = re.findall(r"^COPY (\S+) ", _DOCKERFILE, re.MULTILINE)
    assert {"app", "bandits", "experiments", "migrations", "worker", "requirements.lock"} <= set(copied)
    assert all((_ROOT / name).exists() for name in copied)
    assert (_ROOT / _COMPOSE["x-loopwise"]["build"]["dockerfile"]).exists()


def _parse(words: list[Any]) -> None:
    """Parse a command line as the CLI would, without running it."""
    command = main.get_command(click.Context(main), words[0])
    assert command is not None, words
    command.make_context(words[0], [str(word) for word in words[1:]])


def test_alerts_name_metrics_and_labels_that_exist() -> None:
    rules = yaml.safe_load((_ROOT / "docker/alerts.yml").read_text(encoding="utf-8"))["groups"][0]["rules"]
    table = (_ROOT / "docs/operations.md").read_text(encoding="utf-8")
    known = {
        name: {*re.findall(r"`(\w+)`", labels), "value"}
        for name, labels in re.findall(r"^\| `(loopwise_\w+)` \| \w+ \|([^|]*)\|", table, re.M)
    }
    assert len(rules) == len({rule["alert"] for rule in rules}) > 5
    for rule in rules:
        names = set(re.findall(r"loopwise_\w+", rule["expr"]))
        assert names and names <= known.keys(), rule["alert"]
        labels = set(re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"]))
        labels |= set(re.findall(r"(\w+)=\"", rule["expr"]))
        assert labels <= set.union(*(known[name] for name in names)), rule["alert"]
