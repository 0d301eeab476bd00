"""Servers that die, answers that are lost, keys that run out, a full disk, a wrong clock: each night ends right or says
what failed, and a re-run gives exactly the clean result."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pytest

from cradle import releases
from cradle.catalog import commit, connect_duckdb, grant, open_lake, publish, read, readable, resolve, write_once
from cradle.config import PROJECT, Settings
from cradle.errors import CradleError, Unavailable
from cradle.examples import generate
from cradle.points import LISTENERS
from tests.nights import contents, night
from tests.proxy import Proxy
from tests.servers import Server
from tests.stacks import Stack

pytestmark = [pytest.mark.services, pytest.mark.faults, pytest.mark.timeout(900)]
ROWS = 60
DOWN_SECONDS = 3.0


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What one undisturbed night gives, embedded."""
    settings = Settings(home=tmp_path_factory.mktemp("clean"), customers=PROJECT / "data" / "customers")
    generate("demo", settings.inbox("demo"), rows=ROWS)
    night(settings, "demo", upto="release")
    release = releases.find(open_lake(settings, "demo"))
    return {**contents(open_lake(settings, "demo")), "release": release.release_id}


def state(settings: Settings) -> dict[str, str]:
    lake = open_lake(settings, "demo")
    return {**contents(lake), "release": releases.find(lake).release_id}


class Once:
    """Does something at the first point of a name, in the thread that reaches it."""

    def __init__(self, name: str, act: Callable[[], None]) -> None:
        self.name, self.act, self.done = name, act, False

    def __call__(self, name: str) -> None:
        if name == self.name and not self.done:
            self.done = True
            self.act()

    def __enter__(self) -> Once:
        LISTENERS.append(self)
        return self

    def __exit__(self, *_: object) -> None:
        LISTENERS.remove(self)


def killed(server: Server) -> tuple[Callable[[], None], list[threading.Thread]]:
    """Return what kills a server and lets it come back some seconds later, and the threads that bring it back."""
    back: list[threading.Thread] = []

    def act() -> None:
        server.kill()
        timer = threading.Timer(DOWN_SECONDS, server.start)
        timer.start()
        back.append(timer)

    return act, back


def one_night_despite(settings: Settings, clean: dict[str, str], at: str, act: Callable[[], None]) -> str:
    """Run a night with a fault at a point; whatever it says, a re-run must give the clean result."""
    with Once(at, act) as fault:
        try:
            night(settings, "demo", upto="release")
            said = ""
        except CradleError as error:
            said = str(error)
            assert "cradle doctor" in said or "again" in said, said
    assert fault.done, f"point {at} was never reached"
    return said


@pytest.mark.parametrize("server", ["s3", "polaris", "postgres"])
@pytest.mark.parametrize("at", ["commit.raw.sales.before", "commit.marts.orders.before", "publish.before"])
def test_a_server_killed_in_the_middle_of_a_night(
    settings: Settings, stack: Stack, clean: dict[str, str], server: str, at: str
) -> None:
    generate("demo", settings.inbox("demo"), rows=ROWS)
    open_lake(settings, "demo")
    act, back = killed(stack.servers[server])
    one_night_despite(settings, clean, at, act)
    for one in back:
        one.join()
    night(settings, "demo", upto="release")
    assert state(settings) == clean


@pytest.fixture
def before_polaris(settings: Settings, stack: Stack) -> Iterator[tuple[Settings, Proxy]]:
    """Settings that reach Polaris through a proxy."""
    open_lake(settings, "demo")
    proxy = Proxy(stack.polaris.port)
    yield settings.model_copy(update={"catalog_url": f"http://127.0.0.1:{proxy.port}/api/catalog"}), proxy
    proxy.close()


def test_an_answer_lost_after_the_commit_landed(before_polaris: tuple[Settings, Proxy]) -> None:
    settings, proxy = before_polaris
    lake = open_lake(settings, "demo")
    write_once(lake, "marts.t", pa.table({"k": [0]}), step_key="begin", mode="append")
    proxy.lose(b"transactions/commit")
    written = write_once(lake, "marts.t", pa.table({"k": [1, 2]}), step_key="a", mode="append")
    assert (proxy.lost, written.written) == (1, True)
    assert write_once(lake, "marts.t", pa.table({"k": [1, 2]}), step_key="a", mode="append").written is False
    pin = resolve(lake, "marts.t")
    assert pin is not None
    assert sorted(read(lake, pin).column("k").to_pylist()) == [0, 1, 2]


def test_a_publish_whose_answer_was_lost_has_moved_all_or_nothing(before_polaris: tuple[Settings, Proxy]) -> None:
    settings, proxy = before_polaris
    lake = open_lake(settings, "demo")
    pins = {
        table: write_once(lake, table, pa.table({"k": [1]}), step_key="a", branch="asof-2024-01-01").pin
        for table in ("marts.t", "marts.u")
    }
    proxy.lose(b"transactions/commit")
    publish(lake, {table: pin.snapshot_id for table, pin in pins.items()})
    assert proxy.lost == 1
    for table, pin in pins.items():
        head = resolve(lake, table)
        assert head is not None
        assert head.snapshot_id == pin.snapshot_id


def test_the_databases_answer_to_polaris_lost_after_it_committed(settings: Settings, stack: Stack) -> None:
    """The one-table path destroys a table here; ours leaves it whole, with the rows once."""
    lake = open_lake(settings, "demo")
    write_once(lake, "marts.t", pa.table({"k": [0]}), step_key="begin", mode="append")
    proxy, polaris = Proxy(stack.postgres.port), stack.polaris
    polaris.stop()
    polaris.postgres_port = proxy.port
    polaris.jdbc_options = "?prepareThreshold=0"  # else the word COMMIT is sent a few times only
    polaris.start()
    try:
        lake, said = open_lake(settings, "demo"), list[str]()
        for number in range(1, 6):
            proxy.lose(b"COMMIT")
            rows = pa.table({"k": [number]})
            try:
                write_once(lake, "marts.t", rows, step_key=str(number), mode="append")
            except Exception as error:  # noqa: BLE001  (whatever it is, the re-run has to heal it)
                said.append(str(error))
            proxy.marker = None
            write_once(lake, "marts.t", rows, step_key=str(number), mode="append")
        assert proxy.lost >= 1
        assert not [one for one in said if "Location does not exist" in one]
        pin = resolve(lake, "marts.t")
        assert pin is not None
        assert sorted(read(lake, pin).column("k").to_pylist()) == [0, 1, 2, 3, 4, 5]
    finally:
        polaris.stop()
        polaris.postgres_port, polaris.jdbc_options = 0, ""
        polaris.start()
        proxy.close()


def end_all_keys(stack: Stack) -> None:
    """End every vended key at once, as an hour would: the store gets another signing key, Polaris forgets its cache."""
    stack.polaris.stop()
    stack.s3.kill()
    stack.s3.generation += 1
    stack.s3.start()
    stack.polaris.start()


def test_vended_keys_that_ran_out_while_rows_were_computed(
    settings: Settings, stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = open_lake(settings, "demo")
    write_once(lake, "marts.t", pa.table({"k": [0]}), step_key="begin", mode="append")

    def slow() -> pa.Table:
        end_all_keys(stack)
        return pa.table({"k": [1]})

    with pytest.raises(OSError, match=r"(?i)denied|token|forbidden|access.key"):
        write_once(lake, "marts.t", slow, step_key="a", mode="append")
    monkeypatch.setattr(commit, "KEYS_AGE", 0)
    assert write_once(lake, "marts.t", slow, step_key="a", mode="append").written
    pin = resolve(lake, "marts.t")
    assert pin is not None
    assert sorted(read(lake, pin).column("k").to_pylist()) == [0, 1]


def test_duckdb_reads_on_with_fresh_keys(settings: Settings, stack: Stack) -> None:
    import duckdb

    lake = open_lake(settings, "demo")
    pin = write_once(lake, "marts.t", pa.table({"k": [7]}), step_key="a").pin
    con = connect_duckdb(settings)
    sql = f"select k from {readable(con, lake, pin)}"
    assert con.execute(sql).fetchall() == [(7,)]
    end_all_keys(stack)
    with pytest.raises(duckdb.Error, match=r"403|Forbidden"):
        con.execute(sql).fetchall()
    grant(con, lake, "marts.t")
    assert con.execute(sql).fetchall() == [(7,)]


def test_a_token_that_runs_out_in_the_middle_of_a_write(settings: Settings, stack: Stack) -> None:
    open_lake(settings, "demo")
    polaris = stack.polaris
    polaris.stop()
    polaris.token_seconds = 1
    polaris.start()
    try:
        lake = open_lake(settings, "demo")

        def slow() -> pa.Table:
            threading.Event().wait(2)
            return pa.table({"k": [1]})

        assert write_once(lake, "marts.t", slow, step_key="a", mode="append").written
    finally:
        polaris.stop()
        polaris.token_seconds = 3600
        polaris.start()


@pytest.mark.skipif(os.geteuid() != 0, reason="a small file system can only be mounted by root")
def test_a_full_disk_at_the_store(settings: Settings, stack: Stack, clean: dict[str, str], tmp_path: Path) -> None:
    """SeaweedFS over a small file system that fills up; room again, and the next night is a clean one."""
    folder = Path(tempfile.mkdtemp(prefix="cradle-small-"))
    own, data = Stack("services", folder), folder / "weed" / "data"
    data.mkdir(parents=True)
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1200m", "tmpfs", str(data)], check=False)
    if mounted.returncode:
        pytest.skip("no file system can be mounted here")
    try:
        own.start()
        small = own.settings(tmp_path / "home2", settings.customers)
        own.provision(small, "demo")
        generate("demo", small.inbox("demo"), rows=ROWS)
        night(small, "demo", upto="ingest")
        filler = data / "filler"
        free = shutil.disk_usage(data).free
        with filler.open("wb") as handle:
            os.posix_fallocate(handle.fileno(), 0, free - 4096)
        with pytest.raises(CradleError) as refused:
            night(small, "demo", upto="release")
        assert isinstance(refused.value, Unavailable), refused.value
        assert "cradle doctor demo" in str(refused.value)
        filler.unlink()
        own.s3.kill()  # a volume that met a full disk stays read-only until it is loaded again
        own.s3.start()
        night(small, "demo", upto="release")
        assert state(small) == clean
    finally:
        own.stop()
        subprocess.run(["umount", str(data)], check=False)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.skipif(shutil.which("faketime") is None, reason="faketime is not installed")
def test_a_wrong_clock_is_named_by_the_preflight(settings: Settings) -> None:
    open_lake(settings, "demo")
    code = "from cradle.cli import run; run()"
    environment = {f"CRADLE_{name.upper()}": str(value) for name, value in settings.model_dump().items() if value}
    environment |= {"PATH": os.environ["PATH"], "PYTHONPATH": str(PROJECT), "CRADLE_LOG_JSON": "false"}
    command = ["faketime", "-f", "+20m", sys.executable, "-c", code, "doctor", "demo"]
    done = subprocess.run(
        command, env=environment, cwd=PROJECT, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 2, done.stdout + done.stderr
    assert "S3: clock fails first" in " ".join(done.stderr.split())
    assert "date -u" in done.stderr
