"""Who did something, as pages show it."""

from markupsafe import Markup, escape

from app.accounts.serving import key_directory


def actor(name: str, key_name: str | None = None) -> Markup:
    """Who did something: a user, an API key by its name, or the platform itself."""
    if name.startswith("lw_"):
        known = key_directory().known_keys().get(name)
        return Markup('<span title="{}">API key {}</span>').format(name, key_name or (known and known.name) or name)
    words = {"cli": "the command line", "worker": "Loopwise", "": "unknown"}
    return escape(words.get(name, name))
