"""A person at the wizard: opens a step, types, presses a button."""

import html
import re
from typing import Any

from tests.page_client import Browser, Page


class Draft:
    """One person's view of one draft."""

    def __init__(self, browser: Browser, address: str) -> None:
        self.browser = browser
        self.base = re.match(r"/admin/drafts/\d+", address)[0]  # type: ignore[index]

    def show(self, step: str) -> Page:
        return self.browser.get(f"{self.base}/{step}")

    def fields(self, step: str) -> dict[str, Any]:
        return fields(self.show(step))

    def save(self, step: str, changes: dict[str, Any] | None = None, do: str = "save", **how: Any) -> Page:
        route = f"{step}/{do}" if do in ("publish", "rebase") else step
        return self.browser.post(f"{self.base}/{route}", {**self.fields(step), **(changes or {}), "do": do}, **how)


def fields(page: Page) -> dict[str, Any]:
    """The fields that the step's form would send now."""
    form = re.search(r'<form[^>]*id="step".*?</form>', page.html, re.S)
    assert form, page.text[:500]
    typed: dict[str, Any] = {}
    for tag in re.findall(r"<input[^>]*>", form[0]):
        attributes = {name: html.unescape(value) for name, value in re.findall(r'([a-z-]+)="([^"]*)"', tag)}
        if attributes.get("type") in ("checkbox", "radio") and " checked" not in tag:
            continue
        if "name" in attributes and attributes["name"] != "csrf_token":
            typed.setdefault(attributes["name"], []).append(attributes.get("value", ""))
    for name, text in re.findall(r'<textarea[^>]*name="([^"]+)"[^>]*>\n?(.*?)</textarea>', form[0], re.S):
        typed[name] = html.unescape(text)
    for name, options in re.findall(r'<select[^>]*name="([^"]+)"[^>]*>(.*?)</select>', form[0], re.S):
        chosen = re.search(r'<option value="([^"]*)" selected', options)
        first = re.search(r'<option value="([^"]*)"', options)
        typed[name] = html.unescape((chosen or first)[1]) if first else ""  # type: ignore[index]
    return typed


def complete(draft: Draft, key: str) -> None:
    """Type every required field."""
    draft.save("purpose", {"/name": "Tips", "/key": key})
    for name in ("video", "list"):
        draft.save("actions", {"/actions/-/id": name, "/actions/-/payload:text": f"Tip {name}"})
    draft.save("arms", {"/arms/0/policy/action": "list"})
    draft.save("reward")
    draft.save("metrics")
