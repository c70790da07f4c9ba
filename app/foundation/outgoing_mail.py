"""Sends e-mail over the one SMTP server that the operator named; nothing here calls an address that a user typed.

The server may stand inside the network. One deadline bounds the whole conversation, and a password goes over TLS only, but for
a server on this machine.
"""

import smtplib
import socket
import ssl
import threading
from email.message import EmailMessage
from typing import Final
from urllib.parse import unquote, urlsplit

from app.foundation.outgoing import Failed, Refused
from app.foundation.setting_kinds import SMTP_PORTS

DEADLINE_S: Final = 10.0
LASTING: Final = 500  # from this code on an answer will be the same next time
LOOPBACK: Final = ("localhost", "127.0.0.1", "::1")


def send(server: str, message: EmailMessage) -> None:
    """Hand a message to the server, to everybody in its ``To``.

    :param server: as in LOOPWISE_SMTP_URL: ``smtp://user:password@host:port``, or ``smtps://`` for TLS from the first byte.
    :raises Refused: the server answered that it does not take it, and why.
    :raises Failed: it did not answer in time, or asks to come back later.
    """
    parts = urlsplit(server)
    host, port = parts.hostname or "", parts.port or SMTP_PORTS[parts.scheme]
    try:
        with _connected(parts.scheme, host, port) as connection:
            _within_the_deadline(connection, message, parts.username, parts.password, host)
    except smtplib.SMTPResponseException as error:
        raise _answered(error.smtp_code, error.smtp_error) from None
    except smtplib.SMTPRecipientsRefused as error:
        raise _answered(*next(iter(error.recipients.values()))) from None
    except (OSError, smtplib.SMTPException) as error:
        raise Failed(getattr(error, "strerror", None) or str(error) or "no answer in time") from None


def _connected(scheme: str, host: str, port: int) -> smtplib.SMTP:
    if scheme == "smtps":
        return smtplib.SMTP_SSL(host, port, "loopwise", timeout=DEADLINE_S, context=ssl.create_default_context())
    return smtplib.SMTP(host, port, "loopwise", timeout=DEADLINE_S)


def _within_the_deadline(
    connection: smtplib.SMTP, message: EmailMessage, user: str | None, password: str | None, host: str
) -> None:
    def hang_up() -> None:
        if connection.sock is not None:
            connection.sock.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(DEADLINE_S, hang_up)
    timer.daemon = True
    timer.start()
    try:
        secure = isinstance(connection, smtplib.SMTP_SSL)
        connection.ehlo_or_helo_if_needed()
        if not secure and connection.has_extn("starttls"):
            connection.starttls(context=ssl.create_default_context())
            connection.ehlo()
            secure = True
        if user is not None:
            if not secure and host not in LOOPBACK:
                raise Refused("the mail server offers no TLS, and the password is not sent without")
            connection.login(unquote(user), unquote(password or ""))
        connection.send_message(message)
    finally:
        timer.cancel()


def _answered(code: int, answer: bytes | str) -> Refused | Failed:
    text = answer.decode("utf-8", "replace") if isinstance(answer, bytes) else answer
    return (Refused if code >= LASTING else Failed)(f"{code} {text}")
