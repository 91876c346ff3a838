"""The document of an audit: what was claimed, proven and estimated, and every check with its bounds."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fedmed.errors import ConfigError


class Part(BaseModel):
    """A frozen part of the document; no unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class CheckPart(Part):
    """One check of `fedmed.privacy.conformance`; a figure that is no number is None and does not hold."""

    name: str
    found: float | None
    low: float
    high: float
    holds: bool

    @property
    def strain(self) -> float:
        """How much of its bounds a figure uses up: 0 in the middle, 1 at either end; infinite for none."""
        if self.found is None:
            return float("inf")
        return abs(2 * self.found - self.low - self.high) / (self.high - self.low)


class AuditRun(Part):
    """One audited study.

    Attributes:
        expected: Epsilon at which canaries must look with all noise there.
        proven: Epsilon that the release refutes.
        estimated: Epsilon that separates the canaries so far; None = beyond all bounds.
        checks: All of them.
        scores: Of each canary, in deviations of the noise.
        present: Which canaries took part.
    """

    expected: float
    proven: float
    estimated: float | None
    checks: tuple[CheckPart, ...]
    scores: tuple[float, ...] = Field(repr=False)
    present: tuple[bool, ...] = Field(repr=False)


class MembershipPart(Part):
    """A membership attack on the released model, see `fedmed.training.membership`.

    Attributes:
        allowed: The most advantage that the claimed epsilon leaves any attack.
    """

    auc: float
    low: float
    high: float
    advantage: float
    allowed: float
    found_at_one_percent: float
    members: int
    others: int


class AuditResult(Part):
    """What an audit found.

    Attributes:
        study_id: The study's short name.
        title: Its title.
        digest: Of its canonical bytes, hexadecimal.
        simulation: Whether all nodes were in one process.
        claimed: Epsilon of the attempts of a study.
        delta: Of all epsilons here.
        confidence: Chance that the largest proven epsilon holds.
        nodes: Whose canaries count.
        missing: Contributors that showed no coins.
        rounds: Sums that carried the block.
        runs: One or more audited runs of the same study.
        membership: The attack on the model of the last run; None where nobody holds the rows.
        created: ISO 8601 time with offset.
    """

    study_id: str
    title: str
    digest: str
    simulation: bool
    claimed: float
    delta: float
    confidence: float
    nodes: tuple[str, ...]
    missing: tuple[str, ...]
    rounds: int
    runs: tuple[AuditRun, ...] = Field(min_length=1)
    membership: MembershipPart | None = None
    created: str

    @property
    def canaries(self) -> int:
        """Canaries that count in each run."""
        return len(self.runs[0].present)

    @property
    def proven(self) -> float:
        """Largest epsilon that a run refutes."""
        return max(run.proven for run in self.runs)

    @property
    def expected(self) -> float:
        """Mean of the runs."""
        return sum(run.expected for run in self.runs) / len(self.runs)

    @property
    def estimated(self) -> float | None:
        """Mean of the runs; None where one of them is beyond all bounds."""
        found = [run.estimated for run in self.runs if run.estimated is not None]
        return sum(found) / len(found) if len(found) == len(self.runs) else None

    @property
    def worst_checks(self) -> tuple[CheckPart, ...]:
        """Each check once, from the run that strains it most."""
        by_name: dict[str, CheckPart] = {}
        for run in self.runs:
            for check in run.checks:
                kept = by_name.get(check.name)
                by_name[check.name] = check if kept is None or check.strain > kept.strain else kept
        return tuple(by_name.values())

    @property
    def passed(self) -> bool:
        """Whether every check of every run holds and the proven epsilon is not above the claim."""
        return all(check.holds for check in self.worst_checks) and self.proven <= self.claimed

    def to_json(self) -> str:
        """Write the document."""
        return self.model_dump_json(indent=2) + "\n"

    @classmethod
    def from_json(cls, text: bytes | str) -> AuditResult:
        """Read what `to_json` wrote; raises `ConfigError`."""
        try:
            return cls.model_validate_json(text)
        except ValidationError:
            raise ConfigError("this is not the document of an audit that this FedMed can read") from None
