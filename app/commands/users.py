"""`loopwise users`: manage the people who sign in to the pages. They choose passwords at one-time links, never here."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from app.commands.shared import Command, Group, data_dir_option, engine_for, folder, servers

if TYPE_CHECKING:
    from app.accounts.store.users import StoredUser
    from app.foundation.settings import Settings


@click.group(cls=Group)
def users() -> None:
    """Invite people to the pages, change their roles, lock them out.

    Viewers read; editors define and steer experiments; administrators also see users, keys and settings.
    """


@users.command("create")
@data_dir_option
@click.argument("name")
@click.option("--role", default="viewer", show_default=True, help="viewer, analyst, editor or admin.")
def users_create(data_dir: Path, name: str, role: str) -> None:
    """Make a user; the last line printed is a one-time link over which the person chooses a password."""
    from app.accounts import users as service

    with servers(data_dir) as settings, engine_for(settings) as engine:
        token = service.create_user(engine, name, role, "cli")
    click.echo(
        f"{name} is a user with the role {role}. Send the person this link; it works once, for three days:", err=True
    )
    click.echo(_address(data_dir, settings, token))


@users.command("link")
@data_dir_option
@click.argument("name")
def users_link(data_dir: Path, name: str) -> None:
    """Make a new one-time link for a user who forgot the password."""
    from app.accounts import users as service

    with servers(data_dir) as settings, engine_for(settings) as engine:
        token = service.new_link(engine, name, "cli")
    click.echo(_address(data_dir, settings, token))


@click.command("open", cls=Command)
@data_dir_option
@click.argument("name", required=False)
def open_(data_dir: Path, name: str | None) -> None:
    """Print a fresh one-time link to the pages; with NAME, for that user.

    Without NAME it is for the first administrator, or for the only one there is.
    """
    from app.accounts import users as service

    with servers(data_dir) as settings, engine_for(settings) as engine:
        token = None if name else service.first_admin_link(engine)
        if token is None:
            token = service.new_link(engine, name or _only_admin(service.list_users(engine)), "cli")
    click.echo(_address(data_dir, settings, token))


def _only_admin(everybody: "list[StoredUser]") -> str:
    admins = [user.name for user in everybody if user.role == "admin" and user.disabled_at is None]
    if len(admins) > 1:
        raise click.UsageError(f"There are several administrators ({', '.join(admins)}). Name one.")
    return admins[0]


@users.command("list")
@data_dir_option
def users_list(data_dir: Path) -> None:
    """List the users: name, role, state, last sign-in."""
    from app.accounts import users as service

    with servers(data_dir) as settings, engine_for(settings) as engine:
        all_users = service.list_users(engine)
    for user in all_users:
        state = "locked out" if user.disabled_at else "active" if user.password_hash else "invited"
        last = f"{user.signed_in_at:%Y-%m-%d %H:%M}" if user.signed_in_at else "never signed in"
        click.echo(f"{user.name:<32}  {user.role:<7}  {state:<10}  {last}")


@users.command("set-role")
@data_dir_option
@click.argument("name")
@click.argument("role")
def users_set_role(data_dir: Path, name: str, role: str) -> None:
    """Give user NAME another ROLE: viewer, analyst, editor or admin. It holds from the person's next click."""
    from app.accounts import users as service

    with servers(data_dir) as settings, engine_for(settings) as engine:
        service.set_role(engine, name, role, "cli")
    click.echo(f"{name} has the role {role}.")


@users.command("disable")
@data_dir_option
@click.argument("name")
@click.option("--undo", is_flag=True, help="Let the user in again.")
def users_disable(data_dir: Path, name: str, undo: bool) -> None:
    """Lock a user out, at once and in every browser; what the person did stays."""
    from app.accounts import users as service

    with servers(data_dir) as settings, engine_for(settings) as engine:
        service.set_disabled(engine, name, not undo, "cli")
    click.echo(f"{name} may sign in again." if undo else f"{name} is locked out.")


def _address(data_dir: Path, settings: "Settings", token: str) -> str:
    running = folder(data_dir).running()
    base = settings.public_url or (running.url if running is not None else "http://127.0.0.1:8000")
    return f"{base.rstrip('/')}/admin/link/{token}"
