"""The whole service of a container: the API in this process, the dashboards in a child, one end for both.

Flow: manifest → API answers from tables → search opens → dashboards start → files are hashed
"""

from __future__ import annotations

import contextlib
import importlib.util
import subprocess
import sys
import threading
import urllib.request
from pathlib import Path
from typing import Any

import uvicorn

from cradle import names
from cradle.access import FILE, read_keys, write_keys
from cradle.errors import ConfigError
from cradle.log import get
from cradle.serve.app import create_app
from cradle.serve.integrity import check_signature
from cradle.serve.metrics import process_seconds
from cradle.serve.server import listen
from cradle.serve.store import Store

log = get("container")


def run(
    root: Path,
    *,
    host: str = "0.0.0.0",
    base: int | None = None,
    state: Path | None = None,
    access: bool = False,
    keys: Path | None = None,
    signature: Path | None = None,
    dashboards: bool = True,
    threads: int = 2,
) -> int:
    """Serve an image until SIGINT or SIGTERM; return the exit code.

    Args:
        base: port base; none: the one in the manifest.
        keys: file with the first keys, taken over when the state folder has none.
        signature: the publisher's signed statement; none: no signature is asked for.

    Raises:
        VerifyFailed: there is no manifest, or the signature is wrong.
        Unavailable: a port is taken.
    """
    publisher = check_signature(root, signature) if signature else None
    store = Store(root, threads, background=True)
    store.publisher = publisher
    ports = base or store.manifest.port_base
    listener = listen(host, ports + names.API)
    log.info("serving", port=ports + names.API, release=store.manifest.release_id, seconds=round(process_seconds(), 3))
    app = create_app(root, threads, store=store, **_access(state, access, keys))
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=10))
    child = _Dashboards(root, host, ports + names.DASHBOARDS, store, server) if dashboards else None
    if child:
        store.dashboards = False
        child.start()
    with contextlib.suppress(KeyboardInterrupt):  # raised again after the orderly end
        server.run(sockets=[listener])
    failed = child.stop() if child else None
    log.info("stopped", reason=failed or "asked to")
    return 1 if failed else 0


def _access(state: Path | None, access: bool, keys: Path | None) -> dict[str, Any]:
    if not access:
        return {}
    if state is None or not state.is_dir():
        raise ConfigError(f"--access needs the folder of keys: {state} is no folder. Mount one with --state.")
    if keys is not None and not (state / FILE).exists():
        write_keys(state, read_keys(keys.parent))
    return {"state": state, "access": access}


class _Dashboards:
    """Streamlit as a child; when it ends by itself the service ends too, with the reason."""

    def __init__(self, root: Path, host: str, port: int, store: Store, server: uvicorn.Server) -> None:
        self._root, self._host, self._port, self._store, self._server = root, host, port, store, server
        self._process: subprocess.Popen[bytes] | None = None
        self._stopping = threading.Event()
        self._failed: str | None = None

    def start(self) -> None:
        """Start it as soon as the search is open: both at once would make the first answer late."""
        threading.Thread(target=self._watch, name="dashboards", daemon=True).start()

    def _watch(self) -> None:
        while self._store.opening and not self._stopping.wait(0.05):
            pass
        if self._stopping.is_set():
            return
        from cradle.config import QUIET, clean_environment  # its library is not needed for the first answers

        environment = {**clean_environment("HOME", "PYTHONPATH"), **QUIET}
        self._process = subprocess.Popen(self._command(), cwd=_apps(), env=environment)
        while not self._stopping.wait(0.2 if not self._store.dashboards else 1.0):
            if self._process.poll() is not None:
                self._failed = f"dashboards ended with exit code {self._process.returncode}"
                self._store.dashboards = False
                self._server.should_exit = True
                return
            if not self._store.dashboards and self._answers():
                self._store.dashboards = True
                self._store.ready_after["dashboards"] = process_seconds()

    def _command(self) -> list[str]:
        options = {"port": self._port, "address": self._host, "headless": "true", "fileWatcherType": "none"}
        given = [part for name, value in options.items() for part in (f"--server.{name}", str(value))]
        return [sys.executable, "-P", "-m", "streamlit", "run", "image.py", *given, "--", str(self._root)]

    def _answers(self) -> bool:
        with contextlib.suppress(OSError):
            url = f"http://127.0.0.1:{self._port}/_stcore/health"
            with urllib.request.urlopen(url, timeout=2) as answer:
                return bool(answer.status == 200)
        return False

    def stop(self) -> str | None:
        """Stop it in order; return why it ended by itself, None when it did not."""
        self._stopping.set()
        if self._process and self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self._process.kill()
        return self._failed


def _apps() -> Path:
    found = importlib.util.find_spec("streamlit_apps")
    if found is None or not found.submodule_search_locations:
        raise ConfigError("the dashboards are not installed here. Start with --no-dashboards.")
    return Path(next(iter(found.submodule_search_locations)))
