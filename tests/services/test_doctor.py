"""The preflight names the first hop that fails, with the likely cause and what to run."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from cradle.config import PROJECT, Settings
from cradle.secrets import ANY, OPERATOR, read_secret, write_secret
from cradle.services.doctor import Check, preflight
from cradle.services.polaris import Management
from cradle.services.roles import Grant, pipeline_role
from tests.stacks import Stack

pytestmark = pytest.mark.services


def first_failure(checks: list[Check]) -> Check:
    failed = [one for one in checks if not one.ok]
    assert len(failed) == 1, checks
    assert failed[0] is checks[-1]  # nothing is tried after it
    return failed[0]


def test_a_sound_stack_passes_every_hop(two: Settings) -> None:
    checks = preflight(two, "demo")
    assert all(one.ok for one in checks), checks
    hops = {one.check for one in checks}
    assert {
        "S3: DNS",
        "S3: port",
        "S3: clock",
        "S3: auth",
        "S3: bucket",
        "PostgreSQL: auth",
        "PostgreSQL: lock",
    } <= hops
    assert {"Polaris: health", "Polaris: auth", "catalog: auth", "catalog: tables", "catalog: keys"} <= hops
    assert "create, commit, read, drop with vended keys" in next(one.detail for one in checks if "tables" in one.check)
    assert checks[-1].detail.startswith("vended")
    json.dumps([one.content() for one in checks])


@pytest.mark.parametrize(
    ("server", "hop"), [("s3", "S3: port"), ("polaris", "Polaris: port"), ("postgres", "PostgreSQL: port")]
)
def test_a_server_that_is_down_is_named(two: Settings, stack: Stack, server: str, hop: str) -> None:
    stack.servers[server].kill()
    try:
        failure = first_failure(preflight(two, "demo"))
    finally:
        stack.servers[server].start()
    assert (failure.check, failure.run) == (hop, "make up")
    assert failure.cause


def test_a_command_that_meets_a_lost_server_ends_with_the_preflight(two: Settings, stack: Stack) -> None:
    environment = {f"CRADLE_{name.upper()}": str(value) for name, value in two.model_dump().items() if value}
    environment |= {"PATH": os.environ["PATH"], "PYTHONPATH": str(PROJECT)}
    command = [sys.executable, "-c", "from cradle.cli import run; run()", "history", "demo"]
    stack.polaris.kill()
    try:
        done = subprocess.run(command, env=environment, cwd=PROJECT, capture_output=True, text=True, check=False)
    finally:
        stack.polaris.start()
    assert done.returncode == 9, done.stderr
    assert "Traceback" not in done.stderr
    assert "Run `cradle doctor`" in " ".join(done.stderr.split())


def test_a_name_that_does_not_resolve_is_named(two: Settings) -> None:
    changed = two.model_copy(update={"s3_endpoint": "http://nothing.invalid:8333"})
    assert first_failure(preflight(changed, "demo")).check == "S3: DNS"


@pytest.mark.parametrize(
    ("owner", "name", "field", "hop"),
    [
        (OPERATOR, "s3", "secret_key", "S3: auth"),
        (OPERATOR, "database", "password", "PostgreSQL: auth"),
        (OPERATOR, "polaris", "client_secret", "Polaris: auth"),
        ("demo", "files", "secret_key", "S3: bucket"),
    ],
)
def test_a_wrong_secret_is_named(two: Settings, owner: str, name: str, field: str, hop: str) -> None:
    right = read_secret(two, owner, ANY, name)
    write_secret(two, owner, ANY, name, {**right, field: "wrong"})
    try:
        failure = first_failure(preflight(two, "demo"))
    finally:
        write_secret(two, owner, ANY, name, right)
    assert failure.check == hop
    assert failure.run


def test_a_right_that_is_missing_is_named(two: Settings) -> None:
    """With the workers' secrets alone: they probe as the pipeline, on a table that stays."""
    polaris, role = Management(two), pipeline_role(two.environment)
    right = Grant("TABLE_WRITE_DATA", (two.environment,))
    login = read_secret(two, "demo", ANY, "admin")
    from cradle.secrets import secret_path

    secret_path(two, "demo", ANY, "admin").unlink()
    try:
        assert all(one.ok for one in preflight(two, "demo"))
        polaris.revoke_grant("demo", role, right)
        failure = first_failure(preflight(two, "demo"))
        assert (failure.check, failure.run) == ("catalog: tables", "cradle customers provision demo")
    finally:
        polaris.add_grant("demo", role, right)
        write_secret(two, "demo", ANY, "admin", login)
