"""What a parser hands back, and the small steps that all table formats share."""

from __future__ import annotations

import difflib
import json
import re
from collections import Counter
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from cradle.installation import Source

_CONTROL = re.compile(r"[\x00-\x1f]")


REJECTS = pa.schema(
    [
        pa.field("scope", pa.string()),
        pa.field("sheet", pa.string()),
        pa.field("row_number", pa.int64()),
        pa.field("column", pa.string()),
        pa.field("value", pa.string()),
        pa.field("reason", pa.string()),
        pa.field("message", pa.string()),
    ]
)
TECHNICAL = (
    pa.field("_sheet", pa.string()),
    pa.field("_row_number", pa.int64()),
    pa.field("_unmapped", pa.string()),
)


def row_schema(columns: tuple[str, ...]) -> pa.Schema:
    """Return the schema of raw rows with these columns."""
    return pa.schema([*(pa.field(name, pa.string()) for name in columns), *TECHNICAL])


@dataclass
class Rejects:
    """Collects rejects as a parser meets them, until they are taken away.

    Attributes:
        row_count: how many data records were rejected.
        whole_file: whether the file as such can't be used.
    """

    source_file: str
    rows: list[dict[str, object]] = field(default_factory=list)
    row_count: int = 0
    whole_file: bool = False

    def add(self, scope: str, reason: str, message: str, **place: object) -> None:
        """Note one reject; `place` may hold sheet, row_number, column, value."""
        where = f", row {place['row_number']}" if place.get("row_number") else ""
        sheet = f", sheet {place['sheet']}" if place.get("sheet") else ""
        text = f"{self.source_file}{sheet}{where}: {message}"
        self.take_over({"scope": scope, "reason": reason, "message": text, **place})

    def take_over(self, row: dict[str, object]) -> None:
        """Note a reject that is written out already."""
        self.rows.append(row)
        self.row_count += row["scope"] == "row"
        self.whole_file |= row["scope"] == "file"

    def take(self) -> pa.Table:
        """Return what was noted since the last time."""
        taken, self.rows = self.rows, []
        return pa.Table.from_pylist(taken, schema=REJECTS)


def unique_headers(headers: list[str]) -> list[str]:
    """Give a name to each column: blanks become `column_<n>`, and a repeated header its number."""
    seen: Counter[str] = Counter()
    names = []
    for at, header in enumerate(headers, 1):
        name = header.strip() or f"column_{at}"
        seen[name] += 1
        names.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return names


def check_headers(
    source: Source, headers: list[str], rejects: Rejects, notes: list[str], sheet: str | None = None
) -> None:
    """Reject the file when a needed column is missing or stands twice; note an optional one that is missing."""
    plain = [header.strip() for header in headers]
    for column in source.columns:
        count = plain.count(column.delivered_as)
        if count == 1:
            continue
        if count > 1:
            rejects.add(
                "file", "duplicate_column", f"the header {column.delivered_as!r} stands {count} times", sheet=sheet
            )
            continue
        close = difflib.get_close_matches(column.delivered_as, plain, n=1)
        hint = f"; was it renamed to {close[0]!r}?" if close else ""
        message = f"no column {column.delivered_as!r} among {', '.join(plain)}{hint}"
        if column.required or column.name in source.key:
            rejects.add("file", "missing_column", message, sheet=sheet, column=column.name)
        else:
            notes.append(f"{message} (optional: its values are NULL)")


def map_columns(source: Source, table: pa.Table, row_numbers: pa.Array, sheet: str | None) -> pa.Table:
    """Name the mapped columns as the YAML does and keep the values of all others in `_unmapped`."""
    mapped = {column.delivered_as: column.name for column in source.columns}
    columns = {
        column.name: table.column(column.delivered_as).cast(pa.string())
        if column.delivered_as in table.column_names
        else pa.nulls(table.num_rows, pa.string())
        for column in source.columns
    }
    rest = table.select([name for name in table.column_names if name not in mapped])
    columns["_sheet"] = pa.repeat(pa.scalar(sheet, pa.string()), table.num_rows)
    columns["_row_number"] = row_numbers.cast(pa.int64())
    columns["_unmapped"] = unmapped(rest)
    order = [*(column.name for column in source.columns), *(item.name for item in TECHNICAL)]
    return pa.table({name: columns[name] for name in order})


def unmapped(rest: pa.Table) -> pa.ChunkedArray | pa.Array:
    """Return a JSON object of each row's values, NULL where there is none; empty text counts as none."""
    parts = []
    for name in rest.column_names:
        values = rest.column(name).cast(pa.string())
        values = pc.if_else(pc.equal(values, ""), pa.scalar(None, pa.string()), values)
        prefix = "," + json.dumps(name, ensure_ascii=False) + ':"'
        part = pc.binary_join_element_wise(pa.scalar(prefix), _escaped(values), pa.scalar('"'), "")
        parts.append(pc.fill_null(part, ""))
    if not parts:
        return pa.nulls(rest.num_rows, pa.string())
    # Not with null_handling="skip": Arrow 26 then leaves out the rows in which all are NULL.
    joined = pc.binary_join_element_wise(*parts, "")
    objects = pc.binary_join_element_wise(pa.scalar("{"), pc.utf8_slice_codeunits(joined, 1, 2**62), pa.scalar("}"), "")
    return pc.if_else(pc.equal(joined, ""), pa.scalar(None, pa.string()), objects)


def _escaped(values: pa.ChunkedArray) -> pa.ChunkedArray:
    values = pc.replace_substring(values, "\\", "\\\\")
    values = pc.replace_substring(values, '"', '\\"')
    if pc.any(pc.match_substring_regex(values, r"[\x00-\x1f]")).as_py():
        for code in range(32):
            values = pc.replace_substring(values, chr(code), f"\\u{code:04x}")
    return values
