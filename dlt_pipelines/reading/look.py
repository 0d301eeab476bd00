"""Looks at a folder of files and proposes the customer's YAML: dialects, roles and types, told once from all values.

Flow: folder → files by format → groups with equal header and dialect → sources → YAML for a person to edit
Run:  cradle customers add acme --from ./files
"""

from __future__ import annotations

import json
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.json as pajson
import yaml

from cradle import names
from cradle.config import load_settings
from cradle.customers import Customer, Operation
from cradle.errors import InputError
from cradle.installation import Column, Dialect, Installation, Source
from dlt_pipelines.reading.airlock import Parsers
from dlt_pipelines.reading.roles import product_columns, sales_columns
from dlt_pipelines.reading.sniff import sniff
from dlt_pipelines.reading.values import Kinds, kinds_of

FORMATS = {
    ".csv": "csv",
    ".tsv": "csv",
    ".xlsx": "xlsx",
    ".xlsm": "xlsx",
    ".json": "json",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    ".md": "markdown",
    ".markdown": "markdown",
    ".html": "html",
    ".htm": "html",
    ".txt": "text",
}
DOCUMENTS = ("markdown", "html", "text")


@dataclass(frozen=True)
class Look:
    """A proposed customer, what a person should know, and the files that no parser reads yet."""

    customer: Customer
    notes: tuple[str, ...]
    left_out: tuple[str, ...]


@dataclass(frozen=True)
class _Table:
    """A file, or a sheet of one, with its values as text."""

    path: str
    format: str
    dialect: Dialect
    values: pa.Table


@dataclass
class _Found:
    tables: list[_Table] = field(default_factory=list)
    documents: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    notes: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)

    def add(self, other: _Found) -> None:
        """Take over what was found in a further file."""
        self.tables += other.tables
        self.notes += other.notes
        self.left_out += other.left_out
        for kind, paths in other.documents.items():
            self.documents[kind] += paths


def look(folder: Path, customer: str, port_base: int = 9390) -> Look:
    """Propose a customer for the files of a folder.

    Raises:
        InputError: no file can be read.
    """
    found = _Found()
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file() and not path.name.startswith(".")]
    settings = load_settings()
    with Parsers(settings, settings.threads) as parsers, ThreadPoolExecutor(settings.threads) as pool:
        for part in pool.map(lambda path: _look_at(path, path.relative_to(folder).as_posix(), parsers), paths):
            found.add(part)
    sources = _table_sources(found, [path.relative_to(folder).as_posix() for path in paths])
    sources += _document_sources(found)
    if not sources:
        known = ", ".join(sorted(FORMATS))
        raise InputError(f"{folder}: none of {len(paths)} files can be read. Readable are {known}.")
    made = Customer(
        customer=customer,
        installation=Installation(sources=tuple(sources)),
        operation=Operation(
            title=customer,
            description=f"Made from {len(paths)} files; edit before the first night.",
            port_base=port_base,
        ),
    )
    return Look(made, tuple(found.notes), tuple(found.left_out))


def _look_at(path: Path, relative: str, parsers: Parsers) -> _Found:
    found = _Found()
    kind = FORMATS.get(path.suffix.lower())
    if kind is None:
        found.left_out.append(relative)
    elif kind in DOCUMENTS:
        found.documents[kind].append(relative)
    else:
        tables = _tables(path, relative, kind, found, parsers)
        if not tables:
            found.left_out.append(relative)
        found.tables += tables
    return found


def _tables(path: Path, relative: str, kind: str, found: _Found, parsers: Parsers) -> list[_Table]:
    dialect = sniff(path, kind)
    if dialect is None:
        return []
    for header_row in range(dialect.header_row, dialect.header_row + (6 if kind == "xlsx" else 1)):
        tables = _read(path, relative, kind, dialect.model_copy(update={"header_row": header_row}), found, parsers)
        named = [table for table in tables if _is_header(table.values.column_names)]
        if named:
            return named
    return []


def _is_header(columns: list[str]) -> bool:
    blank = sum(name.startswith("column_") and name[7:].isdigit() for name in columns)
    return len(columns) > 0 and blank <= len(columns) * 0.4


def _read(path: Path, relative: str, kind: str, dialect: Dialect, found: _Found, parsers: Parsers) -> list[_Table]:
    """Read a file with no mapping: every value then stands in `_unmapped`."""
    source = Source(name="look", role="look", format=kind, files=("*",), dialect=dialect)  # type: ignore[arg-type]
    reading = parsers.read(path, source, source_file=relative)
    rows = reading.rows
    for row in reading.rejects.to_pylist()[:3]:
        found.notes.append(f"{row['reason']}: {row['message']}")
    tables = []
    for sheet in dict.fromkeys(rows.column("_sheet").to_pylist()):
        lines = [
            text
            for text, at in zip(rows.column("_unmapped").to_pylist(), rows.column("_sheet").to_pylist(), strict=True)
            if at == sheet and text
        ]
        if lines:
            own = dialect.model_copy(update={"sheets": (sheet,)}) if sheet is not None else dialect
            tables.append(_Table(relative, kind, own, _columns(lines)))
    if len(tables) == 1:
        tables = [replace(tables[0], dialect=tables[0].dialect.model_copy(update={"sheets": ()}))]
    return tables


def _columns(lines: list[str]) -> pa.Table:
    """Turn JSON objects of text values into columns."""
    first: dict[str, None] = {}
    for line in lines[:1000]:
        first.update(dict.fromkeys(json.loads(line)))
    options = pajson.ReadOptions(block_size=max(1 << 24, max(map(len, lines)) * 2))
    schema = pa.schema([pa.field(name, pa.string()) for name in first])
    parse = pajson.ParseOptions(explicit_schema=schema, unexpected_field_behavior="infer")
    return pajson.read_json(pa.BufferReader("\n".join(lines).encode()), options, parse)


def _table_sources(found: _Found, all_paths: list[str]) -> list[Source]:
    groups: dict[str, list[_Table]] = defaultdict(list)
    for one in found.tables:
        identity = [one.format, one.dialect.model_dump(mode="json"), sorted(one.values.column_names)]
        groups[json.dumps(identity, ensure_ascii=False)].append(one)
    sources: list[Source] = []
    for group in groups.values():
        sources.append(_source(group, sources, all_paths, found.notes))
    return sources


def _source(group: list[_Table], before: list[Source], all_paths: list[str], notes: list[str]) -> Source:
    values = pa.concat_tables([one.values for one in group], promote_options="default")
    kinds = kinds_of(values)
    paths = [one.path for one in group]
    stem = group[0].dialect.sheets[0] if group[0].dialect.sheets else Path(paths[0]).stem
    name = _free(names.slug(stem), [one.name for one in before])
    notes += [f"{paths[0]}: {note}" for note in kinds.notes]
    role, columns, key = _role(name, values, kinds)
    first = next((one for one in before if one.role == role), None)
    if first and {one.delivered_as for one in first.columns} != {one.delivered_as for one in columns}:
        notes.append(f"{paths[0]}: looks like {role} too, but its headers differ from {first.name}; kept in raw only")
        role = name
    elif first:
        key = first.key
    return Source(
        name=name,
        role=role,
        format=group[0].format,  # type: ignore[arg-type]
        files=_globs(paths, all_paths),
        dialect=group[0].dialect.model_copy(update=kinds.dialect()),
        key=key,
        columns=columns,
    )


def _role(name: str, values: pa.Table, kinds: Kinds) -> tuple[str, tuple[Column, ...], tuple[str, ...]]:
    sales = sales_columns(values, kinds)
    if sales:
        return names.SALES, *sales
    products = product_columns(values, kinds)
    if products:
        return names.PRODUCTS, *products
    taken: list[str] = []
    columns = []
    for header in values.column_names:
        taken.append(_free(names.slug(header), taken))
        columns.append(Column(name=taken[-1], header=header, type=kinds.types[header], description=header))
    return name, tuple(columns), ()


def _free(name: str, taken: list[str]) -> str:
    if name not in taken:
        return name
    number = next(at for at in range(2, len(taken) + 3) if f"{name}_{at}" not in taken)
    return f"{name}_{number}"


def _globs(paths: list[str], all_paths: list[str]) -> tuple[str, ...]:
    """Return one glob when it takes in exactly these files, else their names."""
    folders = {path.rpartition("/")[0] for path in paths}
    suffixes = {Path(path).suffix for path in paths}
    if len(paths) > 1 and len(folders) == len(suffixes) == 1:
        (folder,), (suffix,) = folders, suffixes
        prefix = f"{folder}/" if folder else ""
        taken = [path for path in all_paths if path.rpartition("/")[0] == folder and path.endswith(suffix)]
        if sorted(taken) == sorted(paths):
            return (f"{prefix}*{suffix}",)
    return tuple(dict.fromkeys(path.replace("[", "[[]") for path in paths))


def _document_sources(found: _Found) -> list[Source]:
    return [
        Source(
            name=f"{kind}_files",
            role=names.DOCUMENTS,
            format=kind,  # type: ignore[arg-type]
            files=tuple(path.replace("[", "[[]") for path in paths),
            dialect=Dialect(fallback_encoding="cp1252"),
        )
        for kind, paths in sorted(found.documents.items())
    ]


HEAD = """# Customer {customer}, proposed from its files. Read it before the first night: from then on the block
# `installation` is fixed, and a change to it has to be accepted (`cradle customers accept`).
# Fields: docs/customers.md.
"""


def to_yaml(seen: Look) -> str:
    """Write a proposed customer as YAML, with what a person should look at as comments."""
    content = seen.customer.model_dump(mode="json", exclude_defaults=True)
    lines = [HEAD.format(customer=seen.customer.customer)]
    lines += [f"# Note: {' '.join(note.split())}\n" for note in seen.notes]
    lines += [f"# Left out, no parser yet: {name}\n" for name in seen.left_out]
    return "".join(lines) + yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=120)
