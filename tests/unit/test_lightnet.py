"""The lighting catalogue: its size, its repetition, its next delivery."""

from __future__ import annotations

import csv
import hashlib
import io
from collections import Counter
from datetime import date
from pathlib import Path

import pytest

from cradle.errors import ConfigError
from cradle.examples import generate, lightnet
from cradle.examples.lightnet import FULL, HEADERS, catalogue_parts, lightnet_files, part_rows
from cradle.examples.lightnet_changes import COLUMNS, Change
from cradle.examples.lightnet_families import FIRST, Row, family_rows

SOME = 3000


def products(change: Change | None = None) -> dict[str, Row]:
    """Return SKU → row; of a SKU that is delivered twice the first one."""
    parts = catalogue_parts(42, SOME)
    chosen = change.of({part.path: len(part_rows(42, part)) for part in parts}, 42) if change else None
    found: dict[str, Row] = {}
    for part in parts:
        for row in part_rows(42, part, chosen):
            found.setdefault(row[0], row)
    return found


def test_the_full_catalogue_has_its_numbers() -> None:
    parts = catalogue_parts(42, FULL)
    assert Counter(part.suffix for part in parts) == {"csv": 15, "xlsx": 12}
    sizes = [size for part in parts for _, size in part.families]
    assert sum(sizes) == FULL
    assert len(sizes) == 1395
    assert sorted(number for part in parts for number, _ in part.families) == list(range(len(sizes)))
    assert len(HEADERS) == 75
    skus = [row[0] for part in parts[::9] for row in part_rows(42, part)]
    assert Counter(Counter(skus).values())[1] > 0.999 * len(skus)


def test_skus_are_distinct_and_a_third_of_the_cells_is_empty() -> None:
    found = products()
    assert len(found) == SOME
    assert sum(cell == "" for row in found.values() for cell in row) / (SOME * 75) == pytest.approx(0.35, abs=0.03)
    assert len({row[COLUMNS["gtin"]] for row in found.values()}) == SOME


def test_a_family_shares_its_texts_and_families_share_sentences() -> None:
    rows = list(products().values())
    texts = {row[COLUMNS["description_de"]] for row in rows}
    assert len(texts) <= SOME / 60
    sentences = Counter(sentence for text in texts for sentence in text.rstrip(".").split(". ")[1:])
    assert sum(sentences.values()) > 5 * len(sentences)
    by_series: dict[str, set[str]] = {}
    for row in rows:
        by_series.setdefault(row[COLUMNS["series"]], set()).add(row[COLUMNS["description_en"]])
    assert all(len(found) == 1 for found in by_series.values())


def test_several_processes_make_the_bytes_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    alone = list(lightnet_files(42, 900))
    monkeypatch.setattr(lightnet, "ALONE", 10)
    assert list(lightnet_files(42, 900)) == alone
    assert list(lightnet_files(43, 900)) != alone


def test_a_longer_family_begins_with_the_same_rows() -> None:
    assert family_rows(42, 11, 90)[:40] == family_rows(42, 11, 40)


def test_the_known_product_stays_in_every_delivery() -> None:
    for found in (products(), products(Change(1.0, "all"))):
        row = found[FIRST]
        assert (row[COLUMNS["series"]], row[COLUMNS["cct_k"]]) == ("Caleo-AX Inverse", "3000")


@pytest.mark.parametrize("files", [None, 2])
def test_the_next_delivery_differs_by_its_share(files: int | None) -> None:
    before, after = products(), products(Change(0.05, "2026-02-02", files))
    gone, new = before.keys() - after.keys(), after.keys() - before.keys()
    edited = [sku for sku in before.keys() & after.keys() if before[sku] != after[sku]]
    assert len(gone) + len(new) + len(edited) == pytest.approx(0.05 * SOME, rel=0.1)
    assert min(len(gone), len(new), len(edited)) > 0
    texts = [sku for sku in edited if before[sku][COLUMNS["description_de"]] != after[sku][COLUMNS["description_de"]]]
    assert 0 < len(texts) < len(edited) / 2


def test_changes_in_few_files_leave_the_others_alone(tmp_path: Path) -> None:
    generate("lightnet", tmp_path, rows=SOME)
    first = digests(tmp_path)
    again = generate("lightnet", tmp_path, rows=SOME, changed=0.02, changed_files=2)
    assert again.written == 2
    assert sum(first[path] != digest for path, digest in digests(tmp_path).items()) == 2
    assert generate("lightnet", tmp_path, rows=SOME, changed=0.02, changed_files=2).written == 0


def test_a_dated_delivery_lies_in_its_folder_and_has_changes_of_its_own(tmp_path: Path) -> None:
    days = [date(2026, 2, 2), date(2026, 2, 3)]
    for day in days:
        generate("lightnet", tmp_path, rows=400, changed=0.1, day=day)
    one, two = (digests(tmp_path / day.isoformat()) for day in days)
    assert one.keys() == two.keys()
    assert one != two


def test_some_files_come_in_the_older_encoding() -> None:
    for path, content, records in lightnet_files(42, SOME):
        if path.endswith("02.csv"):
            rows = list(csv.reader(io.StringIO(content.decode("cp1252")), delimiter=";"))
            assert len(rows) == records + 1
            with pytest.raises(UnicodeDecodeError):
                content.decode()


@pytest.mark.parametrize(
    ("name", "changed", "said"),
    [
        ("demo", 0.1, "'demo' has no next delivery"),
        ("lightnet", 0.0, "the share is above 0"),
        ("lightnet", 2.0, "2 in"),
    ],
)
def test_a_next_delivery_that_cannot_be_is_refused(name: str, changed: float, said: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=said):
        generate(name, tmp_path, changed=changed)


def digests(folder: Path) -> dict[str, str]:
    """Return path → digest of every file below a folder."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
