"""Makes valid JSON of a row as DuckDB writes it: JSON has no NaN and no infinity, so they become null."""

from __future__ import annotations

import re
from typing import Final

TOKEN: Final = re.compile(r'"(?:[^"\\]|\\.)*"|-?Infinity|NaN')


def valid(row: str) -> str:
    """Return the row with null for what is no number; its texts and all other digits stay as they are."""
    if "NaN" not in row and "Infinity" not in row:
        return row
    return TOKEN.sub(lambda found: found.group() if found.group().startswith('"') else "null", row)
