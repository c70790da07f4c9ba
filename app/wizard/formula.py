"""What a typed formula of the reward would have given over the log of the experiment that a draft changes."""

from app.foundation.errors import LoopwiseError
from app.foundation.pages.format import number
from app.foundation.serving import process
from app.learning import formula_preview
from app.wizard.frame import Look, Opened


def shown(opened: Opened, text: str) -> Look:
    """The preview and its tables, for the step Reward; empty where there is no log, or no formula."""
    if opened.before is None or opened.before.started_at is None or not text.strip():
        return {}
    try:
        preview = formula_preview.preview(process().engine, opened.before.key, text)
    except LoopwiseError as error:
        if error.status != 422:
            raise
        return {}  # the field says what is wrong
    return {
        "preview": preview,
        "preview_arms": [[arm.arm, number(arm.decisions), number(arm.now), number(arm.then)] for arm in preview.arms],
        "preview_names": [[name.name, number(name.decisions), number(name.mean)] for name in preview.names],
    }
