"""The demo's HTTP client: one kept connection, plain JSON, errors in words. What any app would write."""

import http.client
import json
import time
from typing import Any
from urllib.parse import urlsplit

from app.foundation.errors import LoopwiseError

TRIES, PAUSE_S = 3, 1.0


class DemoFailed(LoopwiseError):
    """The server did not do what the demo asked."""

    status = 502
    title = "The demo cannot go on"


class Client:
    """Calls the API with one key."""

    def __init__(self, url: str, key: str) -> None:
        parts = urlsplit(url)
        self._host = parts.netloc
        self._connection = http.client.HTTPConnection(parts.netloc, timeout=10)
        self._headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}

    def call(self, method: str, path: str, body: Any = None, allow: tuple[int, ...] = ()) -> tuple[int, Any]:
        """Status and parsed answer; a status of 400 or more that is not in ``allow`` raises ``DemoFailed``.

        Tried three times when the connection breaks or the server is busy (503): every call of the demo is safe to repeat.
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
