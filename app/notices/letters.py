"""The words of a notice for each kind of receiver: the JSON of a webhook, Slack's form of it, an e-mail."""

from email.message import EmailMessage
from email.utils import format_datetime

from app.foundation.fields import JsonObject
from app.foundation.secrets import Purpose, derive
from app.foundation.settings import Settings
from app.foundation.times import iso
from app.notices.store.messages import Due
from app.notices.topics import PAGES

LONGEST_SUBJECT = 150
MOST_TEXT = 2_000


def body(settings: Settings, due: Due) -> JsonObject:
    """The document that a webhook gets: ours, or the one that Slack, Mattermost and others take."""
    if due.form == "slack":
        words = headline(due)
        for plain, escaped in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;")):
            words = words.replace(plain, escaped)
        address = link(settings, due)
        return {"text": f"{words} <{address}|Look>" if address else words}
    return {
        "message_id": due.id,
        "notice_id": due.notice_id,
        "state": due.state,
        "topic": due.topic,
        "experiment": due.experiment,
        "text": due.text[:MOST_TEXT],
        "began_at": iso(due.began_at),
        "ended_at": None if due.ended_at is None else iso(due.ended_at),
        "link": link(settings, due),
    }


def mail(settings: Settings, due: Due) -> EmailMessage:
    """An e-mail. Its Message-ID is the same at every attempt, and the end of a notice answers its beginning."""
    letter = EmailMessage()
    letter["From"], letter["To"] = settings.smtp_from, due.email
    letter["Subject"] = f"[Loopwise] {' '.join(headline(due).split())}"[:LONGEST_SUBJECT]
    letter["Date"] = format_datetime(due.ended_at if due.state == "recovered" and due.ended_at else due.began_at)
    letter["Message-ID"] = _message_id(settings, due, due.state)
    letter["Auto-Submitted"] = "auto-generated"
    if due.state == "recovered":
        letter["In-Reply-To"] = letter["References"] = _message_id(settings, due, "opened")
    lines = [headline(due)[:MOST_TEXT], "", f"Since {due.began_at:%Y-%m-%d %H:%M} UTC."]
    if due.state == "recovered" and due.ended_at is not None:
        lines[-1] = f"From {due.began_at:%Y-%m-%d %H:%M} to {due.ended_at:%Y-%m-%d %H:%M} UTC."
    if address := link(settings, due):
        lines += ["", address]
    letter.set_content("\n".join([*lines, ""]))
    return letter


def headline(due: Due) -> str:
    """One sentence: where, what, and whether it is over."""
    where = f"{due.experiment}: " if due.experiment else ""
    return f"{'Over: ' if due.state == 'recovered' else ''}{where}{due.text}"


def link(settings: Settings, due: Due) -> str | None:
    """The page that shows more; null where LOOPWISE_PUBLIC_URL is empty."""
    if not settings.public_url:
        return None
    if due.experiment is None:
        return f"{settings.public_url}/admin/notices"
    return f"{settings.public_url}/admin/experiments/{due.experiment}/{PAGES.get(due.topic, '')}"


def _message_id(settings: Settings, due: Due, state: str) -> str:
    tag = derive(settings.secret_key, Purpose.NOTICE).hex()[:12]
    return f"<{due.notice_id}.{due.receiver_id}.{state}.{tag}@{settings.smtp_from.rpartition('@')[2]}>"
