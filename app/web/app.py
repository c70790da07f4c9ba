"""The web process: a WSGI app of routes over one runtime. A WSGI server only needs ``create_app``."""

import time
from functools import partial
from typing import Any

from flask import Flask, Response, g, request
from flask_openapi import Info, OpenAPI
from flask_openapi.models import License, SecurityScheme, Server
from granian.utils.proxies import wrap_wsgi_with_proxy_headers

from app.accounts.api import auth, browsers
from app.accounts.pages import access
from app.deciding.runtime import Runtime, start
from app.design.api import saved_metrics
from app.fairness.api import fairness
from app.files.api import decisions as logged_decisions
from app.foundation.api import problems
from app.foundation.api.problem_schema import PROBLEM_STATUSES, Problem
from app.foundation.api.strict_request import StrictRequest
from app.foundation.running import logs, request_ids
from app.foundation.settings import Settings, from_environment, signing
from app.guardian.api import guardian
from app.impact.api import impact
from app.learning.api import rewards
from app.messaging.api import events, webhooks
from app.messaging.delivery.streams import Listeners
from app.notices.api import notices
from app.people.api import people
from app.promotion.api import promotion
from app.web import headers
from app.web import pages as views
from app.web.addresses import with_every_version
from app.web.api import documentation as pages
from app.web.api import health, ofrep
from app.web.api.personalizer.routes import blueprint as personalizer

DESCRIPTION = "Decide, reward, learn. Errors are RFC 9457 problem documents; /docs/errors explains every code."
LICENSE = License(name="Apache-2.0", identifier="Apache-2.0")


class Api(OpenAPI):
    """The Flask app; its OpenAPI document describes our own errors."""

    request_class = StrictRequest

    def ensure_sync(self, func: Any) -> Any:
        """Skip Flask's check for coroutines at each call: no view here is a coroutine."""
        return func

    def generate_spec_json(self) -> None:
        """The library writes every 422 as an array of its own errors; ours are problem documents."""
        super().generate_spec_json()  # type: ignore[no-untyped-call]
        problem = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
        for path in self.spec_json["paths"].values():
            for operation in path.values():
                for status, response in operation["responses"].items():
                    if int(status) >= 400:
                        response["content"] = problem


def create_app(settings: Settings | None = None, runtime: Runtime | None = None) -> Flask:
    """The app of one process, with its runtime started.

    :param settings: from the environment when not given.
    """
    settings = signing(settings or from_environment())
    logs.configure(settings.log_level)
    app = Api(
        "loopwise",
        servers=[Server(url="/", description="This server.")],
        info=Info(title="Loopwise", version="1", description=DESCRIPTION, license=LICENSE),
        security_schemes={
            "key": SecurityScheme(type="http", scheme="bearer", description="Authorization: Bearer lw_..."),
            "subscription": {"type": "apiKey", "name": "Ocp-Apim-Subscription-Key", "in": "header"},
        },
        responses=dict.fromkeys(PROBLEM_STATUSES, Problem),
        validation_error_callback=problems.validation_response,
        validation_error_model=Problem,
        doc_ui=False,
        static_folder=None,
    )
    app.openapi_version = "3.1.0"
    app.config["MAX_CONTENT_LENGTH"] = settings.max_body_bytes
    app.config["MAX_JSON_DEPTH"] = settings.max_json_depth
    app.wsgi_app = with_every_version(app.wsgi_app)  # type: ignore[method-assign,assignment]
    if settings.trusted_proxies:
        app.wsgi_app = wrap_wsgi_with_proxy_headers(app.wsgi_app, settings.trusted_proxies.split(","))  # type: ignore[method-assign]
    serving = app.extensions["loopwise"] = runtime or start(settings)
    places = max(1, settings.web_threads // 4)  # the other threads answer everybody else
    app.extensions["loopwise_listeners"] = Listeners(serving.engine, places, serving.stopping)
    _install(app, settings)
    return app


def _install(app: Any, settings: Settings) -> None:
    app.before_request(_begin)
    browsers.install(app)
    auth.install(app)
    problems.install(app)
    app.after_request(partial(_finish, settings, headers.of_all(settings)))
    for blueprint in (
        logged_decisions.blueprint,
        rewards.blueprint,  # deciding adds its routes to the same blueprint
        guardian.blueprint,  # design's routes, and those of learning (rebuilds) and of the guardian
        promotion.blueprint,  # the analysts' routes, and those of promotion
        fairness.blueprint,
        impact.blueprint,
        saved_metrics.blueprint,
        personalizer,
        ofrep.blueprint,
        people.blueprint,
        events.blueprint,
        notices.blueprint,
        webhooks.blueprint,  # triggers share this blueprint
    ):
        app.register_api(blueprint)
    for plain in (health.blueprint, pages.blueprint):
        app.register_blueprint(plain)
    health.prepare(app)
    views.install(app)
    access.install(app, settings)


def _begin() -> None:
    g.began = time.perf_counter()
    sent = request.headers
    g.request_id = request_ids.begin(sent.get(request_ids.HEADER), sent.get(request_ids.TRACE_HEADER))


def _finish(settings: Settings, shared: dict[str, str], response: Response) -> Response:
    for name, value in shared.items():
        response.headers.setdefault(name, value)
    response.headers[request_ids.HEADER] = g.request_id
    route = request.endpoint or "none", request.url_rule.rule if request.url_rule else None
    headers.note(settings, request.method, route, response.status_code, time.perf_counter() - g.began)
    return response
