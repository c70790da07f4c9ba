"""Run the command line with `python -m app.commands`."""

from app.commands.main import main

main(prog_name="loopwise")
