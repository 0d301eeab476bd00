"""Receivers of alerts."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.receivers import MailServer, Receiver


@pytest.fixture
def mail() -> Iterator[MailServer]:
    """A mail server that asks for nothing."""
    server = MailServer()
    server.start()
    yield server
    server.stop()


@pytest.fixture
def hook() -> Iterator[Receiver]:
    """A receiver of webhooks."""
    server = Receiver()
    yield server
    server.stop()
