"""A delta gives the new image or nothing: whatever changed, whoever made it, wherever it is killed."""

from __future__ import annotations

import contextlib
import io
import json
import random
import resource
import shutil
import signal
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cradle.config import PROJECT, clean_environment
from cradle.delivery import blocks, package
from cradle.delivery.apply import apply_delta
from cradle.delivery.blocks import BLOCK, Blocks
from cradle.delivery.delta import DeltaResult, make_delta, sign_delta
from cradle.delivery.layout import blob_path, blobs_of, canonical, check_blob
from cradle.errors import MissingStep, Unavailable, VerifyFailed
from tests.deltas import NAMES, apply_and_die, copy_of, image, named, tree

pytestmark = pytest.mark.integration

PAGE = 4096
SPAN = 3 * PAGE
KINDS = ("insert", "delete", "replace", "append", "swap")


def noise(seed: int, size: int) -> bytes:
    return random.Random(seed).randbytes(size)


@dataclass(frozen=True)
class Case:
    """Two images in the factory's layout, the delta between them, and a customer's layout that holds the old one."""

    factory: Path
    customer: Path
    old: str
    new: str
    made: DeltaResult

    @property
    def delta(self) -> Path:
        return self.made.path

    def apply(self) -> str:
        return apply_delta(self.delta, self.customer, public_key=None, signature=None)


def case(folder: Path, old: list[bytes], new: list[bytes]) -> Case:
    factory = folder / "factory"
    digests = [image(factory, NAMES[name], layers) for name, layers in (("old", old), ("new", new))]
    made = make_delta(factory, digests[0], digests[1], folder / "delta")
    customer = copy_of(factory, digests[0], NAMES["old"], folder / "customer")
    return Case(factory, customer, digests[0], digests[1], made)


@pytest.fixture
def shop(tmp_path: Path) -> Case:
    """Three layers: one that stays, one with changed pages and a shift, one that is new; and another image beside."""
    stays, data = noise(1, 3 * PAGE), noise(2, 40 * PAGE)
    changed = b"begin" + data[: 7 * PAGE] + noise(3, PAGE) + data[8 * PAGE : 30 * PAGE] + data[31 * PAGE :]
    made = case(tmp_path, [stays, data], [stays, changed, noise(4, 700)])
    image(made.customer, "other:one", [b"of another image"])
    return made


# Matching


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.integers(0, 3 * BLOCK))
def test_a_window_has_the_hash_of_its_block(seed: int, more: int) -> None:
    data = np.frombuffer(noise(seed, BLOCK + more), np.uint8)
    rolled = blocks.window_hashes(data)
    assert len(rolled) == more + 1
    for at in {0, more // 3, more}:
        assert rolled[at] == blocks.block_hashes(data[at : at + BLOCK])[0]


@st.composite
def histories(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """Draw old bytes and what some edits made of them; long enough for blocks, with zeros and repetitions."""
    parts = draw(st.lists(st.tuples(st.sampled_from("rz="), st.integers(0, SPAN)), max_size=6))
    old = b""
    for at, (kind, size) in enumerate(parts):
        old += {"r": noise(at, size), "z": bytes(size), "=": noise(0, size)}[kind]
    new = old
    for kind in draw(st.lists(st.sampled_from(KINDS), max_size=5)):
        begin = draw(st.integers(0, len(new)))
        end = min(len(new), begin + draw(st.integers(0, SPAN)))
        fresh = noise(draw(st.integers(0, 3)), draw(st.integers(0, SPAN)))
        if kind == "swap":
            new = new[end:] + new[begin:end] + new[:begin]
        else:
            new = {
                "insert": new[:begin] + fresh + new[begin:],
                "delete": new[:begin] + new[end:],
                "replace": new[:begin] + fresh[: end - begin] + new[end:],
                "append": new + fresh,
            }[kind]
    return old, new


@settings(max_examples=200, deadline=None)
@given(histories(), st.binary(max_size=100))
def test_matches_are_true_and_in_order(history: tuple[bytes, bytes], other: bytes) -> None:
    old, new = history
    sources = [other, old, noise(9, BLOCK + 1)]
    done = 0
    for match in Blocks([np.frombuffer(one, np.uint8) for one in sources]).matches(np.frombuffer(new, np.uint8)):
        assert done <= match.at
        done = match.at + match.length
        assert done <= len(new)
        assert match.offset + match.length <= len(sources[match.source])
        assert new[match.at : done] == sources[match.source][match.offset : match.offset + match.length], (
            "not what stands there"
        )


def test_only_what_changed_is_literal() -> None:
    """A byte put in, one taken out, a page replaced: everything else is found at its new place."""
    old = noise(5, 300 * PAGE + 77)
    new = old[: 50 * PAGE + 5] + b"!" + old[50 * PAGE + 5 : 120 * PAGE] + old[120 * PAGE + 1 :]
    new = new[: 200 * PAGE] + noise(6, PAGE) + new[201 * PAGE :]
    found = Blocks([np.frombuffer(old, np.uint8)]).matches(np.frombuffer(new, np.uint8))
    literal = len(new) - sum(match.length for match in found)
    assert PAGE < literal + 20 < PAGE + 40  # a byte beside a change may be equal by chance


def test_one_block_alone_is_found_wherever_it_stands() -> None:
    """Also across the ends of what is looked at in one go."""
    old = noise(5, 3 * BLOCK)
    found = Blocks([np.frombuffer(old, np.uint8)])
    for before in range(0, 5 * blocks.FIRST_LOOK, 61):
        new = noise(6, before) + old[BLOCK : 2 * BLOCK] + noise(7, BLOCK)
        (match,) = found.matches(np.frombuffer(new, np.uint8))
        assert match.at <= before, before
        assert match.length >= BLOCK


# Whole deltas


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(histories(), histories())
def test_applying_what_was_made_gives_the_new_image(
    tmp_path: Path, one: tuple[bytes, bytes], two: tuple[bytes, bytes]
) -> None:
    folder = tmp_path / "case"
    made = case(folder, [one[0], two[0]], [one[1], two[1]])
    assert made.apply() == made.new
    assert named(made.customer) == {NAMES["new"]: made.new}
    for digest, size in blobs_of(made.factory, made.new).items():
        check_blob(made.customer, digest, size)
        assert blob_path(made.customer, digest).read_bytes() == blob_path(made.factory, digest).read_bytes()
    assert made.made.missing_bytes == made.made.copied_bytes + made.made.literal_bytes
    shutil.rmtree(folder)


def in_a_tar(data: bytes) -> bytes:
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w") as tar:
        entry = tarfile.TarInfo("cradle/tables/orders.parquet")
        entry.size = len(data)
        tar.addfile(entry, io.BytesIO(data))
    return sink.getvalue()


def test_one_page_of_a_hundred_costs_one_of_a_hundred(tmp_path: Path) -> None:
    draw = np.random.default_rng(7)
    pages = draw.integers(0, 256, (2000, PAGE), dtype=np.uint8)
    changed = pages.copy()
    picked = draw.choice(len(pages), len(pages) // 100, replace=False)
    changed[picked] = draw.integers(0, 256, (len(picked), PAGE), dtype=np.uint8)
    tars = [in_a_tar(data.tobytes()) for data in (pages, changed)]
    made = case(tmp_path, [tars[0]], [tars[1]])
    assert made.apply() == made.new
    assert made.made.bytes < 0.011 * made.made.missing_bytes


def test_the_same_images_give_the_same_file(shop: Case, tmp_path: Path) -> None:
    again = make_delta(shop.factory, shop.old, shop.new, tmp_path / "deeper" / "again")
    assert again.path.read_bytes() == shop.delta.read_bytes()
    assert again.sha256 == shop.made.sha256
    assert list((tmp_path / "deeper").iterdir()) == [again.path]


def test_other_images_keep_their_names_and_a_second_time_writes_nothing(shop: Case) -> None:
    other = named(shop.customer)["other:one"]
    assert shop.apply() == shop.new
    assert named(shop.customer) == {"other:one": other, NAMES["new"]: shop.new}
    before = {path: path.stat().st_mtime_ns for path in shop.customer.rglob("*") if path.name != ".lock"}
    assert shop.apply() == shop.new
    assert {path: path.stat().st_mtime_ns for path in shop.customer.rglob("*") if path.name != ".lock"} == before


def test_a_rebuilt_blob_that_was_damaged_later_is_rebuilt_again(shop: Case) -> None:
    shop.apply()
    whole = tree(shop.customer)
    (new,) = blobs_of(shop.factory, shop.new).keys() & {f"sha256:{shop_layer(shop)}"}
    blob_path(shop.customer, new).write_bytes(b"damage")
    assert shop.apply() == shop.new
    assert tree(shop.customer) == whole


def shop_layer(shop: Case) -> str:
    """Return the hex digest of the largest layer that the old image lacks."""
    have, need = blobs_of(shop.factory, shop.old), blobs_of(shop.factory, shop.new)
    return max(need.keys() - have.keys(), key=need.__getitem__).removeprefix("sha256:")


def test_an_image_that_nobody_named_gets_no_delta(shop: Case, tmp_path: Path) -> None:
    with pytest.raises(MissingStep, match="names no image sha256:0000"):
        make_delta(shop.factory, shop.old, "sha256:" + "0" * 64, tmp_path / "none")
    with pytest.raises(VerifyFailed, match="does not hold image sha256:0000"):
        make_delta(shop.factory, "sha256:" + "0" * 64, shop.new, tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_no_delta_is_made_of_a_damaged_image(shop: Case, tmp_path: Path) -> None:
    for digest in {**blobs_of(shop.factory, shop.old), **blobs_of(shop.factory, shop.new)}:
        path = blob_path(shop.factory, digest)
        whole = path.read_bytes()
        path.write_bytes(bytes([whole[0] ^ 4]) + whole[1:])
        with pytest.raises(VerifyFailed, match=f"blob {digest} in .* is damaged"):
            make_delta(shop.factory, shop.old, shop.new, tmp_path / "none")
        path.write_bytes(whole)
    assert not (tmp_path / "none").exists()


# Signatures and bases


def test_only_the_right_signature_is_taken(shop: Case, tmp_path: Path) -> None:
    key, other = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    public = key.public_key().public_bytes_raw()
    signature = tmp_path / "delta.sig"
    before = tree(shop.customer)
    wrong: list[tuple[bytes | None, bytes | None]] = [
        (public, sign_delta(shop.delta, other.private_bytes_raw())),
        (public, sign_delta(shop.factory / "index.json", key.private_bytes_raw())),
        (public, b"short"),
        (public, None),
        (None, sign_delta(shop.delta, key.private_bytes_raw())),
        (b"no key", sign_delta(shop.delta, key.private_bytes_raw())),
    ]
    for known, given_ in wrong:
        signature.unlink(missing_ok=True)
        if given_ is not None:
            signature.write_bytes(given_)
        with pytest.raises(VerifyFailed, match="applied"):
            apply_delta(
                shop.delta, shop.customer, public_key=known, signature=signature if given_ is not None else None
            )
    with pytest.raises(VerifyFailed, match="is no signature of delta"):
        apply_delta(shop.delta, shop.customer, public_key=public, signature=tmp_path / "missing.sig")
    assert tree(shop.customer) == before
    signature.write_bytes(sign_delta(shop.delta, key.private_bytes_raw()))
    assert apply_delta(shop.delta, shop.customer, public_key=public, signature=signature) == shop.new


def test_a_signed_delta_with_one_other_bit_is_refused(shop: Case, tmp_path: Path) -> None:
    key = Ed25519PrivateKey.generate()
    signature = tmp_path / "delta.sig"
    signature.write_bytes(sign_delta(shop.delta, key.private_bytes_raw()))
    data, draw = shop.delta.read_bytes(), random.Random(8)
    before = tree(shop.customer)
    for at in [0, 12, 20, 60, *(draw.randrange(len(data)) for _ in range(20))]:
        shop.delta.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        with pytest.raises(VerifyFailed):
            apply_delta(shop.delta, shop.customer, public_key=key.public_key().public_bytes_raw(), signature=signature)
    assert tree(shop.customer) == before


def test_every_missing_or_damaged_blob_of_the_base_is_named(shop: Case) -> None:
    before = tree(shop.customer)
    for digest in blobs_of(shop.customer, shop.old):
        path = blob_path(shop.customer, digest)
        whole = path.read_bytes()
        path.unlink()
        with pytest.raises(VerifyFailed, match=f"blob {digest} is missing"):
            shop.apply()
        for damaged in (whole[:-1], whole + b"!", bytes([whole[0] ^ 4]) + whole[1:]):
            path.write_bytes(damaged)
            with pytest.raises(VerifyFailed, match=f"blob {digest} in .* is damaged"):
                shop.apply()
        path.write_bytes(whole)
    assert tree(shop.customer) == before


def test_a_delta_to_another_image_than_the_expected_one_writes_nothing(shop: Case) -> None:
    before = tree(shop.customer)
    with pytest.raises(VerifyFailed, match=f"makes image {shop.new} where {shop.old} is expected"):
        apply_delta(shop.delta, shop.customer, public_key=None, signature=None, expected=shop.old)
    assert tree(shop.customer) == before
    assert apply_delta(shop.delta, shop.customer, public_key=None, signature=None, expected=shop.new) == shop.new


def test_another_base_is_told_by_name(shop: Case, tmp_path: Path) -> None:
    layout = tmp_path / "elsewhere"
    digest = image(layout, "other:one", [b"of another image"])
    with pytest.raises(VerifyFailed, match=f"begins at image {shop.old}.*It holds other:one .{digest}"):
        apply_delta(shop.delta, layout, public_key=None, signature=None)
    with pytest.raises(VerifyFailed, match="is no OCI layout"):
        apply_delta(shop.delta, tmp_path / "nowhere", public_key=None, signature=None)


# Kills


@pytest.mark.timeout(900)
def test_killed_at_every_point_the_old_image_is_whole_and_the_next_run_ends_as_a_clean_one(
    shop: Case, tmp_path: Path
) -> None:
    clean, at = copied(shop, tmp_path / "clean"), 0
    apply_delta(shop.delta, clean, public_key=None, signature=None)
    wanted, kills = tree(clean), []
    while True:
        at += 1
        layout = copied(shop, tmp_path / f"killed{at}")
        done = apply_and_die(shop.delta, layout, at)
        if done.returncode == 0:
            break
        assert done.returncode == -signal.SIGKILL, done.stderr
        kills.append(done.stdout.split()[-1])
        assert_whole(layout, shop.old, tree(shop.customer))
        assert set(named(layout).values()) & {shop.old, shop.new}
        assert apply_delta(shop.delta, layout, public_key=None, signature=None) == shop.new
        assert tree(layout) == wanted, f"killed at {kills[-1]}"
        shutil.rmtree(layout)
    assert len(kills) >= 20
    assert {"apply.blob.before", "apply.blob.after", "apply.index.before", "apply.index.after"} <= set(kills)
    print(f"{len(kills)} kills")  # noqa: T201


def assert_whole(layout: Path, digest: str, before: dict[str, str]) -> None:
    for one, size in blobs_of(layout, digest).items():
        check_blob(layout, one, size)
    now = tree(layout)
    assert all(now[path] == sha for path, sha in before.items() if path != "index.json")


def test_killed_again_and_again_it_comes_to_its_end(shop: Case, tmp_path: Path) -> None:
    """Every run gets one point further than what it finds done; no blob is written a second time."""
    clean = copied(shop, tmp_path / "clean")
    apply_delta(shop.delta, clean, public_key=None, signature=None)
    renamed = []
    for _ in range(40):
        survived = 0
        while True:
            survived += 1
            done = apply_and_die(shop.delta, shop.customer, survived)
            if done.returncode == 0 or "apply.blob.after" in done.stdout:
                break
        renamed.append(done.stdout.split().count("apply.blob.after"))
        if done.returncode == 0:
            break
    assert renamed == [1] * len(shop_lacking(shop)) + [0]
    assert tree(shop.customer) == tree(clean)


def copied(shop: Case, to: Path) -> Path:
    shutil.copytree(shop.customer, to)
    return to


def shop_lacking(shop: Case) -> set[str]:
    return blobs_of(shop.factory, shop.new).keys() - blobs_of(shop.factory, shop.old).keys()


# Deltas that lie


def forged(shop: Case, change: Callable[[dict[str, Any]], object]) -> None:
    """Rewrite the delta with another header, all sums right."""
    data = shop.delta.read_bytes()
    length = package.PREFIX.unpack(data[: package.PREFIX.size])[2]
    content = json.loads(data[package.PREFIX.size :][:length])
    change(content)
    shop.delta.write_bytes(package.head(canonical(content)) + data[package.PREFIX.size + length :])


def operations(content: dict[str, Any], length: int) -> list[list[int]]:
    """Return the operations of the largest blob, from the first one of this length on."""
    found: list[list[int]] = max(content["blobs"], key=lambda blob: int(blob["size"]))["operations"]
    while len(found[0]) != length:
        found.append(found.pop(0))
    return found


def put(content: dict[str, Any], length: int, place: int, value: object) -> None:
    operations(content, length)[0][place] = value  # type: ignore[call-overload]


LIES: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "a copy from beyond the end": (lambda h: put(h, 3, 1, 10**9), "reaches outside of"),
    "a copy from before the beginning": (lambda h: put(h, 3, 1, -1), "is no operation"),
    "a copy of a negative length": (lambda h: put(h, 3, 2, -5), "is no operation"),
    "a copy of nothing": (lambda h: put(h, 3, 2, 0), "is no operation"),
    "a copy from no source": (lambda h: put(h, 3, 0, 99), "names none of 1 sources"),
    "literals from beyond the end": (lambda h: put(h, 2, 0, 10**9), "is outside of"),
    "a negative offset of literals": (lambda h: put(h, 2, 0, -1), "is no operation"),
    "a number that is none": (lambda h: put(h, 2, 0, True), "is no operation"),
    "a fraction": (lambda h: put(h, 2, 0, 0.5), "is no operation"),
    "a number beyond all bounds": (lambda h: put(h, 2, 1, 10**30), "are declared"),
    "an operation too long": (lambda h: operations(h, 2)[0].extend([1, 1]), "is no operation"),
    "more bytes than declared": (lambda h: operations(h, 2).append([0, 1]), "are declared"),
    "a greater size": (lambda h: h["blobs"][-1].update(size=10**12), "are declared"),
    "a negative size": (lambda h: h["blobs"][-1].update(size=-1), "is no count"),
    "other literals": (lambda h: put(h, 2, 0, 100), "came out as sha256"),
    "a blob outside of the folder": (lambda h: h["blobs"][-1].update(digest="sha256:../../x"), "is no sha256 digest"),
    "a blob whose name goes on": (
        lambda h: h["blobs"][-1].update(digest=h["blobs"][-1]["digest"] + "/../../../x"),
        "is no sha256 digest",
    ),
    "a source outside of the folder": (lambda h: h.update(sources=["sha256:../../../etc/passwd"]), "is no sha256"),
    "a source that is not of the base": (lambda h: h.update(sources=["sha256:" + "1" * 64]), "is not of its base"),
    "a blob twice": (lambda h: h["blobs"].append(h["blobs"][0]), "named twice"),
    "more literals than there are": (lambda h: h.update(literal_bytes=10**15), "frames can't hold"),
    "a few more literals": (lambda h: h.update(literal_bytes=h["literal_bytes"] + 1), "frame 0 .* is damaged"),
    "fewer literals": (lambda h: h.update(literal_bytes=h["literal_bytes"] - 1), "is outside of"),
    "larger frames": (lambda h: h["frames"].__setitem__(0, 10**12), "are there"),
    "negative frames": (lambda h: h["frames"].__setitem__(0, -1), "is no count"),
    "no base": (lambda h: h.pop("base"), "refused: 'base'"),
    "another base": (lambda h: h.update(base="sha256:" + "2" * 64), "does not hold"),
    "a target that is no digest": (lambda h: h["entry"].update(digest="latest"), "is no sha256 digest"),
    "a target that is not there": (lambda h: h["entry"].update(digest="sha256:" + "3" * 64), "does not hold image"),
    "a target of another size": (lambda h: h["entry"].update(size=1), "another size"),
    "an entry with more in it": (lambda h: h["entry"].update(urls=["http://x"]), "can't name an image"),
    "an entry with a name that is no text": (lambda h: h["entry"].update(annotations={"a": [1]}), "can't name"),
    "an entry that is a list": (lambda h: h.update(entry=[1]), "is refused"),
    "a blob less than the target needs": (lambda h: h["blobs"].pop(), "is missing"),
    "something more": (lambda h: h.update(more=1), "says more"),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_delta_that_lies_changes_no_image(shop: Case, lie: str) -> None:
    change, message = LIES[lie]
    forged(shop, change)
    before = tree(shop.customer)
    with pytest.raises(VerifyFailed, match=message):
        shop.apply()
    now = tree(shop.customer)
    assert now["index.json"] == before["index.json"]
    assert {path: now[path] for path in before} == before
    own = {f"blobs/sha256/{one.removeprefix('sha256:')}" for one in shop_lacking(shop)}
    assert now.keys() - before.keys() <= own, "something lies in the layout that no image names"


def test_the_oracle_of_the_lies_can_fail(shop: Case) -> None:
    forged(shop, lambda header: None)
    assert shop.apply() == shop.new


def test_a_frame_that_holds_more_than_declared_is_refused(shop: Case) -> None:
    """64 MiB of zeros are a few kilobytes of zstd."""
    data = shop.delta.read_bytes()
    length = package.PREFIX.unpack(data[: package.PREFIX.size])[2]
    content = json.loads(data[package.PREFIX.size :][:length])
    bomb = pa.Codec("zstd").compress(bytes(64 << 20), asbytes=True)
    content["frames"] = [len(bomb)]
    shop.delta.write_bytes(package.head(canonical(content)) + bomb)
    with pytest.raises(VerifyFailed, match="frame 0 of the delta is damaged"):
        shop.apply()


@contextlib.contextmanager
def files_no_larger_than(limit: int) -> Iterator[None]:
    """Keep this process from filling the disk, should it write what it has to refuse."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_target_for_which_there_is_no_room_is_refused_before_it_is_written(tmp_path: Path) -> None:
    data = noise(1, 16 << 20)
    shop = case(tmp_path, [data], [data[:-1]])
    free = shutil.disk_usage(shop.customer).free

    def grow(header: dict[str, Any]) -> None:
        copy = operations(header, 3)[0]
        copies = [copy] * (2 * free // copy[2] + 1)
        header["blobs"][-1] |= {"operations": copies, "size": len(copies) * copy[2]}

    forged(shop, grow)
    before = tree(shop.customer)
    with files_no_larger_than(64 << 20), pytest.raises(Unavailable, match="bytes free"):
        shop.apply()
    assert tree(shop.customer) == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: b"", "no delta"),
        (lambda data: b"PK" + data, "no delta"),
        (lambda data: data[:30], "no delta"),
        (lambda data: data[:100], "header is not the one"),
        (lambda data: data[:-1], "are there"),
        (lambda data: data + b"!", "are there"),
        (lambda data: data[:15] + b"\x02" + data[16:], "format 2"),
        (lambda data: data[:16] + b"\xff" * 8 + data[24:], "at most"),
    ],
)
def test_a_file_that_is_no_whole_delta_is_refused(shop: Case, change: Callable[[bytes], bytes], message: str) -> None:
    shop.delta.write_bytes(change(shop.delta.read_bytes()))
    with pytest.raises(VerifyFailed, match=message):
        shop.apply()


@pytest.mark.parametrize("header", [b"", b"[]", b"{", b'{"base":1}', b"[" * 100_000, b'{"a":1,"a":1}', b"\xff", b"NaN"])
def test_a_header_that_is_no_header_is_refused(shop: Case, header: bytes) -> None:
    shop.delta.write_bytes(package.head(header))
    with pytest.raises(VerifyFailed, match="header is refused"):
        shop.apply()


def test_flipped_bits_give_the_right_image_or_none(shop: Case, tmp_path: Path) -> None:
    """Without a signature too: nothing but what was promised gets into the index."""
    data, draw = shop.delta.read_bytes(), random.Random(9)
    clean = copied(shop, tmp_path / "clean")
    apply_delta(shop.delta, clean, public_key=None, signature=None)
    refused = 0
    for at in range(150):
        place, layout = draw.randrange(len(data)), copied(shop, tmp_path / f"layout{at}")
        shop.delta.write_bytes(data[:place] + bytes([data[place] ^ (1 << draw.randrange(8))]) + data[place + 1 :])
        try:
            apply_delta(shop.delta, layout, public_key=None, signature=None)
            assert tree(layout) == tree(clean)
        except VerifyFailed:
            refused += 1
            assert (layout / "index.json").read_bytes() == (shop.customer / "index.json").read_bytes()
        shutil.rmtree(layout)
    assert refused >= 145  # a bit of zstd's own header may mean nothing


def test_what_applies_needs_nothing_of_the_factory() -> None:
    code = "import sys, cradle.delivery.apply; print(' '.join(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-P", "-c", code],
        cwd=PROJECT,
        env={**clean_environment(), "PYTHONPATH": str(PROJECT)},
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = set(done.stdout.split())
    assert "cradle.delivery.package" in loaded
    assert loaded.isdisjoint({"cradle.catalog", "cradle.bake", "cradle.config", "pyiceberg", "duckdb", "pandas"})
