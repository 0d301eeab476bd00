"""Starts an image as a careful customer would, and asks it: no network, nothing writable, no rights, limited memory.

Flow: layout → engine → hardened container → readiness, golden questions, its own verification → stopped, taken away
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ConfigDict

from cradle.bake.engine import HARDENED, Engine
from cradle.errors import VerifyFailed
from cradle.log import get

log = get("verify")
READY_SECONDS: Final = 120.0
MEMORY: Final = ("--memory", "2g")  # what the earlier deployment was given in all
# Asked inside: each line is a promise that a plain `docker run` does not keep by itself.
WALLS: Final = """
import json, os, pathlib, socket
status = dict(line.split(":", 1) for line in pathlib.Path("/proc/self/status").read_text().splitlines() if ":" in line)
def fails(act):
    try:
        act()
    except OSError:
        return True
    return False
print(json.dumps({
    "not root": os.getuid() == 65532,
    "no capability": int(status["CapEff"], 16) == 0 and int(status["CapBnd"], 16) == 0,
    "no new privileges": status["NoNewPrivs"].strip() == "1",
    "no network": set(os.listdir("/sys/class/net")) <= {"lo"}
        and fails(lambda: socket.create_connection(("192.0.2.1", 80), 2)),
    "read-only": all(fails(pathlib.Path(one, "probe").touch) for one in ("/", "/cradle", "/usr/local/lib")),
    "no compiler, no pip": not any(os.path.exists(f"/usr/bin/{one}") for one in ("gcc", "cc", "pip", "pip3", "make")),
}))
"""


class ContainerReport(BaseModel):
    """What a started image showed; `ran` is false, with the reason, where it could not be started."""

    model_config = ConfigDict(frozen=True)

    ran: bool
    reason: str = ""
    engine: str = ""
    seconds: dict[str, float] = {}
    memory_bytes: int = 0
    memory_limited: bool = False
    answers: tuple[dict[str, Any], ...] = ()
    walls: dict[str, bool] = {}


def run_container(engine: Engine, layout: Path, image: str) -> ContainerReport:
    """Start an image, question it and stop it.

    Raises:
        VerifyFailed: it does not start, does not get ready, has a wall missing, or does not stop in order.
    """
    name = f"localhost/cradle-verify:{image.removeprefix('sha256:')[:24]}"
    fresh = engine.load(layout, image, name)
    try:
        with _started(engine, name) as (container, limited):
            ready = _wait(engine, container)
            walls = _walls(engine, container)
            own = engine.ask(container, "verify")
            if own.returncode:
                raise VerifyFailed(f"the image's own verification fails: {own.stdout.strip() or own.stderr.strip()}")
            answers = tuple(json.loads(engine.ask(container, "questions").stdout or "[]"))
            memory = _memory(engine, container)
            code = engine.stop(container)
            if code:
                raise VerifyFailed(f"the container ended with exit code {code} when it was asked to stop")
    finally:
        if fresh:
            engine.forget(name)
    return ContainerReport(
        ran=True,
        engine=f"{engine.tool} {engine.version}",
        seconds=ready["seconds"],
        memory_bytes=memory,
        memory_limited=limited,
        answers=answers,
        walls=walls,
    )


@contextmanager
def _started(engine: Engine, name: str) -> Iterator[tuple[str, bool]]:
    container, limited = f"cradle-verify-{uuid.uuid4().hex[:12]}", True
    options = ["--name", container, *HARDENED]
    try:
        try:
            engine.start(name, [*options, *MEMORY])
        except VerifyFailed as error:
            if "memory" not in str(error).lower() and "cgroup" not in str(error).lower():
                raise
            engine.remove(container)
            limited = False  # this machine can't limit memory; all else stands
            engine.start(name, options)
        yield container, limited
    finally:
        engine.remove(container)


def _wait(engine: Engine, container: str) -> dict[str, Any]:
    deadline, said = time.monotonic() + READY_SECONDS, ""
    while time.monotonic() < deadline:
        done = engine.ask(container, "health")
        said = (done.stdout or done.stderr).strip()
        if done.returncode == 0:
            found: dict[str, Any] = json.loads(said)
            return found
        state = engine.call("inspect", "--format", "{{.State.Running}}", container).stdout.strip()
        if "damaged" in said or state != "true":
            break
        time.sleep(0.1)
    raise VerifyFailed(f"the container does not get ready: {said[-400:]}\nIt wrote:\n{engine.logs(container)[-800:]}")


def _walls(engine: Engine, container: str) -> dict[str, bool]:
    done = engine.call("exec", container, "/usr/bin/python3", "-P", "-c", WALLS)
    if done.returncode:
        raise VerifyFailed(f"the walls of the container can't be tested: {done.stderr.strip()[-400:]}")
    walls: dict[str, bool] = json.loads(done.stdout)
    missing = [name for name, stands in walls.items() if not stands]
    if missing:
        raise VerifyFailed(f"the container runs without: {', '.join(missing)}")
    return walls


def _memory(engine: Engine, container: str) -> int:
    """Return the memory of all processes that is not a file's, in bytes (smaps_rollup of proc(5))."""
    code = (
        "import pathlib, re; print(sum(int(n) for p in pathlib.Path('/proc').glob('[0-9]*/smaps_rollup') "
        "for n in re.findall(r'(?m)^Pss_Anon: +([0-9]+)', p.read_text())))"
    )
    done = engine.call("exec", container, "/usr/bin/python3", "-P", "-c", code)
    return int(done.stdout or 0) * 1024 if done.returncode == 0 else 0
