"""What decides where a customer's things lie and who may read a secret, without any server."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cradle import names
from cradle.config import Settings, environment_of_branch, git_branch, load_settings
from cradle.errors import ConfigError, MissingStep, Unavailable, of_a_server
from cradle.secrets import ANY, TAG, has_secret, read_secret, secret_path, write_secret
from cradle.services import s3
from cradle.services.roles import catalog_roles
from cradle.tags import find_tags

customers = st.from_regex(r"[a-z][a-z0-9_]{0,40}", fullmatch=True)
kinds = st.sampled_from(names.BUCKETS)


@given(customers, kinds, customers, kinds)
def test_two_customers_never_share_a_bucket(one: str, kind: names.Bucket, other: str, other_kind: names.Bucket) -> None:
    same = names.bucket(one, kind) == names.bucket(other, other_kind)
    assert same == ((one, kind) == (other, other_kind))


@given(st.text(max_size=70))
def test_a_bucket_name_is_one_that_s3_takes_or_the_customer_is_refused(text: str) -> None:
    try:
        name = names.bucket(text, "archive")
    except ValueError:
        assert not names.is_name(text) or len(text) > 48
        return
    assert 3 <= len(name) <= 63
    assert set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")


@pytest.mark.parametrize(
    ("branch", "environment"),
    [
        ("main", "prod_analytics"),
        ("develop", "staging_analytics"),
        ("feature/main", "dev_analytics"),
        ("Main", "dev_analytics"),
        (None, "dev_analytics"),
    ],
)
def test_the_branch_decides_the_environment(branch: str | None, environment: str) -> None:
    assert environment_of_branch(branch) == environment


def test_the_branch_of_a_checkout_a_worktree_and_none(tmp_path: Path) -> None:
    assert git_branch(tmp_path) is None
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "HEAD").write_text("ref: refs/heads/feature/x\n")
    assert git_branch(tmp_path) == "feature/x"
    (tmp_path / ".git" / "HEAD").write_text("0" * 40 + "\n")  # detached
    assert git_branch(tmp_path) is None
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "HEAD").write_text("ref: refs/heads/develop\n")
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / ".git").write_text("gitdir: ../real\n")
    assert git_branch(tmp_path / "tree") == "develop"


def test_the_setting_overrides_the_branch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cradle.config.git_branch", lambda folder: "main")
    monkeypatch.setenv("CRADLE_ENVIRONMENT", "staging_analytics")
    assert load_settings().environment == "staging_analytics"
    monkeypatch.delenv("CRADLE_ENVIRONMENT")
    assert load_settings().environment == "prod_analytics"


def test_a_catalog_without_its_addresses_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CRADLE_CATALOG", "polaris")
    with pytest.raises(ConfigError, match=r"CRADLE_CATALOG_URL, CRADLE_S3_ENDPOINT"):
        load_settings()


def test_a_secret_is_for_its_owner_only(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    with pytest.raises(ConfigError, match="cradle customers provision demo"):
        read_secret(settings, "demo", ANY, "files")
    write_secret(settings, "demo", ANY, "files", {"access_key": "a", "secret_key": "b"})
    path = secret_path(settings, "demo", ANY, "files")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert has_secret(settings, "demo", ANY, "files")
    held = read_secret(settings, "demo", ANY, "files")
    assert {**held, TAG: ""} == {"access_key": "a", "secret_key": "b", TAG: ""}
    assert [(tag.kind, tag.customer) for tag in find_tags(path.read_bytes())] == [("secret", "demo")]
    write_secret(settings, "demo", ANY, "copy", held)
    assert read_secret(settings, "demo", ANY, "copy") == held
    path.chmod(0o640)
    with pytest.raises(ConfigError, match="chmod 600"):
        read_secret(settings, "demo", ANY, "files")


def test_policies_are_compared_by_what_they_allow() -> None:
    one = s3.policy("demo", {"files": ("s3:GetObject", "s3:PutObject")})
    turned = s3.policy("demo", {"files": ("s3:PutObject", "s3:GetObject")})
    assert s3.same_policy(one, turned)
    assert not s3.same_policy(one, s3.policy("demo", {"files": ("s3:GetObject",)}))
    assert not s3.same_policy(one, s3.policy("eaton", {"files": ("s3:GetObject", "s3:PutObject")}))
    assert not s3.same_policy(one, {})


def test_no_role_but_admin_may_manage_access_and_no_pipeline_may_drop() -> None:
    for role, grants in catalog_roles().items():
        privileges = {grant.privilege for grant in grants}
        assert ("CATALOG_MANAGE_ACCESS" in privileges) == (role == "admin")
        assert role == "engineer" or "TABLE_DROP" not in privileges
        assert role == "admin" or all(grant.namespace for grant in grants)


def test_what_servers_do_is_told_from_what_data_do() -> None:
    import requests
    from pyiceberg.exceptions import CommitStateUnknownException

    assert of_a_server(requests.ConnectionError("refused"))
    assert of_a_server(CommitStateUnknownException("no answer"))
    assert of_a_server(OSError("AWS Error SLOW_DOWN during PutObject"))
    assert not of_a_server(OSError("No such file"))
    assert not of_a_server(ValueError("bad"))
    assert not of_a_server(MissingStep("x"))
    assert not of_a_server(Unavailable("already told"))
