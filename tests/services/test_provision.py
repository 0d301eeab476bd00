"""Provisioning, rotation and erasure on the real servers: safe to repeat, and nothing left in the end."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from cradle import names
from cradle.catalog import open_lake
from cradle.catalog.connect import connect
from cradle.config import PROJECT, Settings
from cradle.errors import ConfigError
from cradle.examples import generate
from cradle.secrets import ANY, read_secret, secret_path
from cradle.services import provision, rotate, s3
from cradle.services.erase import erase, tombstone_path
from cradle.services.polaris import Management
from cradle.services.provision import hand_out
from cradle.store import client
from tests.nights import night
from tests.stacks import Stack

pytestmark = [pytest.mark.services, pytest.mark.timeout(900)]
WORDS = "erase acme for good"


@pytest.fixture
def acme(stack: Stack, tmp_path: Path) -> Iterator[Settings]:
    """Settings with one customer, `acme`, that no server knows yet."""
    (tmp_path / "customers").mkdir()
    text = (PROJECT / "data" / "customers" / "demo.yaml").read_text()
    (tmp_path / "customers" / "acme.yaml").write_text(text.replace("customer: demo", "customer: acme"))
    found = stack.settings(tmp_path / "home", tmp_path / "customers")
    yield found
    if not tombstone_path(found, "acme").is_file():
        erase(found, "acme", "acme", WORDS)


def known(settings: Settings) -> tuple[set[str], bool]:
    buckets = {one["Name"] for one in s3.operator(settings).list_buckets()["Buckets"]}
    return {one for one in buckets if one.startswith("cradle-acme-")}, Management(settings).catalog("acme") is not None


def test_a_dry_run_tells_and_changes_nothing_and_a_repeat_changes_nothing(acme: Settings) -> None:
    told = provision(acme, "acme", dry_run=True)
    assert {"bucket cradle-acme-lake", "catalog acme", "principal acme.analyst", "keys of acme.files"} <= set(told)
    assert known(acme) == (set(), False)
    assert not secret_path(acme, "acme", ANY, "files").exists()
    made = provision(acme, "acme")
    assert set(told) <= set(made)
    assert known(acme) == ({names.bucket("acme", kind) for kind in names.BUCKETS}, True)
    assert provision(acme, "acme") == provision(acme, "acme", dry_run=True) == []


def test_what_is_missing_or_differs_is_put_right(acme: Settings) -> None:
    provision(acme, "acme")
    iam = s3.operator(acme, "iam")
    iam.put_user_policy(
        UserName="acme.inbox",
        PolicyName="cradle",
        PolicyDocument='{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": ["s3:GetObject"], '
        '"Resource": ["arn:aws:s3:::cradle-acme-inbox", "arn:aws:s3:::cradle-acme-inbox/*"]}]}',
    )
    secret_path(acme, "acme", ANY, "analyst").unlink()
    s3.operator(acme).delete_bucket(Bucket="cradle-acme-archive")
    assert provision(acme, "acme") == [
        "bucket cradle-acme-archive",
        "policy of acme.inbox",
        "principal acme.analyst",
    ]
    assert connect(acme.model_copy(update={"environment": "prod_analytics"}), "acme", "analyst")
    lock = s3.operator(acme).get_object_lock_configuration(Bucket="cradle-acme-archive")
    assert lock["ObjectLockConfiguration"]["Rule"]["DefaultRetention"]["Mode"] == "GOVERNANCE"


@pytest.mark.parametrize("name", ["a*b", "../x", "a/b", "UPPER", "a..b", "", "x" * 60])
def test_a_name_that_may_not_be_is_refused_before_any_server_is_asked(acme: Settings, name: str) -> None:
    with pytest.raises(ConfigError, match="lower case letters, digits and underscores"):
        provision(acme, name)


def works(settings: Settings, keys: dict[str, str]) -> bool:
    try:
        client(settings, "s3", keys).list_objects_v2(Bucket="cradle-acme-files")
    except ClientError:
        return False
    return True


def test_rotated_secrets_work_at_once_and_the_old_ones_until_they_are_ended(acme: Settings) -> None:
    provision(acme, "acme")
    old_keys = read_secret(acme, "acme", ANY, "files")
    old_login = read_secret(acme, "acme", acme.environment, "pipeline")
    told = rotate(acme, "acme")
    assert {"keys of acme.files", f"secret of acme.pipeline_{acme.environment}"} <= set(told)
    new_keys, new_login = (
        read_secret(acme, "acme", ANY, "files"),
        read_secret(acme, "acme", acme.environment, "pipeline"),
    )
    assert old_keys["access_key"] != new_keys["access_key"]
    assert old_login["client_secret"] != new_login["client_secret"]
    assert works(acme, old_keys)
    assert works(acme, new_keys)
    assert open_lake(acme, "acme").catalog.list_namespaces((acme.environment,))
    rotate(acme, "acme", end_old=True)
    assert not works(acme, old_keys)
    assert not works(acme, new_keys)
    assert works(acme, read_secret(acme, "acme", ANY, "files"))


def test_each_process_is_handed_its_own_secrets_and_no_others(acme: Settings, tmp_path: Path) -> None:
    provision(acme, "acme")
    hand_out(acme, "pipeline", tmp_path / "workers")
    hand_out(acme, "analyst", tmp_path / "dashboards")
    assert {path.stem for path in (tmp_path / "dashboards").rglob("*.json")} == {"analyst"}
    assert {path.stem for path in (tmp_path / "workers").rglob("*.json")} == {"pipeline", "files", "database"}
    (acme.customers / "acme.yaml").unlink()
    hand_out(acme, "pipeline", tmp_path / "workers")
    assert {path.stem for path in (tmp_path / "workers").rglob("*.json")} == {"database"}


def test_erasing_asks_twice_and_leaves_a_tombstone_and_nothing_else(acme: Settings) -> None:
    provision(acme, "acme")
    generate("demo", acme.inbox("acme"), rows=30)
    night(acme, "acme", upto="build")
    s3.operator(acme).put_object(Bucket="cradle-acme-archive", Key="image", Body=b"kept for 30 days")
    for first, second in (("", ""), ("acme", ""), ("demo", WORDS), ("acme", "erase demo for good")):
        with pytest.raises(ConfigError, match="Nothing was touched"):
            erase(acme, "acme", first, second)
    assert known(acme)[1]
    counts = erase(acme, "acme", "acme", WORDS)
    assert counts["tables"] > 10
    assert counts["objects"] > 10
    assert known(acme) == (set(), False)
    assert not s3.user_exists(s3.operator(acme, "iam"), "acme.files")
    assert not Management(acme).has_principal("acme.admin")
    left = [path for path in acme.home.rglob("*") if path.is_file() and "acme" in str(path.relative_to(acme.home))]
    assert [path for path in left if path != tombstone_path(acme, "acme")] == []
    erase(acme, "acme", "acme", WORDS)  # again: goes through, nothing is there
    with pytest.raises(ConfigError, match="was erased"):
        provision(acme, "acme")
    shutil.rmtree(acme.home / "tombstones")
    assert "catalog acme" in provision(acme, "acme", dry_run=True)
