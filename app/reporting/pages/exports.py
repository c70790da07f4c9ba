"""Downloads of an experiment's results and decisions."""

import tempfile
from datetime import UTC, datetime

from flask import request, send_file
from flask.typing import ResponseReturnValue

from app.accounts.pages.access import page
from app.design.pages.experiment import experiment_page
from app.foundation.pages.forms import time_of
from app.foundation.serving import process
from app.reporting import exports as service

TYPES = {"csv": "text/csv", "parquet": "application/vnd.apache.parquet"}


@page("/experiments/<key>/export", "viewer")
def export(key: str) -> ResponseReturnValue:
    """A file of results or decisions; without ``kind``, the page on which to choose one."""
    given = {name: request.args.get(name, "") for name in ("kind", "format", "since", "until")}
    errors: dict[str, str] = {}
    since, until = (time_of(given[name], name, errors) for name in ("since", "until"))
    if errors or not given["kind"]:
        shown = experiment_page(
            "export.html",
            key,
            "decisions",
            given=given,
            errors=errors,
            most=service.MOST_ROWS,
            most_bytes=service.MOST_BYTES,
        )
        return shown, 422 if errors else 200
    # We write the whole file before we send it: a file that breaks off in the middle would look complete.
    file = tempfile.TemporaryFile()  # noqa: SIM115  # the response closes it
    try:
        service.write(process().engine, key, file, kind=given["kind"], form=given["format"], since=since, until=until)
        size = file.tell()
        file.seek(0)
    except BaseException:
        file.close()
        raise
    name = f"{key}-{given['kind']}-{datetime.now(UTC):%Y-%m-%d}.{given['format']}"
    response = send_file(file, TYPES[given["format"]], as_attachment=True, download_name=name, etag=False)
    response.content_length = size
    return response
