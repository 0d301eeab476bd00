"""Workbooks, JSON, Parquet and documents become text, exactly, or their place is named."""

from __future__ import annotations

import datetime as dt
import json
import re
import zipfile
from decimal import Decimal
from pathlib import Path
from typing import Any

import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cradle.installation import Column, Dialect, Source
from dlt_pipelines.reading.answer import Reading
from tests.reading import parse

AT = dt.datetime.fromisoformat("2026-03-01 13:05:09")
QUICK = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def read(path: Path, kind: str, columns: tuple[str, ...] = (), **dialect: Any) -> Reading:
    named = tuple(Column(name=name) for name in columns)
    source = Source(name="s", role="r", format=kind, files=("*",), dialect=Dialect(**dialect), columns=named)
    found = parse(path, source, f"in/{path.name}")
    assert found.rows_read == found.rows_accepted + found.rows_rejected
    assert found.rows_accepted == found.rows.num_rows
    return found


def cells(found: Reading, *columns: str) -> list[tuple[Any, ...]]:
    return [tuple(row[name] for name in columns) for row in found.rows.to_pylist()]


def reject(found: Reading) -> dict[str, Any]:
    (only,) = found.rejects.to_pylist()
    assert only["message"].startswith("in/")
    return only


def workbook(folder: Path, *rows: list[Any], sheet: str = "Data") -> tuple[Path, openpyxl.Workbook]:
    book = openpyxl.Workbook()
    book.active.title = sheet
    for row in rows:
        book.active.append(row)
    path = folder / "book.xlsx"
    book.save(path)
    return path, book


def with_xml(path: Path, old: str, new: str) -> None:
    """Change the first sheet's XML, as no library would write it."""
    with zipfile.ZipFile(path) as archive:
        parts: dict[str, Any] = {name: archive.read(name) for name in archive.namelist()}
    name = "xl/worksheets/sheet1.xml"
    parts[name], count = re.subn(old, new, parts[name].decode())
    assert count == 1
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for part, data in parts.items():
            archive.writestr(part, data)


def test_cells_of_each_kind_become_canonical_text(tmp_path: Path) -> None:
    values = ["007", 7, 7.0, 1.1, 1234567890123, True, dt.date(2026, 3, 1), AT]
    path, _ = workbook(tmp_path, ["a", "b"], *[[value, "x"] for value in values])
    assert [row[0] for row in cells(read(path, "xlsx", ("a", "b")), "a")] == [
        "007",
        "7",
        "7",
        "1.1",
        "1234567890123",
        "true",
        "2026-03-01",
        "2026-03-01 13:05:09",
    ]


def test_row_numbers_are_those_of_the_sheet_and_blank_rows_are_no_records(tmp_path: Path) -> None:
    path, book = workbook(tmp_path, ["title"], [], ["a", "b"], [1, "x"], [], [2, None])
    book.create_sheet("More").append(["nothing"])
    book.save(path)
    found = read(path, "xlsx", ("a", "b"), header_row=3, sheets=("Data",))
    assert cells(found, "_sheet", "_row_number", "a", "b") == [("Data", 4, "1", "x"), ("Data", 6, "2", None)]


def test_a_sheet_that_begins_further_down_keeps_its_row_numbers(tmp_path: Path) -> None:
    path, _ = workbook(tmp_path, [], [], ["a"], ["x"])
    assert cells(read(path, "xlsx", ("a",), header_row=3), "_row_number", "a") == [(4, "x")]


def test_merged_cells_and_formulas_without_a_value_are_noted(tmp_path: Path) -> None:
    path, book = workbook(tmp_path, ["a", "b"], ["x", "=1+1"], [None, 3])
    book.active.merge_cells("A2:A3")
    book.save(path)
    found = read(path, "xlsx", ("a", "b"))
    assert cells(found, "a", "b") == [("x", None), (None, "3")]
    text = "\n".join(found.notes)
    assert "formula(s) without a stored value, such as B2" in text
    assert "merged range(s), such as A2:A3" in text


def test_a_formula_gives_its_stored_value(tmp_path: Path) -> None:
    path, _ = workbook(tmp_path, ["a"], ["=1+1"])
    with_xml(path, r"<f>1\+1</f><v ?(/>|></v>)", "<f>1+1</f><v>2</v>")
    assert cells(read(path, "xlsx", ("a",)), "a") == [("2",)]


def test_an_error_cell_is_null_and_a_reject_with_its_place(tmp_path: Path) -> None:
    path, book = workbook(tmp_path, ["a", "b"], ["x", "y"])
    book.active["B2"].value = "#DIV/0!"
    book.active["B2"].data_type = "e"
    book.save(path)
    found = read(path, "xlsx", ("a", "b"))
    row = reject(found)
    assert (row["scope"], row["reason"], row["sheet"]) == ("cell", "error_cell", "Data")
    assert (row["row_number"], row["column"], row["value"]) == (2, "B", "#DIV/0!")
    assert cells(found, "a", "b") == [("x", None)]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (r'<c r="B2" t="e">(.*?)</c>', r'<c t="e" s="0" r="B2">\1</c>'),
        (r'<c r="B2" t="e">(.*?)</c>', r'<c r="B2" t="e"><f>1/0</f>\1</c>'),
        (r'<c r="B2" t="e">(.*?)</c>', r'<c r="B2" t="e"><f t="shared" si="0"/>\1</c>'),
    ],
)
def test_an_error_cell_is_named_however_it_is_written(tmp_path: Path, old: str, new: str) -> None:
    path, book = workbook(tmp_path, ["a", "b"], [None, "y"], ["z", 1])
    book.active["B2"].value = "#N/A"
    book.active["B2"].data_type = "e"
    book.save(path)
    with_xml(path, old, new)
    found = read(path, "xlsx", ("a", "b"))
    assert (reject(found)["row_number"], reject(found)["value"]) == (2, "#N/A")
    assert cells(found, "_row_number", "a", "b") == [(2, None, None), (3, "z", "1")]


def test_a_workbook_with_the_separators_of_windows(tmp_path: Path) -> None:
    path, _ = workbook(tmp_path, ["a"], ["x"])
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in parts.items():
            archive.writestr(name.replace("/", "\\"), data)
    assert cells(read(path, "xlsx", ("a",)), "a") == [("x",)]


def test_a_missing_sheet_and_a_missing_column_refuse_the_workbook(tmp_path: Path) -> None:
    path, _ = workbook(tmp_path, ["a"], ["x"])
    row = reject(read(path, "xlsx", ("a",), sheets=("Sales",)))
    assert (row["scope"], row["reason"]) == ("file", "missing_sheet")
    assert "among Data" in row["message"]
    source = Source(name="s", role="r", format="xlsx", files=("*",), key=("b",), columns=(Column(name="b"),))
    assert reject(parse(path, source, "in/book.xlsx"))["reason"] == "missing_column"


@pytest.mark.parametrize("data", [b"", b"no workbook", b"PK\x03\x04broken"])
@pytest.mark.parametrize("kind", ["xlsx", "parquet"])
def test_what_is_no_workbook_or_parquet_is_refused(tmp_path: Path, kind: str, data: bytes) -> None:
    path = tmp_path / "file"
    path.write_bytes(data)
    assert reject(read(path, kind))["scope"] == "file"


# A NUL and half a character are rejected by name; tests of their own hold that.
LETTERS = st.characters(exclude_characters="\0", exclude_categories=("Cs",))
JSON_VALUE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(LETTERS, max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(LETTERS, max_size=3), inner, max_size=2),
    max_leaves=4,
)


@QUICK
@given(st.lists(st.fixed_dictionaries({"a": JSON_VALUE, "b": JSON_VALUE}), min_size=1, max_size=5), st.booleans())
def test_any_json_comes_back(tmp_path: Path, records: list[dict[str, Any]], lines: bool) -> None:
    path = tmp_path / "file.json"
    if lines:
        path.write_text("\n".join(json.dumps(record) for record in records))
    else:
        path.write_text(json.dumps(records))
    found = read(path, "jsonl" if lines else "json", ("a", "b"))
    for record, row in zip(records, found.rows.to_pylist(), strict=True):
        for name, value in record.items():
            if isinstance(value, str) or value is None:
                assert row[name] == value
            else:
                assert json.loads(row[name]) == value


def test_numbers_of_json_keep_their_digits(tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    path.write_text('{"items": [{"a": 1.10, "b": 1E5, "c": 12345678901234567890, "d": {"e": [1.50, "1.50"]}}], "n": 1}')
    found = read(path, "json", ("a", "b", "c", "d"), records="items")
    assert cells(found, "a", "b", "c", "d") == [("1.10", "1E5", "12345678901234567890", '{"e": [1.50, "1.50"]}')]


def test_a_bad_line_of_jsonl_costs_itself(tmp_path: Path) -> None:
    path = tmp_path / "file.jsonl"
    path.write_text('{"a": 1}\n{"a": \n\n[3]\n{"a": NaN}\n{"a": 5}\n')
    found = read(path, "jsonl", ("a",))
    assert cells(found, "_row_number", "a") == [(1, "1"), (6, "5")]
    assert {(row["row_number"], row["reason"]) for row in found.rejects.to_pylist()} == {
        (2, "bad_json"),
        (4, "not_an_object"),
        (5, "bad_json"),
    }


@pytest.mark.parametrize("text", ['{"a": 1', "", "[" * 100_000, "nul"])
def test_broken_json_is_refused_as_a_whole(tmp_path: Path, text: str) -> None:
    path = tmp_path / "file.json"
    path.write_text(text)
    assert reject(read(path, "json"))["scope"] == "file"


def test_characters_that_can_not_be_stored_cost_their_record(tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    path.write_text(r'[{"a": "\ud800"}, {"a": "x\u0000"}, {"a": "\ud83d\ude00"}, {"\udfff": 1}]')
    found = read(path, "json", ("a",))
    assert cells(found, "_row_number", "a") == [(3, "\U0001f600")]
    places = [(row["row_number"], row["reason"]) for row in found.rejects.to_pylist()]
    assert places == [(1, "bad_encoding"), (2, "nul_byte"), (4, "bad_encoding")]


def test_a_records_key_that_is_missing_refuses_the_file(tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    path.write_text('{"lines": [{"a": 1}]}')
    row = reject(read(path, "json", ("a",), records="items"))
    assert (row["scope"], row["reason"]) == ("file", "missing_records")
    assert "lines" in row["message"]


def test_parquet_of_each_type_becomes_exact_text(tmp_path: Path) -> None:
    path = tmp_path / "file.parquet"
    values = {
        "i": pa.array([2**63 - 1]),
        "d": pa.array([Decimal("1234567890.1230")]),
        "f": pa.array([0.1]),
        "day": pa.array([dt.date(2026, 3, 1)]),
        "at": pa.array([AT], pa.timestamp("us")),
        "zoned": pa.array([dt.datetime(2026, 3, 1, 13, tzinfo=dt.UTC)]),
        "yes": pa.array([True]),
        "list": pa.array([[{"x": Decimal("1.50")}]]),
        "bytes": pa.array([b"\xff\x00"]),
        "cat": pa.array(["q"]).dictionary_encode(),
        "none": pa.nulls(1),
    }
    pq.write_table(pa.table(values), path)
    (row,) = read(path, "parquet", tuple(values)).rows.to_pylist()
    assert (row["i"], row["d"], row["f"], row["yes"]) == ("9223372036854775807", "1234567890.1230", "0.1", "true")
    assert (row["day"], row["at"]) == ("2026-03-01", "2026-03-01 13:05:09.000000")
    assert row["zoned"].startswith("2026-03-01 13:00:00")
    assert (row["list"], row["bytes"], row["cat"], row["none"]) == ('[{"x": "1.50"}]', "ff00", "q", None)


def document(folder: Path, name: str, data: bytes | str, kind: str, **dialect: Any) -> Reading:
    path = folder / name
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return read(path, kind, (), **dialect)


def test_a_page_becomes_markdown(tmp_path: Path) -> None:
    page = """<html><head><title>Re&shy;turns &amp; more</title><style>p{}</style></head><body><!-- no -->
    <script>x</script>
    <h2>Big <b>news</b></h2><p>One<br>two &lt;3</p><ul><li>first</li><li>second <i>item</i></li></ul>
    <table><tr><th>A</th><th>B</th></tr><tr><td>1|2</td><td>x</td></tr></table>tail</body></html>"""
    found = document(tmp_path, "page.html", page, "html")
    ((title, text, media),) = cells(found, "title", "text", "media_type")
    assert (title, media) == ("Re\u00adturns & more", "text/html")
    lines = [line for line in text.split("\n") if line]
    assert lines[0] == "## Big news"
    assert lines[1] == "One two <3"
    assert lines[-6:] == ["- first", "- second item", "| A | B |", "|---|---|", "| 1/2 | x |", "tail"]


@pytest.mark.parametrize(
    ("data", "dialect"),
    [
        ("<p>Größe</p>".encode(), {}),
        ("\ufeff<p>Größe</p>".encode("utf-16-le"), {}),
        (b'<meta charset="iso-8859-1"><p>Gr\xf6\xdfe</p>', {}),
        (b"<p>Gr\xf6\xdfe</p>", {"fallback_encoding": "cp1252"}),
        (b'<meta charset="nonsense"><p>Gr\xf6\xdfe</p>', {"encoding": "latin-1"}),
        (b'<?xml version="1.0" encoding="utf-8"?><p>Gr\xc3\xb6\xc3\x9fe</p>', {}),
    ],
)
def test_the_encoding_of_a_page(tmp_path: Path, data: bytes, dialect: dict[str, str]) -> None:
    assert cells(document(tmp_path, "p.html", data, "html", **dialect), "title", "text") == [("p", "Größe")]


def test_no_text_of_a_page_is_lost_with_its_unusual_markup(tmp_path: Path) -> None:
    page = (
        "<body>alpha<div>beta<p>gamma</p>delta</div><p>eps<ul><li>zeta<ul><li>eta</li></ul></li></ul>theta<dl><dt>iota"
    )
    text = cells(document(tmp_path, "p.html", page, "html"), "text")[0][0]
    words = {"alpha", "beta", "gamma", "delta", "eps", "zeta", "eta", "theta", "iota"}
    assert set(re.findall(r"\w+", text)) == words


def test_titles_of_markdown_and_text(tmp_path: Path) -> None:
    assert cells(document(tmp_path, "a.md", "intro\r\n\r\n# The *title* #\r\nx", "markdown"), "title", "text") == [
        ("The *title*", "intro\n\n# The *title* #\nx")
    ]
    assert cells(document(tmp_path, "b.md", "none", "markdown"), "title", "media_type") == [("b", "text/markdown")]
    assert cells(document(tmp_path, "c.txt", "# none", "text"), "title", "_row_number") == [("c", 1)]


@pytest.mark.parametrize(
    ("data", "reason"),
    [(b"", "empty_document"), (b" \n", "empty_document"), (b"a\0b", "nul_byte"), (b"\xe4", "bad_encoding")],
)
@pytest.mark.parametrize("kind", ["text", "markdown", "html"])
def test_a_document_that_can_not_be_used_is_named(tmp_path: Path, data: bytes, reason: str, kind: str) -> None:
    found = document(tmp_path, "x", data, kind)
    assert (reject(found)["reason"], found.rows_read, found.rows_accepted) == (reason, 1, 0)


@QUICK
@given(st.binary(max_size=80) | st.text(alphabet='<>/apht1r"= !-&;x', max_size=80).map(str.encode))
def test_no_bytes_make_the_document_parser_fail(tmp_path: Path, data: bytes) -> None:
    for kind in ("text", "markdown", "html"):
        assert document(tmp_path, "x", data, kind).rows_read == 1
