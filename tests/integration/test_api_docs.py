"""The page about the API: its examples work as they stand there, and the limits it names are the service's."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from cradle.access import new_key, write_keys
from cradle.config import PROJECT
from cradle.serve.app import create_app
from cradle.serve.bounds import Bounds
from cradle.serve.tables import FILE_MOST, PAGE_DEFAULT, PAGE_MOST

pytestmark = pytest.mark.integration
PAGE = (PROJECT / "docs" / "api.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"^curl .*$", PAGE, re.MULTILINE)


@pytest.fixture(scope="module")
def service(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[TestClient, str]]:
    """A service with access, and a key to it."""
    state = tmp_path_factory.mktemp("state")
    key, record = new_key("admin")
    write_keys(state, [record])
    with TestClient(create_app(root, state=state, access=True), raise_server_exceptions=False) as client:
        yield client, key


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_works_as_it_stands_there(service: tuple[TestClient, str], example: str) -> None:
    client, key = service
    words = iter(shlex.split(example.replace("$KEY", key).replace("$API", ""))[1:])
    method, headers, body, url = "GET", dict[str, str](), None, ""
    for word in words:
        if word == "-H":
            name, _, value = next(words).partition(": ")
            headers[name] = value
        elif word == "-X":
            method = next(words)
        elif word == "-d":
            body = next(words)
        else:
            url = word
    answer = client.request(method, url, headers=headers, content=body)
    assert answer.status_code in (200, 201), answer.text
    assert answer.content
    assert client.request(method, url, content=body).status_code == 401


def test_the_page_names_every_path(service: tuple[TestClient, str]) -> None:
    client, key = service
    assert len(EXAMPLES) >= 7
    paths = client.get("/openapi.json", headers={"X-API-Key": key}).json()["paths"]
    assert not [path for path in paths if path.replace("{key_id}", "{id}") not in PAGE]


def test_the_limits_are_those_of_the_service() -> None:
    limits = Bounds()
    for told in (
        f"JSON: {PAGE_DEFAULT} rows unless told, at most {PAGE_MOST:,}",
        f"at most {FILE_MOST:,}",
        f"{limits.rate.split('/')[0]} requests a minute",
        f"for {limits.token_seconds // 60} minutes",
        f"{limits.sql_process_mb // 1024} GiB of address space, killed after {limits.sql_seconds:g} s",
        f"at most {limits.sql_rows:,}, and {limits.sql_bytes >> 20} MiB",
        f"waits {limits.sql_wait:g} s",
        f"a body over {limits.body >> 10} KiB; an address over {limits.url >> 10} KiB",
        f"too many files ({limits.files}) or statements ({limits.sql_processes})",
        f"rows that took more than {limits.seconds:g} s",
    ):
        assert told in PAGE
