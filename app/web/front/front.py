"""The RSGI application: what apps call is answered on the event loop, everything else by Flask in threads.

RSGI is granian's own interface between its server and an event loop.
"""

import asyncio
import os
import signal
import time
from collections import Counter
from collections.abc import Callable
from typing import Final
from urllib.parse import parse_qs

import structlog
from flask import Flask
from granian.utils.proxies import wrap_wsgi_with_proxy_headers
from pydantic import ValidationError

from app.accounts.api import auth, browsers
from app.accounts.api.hot import ROUTES, Answered, Asked, Route
from app.deciding.runtime import Runtime
from app.foundation.api.packed import unpack
from app.foundation.api.written import JSON, OFREP, PERSONALIZER, Written, as_bytes, failure, family, fault
from app.foundation.errors import BadRequest, LoopwiseError, TooLarge, TooSlow
from app.foundation.fields import JsonObject, invalid, pydantic_fields
from app.foundation.formats import strict_json
from app.foundation.running import request_ids
from app.foundation.store.engine import MOST_RETRY_S, is_outage, overloaded, unavailable
from app.web import headers as shared
from app.web.addresses import routed
from app.web.front.behind import Pool, environ_of
from app.web.front.bodies import Bodies
from app.web.front.connections import Connections
from app.web.front.routing import Found, Routes
from app.web.front.rsgi import Proto, Scope
from app.web.front.waiting import Waiting

LOOK_S: Final = 0.05
SHED_LAG_S: Final = 1.0  # a loop that is so late takes no new calls until it has caught up
MOST_INSIDE: Final = 256  # calls at once; more would only wait for each other, and none would be answered in time
GONE_AFTER_S: Final = 0.1  # of an answer that took longer, it is asked whether its caller still waits
DRAIN_S: Final = 0.5
HEALTH: Final = frozenset({"/healthz", "/readyz", "/metrics"})
HEALTH_THREADS: Final = 2

log = structlog.get_logger()


class Front:
    """One web process."""

    def __init__(self, app: Flask, runtime: Runtime) -> None:
        self._app = app
        self._runtime = runtime
        self._settings = settings = runtime.settings
        self._routes = Routes(ROUTES)
        self._shared = {name.lower(): value for name, value in shared.of_all(settings).items()}
        self._bodies = Bodies(settings.body_s)
        self._pages = Pool(app, settings.web_threads, "pages")
        self._health = Pool(app, HEALTH_THREADS, "health")
        self._connections = Connections()
        self._peer = _peer_finder(settings.trusted_proxies)
        self._lag_s = 0.0
        self._inside = 0  # calls that were begun and are not answered yet
        self._slow = 0  # of them, those whose bodies are slow: they wait for nothing of ours
        self._refused: Counter[Route] = Counter()  # since the last look
        self._refusals = {prefix: self._refusals_at(prefix) for prefix in ("/", PERSONALIZER, OFREP)}
        self._waiting: Waiting
        self._looking: asyncio.TimerHandle | None = None

    def __rsgi_init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiting = Waiting(loop, self._runtime.log_writer)
        self._connections.start(loop)
        loop.add_signal_handler(signal.SIGTERM, self._drain)
        self._look(time.monotonic())

    def _drain(self) -> None:
        """Stop in two steps: the next answers end their connections, so that no request meets a closed one."""
        self._connections.drain()
        self._loop.call_later(DRAIN_S, os.kill, os.getpid(), signal.SIGINT)  # granian stops on either signal

    def __rsgi_del__(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._looking is not None:
            self._looking.cancel()
        for part in (self._waiting, self._pages, self._health, self._connections):
            part.close()
        self._runtime.stop()

    async def __rsgi__(self, scope: Scope, proto: Proto) -> None:
        method = scope.method
        if method == "OPTIONS" and browsers.ASKED_METHOD in scope.headers:
            self._preflight(scope, proto)
            return
        found = self._routes.find(routed(_readable(scope.path))) if method == "POST" else None
        if found is not None and (self._inside - self._slow >= MOST_INSIDE or self._lag_s > SHED_LAG_S):
            self._refuse(found, scope.path, proto)
            return
        client = scope.client
        self._connections.begin(client, scope.server)
        try:
            if found is None:
                await self._behind(scope, proto)
                return
            self._inside += 1
            try:
                await self._call(found, scope, proto)
            finally:
                self._inside -= 1
        finally:
            self._connections.end(client)

    def _preflight(self, scope: Scope, proto: Proto) -> None:
        """Tell a browser whether its page may call, as Flask does."""
        sent = scope.headers.get
        request_id = request_ids.begin(sent(request_ids.HEADER.lower()), sent(request_ids.TRACE_HEADER))
        allowed = browsers.preflight(self._runtime.known_keys().values(), sent("origin") or "")
        headers = self._shared | {name.lower(): value for name, value in allowed.items()} | {"x-request-id": request_id}
        if self._connections.ending:
            headers["connection"] = "close"
        proto.response_empty(204, list(headers.items()))
        shared.note(self._settings, "OPTIONS", ("preflight", None), 204, 0.0)

    def _refuse(self, found: Found, path: str, proto: Proto) -> None:
        """Answer 503 at the least cost: what refusals cost is taken from the calls that are answered."""
        headers, body = self._refusals[family(path)][self._refused.total() % MOST_RETRY_S]
        proto.response_bytes(503, [*headers, ("connection", "close")] if self._connections.ending else headers, body)
        self._refused[found.route] += 1

    def _refusals_at(self, path: str) -> list[tuple[list[tuple[str, str]], bytes]]:
        """The refusals, one for each second after which to come back: not everybody does in the same."""
        refusals = [failure(overloaded(wait_s), path) for wait_s in range(1, 1 + MOST_RETRY_S)]
        return [([*self._shared.items(), *written.headers.items()], written.body) for written in refusals]

    def _note_refused(self) -> None:
        for route, calls in self._refused.items():
            shared.note_refused(self._settings, "POST", (route.endpoint, route.rule), calls)
        self._refused.clear()

    def _look(self, due: float) -> None:
        """Look after what waits, and note how late the loop is."""
        now = time.monotonic()
        self._lag_s = now - due
        self._slow = self._bodies.look(now)
        self._waiting.look(now)
        if self._refused:
            self._note_refused()
        self._looking = self._loop.call_later(LOOK_S, self._look, now + LOOK_S)

    async def _call(self, found: Found, scope: Scope, proto: Proto) -> None:
        """Answer a hot route."""
        began = time.perf_counter()
        sent = scope.headers.get
        request_id = request_ids.begin(sent(request_ids.HEADER.lower()), sent(request_ids.TRACE_HEADER))
        headers = dict(self._shared)
        try:
            written, unseen = await self._answered(found, scope, proto, headers)
        except LoopwiseError as error:
            written, unseen = failure(error, scope.path), None
            if isinstance(error, TooSlow | TooLarge):
                headers["connection"] = "close"  # the rest of the body is not read
        except Exception as error:  # whatever it is, the caller gets an answer
            if not is_outage(error):
                log.exception("request_failed", method="POST", route=found.route.rule)
            written, unseen = failure(unavailable() if is_outage(error) else fault(), scope.path), None
        seconds = time.perf_counter() - began
        route = found.route.endpoint, found.route.rule
        if unseen is not None and seconds > GONE_AFTER_S and await _gone(proto):
            unseen()
        if self._connections.ending:
            headers["connection"] = "close"
        headers["x-request-id"] = request_id
        headers.update(written.headers)
        proto.response_bytes(written.status, list(headers.items()), written.body)
        shared.note(self._settings, "POST", route, written.status, seconds)

    async def _answered(
        self, found: Found, scope: Scope, proto: Proto, headers: dict[str, str]
    ) -> tuple[Written, Callable[[], None] | None]:
        """:param headers: gets those that a page needs to read the answer, whatever it is."""
        route, sent = found.route, scope.headers.get
        _refuse_nul(scope)
        deadline_s = self._settings.decide_deadline_s
        knock = auth.Knock(
            auth.presented(scope.path, sent),
            sent("origin"),
            self._peer(scope)[1] if sent("sec-fetch-site") == "same-origin" else None,
        )
        caller, origin = await self._waiting.take(auth.identify(self._runtime, knock), time.monotonic() + deadline_s)
        if origin is not None:
            headers.update(browsers.allowing(origin), vary="Origin")
        address = self._peer(scope)[0] if caller.publishable else ""
        auth.check_door(route.door, caller, self._runtime, address)
        limit = self._settings.browser_body_bytes if caller.publishable else self._settings.max_body_bytes
        body = unpack(await self._bodies.collect(proto, _length(scope), limit), sent("content-encoding"), limit)
        document, models = self._read(found, scope.query_string, body)
        token = sent(browsers.TOKEN_HEADER.lower()) or _in_query(scope.query_string, "unit_token")
        asked = Asked(self._runtime, self._runtime, caller, document, token, self._settings.secret_key)
        ends_at = time.monotonic() + deadline_s - self._lag_s
        answered: Answered = await self._waiting.take(route.service(asked, **models), ends_at)
        if answered.document is None:
            return Written(answered.status, b"", {}), answered.unseen
        return Written(answered.status, as_bytes(answered.document), {"Content-Type": JSON}), answered.unseen

    def _read(self, found: Found, query: str, body: bytes) -> tuple[JsonObject, JsonObject]:
        """The document that a body holds, and path, query and body as the route's models.

        :raises LoopwiseError: they do not fit.
        """
        route, document = found.route, None
        models: JsonObject = {}
        try:
            if route.path is not None:
                models["path"] = route.path.model_validate(found.given)
            if route.query is not None:
                models["query"] = route.query.model_validate(
                    {name: values[0] for name, values in parse_qs(query, True).items()}
                )
            if route.body is not None:
                document = strict_json.parse_body(body, self._settings.max_json_depth)
                models["body"] = route.body.model_validate(document)
        except ValidationError as error:
            raise invalid(pydantic_fields(error, document)) from None
        return document or {}, models

    async def _behind(self, scope: Scope, proto: Proto) -> None:
        """Let Flask answer."""
        length, refused = _length(scope), None
        try:
            if self._lag_s > SHED_LAG_S and scope.path not in HEALTH:
                raise overloaded()
            try:
                body = await self._bodies.collect(proto, length, self._settings.max_body_bytes)
            except TooLarge:
                body, refused = b"", length or self._settings.max_body_bytes + 1
            environ = environ_of(scope, body, refused)
            pool = self._health if scope.path in HEALTH else self._pages
            await pool.answer(environ, proto, refused is not None or self._connections.ending)
        except LoopwiseError as error:
            written = failure(error, scope.path)
            headers = self._shared | written.headers | {"connection": "close"}
            proto.response_bytes(written.status, list(headers.items()), written.body)


def _refuse_nul(scope: Scope) -> None:
    if "\0" in scope.path or "%00" in scope.query_string:
        raise BadRequest("nul_character", "The address holds the character NUL (%00); remove it.")


def _readable(path: str) -> str:
    """The path with what is not UTF-8 replaced, as Flask does."""
    return path if path.isascii() else path.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _length(scope: Scope) -> int | None:
    """Bytes of the body; null: it comes in chunks and does not say."""
    text = scope.headers.get("content-length")
    if text is not None:
        return int(text)
    return None if "transfer-encoding" in scope.headers else 0


def _in_query(query: str, name: str) -> str:
    if name not in query:
        return ""
    return parse_qs(query).get(name, [""])[0]


async def _gone(proto: Proto) -> bool:
    """True when the caller has closed its connection."""
    try:
        async with asyncio.timeout(0.005):
            await proto.client_disconnect()
    except TimeoutError:
        return False
    return True


def _peer_finder(trusted: str) -> Callable[[Scope], tuple[str, str]]:
    """A function that tells the caller's address, and the origin of a page that this server itself served."""

    def plain(environ: dict[str, str], _: object) -> tuple[str, str]:
        return environ["REMOTE_ADDR"], environ["wsgi.url_scheme"]

    find = wrap_wsgi_with_proxy_headers(plain, trusted.split(",")) if trusted else plain

    def peer(scope: Scope) -> tuple[str, str]:
        environ = {"REMOTE_ADDR": scope.client.rpartition(":")[0].strip("[]"), "wsgi.url_scheme": scope.scheme}
        for name, key in (("x-forwarded-for", "HTTP_X_FORWARDED_FOR"), ("x-forwarded-proto", "HTTP_X_FORWARDED_PROTO")):
            value = scope.headers.get(name)
            if value is not None:
                environ[key] = value
        address, scheme = find(environ, None)
        return address, f"{scheme}://{scope.headers.get('host', '')}"

    return peer
