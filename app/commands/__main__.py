"""Runs the command line: `python -m app.commands`."""

from app.commands.main import main

main(prog_name="loopwise")
