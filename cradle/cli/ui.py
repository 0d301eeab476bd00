"""Everything a person looks at, started together and stopped together: Airflow, the dashboards, the API of the image.

Flow: settings → child processes, each with its own log → addresses → Ctrl-C → all of them gone
Run:  cradle ui demo
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shlex
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cradle import names
from cradle.airflow_environment import airflow_environment
from cradle.cli.airflow import database_ready
from cradle.cli.output import console, emit
from cradle.config import PROJECT, Settings, clean_environment
from cradle.customers import load_customer
from cradle.errors import Unavailable

HOST = "127.0.0.1"
AIRFLOW_PORT = 8080
READY_SECONDS = 120.0  # Airflow's API server needs about 15 s on 2 cores
STOP_SECONDS = 15.0


@dataclass(frozen=True)
class Service:
    """A child process, the page that tells whether it is ready (none: it has no page), and its log."""

    name: str
    command: tuple[str, ...]
    environment: dict[str, str]
    folder: Path
    address: str | None
    probe: str | None
    log: Path


def run_ui(settings: Settings, customer: str) -> None:
    """Start everything, print the addresses and wait; Ctrl-C or SIGTERM stops it.

    Raises:
        UnknownCustomer: there is no YAML of that name.
        Unavailable: a service did not start, or ended by itself.
    """
    load_customer(settings.customers, customer)
    console.print("Starting Airflow, the dashboards and the API …")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with contextlib.suppress(KeyboardInterrupt), running(services(settings, customer)) as started:
        emit(None, False, "", [(one.name, one.address) for one, _ in started if one.address])
        if not any(one.name == "API" for one, _ in started):
            console.print(f"{customer} has no image yet: run [bold]cradle night {customer}[/bold], then this again.")
        console.print("Ctrl-C stops all of them.")
        while True:
            _refuse_ended(started)
            time.sleep(1)
    console.print("Stopped.")


def services(settings: Settings, customer: str) -> list[Service]:
    """Return what is to be started, on the customer's ports or on free ones when those are taken."""
    base = load_customer(settings.customers, customer).operation.port_base
    return [
        *airflow(settings),
        dashboards(settings, base + names.DASHBOARDS),
        *api(settings, customer, base + names.API),
    ]


def airflow(settings: Settings, wanted: int = AIRFLOW_PORT) -> list[Service]:
    """Return Airflow's parts; its database is made first, in a process of its own, when it is not there."""
    if not database_ready(settings):
        _make_database(settings)
    port = _free(wanted)
    address = f"http://{HOST}:{port}"
    environment = {
        **_environment(settings),
        **airflow_environment(settings),
        "AIRFLOW__API__BASE_URL": address,
        "AIRFLOW__API__INSTANCE_NAME": "Cradle",
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{address}/execution/",
        "AIRFLOW__API_AUTH__JWT_SECRET_CMD": f"cat {shlex.quote(str(_secret(settings)))}",
    }

    def part(name: str, arguments: list[str], page: str | None) -> Service:
        command = (sys.executable, "-m", "airflow", *arguments)
        return Service(name, command, environment, PROJECT, page and address, page, _log(settings, arguments[0]))

    return [
        part("Airflow", ["api-server", "--host", HOST, "--port", str(port)], f"{address}/api/v2/version"),
        part("Airflow's scheduler", ["scheduler"], None),
        part("Airflow's DAG processor", ["dag-processor"], None),
    ]


def _make_database(settings: Settings) -> None:
    """Make it in another process: this one may not import Airflow, which then would be bound to one home."""
    script = """
from cradle.cli.airflow import prepare_airflow
from cradle.config import load_settings
prepare_airflow(load_settings())
"""
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, env=_environment(settings), capture_output=True, text=True, check=False)
    if done.returncode:
        last = "\n  ".join(done.stderr.strip().splitlines()[-5:])
        raise Unavailable(f"Airflow's database in {settings.airflow()} can't be made. It said:\n  {last}")


def dashboards(settings: Settings, wanted: int = 0) -> Service:
    """Return the dashboards; port 0: any free one."""
    port = _free(wanted)
    address, folder, log = f"http://{HOST}:{port}", PROJECT / "streamlit_apps", _log(settings, "dashboards")
    options = ["--server.port", str(port), "--server.address", HOST, "--server.headless", "true"]
    command = (sys.executable, "-m", "streamlit", "run", "app.py", *options)
    return Service("Dashboards", command, _environment(settings), folder, address, f"{address}/_stcore/health", log)


def api(settings: Settings, customer: str, wanted: int = 0) -> list[Service]:
    """Return the API of the customer's current image, nothing when there is no verified image yet."""
    if not any((settings.images(customer) / "roots").glob("[0-9a-f]*")):
        return []
    port = _free(wanted)
    command = (sys.executable, "-c", "from cradle.cli import run; run()", "serve", customer, "--port", str(port))
    address, log = f"http://{HOST}:{port}", _log(settings, "api")
    return [Service("API", command, _environment(settings), PROJECT, f"{address}/docs", f"{address}/health", log)]


def _log(settings: Settings, name: str) -> Path:
    return settings.airflow() / "logs" / "ui" / f"{name}.log"


def _environment(settings: Settings) -> dict[str, str]:
    """Return what a child may know: the settings, and nothing else of this process' environment."""
    own = {name: value for name, value in airflow_environment(settings).items() if not name.startswith("AIRFLOW_")}
    return {**clean_environment("HOME"), **own, "PYTHONPATH": str(PROJECT)}


def _secret(settings: Settings) -> Path:
    """Return the file with the key by which Airflow's parts trust each other; made once, readable by its owner only."""
    path = settings.airflow() / "jwt_secret"
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.is_file():
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "w") as file:
            file.write(secrets.token_urlsafe(48))
    return path


def _free(wanted: int) -> int:
    """Return the wanted port, or any free one when it is taken."""
    for port in (wanted, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                probe.bind((HOST, port))
                return int(probe.getsockname()[1])
    raise Unavailable(f"port {wanted} on {HOST} is taken, and no other is free. Stop something and run this again.")


Started = list[tuple[Service, subprocess.Popen[bytes]]]


@contextlib.contextmanager
def running(wanted: list[Service]) -> Iterator[Started]:
    """Start services, wait until each answers, and stop them all at the end, whatever happens.

    Raises:
        Unavailable: one ended by itself, or did not answer in time.
    """
    started: Started = []
    try:
        for one in wanted:
            started.append((one, _start(one)))
        for one, _ in started:
            _wait(one, started)
        yield started
    finally:
        _stop(started)


def _start(one: Service) -> subprocess.Popen[bytes]:
    one.log.parent.mkdir(parents=True, exist_ok=True)
    with one.log.open("wb") as log:
        return subprocess.Popen(
            one.command,
            cwd=one.folder,
            env=one.environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C reaches this process only, which then stops each group in order
        )


def _wait(one: Service, started: Started) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while one.probe is not None:
        _refuse_ended(started)
        with contextlib.suppress(OSError), urllib.request.urlopen(one.probe, timeout=5) as answer:
            if answer.status == 200:
                return
        if time.monotonic() > deadline:
            raise Unavailable(f"{one.name} did not answer at {one.probe} within {READY_SECONDS:.0f} s. Read {one.log}")
        time.sleep(0.25)


def _refuse_ended(started: Started) -> None:
    for one, process in started:
        if process.poll() is not None:
            last = one.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-5:]
            said = "\n  ".join(last) or "nothing"
            raise Unavailable(
                f"{one.name} ended with exit code {process.returncode}. It said:\n  {said}\nRead {one.log}"
            )


def _stop(started: Started) -> None:
    for sign, seconds in ((signal.SIGTERM, STOP_SECONDS), (signal.SIGKILL, STOP_SECONDS)):
        for _, process in reversed(started):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, sign)
        deadline = time.monotonic() + seconds
        for _, process in started:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(deadline - time.monotonic(), 0.1))
