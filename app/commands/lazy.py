"""Commands that need no server. Their modules are slow to import, so only their names and lines of help are here."""

from importlib import import_module
from typing import Any

import click


class LazyCommand(click.Command):
    """A command whose module is slow to import. Only its name and its line of help are here."""

    def __init__(self, name: str, module: str, attribute: str = "", **options: Any) -> None:
        super().__init__(name, **options)
        self.module, self.attribute = module, attribute or name

    def loaded(self) -> click.Command:
        """Import the command."""
        command: click.Command = getattr(import_module(self.module), self.attribute)
        return command

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: object
    ) -> click.Context:
        """Import the command and return its context."""
        return self.loaded().make_context(info_name, args, parent, **extra)


LAZY = (
    LazyCommand(
        "evaluate",
        "app.commands.files",
        help="Value a policy that never ran, from a CSV or Parquet file of logged decisions.",
    ),
    LazyCommand(
        "compare", "app.commands.files", help="Compare the arms of a finished experiment, from a CSV or Parquet file."
    ),
    LazyCommand(
        "simulate",
        "app.commands.simulate",
        "command",
        help="Play a world whose truth is known, and count how often each claim of the product is right.",
    ),
)
