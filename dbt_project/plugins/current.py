"""The build that is under way in this process. dbt is not imported here: a build that is known starts none."""

from __future__ import annotations

from dataclasses import dataclass, field

from cradle.catalog import Pin, Written
from cradle.catalog.deliveries import AsOf
from cradle.catalog.run import Run


@dataclass
class Build:
    """What one invocation of dbt works on, and what it has written so far."""

    run: Run
    state: AsOf
    upstream: dict[str, Pin] = field(default_factory=dict)  # model → where it stands, of those it does not build
    written: dict[str, Written] = field(default_factory=dict)
    failed: Exception | None = None  # what storing raised: dbt keeps only its text

    def pins(self) -> dict[str, Pin]:
        """Return model → pin of all that stands on the branch of the run."""
        return self.upstream | {model: one.pin for model, one in self.written.items()}


CURRENT: list[Build] = []  # set by dbt_project.plugins.invoke around each invocation; dbt gives plugins no argument
