"""Counts requests for Prometheus; one registry per application, so that several can live in one process.

Names follow https://prometheus.io/docs/practices/naming/
"""

from __future__ import annotations

import time
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

TYPE = "text/plain; version=0.0.4; charset=utf-8"
BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Metrics:
    """The numbers of one application."""

    def __init__(self, customer: str, release: str) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        labels = ["method", "route", "status"]
        self.requests = Counter("cradle_requests", "Requests answered.", labels, registry=self.registry)
        self.seconds = Histogram(
            "cradle_request_seconds", "Seconds per request.", ["route"], buckets=BUCKETS, registry=self.registry
        )
        self.ready = Gauge("cradle_ready", "1: the capability answers.", ["capability"], registry=self.registry)
        self.start = Gauge(
            "cradle_start_seconds",
            "Seconds from the start of the process to a capability's first answer.",
            ["capability"],
            registry=self.registry,
        )
        self.damaged = Gauge("cradle_damaged", "1: a file is not the one that was baked.", registry=self.registry)
        names = ["customer", "release"]
        about = Gauge("cradle_release_info", "The release that is served.", names, registry=self.registry)
        about.labels(customer, release).set(1)

    def text(self) -> bytes:
        """Return all numbers in Prometheus' text format."""
        return generate_latest(self.registry)


class Counting:
    """ASGI middleware that counts every request under its route's template."""

    def __init__(self, app: Any, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        """Pass a request on and count it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        clock, status = time.perf_counter(), 500

        async def watched(message: MutableMapping[str, Any]) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, watched)
        finally:
            # The template, never the path: a path would be a new series per key.
            route = getattr(scope.get("route"), "path", "unknown")
            self._metrics.requests.labels(scope["method"], route, str(status)).inc()
            self._metrics.seconds.labels(route).observe(time.perf_counter() - clock)


def process_seconds() -> float:
    """Return the seconds since this process was started, as the kernel knows it (proc(5), field 22)."""
    stat = Path("/proc/self/stat").read_text(encoding="ascii")
    started = int(stat.rpartition(")")[2].split()[19])
    return float(Path("/proc/uptime").read_text(encoding="ascii").split()[0]) - started / 100
