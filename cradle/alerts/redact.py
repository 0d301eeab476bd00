"""Takes out of a text what no message may hold: secrets, by their value and by their form.

Flow: secret files of the customers and the factory → values → text with *** in their place
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable

from cradle.config import Settings
from cradle.secrets import ANY, FACTORY, OPERATOR, secret_path

NAMES = ("user", "client_id", "access_key")  # fields that say who, and are in many texts
SHORTEST = 6  # characters of a value that is looked for; shorter ones are in every text
LINES = 20  # of a log that are shown
LINE = 300  # characters of a line that are shown
_FORMS = (
    (re.compile(r"(\w+://)[^\s/@:'\"]*:[^\s/@'\"]+@"), r"\1***@"),
    (re.compile(r"(?i)\b(authorization|bearer)(\W{1,4})(bearer\s+|basic\s+)?[\w.~+/=-]{8,}"), r"\1\2***"),
    (re.compile(r"(?i)((?:password|passwd|secret|token|api[_-]?key)\w*[\"']?\s*[:=]\s*[\"']?)[^\s\"',;&]+"), r"\1***"),
    (re.compile(r"https://hooks\.[^\s\"'<>]+"), "***"),
    (re.compile(r"\bA[KS]IA[0-9A-Z]{12,}\b"), "***"),
)


class Redactor:
    """Knows the secrets of some customers, those of the factory and those of the operator, as far as they lie here."""

    def __init__(self, settings: Settings, customers: Iterable[str]) -> None:
        values: set[str] = set()
        for owner in (*customers, FACTORY, OPERATOR):
            for path in secret_path(settings, owner, ANY, "x").parent.parent.rglob("*.json"):
                try:
                    content = json.loads(path.read_text(encoding="utf-8"))
                except (OSError, ValueError):
                    continue  # not readable for this user: not in its texts either
                fields = content.items() if isinstance(content, dict) else ()
                values |= {str(value) for name, value in fields if name not in NAMES}
        self._values = sorted((one for one in values if len(one) >= SHORTEST), key=len, reverse=True)

    def __call__(self, text: str) -> str:
        """Return a text without secrets."""
        for value in self._values:
            text = text.replace(value, "***")
        for form, shown in _FORMS:
            text = form.sub(shown, text)
        return text


def last_words(log: str | None) -> str:
    """Return the end of a task's log as people read it; Airflow writes one JSON object per line."""
    lines = [_plain(line.rstrip()) for line in (log or "").splitlines() if line.strip()]
    return "\n".join(line if len(line) <= LINE else f"{line[:LINE]} …" for line in lines[-LINES:])


def _plain(line: str) -> str:
    if line.startswith("{"):
        try:
            told = json.loads(line)
            return f"{told.get('level', '')} {told.get('event', '')}".strip()
        except (ValueError, AttributeError):
            return line
    return line
