"""The settings of this process, as its environment gave them; secrets only as given or not."""

from dataclasses import astuple

from flask import render_template
from flask.typing import ResponseReturnValue

from app.accounts.pages.access import page
from app.foundation.serving import process
from app.foundation.settings import SETTINGS


@page("/settings", "admin")
def settings() -> ResponseReturnValue:
    """The value of each setting, its default, and what it does."""
    lines = []
    for setting, value in zip(SETTINGS, astuple(process().settings), strict=True):
        shown = ("set; not shown" if value else "not set") if setting.hidden else str(value)
        default = str(setting.kind(setting.default)) if setting.default else ""
        changed = not setting.hidden and shown != default
        lines.append(
            {"name": setting.name, "value": shown, "default": default, "changed": changed, "help": setting.help}
        )
    return render_template("settings.html", section="settings", lines=lines)
