"""What a simulation answers: one line for each claim of the product."""

from app.foundation.fields import Document


class ClaimLine(Document):
    """How often one claim was right."""

    claim: str  # a code of ``app.simulation.claims.WORDS``
    text: str
    metric: str = ""  # empty: the claim is about the whole experiment
    arm: str = ""
    right: int
    of: int  # runs in which the claim was made
    level: float  # how often it must be right
    met: bool  # false: so few right runs would be rarer than 0.1% at this level
    note: str = ""

    @property
    def share(self) -> float:
        """How often it was right."""
        return self.right / self.of if self.of else 0.0


class Simulation(Document):
    """All claims in one world."""

    world: str
    about: str
    runs: int
    seed: int
    looks: int
    units: int
    live: bool = False
    claims: list[ClaimLine]

    @property
    def missed(self) -> list[ClaimLine]:
        """The claims that are not met."""
        return [line for line in self.claims if not line.met]
