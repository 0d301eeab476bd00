"""A file can end its parser, fill its memory or never end: the run goes on, and the file is named."""

from __future__ import annotations

import socket
import subprocess
import sys
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis
from hypothesis import strategies as st

from cradle.config import PROJECT, Settings, clean_environment
from cradle.installation import Column, Dialect, Source
from dlt_pipelines.reading.answer import Reading
from tests.reading import read_original

pytestmark = pytest.mark.integration

BOOK = {
    "[Content_Types].xml": '<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types"><Default '
    'Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/><Default Extension="xml" '
    'ContentType="application/xml"/></Types>',
    "_rels/.rels": '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships"><Relationship '
    'Id="r1" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument" '
    'Target="xl/workbook.xml"/></Relationships>',
    "xl/workbook.xml": '<workbook xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main" '
    'xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships"><sheets><sheet name="Data" '
    'sheetId="1" r:id="r1"/></sheets></workbook>',
    "xl/_rels/workbook.xml.rels": '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">'
    '<Relationship Id="r1" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/worksheet" '
    'Target="worksheets/sheet1.xml"/></Relationships>',
}
SHEET = (
    '<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main">{head}<sheetData><row r="1">'
    '<c r="A1" t="inlineStr"><is><t>a</t></is></c></row>{rows}</sheetData></worksheet>'
)


def settings(folder: Path, **limits: int) -> Settings:
    return Settings(home=folder / "home", **limits)  # type: ignore[arg-type]


def source(kind: str = "csv", *columns: str) -> Source:
    named = tuple(Column(name=name) for name in columns)
    return Source(name="s", role="r", format=kind, files=("*",), dialect=Dialect(), columns=named)  # type: ignore[arg-type]


def refused(found: Reading) -> dict[str, str]:
    (only,) = found.rejects.to_pylist()
    assert only["scope"] == "file"
    assert only["message"].startswith("in/file")
    assert (found.rows_read, found.rows_accepted, found.rows_rejected, found.rows.num_rows) == (0, 0, 0, 0)
    return only


def book(path: Path, rows: str, head: str = "") -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in BOOK.items():
            archive.writestr(name, text)
        archive.writestr("xl/worksheets/sheet1.xml", SHEET.format(head=head, rows=rows))
    return path


def test_a_small_workbook_of_that_kind_is_read(tmp_path: Path) -> None:
    path = book(tmp_path / "file", '<row r="2"><c r="A2"><v>7</v></c></row>')
    found = read_original(path, source("xlsx", "a"), settings(tmp_path), source_file="in/file")
    assert found.rows.column("a").to_pylist() == ["7"]


@pytest.mark.parametrize(
    ("rows", "head"),
    [
        ('<row r="1048576"><c r="XFD1048576"><v>1</v></c></row>', ""),
        ('<row r="2"><c r="A2"><v>1</v></c></row><row r="1048576"><c r="XFD1048576"/></row>', ""),
        ('<row r="2"><c r="A2"><v>1</v></c></row>', '<dimension ref="A1:XFD1048576"/>'),
    ],
)
def test_a_tiny_workbook_that_claims_a_huge_sheet_ends_in_a_reject_or_is_read(
    tmp_path: Path, rows: str, head: str
) -> None:
    path = book(tmp_path / "file", rows, head)
    assert path.stat().st_size < 2000
    found = read_original(path, source("xlsx", "a"), settings(tmp_path, parse_memory_mb=2048), source_file="in/file")
    if found.rejects.num_rows:
        assert refused(found)["reason"] in ("too_large", "parser_crashed", "not_a_workbook")
    else:
        assert found.rows.column("a").to_pylist() == ["1"]


def test_a_file_that_needs_too_much_memory(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"a\n" + b"x" * (1 << 28))  # one record has to fit
    found = read_original(path, source("csv", "a"), settings(tmp_path, parse_memory_mb=512), source_file="in/file")
    assert refused(found)["reason"] == "too_large"
    assert "512 MB" in refused(found)["message"]


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_a_long_file_needs_no_more_memory_than_a_short_one(tmp_path: Path, kind: str) -> None:
    path, rows = tmp_path / "file", 400_000
    values = [f"{at:07d}" * 60 for at in range(1000)]
    if kind == "parquet":
        with pq.ParquetWriter(path, pa.schema([("a", pa.string())]), compression="none", use_dictionary=False) as file:
            for _ in range(rows // 1000):
                file.write_table(pa.table({"a": values}))
    else:
        line = "{}\n" if kind == "csv" else '{{"a": "{}"}}\n'
        block = "".join(line.format(value) for value in values)
        path.write_text(("a\n" if kind == "csv" else "") + block * (rows // 1000))
    assert path.stat().st_size > 160_000_000
    limit = settings(tmp_path, parse_memory_mb=520)  # address space, of which the libraries take most
    found = read_original(path, source(kind, "a"), limit, source_file="in/file")
    assert [row["message"] for row in found.rejects.to_pylist()] == []
    assert found.rows_accepted == rows


def test_a_file_that_takes_too_long(tmp_path: Path) -> None:
    path = tmp_path / "file"  # each line opens a quote that is looked for over a thousand lines
    path.write_bytes(b"a,b\n" + b'x,"y\n' * 300_000)
    found = read_original(path, source("csv", "a"), settings(tmp_path, parse_seconds=1), source_file="in/file")
    assert refused(found)["reason"] == "too_slow"


def test_a_file_that_unfolds_too_far(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"a\n" + b"xxxxxxx\n" * (1 << 19))
    found = read_original(path, source("csv", "a"), settings(tmp_path, parse_output_mb=1), source_file="in/file")
    assert refused(found)["reason"] == "too_large"


def test_a_file_that_vanished_is_named(tmp_path: Path) -> None:
    found = read_original(tmp_path / "none", source(), settings(tmp_path), source_file="in/file")
    assert refused(found)["reason"] == "parser_crashed"


def test_nothing_stays_behind(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("a\n1\n")
    for kind in ("csv", "xlsx"):
        read_original(path, source(kind, "a"), settings(tmp_path), source_file="in/file")
    assert list((tmp_path / "home" / "work" / "reading").iterdir()) == []


def test_many_files_at_once(tmp_path: Path) -> None:
    paths = [tmp_path / f"file{at}" for at in range(6)]
    for at, path in enumerate(paths):
        path.write_text("a\n" + f"{at}\n" * at)
    with ThreadPoolExecutor(3) as pool:
        found = list(
            pool.map(lambda path: read_original(path, source("csv", "a"), settings(tmp_path), source_file="f"), paths)
        )
    assert [one.rows.column("a").to_pylist() for one in found] == [[str(at)] * at for at in range(6)]


def test_the_child_has_no_secret_and_no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_SECRET", "x")
    assert "A_SECRET" not in clean_environment()
    with socket.create_server(("127.0.0.1", 0)) as server:
        code = (
            "import socket, sys\nfrom dlt_pipelines.reading.child import confine\n"
            "gone = confine({'cpu_seconds': 10, 'memory_mb': 2048, 'output_mb': 1})\n"
            f"try: socket.create_connection(('127.0.0.1', {server.getsockname()[1]}), 2)\n"
            "except OSError: sys.exit(0)\n"
            "sys.exit(1 if gone else 77)"
        )
        done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, check=False, timeout=60)
    if done.returncode == 77:
        pytest.skip("the kernel lets no process give up its network")
    assert done.returncode == 0


@hypothesis(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_no_bytes_of_a_workbook_or_a_parquet_file_end_the_run(tmp_path: Path, data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(["xlsx", "parquet"]))
    path = tmp_path / "file"
    if kind == "xlsx":
        book(path, '<row r="2"><c r="A2"><v>7</v></c></row>')
    else:
        pq.write_table(pa.table({"a": ["7"] * 50}), path)
    whole = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 20))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(whole)
    found = read_original(
        path, source(kind, "a"), settings(tmp_path, parse_seconds=5, parse_memory_mb=1024), source_file="in/file"
    )
    assert found.rows_read == found.rows_accepted + found.rows_rejected
