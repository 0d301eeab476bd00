"""Search by words in an image that was baked without an index of them, or whose index can't be read: text by text.

A chunk's score is the sum, over the words of the query that it holds, of how rare each word is (the IDF of BM25,
Robertson and Zaragoza 2009, section 3), divided by that sum over all words: 1 when every word stands in it.
"""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Final

import duckdb

from cradle.manifest import Manifest
from cradle.search.hits import COLUMNS, PRODUCTS, Hit, Narrow, chunks_sql, quoted

WORDS: Final = 16  # of a query that are looked for
_WORD = re.compile(r"[^\W_]+(?:[.,][^\W_]+)*")


class Scan:
    """Searches the texts of one image."""

    def __init__(self, root: Path, manifest: Manifest) -> None:
        self._con = duckdb.connect(":memory:")
        self._con.execute(f"create view chunks as {chunks_sql(root, manifest)}")
        if PRODUCTS in manifest.tables:
            products = quoted(root / manifest.tables[PRODUCTS].file)
            self._con.execute(f"create view products as select * from read_parquet('{products}')")

    def search(self, query: str, k: int, narrow: Narrow) -> list[Hit]:
        """Return the k chunks that hold most of the query's words."""
        words = list(dict.fromkeys(_WORD.findall(query.lower())))[:WORDS]
        if not words:
            return []
        cursor = self._con.cursor()
        tests = [f"{name} = ?" for name in narrow.plain]
        if narrow.where:
            tests.append(f"corpus = 'products' and sku in (select sku from products where {narrow.where})")
        where = " and ".join(tests) or "true"
        values = [*narrow.plain.values(), *narrow.values]
        flags = ", ".join("count(*) filter (contains(folded, ?))" for _ in words)
        folded = f"(select *, lower(concat_ws(' ', title, text)) as folded from chunks where {where})"
        (total, *found) = cursor.execute(f"select count(*), {flags} from {folded}", [*words, *values]).fetchall()[0]
        weights = [math.log(1 + (total - count + 0.5) / (count + 0.5)) if count else 0.0 for count in found]
        whole = sum(weights)
        if not whole:
            return []
        score = " + ".join("if(contains(folded, ?), ?, 0)" for _ in words)
        pairs = [value for pair in zip(words, weights, strict=True) for value in pair]
        rows = cursor.execute(
            f"select * from (select round(({score}) / ?, 6) as score, {', '.join(COLUMNS)} from {folded}) "
            "where score > 0 order by score desc, chunk_id limit ?",
            [*pairs, whole, *values, k],
        ).fetchall()
        return [Hit(*row) for row in rows]
