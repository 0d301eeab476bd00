"""What runs in the clean process of a verification: serves an unpacked image and asks it questions over HTTP.

Only what belongs to the extra `serve` may be imported; anything else is refused as if it were not installed.
Run by cradle.bake.verify only, as a script, so that nothing is imported before the guard stands:
python -P cradle/serve/questions.py ROOT
"""

from __future__ import annotations

import importlib.abc
import importlib.metadata
import json
import re
import sys
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

EXTRA = "serve"


def allowed_modules() -> set[str]:
    """Return the top-level modules of the extra `serve` and of what it needs, from the installed metadata."""
    wanted, todo = set[str](), [_plain(name) for name in _requirements("cradle", EXTRA)]
    while todo:
        name = todo.pop()
        if name not in wanted:
            wanted.add(name)
            todo += [_plain(one) for one in _requirements(name, None)]
    modules = {"cradle"}
    for module, distributions in importlib.metadata.packages_distributions().items():
        if any(_plain(one) in wanted for one in distributions):
            modules.add(module)
    return modules


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _requirements(distribution: str, extra: str | None) -> list[str]:
    try:
        lines = importlib.metadata.requires(distribution) or []
    except importlib.metadata.PackageNotFoundError:
        return []
    found = []
    for line in lines:
        condition = re.search(r"extra\s*==\s*[\"']([^\"']+)[\"']", line)
        if condition is None or condition.group(1) == extra:
            found.append(re.match(r"[A-Za-z0-9._-]+", line).group(0))  # type: ignore[union-attr]
    return found


class _Guard(importlib.abc.MetaPathFinder):
    """Refuses every module that is neither of the standard library nor allowed."""

    def __init__(self, allowed: set[str]) -> None:
        self._allowed = allowed | set(sys.stdlib_module_names) | {"__main__"}

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> None:
        """Raise for what is not allowed; leave the rest to others."""
        top = name.split(".")[0]
        if top not in self._allowed and not top.startswith("_"):
            raise ModuleNotFoundError(f"No module named {name!r} (not part of the extra {EXTRA})", name=name)


def main(root: Path) -> dict[str, Any]:
    """Serve the image on a free port and return what it answered."""
    allowed = allowed_modules()
    sys.meta_path.insert(0, _Guard(allowed))
    clock = time.monotonic()
    import socket

    import uvicorn

    from cradle.manifest import read_manifest
    from cradle.serve.app import create_app

    manifest = read_manifest(root)
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen()  # so that the first question waits for the server instead of being refused
    server = uvicorn.Server(uvicorn.Config(create_app(root), log_level="error"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    base = f"http://127.0.0.1:{listener.getsockname()[1]}"
    answers = ask(base, manifest)
    seconds = round(time.monotonic() - clock, 3)
    server.should_exit = True
    thread.join(10)
    installed = set(importlib.metadata.packages_distributions())
    loaded = {name.split(".")[0] for name in sys.modules if not name.startswith("_")}
    foreign = sorted((loaded & installed) - allowed)
    answers.append({"name": "imports", "ok": not foreign, "detail": ", ".join(foreign) or f"only the extra {EXTRA}"})
    return {"seconds": seconds, "answers": answers}


def ask(base: str, manifest: Any, key: str | None = None) -> list[dict[str, Any]]:
    """Put health, counts and golden questions to a running service; return each answer with `name`, `ok`, `detail`.

    Args:
        key: API key, where the service asks for one.
    """
    if key:
        opener = urllib.request.build_opener()
        opener.addheaders = [("Authorization", f"Bearer {key}")]
        urllib.request.install_opener(opener)  # for this process, which does nothing else
    answers = [_health(base, manifest)]
    answers += [_count(base, name, entry.rows) for name, entry in manifest.tables.items()]
    if answers[0]["ok"]:
        answers += [_golden(base, question) for question in manifest.golden if question.table in manifest.tables]
    return answers


def _get(base: str, path: str, **query: Any) -> tuple[dict[str, Any], str]:
    url = f"{base}{path}?{urllib.parse.urlencode(query)}"
    with urllib.request.urlopen(url, timeout=30) as answer:
        return json.load(answer), answer.headers.get("X-Cradle-Release", "")


def _health(base: str, manifest: Any) -> dict[str, Any]:
    answer, release = _get(base, "/health")
    wanted = {"tables": True, "search": manifest.vectors is not None}
    can = {name: answer["capabilities"].get(name) for name in wanted}
    ok = can == wanted and answer["status"] == "healthy" and release == manifest.release_id
    return {"name": "health", "ok": ok, "detail": answer["problem"] or f"{answer['status']}, {answer['capabilities']}"}


def _count(base: str, table: str, rows: int) -> dict[str, Any]:
    answer, _ = _get(base, f"/tables/{table}/rows", limit=1)
    ok = answer["total"] == rows and len(answer["rows"]) == min(rows, 1)
    return {"name": f"rows of {table}", "ok": ok, "detail": f"{answer['total']} of {rows}"}


def _golden(base: str, question: Any) -> dict[str, Any]:
    expect = question.expect
    if question.ask == "row":
        answer, _ = _get(base, f"/products/{urllib.parse.quote(question.key)}")
        ok = all(answer.get(name) == value for name, value in expect.items())
        detail = json.dumps({name: answer.get(name) for name in expect}, ensure_ascii=False)
    elif question.ask == "count":
        answer, _ = _get(base, f"/tables/{question.table}/rows", limit=0)
        ok = answer["total"] >= expect.get("min_rows", 0) and answer["total"] == expect.get("rows", answer["total"])
        detail = str(answer["total"])
    else:
        answer, _ = _get(base, "/search", q=question.query, k=5)
        found = [hit["sku"] or hit["title"] for hit in answer["hits"]]
        ok = any(expect["document"] in (hit["sku"], hit["title"]) for hit in answer["hits"])
        detail = ", ".join(map(str, found))
    return {"name": f"golden: {question.query or question.key or question.table}", "ok": ok, "detail": detail}


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]))))  # noqa: T201
