"""The scans find a tag or a key wherever a file can hide it, name its place, and never repeat it."""

from __future__ import annotations

import gzip
import sqlite3
import zipfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cradle.bake.scan import Finding, leaks, no_leaks, no_secrets, secrets
from cradle.bake.texts import WINDOW
from cradle.errors import VerifyFailed
from cradle.tags import new_canary, new_secret_tag

Hide = Callable[[Path, str], None]
FILLER = " ".join(f"order {at} of customer {at * 7}" for at in range(2000))  # so that packing changes all bytes


def parquet(path: Path, column: pa.Array) -> None:
    rows = pa.table({"id": pa.array(range(len(column))), "held": column})
    pq.write_table(rows, path, compression="zstd", write_statistics=False, store_schema=False)


def in_a_text_column(path: Path, tag: str) -> None:
    parquet(path, pa.array([f"number {at}" for at in range(9000)] + [f"before {tag} after"]))


def in_a_dictionary_that_no_row_uses(path: Path, tag: str) -> None:
    parquet(path, pa.DictionaryArray.from_arrays(pa.array([0, 0, 0]), pa.array(["used", tag])))


def in_a_list(path: Path, tag: str) -> None:
    parquet(path, pa.array([["a"], [], ["b", tag]]))


def in_a_struct_of_a_map(path: Path, tag: str) -> None:
    kind = pa.struct([pa.field("inner", pa.map_(pa.string(), pa.string()))])
    parquet(path, pa.array([{"inner": [("key", tag)]}], kind))


def in_a_binary_column(path: Path, tag: str) -> None:
    parquet(path, pa.array([b"\xff\x00" * 99, b"\xff" + tag.encode()]))


def in_fixed_width_bytes(path: Path, tag: str) -> None:
    parquet(path, pa.array([tag.encode()], pa.binary(len(tag))))


def in_the_name_of_a_column(path: Path, tag: str) -> None:
    pq.write_table(pa.table({tag: [1]}), path)


def in_a_cell_of_sqlite(path: Path, tag: str) -> None:
    with closing(sqlite3.connect(path)) as con, con:
        con.execute("create table rows (key text primary key, row text not null) without rowid")
        con.executemany("insert into rows values (?, ?)", [(str(at), "plain") for at in range(5000)] + [("t", tag)])


def in_a_packed_blob_of_sqlite(path: Path, tag: str) -> None:
    packed = pa.Codec("zstd").compress(f'[["{FILLER} {tag}"]]'.encode(), asbytes=True)
    with closing(sqlite3.connect(path)) as con, con:
        con.execute("create table blocks (id integer primary key, data blob)")
        con.execute("insert into blocks values (1, ?)", (packed,))


def in_a_deleted_row_of_sqlite(path: Path, tag: str) -> None:
    with closing(sqlite3.connect(path)) as con:
        con.execute("pragma secure_delete = off")
        con.execute("create table rows (row text)")
        con.execute("insert into rows values (?)", (tag,))
        con.commit()
        con.execute("delete from rows")
        con.commit()


def over_the_edge_of_a_window(path: Path, tag: str) -> None:
    path.write_bytes(b"\0" * (WINDOW - 20) + tag.encode())


def in_plain_text(path: Path, tag: str) -> None:
    path.write_text(f'{{"note": "{tag}"}}\n' * 3, encoding="utf-8")


def in_gzip(path: Path, tag: str) -> None:
    path.write_bytes(gzip.compress(f"{FILLER} {tag}".encode()))


def in_zstd(path: Path, tag: str) -> None:
    path.write_bytes(pa.Codec("zstd").compress(f"{FILLER} {tag}".encode(), asbytes=True))


def in_a_member_of_a_zip(path: Path, tag: str) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/b.txt", FILLER * 30 + tag)


def in_a_packed_text_column(path: Path, tag: str) -> None:
    parquet(path, pa.array([FILLER, tag]))


BINARY = (in_the_name_of_a_column, in_a_deleted_row_of_sqlite, over_the_edge_of_a_window)
PACKED = (in_a_text_column, in_a_packed_text_column, in_a_packed_blob_of_sqlite, in_gzip, in_zstd, in_a_member_of_a_zip)
READABLE = (
    *PACKED,
    in_a_dictionary_that_no_row_uses,
    in_a_list,
    in_a_struct_of_a_map,
    in_a_binary_column,
    in_fixed_width_bytes,
    in_a_cell_of_sqlite,
    in_plain_text,
)


@pytest.mark.parametrize("hide", PACKED)
def test_packing_hides_a_tag_from_a_look_at_the_bytes(tmp_path: Path, hide: Hide) -> None:
    tag = new_canary("other_shop")
    hide(tmp_path / "file", tag)
    assert b"other_shop" not in (tmp_path / "file").read_bytes()


@pytest.mark.parametrize("hide", [*BINARY, *READABLE])
def test_a_foreign_tag_is_found_and_its_owner_named(tmp_path: Path, hide: Hide) -> None:
    tag = new_canary("other_shop")
    hide(tmp_path / "file", tag)
    found = leaks(tmp_path, "demo")
    assert {(one.file, one.kind, one.owner) for one in found} == {("file", "canary", "other_shop")}
    assert leaks(tmp_path, "other_shop") == []
    assert tag.rpartition(":")[2] not in str(found)


@pytest.mark.parametrize("hide", READABLE)
def test_a_secrets_tag_is_found_even_in_its_owners_image(tmp_path: Path, hide: Hide) -> None:
    hide(tmp_path / "file", new_secret_tag("demo"))
    assert {(one.kind, one.owner) for one in leaks(tmp_path, "demo")} == {("tag of a secret", "demo")}
    with pytest.raises(VerifyFailed, match="file: tag of a secret of demo"):
        no_leaks(tmp_path, "demo")


def test_a_tag_in_the_name_of_a_file_is_found(tmp_path: Path) -> None:
    (tmp_path / new_canary("other_shop")).write_bytes(b"")
    assert [one.where for one in leaks(tmp_path, "demo")] == ["name of the file"]


def test_the_place_in_a_table_is_named(tmp_path: Path) -> None:
    in_a_text_column(tmp_path / "file", new_canary("other_shop"))
    assert leaks(tmp_path, "demo")[0].where == "column held, row group 0"


AWS = "AKIA" + "Q3EGVX5ZQ7RJH2LN"
# One text per detector; put together here, so that no scanner of source code takes them for real.
KEYS = {
    "AWS Access Key": AWS,
    "Azure Storage Account access key": "AccountKey=" + "a1B2" * 22,
    "Basic Auth Credentials": "see https://user:" + "pa55word@example.com/x",
    "Cloudant Credentials": "cloudant_password = '" + "0a" * 32 + "'",
    "Discord Bot Token": "M" + "a" * 23 + "." + "b" * 6 + "." + "c" * 27,
    "GitHub Token": "ghp_" + "a1" * 18,
    "GitLab Token": "glpat-" + "a1" * 10,
    "IBM Cloud IAM Key": "ibm_cloud_iam_key: " + "a1B-" * 11,
    "IBM COS HMAC Credentials": "secret_access_key=" + "0a" * 24,
    "JSON Web Token": "eyJhbGciOiJIUzI1NiJ9." + "eyJzdWIiOiJtZSJ9" + ".c2lnbmF0dXJl",
    "Mailchimp Access Key": "0a" * 16 + "-us12",
    "NPM tokens": "//registry.example.com/:_authToken=" + "npm_abc",
    "OpenAI Token": "sk-" + "a1" * 10 + "T3BlbkFJ" + "b2" * 10,
    "Private Key": "-----BEGIN " + "RSA PRIVATE KEY-----",
    "PyPI Token": "pypi-AgEIcHlwaS5vcmc" + "a" * 70,
    "SendGrid API Key": "SG." + "a" * 22 + "." + "b" * 43,
    "Slack Token": "xoxb-" + "123-456-abc",
    "SoftLayer Credentials": "softlayer_api_key = " + "a1" * 32,
    "Square OAuth Secret": "sq0csp-" + "a" * 43,
    "Stripe Access Key": "sk_live_" + "a1" * 12,
    "Telegram Bot Token": "123456789:" + "a" * 35,
    "Twilio API Key": "AC" + "0a" * 16,
}


@pytest.mark.parametrize("kind", KEYS)
def test_every_kind_of_key_is_found_in_a_cell(tmp_path: Path, kind: str) -> None:
    in_a_text_column(tmp_path / "file", KEYS[kind])
    assert kind in {one.kind for one in secrets(tmp_path)}


def test_every_detector_has_its_example() -> None:
    from cradle.bake.scan import _detectors

    assert {one.secret_type for one in _detectors()} == set(KEYS)


@pytest.mark.parametrize("hide", READABLE)
def test_a_key_is_found_wherever_text_can_be(tmp_path: Path, hide: Hide) -> None:
    hide(tmp_path / "file", AWS)
    assert {(one.file, one.kind) for one in secrets(tmp_path)} == {("file", "AWS Access Key")}
    with pytest.raises(VerifyFailed, match="AWS Access Key") as refused:
        no_secrets(tmp_path)
    assert AWS not in str(refused.value)
    assert secrets(tmp_path, skip=["file"]) == []


def test_ordinary_data_are_no_secrets(tmp_path: Path) -> None:
    texts = [
        "https://example.com/images/AAXCBE-827H.png?size=2",
        "238c5c5430c27468d8d24e406cf3d7091f90f8a040ec355914e5bac95a8f7663",
        "APC12345678 keyboard, key: 105, password-free, 10.1.2.3, 8.8.8.8",
        "mail to service@example.com or sales@example.com:25",
    ]
    parquet(tmp_path / "file", pa.array(texts))
    (tmp_path / "text.json").write_text("\n".join(texts), encoding="utf-8")
    assert secrets(tmp_path) == []


def test_a_file_that_is_not_what_it_begins_like_is_refused(tmp_path: Path) -> None:
    (tmp_path / "table.parquet").write_bytes(b"PAR1 but no table")
    with pytest.raises(VerifyFailed, match=r"table\.parquet can't be looked into"):
        leaks(tmp_path, "demo")


def test_many_findings_are_counted(tmp_path: Path) -> None:
    for at in range(7):
        (tmp_path / f"{at}.txt").write_text(new_canary("other_shop"), encoding="utf-8")
    with pytest.raises(VerifyFailed, match=r"0\.txt: canary of other_shop \(byte 0\).*and 2 more"):
        no_leaks(tmp_path, "demo")
    assert leaks(tmp_path, "demo")[6] == Finding(file="6.txt", kind="canary", owner="other_shop", where="byte 0")
