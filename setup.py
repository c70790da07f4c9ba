"""Builds the wheel: the packages of the repository become parts of one package ``loopwise``; pyproject.toml has the rest."""

from setuptools import find_namespace_packages, setup

PARTS = ("app", "bandits", "experiments", "migrations", "worker")
FOUND = find_namespace_packages(include=[pattern for part in PARTS for pattern in (part, f"{part}.*")])

setup(
    packages=["loopwise", *(f"loopwise.{name}" for name in FOUND)],
    package_dir={"loopwise": "launcher", **{f"loopwise.{part}": part for part in PARTS}},
)
