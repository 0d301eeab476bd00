"""One run of one variant, in a process of its own; the answer is the last line of standard output.

Run by benchmarks.measure: python -m benchmarks.child STAGE VARIANT INPUTS SCRATCH
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from benchmarks.stages import stage_named
from cradle.config import quieten
from cradle.log import set_up


def main() -> None:
    """Load, set up, run, and say what it took."""
    stage, name, inputs, scratch = sys.argv[1:]
    quieten()
    set_up("ERROR")
    (variant,) = (one for one in stage_named(stage).variants if one.name == name)
    clock = time.perf_counter()
    variant.load()
    loaded = time.perf_counter() - clock
    variant.setup(Path(inputs), Path(scratch))
    sys.stdout.write("\nbegin\n")  # from here on the memory counts
    sys.stdout.flush()
    clock = time.perf_counter()
    facts = variant.run(Path(inputs), Path(scratch))
    seconds = time.perf_counter() - clock
    figures = facts.pop("figures", {})
    answer = {"seconds": seconds, "load_seconds": loaded, "figures": figures, "facts": facts}
    sys.stdout.write("\n" + json.dumps(answer, default=str) + "\n")


if __name__ == "__main__":
    main()
