"""What an experiment does about data that cannot be trusted: how much one unit may teach, and how many rewards it may get."""

from pydantic import Field

from app.foundation.fields import Model


class SafetySpec(Model):
    """Bounds on what single units can do to what is learned."""

    unit_share: float = Field(
        default=0.05,
        ge=0.001,
        le=1,
        description="Largest share that one unit may have of what a model learns; its other decisions are held out. "
        "1: no bound.",
    )
    reward_limit: int | None = Field(
        default=None,
        ge=1,
        le=1_000_000,
        description="Most rewards of one unit within reward_limit_window_s; more are refused with 429. Null: no limit.",
    )
    reward_limit_window_s: float = Field(default=3600, ge=1, le=90 * 86_400)
    quarantine: bool = Field(
        default=True,
        description="Decisions of units and keys that stand out are held out of rounds until a person decides. "
        "False: only tell.",
    )


DEFAULT_SAFETY = SafetySpec()  # of an experiment that says nothing
