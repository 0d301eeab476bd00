"""A verb in a process that kills itself at its n-th point; tests run it as `python -m tests.kills`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from cradle.config import PROJECT, Settings, quieten


def killed(settings: Settings, verb: str, at: int, environment: dict[str, str] | None = None, **given: Any) -> bool:
    """Run a verb that is killed at its n-th point (0: never); return whether it was.

    Args:
        verb: `bake` or `publish`.
        given: arguments of the verb.
    """
    request = {"settings": settings.model_dump(mode="json"), "verb": verb, "at": at, "given": given}
    done = subprocess.run(
        [sys.executable, "-m", "tests.kills", json.dumps(request)],
        cwd=PROJECT,
        env={**os.environ, "PYTHONPATH": str(PROJECT), "CRADLE_LOG_LEVEL": "ERROR", **(environment or {})},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode == -signal.SIGKILL:
        return True
    assert done.returncode == 0, done.stderr
    return False


def _main(request: dict[str, Any]) -> None:
    from cradle.points import LISTENERS

    quieten()
    passed = 0

    def listen(_: str) -> None:
        nonlocal passed
        passed += 1
        if passed == request["at"]:
            os.kill(os.getpid(), signal.SIGKILL)

    LISTENERS.append(listen)
    settings, given = Settings.model_validate(request["settings"]), request["given"]
    if "TZ" in os.environ:
        time.tzset()
    os.umask(int(os.environ.get("TEST_UMASK", "022"), 8))
    if "TEST_OTHER_ZLIB" in os.environ:
        _other_zlib()
    if request["verb"] == "bake":
        from cradle.bake import bake

        bake(settings, "demo", out=Path(given["out"]) if "out" in given else None)
    else:
        from cradle.delivery.publish import publish

        publish(settings, "demo", unstarted=True)


def _other_zlib() -> None:
    """Let this process compress as a machine with another zlib would."""
    import zlib

    real = zlib.compressobj

    def fastest(*_: Any, **__: Any) -> Any:
        return real(1)

    def compress(data: bytes, *_: Any, **__: Any) -> bytes:
        one = real(1)
        return one.compress(data) + one.flush()

    zlib.compressobj, zlib.compress = fastest, compress


if __name__ == "__main__":
    _main(json.loads(sys.argv[1]))
