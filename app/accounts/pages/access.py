"""Who sees a page: sessions, roles, the token in every form, and errors as pages. A page that names no role is closed."""

from collections.abc import Callable
from typing import TypeVar
from urllib.parse import unquote
from zoneinfo import ZoneInfo

from flask import (
    Blueprint,
    Flask,
    Request,
    Response,
    current_app,
    g,
    redirect,
    render_template,
    request,
    session,
    url_for,
)
from flask.sessions import SecureCookieSession, SecureCookieSessionInterface
from flask.typing import ResponseReturnValue
from flask_wtf.csrf import CSRFError, CSRFProtect
from werkzeug.wrappers import Response as BaseResponse

from app.accounts import users
from app.accounts.pages.actors import actor
from app.accounts.store.users import SignedIn
from app.foundation.errors import (
    BadRequest,
    Forbidden,
    LoopwiseError,
    NotFound,
    TooManyRequests,
    Unauthorized,
    Unavailable,
)
from app.foundation.secrets import Purpose, derive
from app.foundation.serving import PUBLIC, process
from app.foundation.settings import Settings
from app.foundation.times import is_zone

PREFIX = "/admin"
CSP = (
    "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'"
)
ANYBODY = "anybody"
ZONE = "loopwise_zone"  # the cookie in which theme.js tells the browser's time zone; it proves nothing, and is checked
TITLES = {  # by status, where the API's title speaks of keys and requests
    400: "This request cannot be read",
    401: "Please sign in",
    403: "Your role may not do that",
    409: "That is not possible now",
}
View = TypeVar("View", bound=Callable[..., ResponseReturnValue])

blueprint = Blueprint("admin", __name__, url_prefix=PREFIX)
_csrf = CSRFProtect()


def page(rule: str, role: str, methods: tuple[str, ...] = ("GET",)) -> Callable[[View], View]:
    """Register a page at an address below ``PREFIX`` for users with a role, or for ``ANYBODY``."""

    def register(view: View) -> View:
        view.scope = PUBLIC  # type: ignore[attr-defined]  # no API key: the page checks the role below
        view.role = role  # type: ignore[attr-defined]
        blueprint.add_url_rule(rule, view.__name__, view, methods=list(methods))
        return view

    return register


def user() -> SignedIn:
    """Return the signed-in user; only in pages that need a role."""
    signed_in: SignedIn = g.user
    return signed_in


def may(role: str) -> bool:
    """True when the signed-in user has the role."""
    return g.get("user") is not None and users.may(g.user.role, role)


class _OnlyPages(SecureCookieSessionInterface):
    """Cookies belong to the pages; API calls neither read nor set one."""

    def open_session(self, app: Flask, request: Request) -> SecureCookieSession | None:
        return super().open_session(app, request) if request.path.startswith(PREFIX) else self.make_null_session(app)


def install(app: Flask, settings: Settings) -> None:
    """Sessions, forms' tokens and error pages."""
    # Derived: a cookie's signature must never be good for a model, nor the other way round.
    app.secret_key = derive(settings.secret_key, Purpose.SESSION_COOKIES)
    secure = settings.public_url.startswith("https:")
    app.config.update(
        SESSION_COOKIE_NAME=cookie_name("loopwise", secure),
        SESSION_COOKIE_PATH="/" if secure else PREFIX,
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",
        SESSION_COOKIE_SECURE=secure,
        MAX_FORM_MEMORY_SIZE=settings.max_body_bytes,  # a pasted table may be as large as any body
        WTF_CSRF_CHECK_DEFAULT=False,  # the API has no cookies; pages are checked below
        WTF_CSRF_TIME_LIMIT=None,  # as long as the session, so that a long time of typing loses nothing
        WTF_CSRF_SSL_STRICT=False,  # compares the Referer, which our own Referrer-Policy takes away
    )
    app.session_interface = _OnlyPages()
    _csrf.init_app(app)
    app.extensions["error_page"] = error_page
    app.jinja_env.filters["actor"] = actor
    app.register_blueprint(blueprint)


def cookie_name(name: str, secure: bool) -> str:
    """The name of a cookie. Over TLS it begins so that browsers take it from this very host only, and send it over TLS only."""
    return f"__Host-{name}" if secure else name


def read_cookie(name: str) -> str:
    """A cookie beside the session's, or an empty text."""
    return request.cookies.get(cookie_name(name, current_app.config["SESSION_COOKIE_SECURE"]), "")


def set_cookie(response: BaseResponse, name: str, value: str, age_s: int) -> None:
    """Set a cookie beside the session's, with the same protection."""
    config = current_app.config
    secure = bool(config["SESSION_COOKIE_SECURE"])
    response.set_cookie(
        cookie_name(name, secure),
        value,
        max_age=age_s,
        path=config["SESSION_COOKIE_PATH"],
        secure=secure,
        httponly=True,
        samesite="Lax",
    )


def begin_session(token: str) -> None:
    """Begin a new session. The previous session of the cookie ends, on the server too."""
    end_session()
    session["token"] = token


def end_session() -> None:
    """End the session, on the server too."""
    token = session.get("token")
    session.clear()
    if token:
        users.sign_out(process().engine, token)


@blueprint.before_request
def _enter() -> ResponseReturnValue | None:
    view = current_app.view_functions[request.endpoint or ""]
    role = getattr(view, "role", None)
    token = session.get("token")
    g.user = users.user_of(process().engine, token) if token else None
    g.zone = _zone()
    if request.method not in ("GET", "HEAD", "OPTIONS"):
        _csrf.protect()
    if role == ANYBODY:
        return None
    if g.user is None:
        if request.method == "GET" and "fragment" not in request.args:
            return redirect(url_for("admin.sign_in", next=request.full_path.rstrip("?")))
        raise Unauthorized("not_signed_in", "You are not signed in any more. Sign in, then go back and send it again.")
    if role is None or not may(role):
        needed = f"It needs the role {role}; yours is {g.user.role}. An administrator can change that."
        raise Forbidden("missing_role", needed if role else "This page is closed.")
    return None


def _zone() -> ZoneInfo | None:
    """The reader's time zone: as the person chose it, or as the browser's script told; null where neither is known."""
    name = (g.user.time_zone if g.user else None) or unquote(request.cookies.get(ZONE, ""))
    return ZoneInfo(name) if is_zone(name) else None


@blueprint.after_request
def _protect(response: Response) -> Response:
    response.headers.setdefault("Content-Security-Policy", CSP)
    response.headers.setdefault("Cache-Control", "no-store")
    return response


@blueprint.errorhandler(CSRFError)
def _form_expired(_: CSRFError) -> Response:
    message = "You signed in or out since this form was opened. Go back, reload the page, and send it again."
    return _shown(BadRequest("form_expired", message))


def error_page(error: LoopwiseError) -> Response | None:
    """Return the page for an error; null when the request is not for a page."""
    if not request.path.startswith(f"{PREFIX}/") and request.path != PREFIX:
        return None
    return _shown(error)


def _shown(error: LoopwiseError) -> Response:
    title = TITLES.get(error.status, error.title)
    response = Response(render_template("error.html", error=error, title=title), error.status, mimetype="text/html")
    return _protect(with_retry(response, error))


def with_retry(response: Response, error: LoopwiseError) -> Response:
    """Say when to try again, where that helps."""
    if isinstance(error, Unavailable | TooManyRequests):
        response.headers["Retry-After"] = str(error.retry_after_s)
    return response


@page("/<path:rest>", ANYBODY)
def unknown_page(rest: str) -> Response:
    """Answer every other address below the prefix with an error."""
    raise NotFound("unknown_page", f"There is no page at this address: {PREFIX}/{rest}")
