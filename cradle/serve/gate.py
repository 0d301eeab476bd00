"""The gate for SQL from outside: one SELECT over the tables of the image, with functions of a list, and nothing else.

A statement is parsed twice, by sqlglot and by DuckDB, each time held against lists of what is allowed, and written
anew from sqlglot's tree, so that what was checked is what runs.
Flow: text → tokens → tree → names of tables made whole → LIMIT → text → DuckDB's own tree
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import duckdb
import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from cradle.serve.grammar import ALLOWED, CLASSES, PARTS, SOURCES, TABLES

LONGEST_SQL: Final = 20_000
LONGEST_TEXT: Final = 2_000
LONGEST_NUMBER: Final = 40
MOST_TOKENS: Final = 4_000
DEEPEST: Final = 40
PLAIN: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
ROOTS: Final = (exp.Select, exp.Union, exp.Intersect, exp.Except)
ROOT_NAMES: Final = ["SELECT", "UNION", "INTERSECT", "EXCEPT"]
BEGINNINGS: Final = ("SELECT", "WITH", "FROM", "(")
CALL: Final = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)\(")


class Refused(Exception):
    """A statement that may not run.

    Attributes:
        what: was refused.
        allowed: what may stand there instead.
    """

    def __init__(self, what: str, detail: str, allowed: list[str] | None = None) -> None:
        super().__init__(detail)
        self.what, self.detail, self.allowed = what, detail, allowed or []


@dataclass(frozen=True)
class Checked:
    """A statement that may run, as it was written anew, and the tables it reads."""

    sql: str
    tables: list[str]


class Gate:
    """Knows the tables of one image.

    Args:
        tables: full names, `<layer>.<table>`.
        con: parses; no statement runs on it.
    """

    def __init__(self, tables: list[str], con: duckdb.DuckDBPyConnection) -> None:
        self._con, self.tables = con, sorted(tables)
        self._full: dict[str, str] = {name.lower(): name for name in tables}
        bare = [name.split(".", 1)[1].lower() for name in tables]
        for name in tables:
            short = name.split(".", 1)[1].lower()
            if bare.count(short) == 1:
                self._full.setdefault(short, name)

    def check(self, sql: str, most: int) -> Checked:
        """Return the statement as it may run, giving one row more than `most`, to tell whether there are more.

        Raises:
            Refused: it may not run.
        """
        try:
            root = _parsed(sql)
            _one_select(self._con, sql)
            _check_parts(root)
            used = self._check_tables(root)
            _limit(root, most + 1)
            written = root.sql(dialect="duckdb", comments=False)
            _one_select(self._con, written)
            self._check_again(written, root)
        except RecursionError as error:
            raise Refused("nesting", "the statement is nested too deeply.") from error
        return Checked(written, sorted(used))

    def _check_tables(self, root: exp.Expr) -> set[str]:
        """Give every table its full name; return the names."""
        used = set[str]()
        for table in list(root.find_all(exp.Table)):
            if not isinstance(table.this, exp.Identifier):  # a function, which is checked as such
                name = _call(table.this)
                if name not in TABLES:
                    raise _no_function(name or table.sql(dialect="duckdb"), sorted(TABLES))
                continue
            parts = [part.name for part in table.parts]
            if len(parts) == 1 and _is_cte(table, parts[0]):
                _check_plain(parts[0], self.tables)
                continue
            full = self._full.get(".".join(parts).lower()) if len(parts) <= 2 else None
            if full is None:
                told = f"table {'.'.join(parts)[:200]!r} is not one of this image."
                raise Refused(".".join(parts)[:200], told, self.tables)
            layer, name = full.split(".", 1)
            if not table.alias and parts[-1].lower() != name.lower():  # columns may be written with what stood there
                table.set("alias", exp.TableAlias(this=exp.to_identifier(parts[-1], quoted=True)))
            table.set("db", exp.to_identifier(layer, quoted=True))
            table.set("this", exp.to_identifier(name, quoted=True))
            used.add(full)
        return used

    def _check_again(self, written: str, root: exp.Expr) -> None:
        """Hold DuckDB's own tree against the same lists."""
        row = self._con.execute("select json_serialize_sql(?::varchar)", [written]).fetchone()
        tree = json.loads(row[0]) if row else {"error": True, "error_message": "no tree"}
        if tree.get("error"):
            raise Refused("syntax", f"DuckDB can't read the statement: {tree.get('error_message', '')}", ROOT_NAMES)
        ctes = {one.alias.lower() for one in root.find_all(exp.CTE)}
        for node in _nodes(tree):
            self._check_node(node, ctes)

    def _check_node(self, node: Mapping[str, Any], ctes: set[str]) -> None:
        if node.get("class", "CONSTANT") not in CLASSES:
            raise Refused(str(node["class"]).lower(), f"{str(node['class']).lower()} is not allowed in a statement.")
        if {"alias", "sample"} <= node.keys() and (node["sample"] or node.get("type") not in SOURCES):
            raise Refused(str(node.get("type")).lower(), "only tables, queries and joins may stand after FROM.")
        name = node.get("function_name")
        if name is not None and (str(name).lower() not in ALLOWED or node.get("catalog")):
            raise _no_function(str(name), [])
        if node.get("type") == "TABLE_FUNCTION":
            name = str(node["function"].get("function_name"))
            if name.lower() not in TABLES:
                raise _no_function(name, sorted(TABLES))
        if node.get("type") == "BASE_TABLE":
            schema, table = node["schema_name"], node["table_name"]
            known = f"{schema}.{table}" in self.tables if schema else table.lower() in ctes
            if not known or node["catalog_name"]:
                raise Refused(table, f"table {table!r} is not one of this image.", self.tables)


def _nodes(tree: Any) -> Iterator[dict[str, Any]]:
    todo = [tree]
    while todo:
        one = todo.pop()
        if isinstance(one, dict):
            yield one
            todo.extend(one.values())
        elif isinstance(one, list):
            todo.extend(one)


def _parsed(sql: str) -> exp.Expr:
    if len(sql) > LONGEST_SQL:
        raise Refused("length", f"the statement has {len(sql)} characters; allowed are {LONGEST_SQL}.")
    if "\x00" in sql or (not sql.isprintable() and any(ord(one) < 32 and one not in "\t\r\n" for one in sql)):
        raise Refused("control character", "the statement holds a control character.")
    try:
        sql.encode()
        tokens = sqlglot.tokenize(sql, read="duckdb")
        _check_tokens(tokens)
        first = str(tokens[0].text).upper() if tokens else "nothing"
        if first not in BEGINNINGS:
            raise Refused(first[:50], f"{first[:50]} is not allowed; only queries are.", ROOT_NAMES)
        found = [one for one in sqlglot.parse(sql, read="duckdb") if one is not None]
    except UnicodeEncodeError as error:
        raise Refused("half a character", "the statement holds half a character.") from error
    except (SqlglotError, ValueError) as error:
        first = str(error).splitlines()[0] if str(error) else "no message"
        raise Refused("syntax", f"the statement can't be read: {_without_colours(first)}", ROOT_NAMES) from error
    if len(found) != 1:
        raise Refused(f"{len(found)} statements", f"one statement is allowed; these are {len(found)}.", ROOT_NAMES)
    if not isinstance(found[0], ROOTS):
        kind = found[0].key.upper()
        raise Refused(kind, f"{kind} is not allowed; only queries are.", ROOT_NAMES)
    return found[0]


def _without_colours(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", text)[:300]


def _check_tokens(tokens: list[Any]) -> None:
    if len(tokens) > MOST_TOKENS:
        raise Refused("length", f"the statement has {len(tokens)} words; allowed are {MOST_TOKENS}.")
    depth = 0
    for token in tokens:
        depth += (token.text in ("(", "[", "{")) - (token.text in (")", "]", "}"))
        if depth > DEEPEST:
            raise Refused("nesting", f"the statement is nested deeper than {DEEPEST} brackets.")


def _one_select(con: duckdb.DuckDBPyConnection, sql: str) -> None:
    """Ask DuckDB's parser whether this is one SELECT."""
    try:
        found = con.extract_statements(sql)
    except (duckdb.Error, UnicodeError) as error:
        raise Refused("syntax", f"DuckDB can't read the statement: {str(error)[:300]}", ROOT_NAMES) from error
    kinds = [one.type.name for one in found]
    if kinds != ["SELECT"]:
        raise Refused(", ".join(kinds) or "nothing", "one SELECT is allowed, and nothing else.", ROOT_NAMES)


def _check_parts(root: exp.Expr) -> None:
    for node in root.walk():
        if isinstance(node, exp.Literal):
            most = LONGEST_TEXT if node.is_string else LONGEST_NUMBER
            if len(node.this) > most:
                raise Refused("literal", f"a value has {len(node.this)} characters; allowed are {most}.")
        if type(node).__name__ in PARTS:
            continue
        name = _call(node) if isinstance(node, exp.Func) else None
        if name is None:
            what = node.key.upper()
            raise Refused(what, f"{what} is not allowed in a query.", ROOT_NAMES)
        if name not in ALLOWED:
            raise _no_function(name, [])


def _call(node: exp.Expr) -> str | None:
    """Return the name under which DuckDB would be called."""
    if isinstance(node, exp.Anonymous):
        return str(node.name).lower()
    found = CALL.match(node.sql(dialect="duckdb"))
    return found.group(1).lower() if found else None


def _no_function(name: str, allowed: list[str]) -> Refused:
    words = sorted(one for one in (allowed or ALLOWED) if one[0].isalpha())
    return Refused(name[:200], f"function {name[:200]!r} is not allowed.", words)


def _check_plain(name: str, allowed: list[str]) -> None:
    if not PLAIN.fullmatch(name):
        raise Refused(name[:200], f"{name[:200]!r} is no plain name of a table.", allowed)


def _is_cte(table: exp.Table, name: str) -> bool:
    """Tell whether a name is that of a WITH above it, or beside it."""
    above: exp.Expr | None = table
    while above is not None:
        clause = above.args.get("with_") or above.args.get("with")
        if clause is not None and any(one.alias.lower() == name.lower() for one in clause.expressions):
            return True
        above = above.parent
    return False


def _limit(root: exp.Expr, most: int) -> None:
    """Write the limit into the outermost query, unless it has a smaller one."""
    given = root.args.get("limit")
    if given is not None:
        number = given.expression
        if not isinstance(number, exp.Literal) or number.is_string or not number.this.isdigit():
            raise Refused("limit", "LIMIT must be a whole number.", [f"LIMIT {most - 1}"])
        most = min(most, int(number.this))
    root.set("limit", exp.Limit(expression=exp.Literal.number(most)))
