"""A real Airflow for tests: its servers, its REST API as one of its users, its pages."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psutil

from cradle.airflow_environment import airflow_environment
from cradle.cli.ui import airflow, running
from cradle.config import PROJECT, Settings
from tests.servers import Postgres

POLLS = 3600  # of a second each; many nights need many minutes on 2 cores
ENDED = ("success", "failed")
ROLES = ("viewer", "user", "op", "admin")


class Api:
    """Airflow's REST API, as one user."""

    def __init__(self, address: str, user: str | None = None) -> None:
        self.address = address
        self.processes: list[int] = []
        self._token = ""
        body = None if user is None else {"username": user, "password": f"{user}-password"}
        self._token = self("GET" if body is None else "POST", "/auth/token", body)["access_token"]

    def __call__(self, method: str, path: str, body: Any = None) -> Any:
        request = urllib.request.Request(f"{self.address}{path}", method=method)
        request.add_header("content-type", "application/json")
        request.add_header("authorization", f"Bearer {self._token}")
        data = None if body is None else json.dumps(body).encode()
        with urllib.request.urlopen(request, data, timeout=300) as answer:
            return json.loads(answer.read() or b"null")

    def refused(self, method: str, path: str, body: Any = None) -> int:
        """Return the status of a request: 200 when it is not refused."""
        try:
            self(method, path, body)
        except urllib.error.HTTPError as error:
            return error.code
        return 200

    def until(self, path: str, done: Callable[[Any], bool]) -> Any:
        """Ask until the answer is what is waited for."""
        for _ in range(POLLS):
            with contextlib.suppress(urllib.error.URLError):
                if done(answer := self("GET", path)):
                    return answer
            threading.Event().wait(1)
        raise AssertionError(f"{path} did not come to an end: {self('GET', path)}")

    def known(self, dags: Sequence[str]) -> None:
        """Wait until the DAG processor has found some DAGs, and switch them on."""
        for dag in dags:
            self.until(f"/api/v2/dags/{dag}", lambda answer: "dag_id" in answer)
            self("PATCH", f"/api/v2/dags/{dag}", {"is_paused": False})

    def runs(self, dag: str) -> dict[str, dict[str, Any]]:
        """Return id → run of a DAG."""
        found = self("GET", f"/api/v2/dags/{dag}/dagRuns?limit=100")["dag_runs"]
        return {run["dag_run_id"]: run for run in found}

    def ended(self, dag: str, run_id: str) -> dict[str, Any]:
        """Wait until a run has ended and return it."""
        run: dict[str, Any] = self.until(
            f"/api/v2/dags/{dag}/dagRuns/{quote(run_id)}", lambda answer: answer["state"] in ENDED
        )
        return run

    def trigger(self, dag: str, **body: Any) -> str:
        """Trigger a run and return its id."""
        made = self("POST", f"/api/v2/dags/{dag}/dagRuns", {"logical_date": None, **body})
        return str(made["dag_run_id"])

    def backfill(self, dag: str, first: str, last: str, **body: Any) -> int:
        """Make a backfill over some days and return its number."""
        wanted = {"dag_id": dag, "from_date": f"{first}T00:00:00Z", "to_date": f"{last}T23:59:00Z"}
        made = self("POST", "/api/v2/backfills", {**wanted, "max_active_runs": 2, "run_backwards": False, **body})
        return int(made["id"])

    def tasks(self, dag: str, run_id: str) -> list[dict[str, Any]]:
        """Return the task instances of a run."""
        found = self("GET", f"/api/v2/dags/{dag}/dagRuns/{quote(run_id)}/taskInstances?limit=100")
        tasks: list[dict[str, Any]] = found["task_instances"]
        return tasks

    def kill(self) -> None:
        """Kill every server and every task with SIGKILL, at once."""
        parents = [psutil.Process(pid) for pid in self.processes]
        victims = [*parents, *(child for parent in parents for child in parent.children(recursive=True))]
        for one in victims:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()
        psutil.wait_procs(victims)

    def log(self, dag: str, run_id: str, task: str, attempt: int = 1) -> str:
        """Return the log of a task."""
        path = f"/api/v2/dags/{dag}/dagRuns/{quote(run_id)}/taskInstances/{task}/logs/{attempt}"
        return json.dumps(self("GET", path), ensure_ascii=False)


@contextlib.contextmanager
def airflow_of(settings: Settings, user: str | None = None, **environment: str) -> Iterator[Api]:
    """Run Airflow's servers; with a user, everyone signs in, else everyone is an administrator."""
    services = airflow(settings, 0)
    if user is not None:
        environment |= signed_in(settings.airflow())
    services = [replace(one, environment={**one.environment, **environment}) for one in services]
    with running(services) as started:
        address = started[0][0].address
        assert address is not None
        api = Api(address, user)
        api.processes = [process.pid for _, process in started]
        yield api


@contextlib.contextmanager
def postgres_of(settings: Settings, folder: Path) -> Iterator[dict[str, str]]:
    """Run a PostgreSQL server with a database for Airflow; yield the variables under which Airflow uses it."""
    server = Postgres(folder)
    server.start()
    try:
        server.create_database("airflow")
        url = server.uri("airflow").replace("postgresql://", "postgresql+psycopg2://")
        own = {"AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": url}
        environment = {"PATH": os.environ["PATH"], **airflow_environment(settings), **own}
        for command in (["airflow", "db", "migrate"], ["cradle.cli.airflow"]):
            subprocess.run([sys.executable, "-m", *command], env=environment, cwd=PROJECT, check=True)
        yield own
    finally:
        server.stop()


def signed_in(home: Path) -> dict[str, str]:
    """Return the settings under which there is a user of each role, and write their passwords."""
    passwords = home / "passwords.json"
    passwords.write_text(json.dumps({role: f"{role}-password" for role in ROLES}), encoding="utf-8")
    return {
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "False",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": ",".join(f"{role}:{role}" for role in ROLES),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(passwords),
    }
