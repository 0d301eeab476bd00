"""Tells the types and the locale of columns from all of their values, never from a sample."""

from __future__ import annotations

from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from cradle.installation import ColumnType

DATES = ("%Y-%m-%d", "%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%Y/%m/%d", "%d-%m-%Y", "%Y%m%d")
TIMES = (
    "%Y-%m-%d %H:%M:%S",
    "%Y-%m-%dT%H:%M:%S",
    "%d.%m.%Y %H:%M:%S",
    "%d.%m.%Y %H:%M",
    "%m/%d/%Y %H:%M",
    "%d/%m/%Y %H:%M",
)
INTEGER = r"^[+-]?(0|[1-9]\d{0,14})$"  # leading zeros and longer digits are codes
POINT = r"^[+-]?(0|[1-9]\d*)?(\.\d{1,4}0*)?$"
POINT_LONG = r"^[+-]?(0|[1-9]\d*)?(\.\d+)?([eE][+-]?\d+)?$"
COMMA = r"^[+-]?(0|[1-9]\d*|[1-9]\d{0,2}(\.\d{3})+)?(,\d{1,4}0*)?$"
GROUPED = r"^[+-]?[1-9]\d{0,2}(\.\d{3})+(,\d+)?$"
BOOLEAN = r"(?i)^(true|false|yes|no|ja|nein)$"
SHAPES = {  # a date that looks like this is not tried with every form
    "%Y-%m-%d": r"^\d{4}-\d{1,2}-\d{1,2}$",
    "%d.%m.%Y": r"^\d{1,2}\.\d{1,2}\.\d{4}$",
    "%d/%m/%Y": r"^\d{1,2}/\d{1,2}/\d{4}$",
    "%m/%d/%Y": r"^\d{1,2}/\d{1,2}/\d{4}$",
    "%Y/%m/%d": r"^\d{4}/\d{1,2}/\d{1,2}$",
    "%d-%m-%Y": r"^\d{1,2}-\d{1,2}-\d{4}$",
    "%Y%m%d": r"^(19|20)\d{2}(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])$",
}


@dataclass
class Kinds:
    """What the columns of a table are, and the locale they share."""

    types: dict[str, ColumnType] = field(default_factory=dict)
    date_formats: dict[str, str] = field(default_factory=dict)
    decimal: str = "."
    thousands: str = ""
    notes: list[str] = field(default_factory=list)

    def dialect(self) -> dict[str, str]:
        """Return the fields of a dialect that the values decide."""
        dates = [one for name, one in self.date_formats.items() if self.types.get(name) == "date"]
        times = [one for name, one in self.date_formats.items() if self.types.get(name) == "timestamp"]
        found = {"decimal": self.decimal, "thousands": self.thousands}
        if dates or times:
            found["date_format"] = (dates or times)[0]
        if times:
            found["timestamp_format"] = times[0]
        return found


def kinds_of(values: pa.Table) -> Kinds:
    """Tell the type of each column; text unless every value that is there fits."""
    kinds = Kinds()
    columns = {name: _filled(values.column(name)) for name in values.column_names}
    comma = [name for name, column in columns.items() if _all(column, COMMA) and _any(column, ",")]
    point = [name for name, column in columns.items() if _all(column, POINT) and _any(column, ".")]
    if len(comma) > len(point):
        kinds.decimal = ","
        kinds.thousands = "." if any(_matches(columns[name], GROUPED) for name in comma) else ""
    for name, column in columns.items():
        kinds.types[name] = _type(name, column, kinds)
    _one_date_form(kinds)
    return kinds


def _filled(column: pa.ChunkedArray) -> pa.ChunkedArray:
    trimmed = pc.utf8_trim_whitespace(column.cast(pa.string()).drop_null())
    return trimmed.filter(pc.not_equal(trimmed, ""))


def _type(name: str, column: pa.ChunkedArray, kinds: Kinds) -> ColumnType:
    if len(column) == 0:
        return "text"
    for form in (*DATES, *TIMES):
        if _is_date(column, form):
            kinds.date_formats[name] = form
            if form == "%d/%m/%Y" and _is_date(column, "%m/%d/%Y"):
                kinds.notes.append(f"column {name}: day and month can't be told apart; day first is taken")
            return "timestamp" if form in TIMES else "date"
    if _all(column, INTEGER):
        return "integer"
    if kinds.decimal == ",":
        return "decimal" if _all(column, COMMA) else "text"
    if _all(column, POINT):
        return "decimal"
    if _all(column, POINT_LONG) and _any(column, "."):
        return "double"
    return "boolean" if _all(column, BOOLEAN) else "text"


def _one_date_form(kinds: Kinds) -> None:
    """A source has one form of dates; columns of another form stay text."""
    first = dict.fromkeys(("date", "timestamp"))
    for name, form in kinds.date_formats.items():
        kind = kinds.types[name]
        first[kind] = first[kind] or form
        if form != first[kind]:
            kinds.types[name] = "text"
            kinds.notes.append(f"column {name}: dates of the form {form} beside {first[kind]}; kept as text")


def _is_date(column: pa.ChunkedArray, form: str) -> bool:
    if form in SHAPES and not _all(column, SHAPES[form]):
        return False
    if form in TIMES and not _all(column, r"^\d{1,4}[-./]\d{1,2}[-./]\d{1,4}[ T]\d{1,2}:\d{2}(:\d{2})?$"):
        return False
    return int(pc.strptime(column, format=form, unit="s", error_is_null=True).null_count) == 0


def _all(column: pa.ChunkedArray, pattern: str) -> bool:
    return len(column) > 0 and bool(pc.all(pc.match_substring_regex(column, pattern)).as_py())


def _matches(column: pa.ChunkedArray, pattern: str) -> bool:
    return bool(pc.any(pc.match_substring_regex(column, pattern)).as_py())


def _any(column: pa.ChunkedArray, sign: str) -> bool:
    return bool(pc.any(pc.match_substring(column, sign)).as_py())


def unique(values: pa.Table, columns: tuple[str, ...]) -> bool:
    """Tell whether these columns are filled everywhere and no two rows have the same values."""
    chosen = values.select(list(columns))
    if any(_filled(column).length() < values.num_rows for column in chosen.columns):
        return False
    return bool(chosen.group_by(list(columns)).aggregate([]).num_rows == values.num_rows)


def always_filled(values: pa.Table, column: str) -> bool:
    """Tell whether every row has a value."""
    return len(_filled(values.column(column))) == values.num_rows
