"""What an audit found."""

from dataclasses import dataclass, field

from pydantic import JsonValue

SHOWN = 20


@dataclass
class AuditReport:
    """The result of an audit."""

    experiment: str
    decisions: int = 0  # recomputed
    decisions_differ: int = 0
    decisions_erased: int = (
        0  # of these: their unit, or the model that made them, was erased; the rest of the row agrees
    )
    versions: int = 0  # replayed
    versions_differ: int = 0
    versions_erased: int = 0  # of these: the version, or decisions that it learned, were erased
    outcomes: int = 0  # joined again
    outcomes_differ: int = 0
    ledger_rows: int = 0
    unaccounted: int = 0  # decisions neither learned nor waiting, or both
    batches: int = 0  # compared with the chain
    batches_differ: int = 0
    before_chain: int = 0  # rows from before the chain, which it does not cover
    orphans: int = 0  # rows without their decision
    dropped_before: str | None = None  # ISO 8601: the months of decisions before it were dropped; null: none
    chain_broken: int = 0  # links and anchors that are missing or forged
    findings: list[str] = field(default_factory=list)  # the first differences, in words

    @property
    def ok(self) -> bool:
        """True when everything matches the log."""
        differ = (self.decisions_differ, self.versions_differ, self.outcomes_differ, self.batches_differ)
        return not (any(differ) or self.unaccounted or self.orphans or self.chain_broken)

    def lines(self) -> list[str]:
        """The report in words."""
        return [
            f"audit of {self.experiment}: {'everything matches' if self.ok else 'DIFFERENCES FOUND'}",
            f"  decisions recomputed: {self.decisions}, of which differ: {self.decisions_differ}"
            + (f", erased: {self.decisions_erased}" if self.decisions_erased else ""),
            f"  model versions replayed: {self.versions}, of which differ: {self.versions_differ}"
            + (f", erased: {self.versions_erased}" if self.versions_erased else ""),
            f"  outcomes joined again: {self.outcomes}, of which differ: {self.outcomes_differ}",
            f"  decisions in the training ledger: {self.ledger_rows}, not accounted for: {self.unaccounted}",
            f"  commit batches compared with the chain: {self.batches}, of which differ: {self.batches_differ}"
            + (f", rows from before the chain: {self.before_chain}" if self.before_chain else ""),
            *([f"  rows without their decision: {self.orphans}"] if self.orphans else []),
            *([f"  decisions before {self.dropped_before} were dropped"] if self.dropped_before else []),
            *(
                [f"  links and anchors of the chain missing or forged: {self.chain_broken}"]
                if self.chain_broken
                else []
            ),
            *(f"  - {finding}" for finding in self.findings),
        ]

    def as_json(self) -> dict[str, JsonValue]:
        """The report as data."""
        counts = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {"ok": self.ok, **counts}

    def add(self, finding: str) -> None:
        """Keep a difference, if there is room for it."""
        if len(self.findings) < SHOWN:
            self.findings.append(finding)
