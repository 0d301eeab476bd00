"""Two provisioned customers on the real stack, for tests that ask the servers themselves."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest

from cradle.config import PROJECT, Settings
from tests.stacks import Stack


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let the pages that tests prove be written anew."""
    parser.addoption("--write-proven", action="store_true", help="write the pages of docs/ that a test proves")


@pytest.fixture(scope="module")
def two(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """Settings with the customers demo and eaton provisioned; every test of the module shares them."""
    folder = tmp_path_factory.mktemp("two")
    shutil.copytree(PROJECT / "data" / "customers", folder / "customers")
    found = stack.settings(folder / "home", folder / "customers")
    for customer in ("demo", "eaton"):
        stack.provision(found, customer)
    yield found
    for customer in ("demo", "eaton"):
        stack.forget(found, customer)
