"""CSV is read as Python's csv module reads it, and what can't be read is named, never lost."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from cradle.installation import Column, Dialect, Source
from dlt_pipelines.reading import delimited, lines
from dlt_pipelines.reading.answer import Reading
from tests.reading import parse

QUICK = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
CELL = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)


def read(folder: Path, data: bytes | str, columns: list[str] | None = None, **dialect: Any) -> Reading:
    path = folder / "file.csv"
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    named = tuple(Column(name=name) for name in columns or ["a", "b"])
    source = Source(name="s", role="r", format="csv", files=("*",), dialect=Dialect(**dialect), columns=named)
    found = parse(path, source, "in/file.csv")
    assert found.rows_read == found.rows_accepted + found.rows_rejected
    assert found.rows_accepted == found.rows.num_rows
    return found


def cells(found: Reading, columns: list[str]) -> list[list[str]]:
    return [[row[name] for name in columns] for row in found.rows.to_pylist()]


def reject(found: Reading) -> dict[str, Any]:
    (only,) = found.rejects.to_pylist()
    assert only["message"].startswith("in/file.csv")
    return only


@QUICK
@given(st.data())
def test_any_table_that_python_writes_comes_back_exactly(tmp_path: Path, data: st.DataObject) -> None:
    width = data.draw(st.integers(1, 4))
    rows = data.draw(st.lists(st.lists(CELL, min_size=width, max_size=width), max_size=8))
    delimiter = data.draw(st.sampled_from(",;\t|¦"))
    quoting = data.draw(st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL]))
    names = [f"c{at}" for at in range(width)]
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=delimiter, quoting=quoting, lineterminator="\r\n")
    writer.writerows([names, *rows])
    found = read(tmp_path, text.getvalue(), names, delimiter=delimiter)
    assert found.rejects.num_rows == 0
    assert cells(found, names) == rows


@QUICK
@given(st.text(alphabet='ab,"\n\r ', max_size=60))
@example('a","')
def test_any_text_is_read_as_python_reads_it_or_named(tmp_path: Path, body: str) -> None:
    found = read(tmp_path, "a,b\n" + body)
    try:
        strict = [row for row in csv.reader(io.StringIO(body, newline=""), strict=True) if row]
    except csv.Error:
        strict = []
    loose = [row for row in csv.reader(io.StringIO(body, newline="")) if row]
    if found.rejects.num_rows == 0:
        assert cells(found, ["a", "b"]) == [row for row in loose if len(row) > 1 or row[0].strip(" ")]
    elif strict and not any(row["reason"] == "broken_quote" for row in found.rejects.to_pylist()):
        assert cells(found, ["a", "b"]) == [row for row in strict if len(row) == 2]


@QUICK
@given(st.data())
def test_no_change_of_bytes_makes_the_parser_fail_or_lose_a_line(tmp_path: Path, data: st.DataObject) -> None:
    whole = bytearray(b"a,b\n" + b"".join(b'%d,"x ""%d"" y"\r\n' % (at, at) for at in range(12)))
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(4, len(whole) - 1))] = data.draw(st.integers(0, 255))
    found = read(tmp_path, bytes(whole))
    places = [*found.rows.column("_row_number").to_pylist(), *found.rejects.column("row_number").to_pylist()]
    assert len(places) == len(set(places)) == found.rows_read
    assert found.rows_read >= 12 - 8  # each changed byte can join or empty two lines at most


def test_texts_that_look_like_numbers_stay_texts(tmp_path: Path) -> None:
    values = ["1.234", "1E5", "007", "NA", "null", " 1 ", "4711081512345", "-0", "1,5", "NaN", "TRUE", ""]
    found = read(tmp_path, "a;b\n" + "".join(f"{value};x\n" for value in values), delimiter=";")
    assert found.rows.column("a").to_pylist() == values


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
def test_each_line_ending_and_the_line_numbers(tmp_path: Path, ending: str) -> None:
    text = ending.join(["a,b", "1,x", "", '2,"two', 'lines"', "   ", "3,y"])
    found = read(tmp_path, text)
    assert found.rows.column("_row_number").to_pylist() == [2, 4, 7]
    assert found.rows.column("b").to_pylist() == ["x", f"two{ending}lines", "y"]


def test_a_blank_line_within_quotes_is_part_of_the_value(tmp_path: Path) -> None:
    assert cells(read(tmp_path, 'a,b\n1,"x\n\n  \ny"\n2,z\n'), ["a", "b"]) == [["1", "x\n\n  \ny"], ["2", "z"]]


def test_unmapped_columns_are_kept_as_json(tmp_path: Path) -> None:
    found = read(tmp_path, 'a,Größe "x",b,leer\n1,"q\\ ""z""\nn\t",2,\n3,,4,\n', ["a", "b"])
    first, second = found.rows.column("_unmapped").to_pylist()
    assert json.loads(first) == {'Größe "x"': 'q\\ "z"\nn\t'}
    assert second is None


@pytest.mark.parametrize(("line", "fields"), [("1", 1), ("1,2,3", 3)])
def test_a_ragged_row_is_one_reject_with_its_line(tmp_path: Path, line: str, fields: int) -> None:
    for tail in ("", '4,"on two\nlines"\n'):  # read by Arrow, and line by line
        found = read(tmp_path, f"a,b\n1,x\n\n{line}\n2,y\n{tail}")
        row = reject(found)
        assert (row["scope"], row["reason"], row["row_number"], row["value"]) == ("row", "ragged_row", 4, line)
        assert f"{fields} field(s) where the header has 2" in row["message"]
        assert "Quote values" in row["message"]
        assert found.rows.column("a").to_pylist()[:2] == ["1", "2"]


def test_ragged_rows_far_into_a_large_file_keep_their_line(tmp_path: Path) -> None:
    lines = [f"{at},{'x' * 200}" for at in range(100_000)]  # more than one block of Arrow
    lines[90_000] += ",more"
    lines[99_999] = "short"
    found = read(tmp_path, "a,b\n" + "\n".join(lines) + "\n")
    assert found.rejects.column("row_number").to_pylist() == [90_002, 100_001]
    assert found.rows.column("_row_number").to_pylist()[90_000] == 90_003
    assert found.rows.column("a").to_pylist()[90_000] == "90001"


@pytest.mark.parametrize("bad", ['2,"open', 'q"w,"open'])
def test_a_quote_that_never_closes_costs_its_own_line_only(tmp_path: Path, bad: str) -> None:
    found = read(tmp_path, f'a,b\n1,x\n{bad}\n3,y\n4,"z"\n')
    row = reject(found)
    assert (row["reason"], row["row_number"], row["value"]) == ("broken_quote", 3, bad)
    assert found.rows.column("a").to_pylist() == ["1", "3", "4"]


def test_a_quote_within_a_value_is_a_sign_like_any_other(tmp_path: Path) -> None:
    assert cells(read(tmp_path, 'a,b\n5" pipe,3\nx,y" z\n'), ["a", "b"]) == [['5" pipe', "3"], ["x", 'y" z']]


@pytest.mark.parametrize("extra", [b"", b'9,"two\nlines"\n'])
def test_mixed_encodings_cost_the_lines_that_do_not_decode(tmp_path: Path, extra: bytes) -> None:
    found = read(tmp_path, b"a,b\n1,\xc3\xa4\n2,\xe4\n3,ok\n" + extra)
    row = reject(found)
    assert (row["scope"], row["reason"], row["row_number"], row["value"]) == ("row", "bad_encoding", 3, "2,\\xe4")
    assert found.rows.column("b").to_pylist()[:2] == ["ä", "ok"]


def test_a_bad_byte_within_a_quoted_value_of_many_lines_costs_that_record(tmp_path: Path) -> None:
    found = read(tmp_path, b'a,b\n1,"x\n\xff\n",\n2,"y\n\xff z\nw"\n3,ok\n')
    assert [(row["row_number"], row["reason"]) for row in found.rejects.to_pylist()] == [
        (2, "bad_encoding"),
        (5, "bad_encoding"),
    ]
    assert found.rows.column("a").to_pylist() == ["3"]


def test_the_fallback_reads_only_the_lines_that_need_it(tmp_path: Path) -> None:
    found = read(tmp_path, b"a,b\n1,\xc3\xa4\n2,\xe4\n", fallback_encoding="cp1252")
    assert found.rows.column("b").to_pylist() == ["ä", "ä"]
    assert found.notes == ("in/file.csv: 1 line(s) not utf-8, read as cp1252; first: 3",)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252", "latin-1", "utf-16", "utf-16-le", "cp437"])
def test_each_pinned_encoding(tmp_path: Path, encoding: str) -> None:
    found = read(tmp_path, "a,b\n1,Größe\n".encode(encoding), encoding=encoding.removesuffix("-sig"))
    assert cells(found, ["a", "b"]) == [["1", "Größe"]]


def test_a_byte_that_a_code_page_does_not_know_costs_its_line(tmp_path: Path) -> None:
    found = read(tmp_path, b"a,b\n1,\xe4\n2,\x81\n", encoding="cp1252")
    assert (reject(found)["reason"], reject(found)["value"]) == ("bad_encoding", "2,\\x81")
    assert found.rows.column("b").to_pylist() == ["ä"]


def test_half_a_utf16_file_is_refused(tmp_path: Path) -> None:
    row = reject(read(tmp_path, "a,b\n1,x\n".encode("utf-16")[:-1]))
    assert (row["scope"], row["reason"]) == ("file", "bad_encoding")


@pytest.mark.parametrize("extra", ["", '9,"two\nlines"\n'])
def test_a_nul_byte_costs_its_line(tmp_path: Path, extra: str) -> None:
    found = read(tmp_path, "a,b\n1,x\0y\n2,z\n" + extra)
    assert (reject(found)["reason"], reject(found)["row_number"]) == ("nul_byte", 2)
    assert reject(found)["value"] == "1,x\\0y"
    assert found.rows.column("a").to_pylist()[0] == "2"


@pytest.mark.parametrize("data", ["", "\n\n", "\ufeff"])
def test_an_empty_file_is_refused(tmp_path: Path, data: str) -> None:
    row = reject(read(tmp_path, data))
    assert (row["scope"], row["reason"]) == ("file", "empty_file")


def test_a_header_alone_is_a_delivery_without_rows(tmp_path: Path) -> None:
    for data in ("a,b", "a,b\n\n"):
        found = read(tmp_path, data)
        assert (found.rows_read, found.rejects.num_rows) == (0, 0)
        assert "no record" in found.notes[0]


def test_a_header_further_down_and_over_two_lines(tmp_path: Path) -> None:
    found = read(tmp_path, 'report\n\na,"b\nc"\n1,2\n', ["a"], header_row=3)
    assert json.loads(found.rows.column("_unmapped")[0].as_py()) == {"b\nc": "2"}
    assert found.rows.column("_row_number").to_pylist() == [5]


@pytest.mark.parametrize("header", [b"a,\xff\n1,2\n", b'a,"b\n1,2\n', b"a,b\0\n1,2\n"])
def test_a_broken_header_refuses_the_file(tmp_path: Path, header: bytes) -> None:
    found = read(tmp_path, header)
    assert reject(found)["scope"] == "file"
    assert found.rows_read == 0


def test_a_column_that_is_missing_is_named_with_the_closest_header(tmp_path: Path) -> None:
    path = tmp_path / "file.csv"
    path.write_text("order_id,ammount\n1,2\n")
    columns = (Column(name="order_id"), Column(name="amount", required=True), Column(name="note"))
    source = Source(name="s", role="r", format="csv", files=("*",), columns=columns)
    found = parse(path, source, "in/file.csv")
    row = reject(found)
    assert (row["scope"], row["reason"], row["column"]) == ("file", "missing_column", "amount")
    assert "order_id, ammount" in row["message"]
    assert "renamed to 'ammount'" in row["message"]
    assert any("'note'" in note for note in found.notes)
    assert found.rows_read == 0


def test_a_header_that_stands_twice(tmp_path: Path) -> None:
    assert reject(read(tmp_path, "a,b,b\n1,2,3\n"))["reason"] == "duplicate_column"
    found = read(tmp_path, "a,b,c,c\n1,2,3,4\n")
    assert json.loads(found.rows.column("_unmapped")[0].as_py()) == {"c": "3", "c (2)": "4"}


def test_a_value_longer_than_a_block(tmp_path: Path) -> None:
    long = "x" * ((1 << 24) + 10)
    for value in (long, long + "\n"):
        assert cells(read(tmp_path, f'a,b\n1,"{value}"\n2,y\n'), ["a", "b"]) == [["1", value], ["2", "y"]]


PIECES = ["a", ",", '"', "\n", "\r", " ", "ä", "\0", "\x85", "\r\n", '""', ",b\n", '1,"x\ny"\r\n']


@QUICK
@given(st.data())
@example(None)
def test_it_makes_no_difference_where_a_block_ends(tmp_path: Path, data: st.DataObject | None) -> None:
    """A file that is read in one block is the oracle for the same file in blocks of any other size."""
    if data is None:
        text, encoding, fallback, block = 'a,b\n"1\n2",x\n3,y', "utf-8", None, 5
    else:
        text = "a,b\n" + "".join(data.draw(st.lists(st.sampled_from(PIECES), max_size=60)))
        encoding = data.draw(st.sampled_from(["utf-8", "cp1252", "utf-16", "utf-8-sig"]))
        fallback, block = data.draw(st.sampled_from([None, "cp1252"])), data.draw(st.integers(1, 40))
    raw = bytearray(text.encode(encoding, errors="replace"))
    for _ in range(data.draw(st.integers(0, 3)) if data else 0):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))  # type: ignore[union-attr]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(delimited, "SPAN_LINES", 4)  # else the look ahead of the header would join the blocks again
        whole = read(tmp_path, bytes(raw), encoding=encoding, fallback_encoding=fallback)
        patch.setattr(lines, "BLOCK", block)
        parts = read(tmp_path, bytes(raw), encoding=encoding, fallback_encoding=fallback)
    assert parts.rows.equals(whole.rows)
    assert parts.rejects.equals(whole.rejects)
    assert (parts.rows_read, parts.rows_rejected) == (whole.rows_read, whole.rows_rejected)
    if "file" not in whole.rejects.column("scope").to_pylist():
        assert parts.notes == whole.notes
