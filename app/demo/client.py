"""The demo's HTTP client, as any app would write it: one persistent connection, plain JSON, errors in words."""

import http.client
import json
import time
from typing import Any
from urllib.parse import urlsplit

from app.foundation.errors import LoopwiseError

TRIES, PAUSE_S = 3, 1.0


class DemoFailed(LoopwiseError):
    """A call of the demo failed."""

    status = 502
    title = "The demo cannot go on"


class Client:
    """Call the API with one key."""

    def __init__(self, url: str, key: str) -> None:
        parts = urlsplit(url)
        self._host = parts.netloc
        self._connection = http.client.HTTPConnection(parts.netloc, timeout=10)
        self._headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}

    def call(self, method: str, path: str, body: Any = None, allow: tuple[int, ...] = ()) -> tuple[int, Any]:
        """Send a request; returns the status and the parsed answer.

        The request is sent up to three times if the connection breaks or the server is busy (503), because every call of
        the demo is safe to repeat.

        :param allow: statuses of 400 or more to return.
        :raises DemoFailed: the server answered another status of 400 or more, or did not answer.
        """
        text = None if body is None else json.dumps(body)
        for left in reversed(range(TRIES)):
            try:
                status, answer = self._once(method, path, text)
            except (http.client.HTTPException, OSError) as error:
                self._connection.close()
                if not left:
                    raise DemoFailed("demo_failed", f"{self._host} does not answer: {error}") from error
            else:
                if status != 503 or not left:
                    break
            time.sleep(PAUSE_S)
        if status >= 400 and status not in allow:
            raise DemoFailed("demo_failed", f"{method} {path} was answered {status}: {answer.get('detail', answer)}")
        return status, answer

    def _once(self, method: str, path: str, text: str | None) -> tuple[int, Any]:
        self._connection.request(method, path, text, self._headers)
        response = self._connection.getresponse()
        raw = response.read()
        return response.status, json.loads(raw) if raw else {}
