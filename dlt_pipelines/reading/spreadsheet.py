"""XLSX and XLSM: cells as text, row numbers of the sheet, error cells and merged cells named."""

from __future__ import annotations

import posixpath
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path

import fastexcel
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from lxml import etree

from cradle.installation import Source
from dlt_pipelines.reading.parsed import Rejects, check_headers, map_columns, unique_headers

MAX_UNFOLDED = 2 << 30  # bytes of all parts together; a real workbook of that size is delivered as CSV
MAX_CELLS = 200_000_000
# Writers differ in the order of attributes and in the prefix of tags.
_CELL = rb'<(?:\w+:)?c\b(?=[^>]*\bt="e")[^>]*\br="([A-Z]+)(\d+)"[^>]*>'
_FORMULA = rb"(?:<(?:\w+:)?f\b[^>]*/>|<(?:\w+:)?f\b[^>]*>[^<]*</(?:\w+:)?f>)"
_ERROR_CELL = re.compile(_CELL + rb"\s*" + _FORMULA + rb"?\s*<(?:\w+:)?v>([^<]*)<")
_NO_VALUE = re.compile(
    rb'<(?:\w+:)?c\b[^>]*\br="([A-Z]+\d+)"[^>]*>\s*' + _FORMULA + rb"\s*(?:<(?:\w+:)?v\s*/>|<v></v>)?\s*</(?:\w+:)?c>"
)
_LAST_CELL = re.compile(rb'<(?:\w+:)?c\b[^>]*\br="([A-Z]+)(\d+)"')
_MERGED = re.compile(rb'<(?:\w+:)?mergeCell ref="([^"]+)"')


def parse_workbook(path: Path, source: Source, rejects: Rejects, notes: list[str]) -> Iterator[pa.Table]:
    """Parse the sheets that the dialect names, or all."""
    if path.stat().st_size == 0:
        rejects.add("file", "empty_file", "the file holds nothing")
        return
    try:
        parts = _sheet_parts(path)
        reader = fastexcel.read_excel(str(path))
    except (zipfile.BadZipFile, KeyError, ValueError, etree.XMLSyntaxError, fastexcel.FastExcelError) as error:
        rejects.add("file", "not_a_workbook", f"not a readable workbook ({error}). Save it as XLSX again")
        return
    missing = [name for name in source.dialect.sheets if name not in reader.sheet_names]
    for name in missing:
        rejects.add("file", "missing_sheet", f"no sheet {name!r} among {', '.join(reader.sheet_names)}", sheet=name)
    for name in source.dialect.sheets or reader.sheet_names:
        if name not in missing:
            yield from _sheet(path, parts.get(name), reader, name, source, rejects, notes)


def _sheet_parts(path: Path) -> dict[str, str]:
    """Return sheet name → part of the ZIP; refuse what unfolds to too much."""
    with zipfile.ZipFile(path) as archive:
        unfolded = sum(item.file_size for item in archive.infolist())
        if unfolded > MAX_UNFOLDED:
            raise ValueError(f"unfolds to {unfolded} bytes, more than {MAX_UNFOLDED}")
        have = {name.replace("\\", "/"): name for name in archive.namelist()}  # some writers take Windows' separator
        links = etree.fromstring(archive.read(have["xl/_rels/workbook.xml.rels"]))
        targets = {link.get("Id"): link.get("Target", "") for link in links}
        book = etree.fromstring(archive.read(have["xl/workbook.xml"]))
        found = {}
        for sheet in book.iter("{*}sheet"):  # two namespaces are in use
            link = next((value for name, value in sheet.attrib.items() if name.endswith("}id")), None)
            target = targets.get(link, "").replace("\\", "/")
            part = target.lstrip("/") if target.startswith("/") else posixpath.normpath(f"xl/{target}")
            if part in have:
                found[sheet.get("name", "")] = have[part]
        return found


def _sheet(
    path: Path,
    part: str | None,
    reader: fastexcel.ExcelReader,
    name: str,
    source: Source,
    rejects: Rejects,
    notes: list[str],
) -> Iterator[pa.Table]:
    xml = zipfile.ZipFile(path).read(part) if part else b""
    _refuse_bomb(xml)
    cells = pa.table(reader.load_sheet(name, header_row=None, skip_rows=0, dtypes="string"))
    at = source.dialect.header_row - 1
    if cells.num_rows <= at:
        if source.dialect.sheets or len(reader.sheet_names) == 1:
            rejects.add("file", "empty_file", f"the sheet has no header in row {at + 1}", sheet=name)
        else:
            notes.append(f"{rejects.source_file}: sheet {name} is empty")
        return
    header = [column[at].as_py() or "" for column in cells.columns]
    check_headers(source, header, rejects, notes, name)
    if rejects.whole_file:
        return
    body = cells.slice(at + 1).rename_columns(unique_headers(header))
    body = pa.table([_plain(column) for column in body.columns], names=body.column_names)
    filled = np.zeros(body.num_rows, dtype=bool)
    for column in body.columns:
        filled |= pc.fill_null(pc.not_equal(column, ""), False).to_numpy()
    errors = _name_odd_cells(xml, name, at + 1, rejects, notes)
    places = np.array([row - at - 2 for row in errors], dtype=np.int64)
    filled[places[places < body.num_rows]] = True  # a row of nothing but errors is a record too
    numbers = np.arange(at + 2, at + 2 + body.num_rows)[filled]
    yield map_columns(source, body.filter(pa.array(filled)), pa.array(numbers), name)


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Write a date without a time as a date; a workbook has no other way to say so."""
    if not pc.any(pc.ends_with(column, " 00:00:00")).as_py():
        return column
    return pc.replace_substring_regex(column, r"^(\d{4}-\d{2}-\d{2}) 00:00:00$", r"\1")


def _refuse_bomb(xml: bytes) -> None:
    found = list(_LAST_CELL.finditer(xml[-200_000:]))
    if not found:
        return
    last = found[-1]
    width = 0
    for letter in last.group(1):
        width = width * 26 + letter - 64
    if width * int(last.group(2)) > MAX_CELLS:
        where = (last.group(1) + last.group(2)).decode()
        raise MemoryError(f"the last cell is {where}: more than {MAX_CELLS} cells")


def _name_odd_cells(xml: bytes, sheet: str, header_row: int, rejects: Rejects, notes: list[str]) -> set[int]:
    """Name error cells, formulas without a value and merged cells; return the rows with an error cell."""
    rows = set()
    errors = _ERROR_CELL.findall(xml) if b't="e"' in xml else []
    for column, row, value in errors:
        if int(row) > header_row:
            rows.add(int(row))
            rejects.add(
                "cell",
                "error_cell",
                f"cell {column.decode()}{row.decode()} holds the error {value.decode()}. Mend the formula",
                sheet=sheet,
                row_number=int(row),
                column=column.decode(),
                value=value.decode(),
            )
    bare = _NO_VALUE.findall(xml) if b"<f" in xml or b":f" in xml else []
    if bare:
        notes.append(
            f"{rejects.source_file}, sheet {sheet}: {len(bare)} formula(s) without a stored value, such as "
            f"{bare[0].decode()}, are NULL; open and save the workbook to store them"
        )
    merged = _MERGED.findall(xml) if b"mergeCell " in xml else []
    if merged:
        notes.append(
            f"{rejects.source_file}, sheet {sheet}: {len(merged)} merged range(s), such as {merged[0].decode()}; the "
            f"value stands in the first cell only"
        )
    return rows
