"""A mail server: real SMTP over a socket, with configurable answers, which keeps the letters."""

import contextlib
import email
import socketserver
import threading
from collections.abc import Callable, Iterator
from email.message import Message
from typing import NamedTuple


class Letter(NamedTuple):
    """One accepted message."""

    to: str
    message: Message

    @property
    def id(self) -> str:
        return str(self.message["Message-ID"])

    @property
    def subject(self) -> str:
        return str(self.message["Subject"])


class Mailbox(socketserver.ThreadingTCPServer):
    """Answers RCPT with ``answer(address, number)``; null: it never answers."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, answer: Callable[[str, int], str | None], host: str) -> None:
        super().__init__((host, 0), Conversation)
        self.answer, self.letters, self.asked = answer, list[Letter](), 0
        self.stopping = threading.Event()

    @property
    def url(self) -> str:
        return f"smtp://{self.server_address[0]!s}:{self.server_address[1]}"


class Conversation(socketserver.StreamRequestHandler):
    server: Mailbox

    def say(self, line: str) -> None:
        self.wfile.write(f"{line}\r\n".encode())

    def handle(self) -> None:
        with contextlib.suppress(ConnectionError):  # of a client that was killed
            self.converse()

    def converse(self) -> None:
        to = ""
        self.say("220 here")
        while line := self.rfile.readline():
            verb, _, rest = line.decode().strip().partition(" ")
            if verb.upper() == "RCPT":
                self.server.asked += 1
                answer = self.server.answer(rest, self.server.asked)
                if answer is None:
                    self.server.stopping.wait(60)
                    return
                to = rest.partition("<")[2].partition(">")[0]
                self.say(answer)
            elif verb.upper() == "DATA":
                self.say("354 go on")
                lines = list(iter(self.rfile.readline, b".\r\n"))
                self.server.letters.append(Letter(to, email.message_from_bytes(b"".join(lines))))
                self.say("250 taken")
            elif verb.upper() == "QUIT":
                self.say("221 bye")
                return
            else:
                self.say("250 fine")


@contextlib.contextmanager
def mailbox(
    answer: Callable[[str, int], str | None] = lambda address, number: "250 fine", host: str = "127.0.0.1"
) -> Iterator[Mailbox]:
    """A mail server for the duration of a block."""
    server = Mailbox(answer, host)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield server
    finally:
        server.stopping.set()
        server.shutdown()
        server.server_close()
