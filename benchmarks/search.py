"""Answers of an image over HTTP beside those of what people would ask instead: filtered search, look-up of a product.

The searches are the same for all: ten questions, German and English, each narrowed to a protection class and a colour
temperature; the query is encoded by the same encoder on the CPU.
"""

from __future__ import annotations

import atexit
import contextlib
import http.client
import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import numpy as np

from benchmarks.catalogue import PRODUCTS, image, ready
from benchmarks.stage import Facts, Goal, Stage, Variant, same
from cradle.config import PROJECT, Settings, clean_environment
from cradle.examples.lightnet import FULL

ASKED = (
    "warmweiße Deckenleuchte für den Außenbereich",
    "LED Pendelleuchte dimmbar mit DALI",
    "ceiling light for offices with low glare",
    "Notlicht für Flure",
    "outdoor wall luminaire",
    "Strahler für Stromschiene",
    "flache Bauform für niedrige Decken",
    "high bay luminaire for halls",
    "Leuchte mit indirektem Licht",
    "driver inside the luminaire",
)
CLASSES = ("IP20", "IP40", "IP44", "IP54", "IP65", "IP67")
KELVINS = (2700, 3000, 4000, 6500)
SEARCHES = [(one, ip, kelvin) for one in ASKED for ip in CLASSES for kelvin in KELVINS]
COUNT = 120
CLIENTS = 8
HITS = 5
given: dict[str, Any] = {}  # what a run's setup leaves to the run, in the same process


def prepare(folder: Path, products: int) -> None:
    """Write an image, and a Chroma collection that has its attributes."""
    rows, texts, found = ready(folder, products)
    settings = Settings(home=folder / "home", customers=PROJECT / "data" / "customers")
    image(settings, folder / "root", rows, texts, found)
    told = {row["sku"]: row for row in rows.select(["sku", "ip_rating", "cct_k"]).to_pylist()}
    collection = _chroma(folder).create_collection("chunks", configuration={"hnsw": {"space": "ip", "ef_search": 100}})
    ids, skus = texts.column("chunk_id").to_pylist(), texts.column("sku").to_pylist()
    for at in range(0, len(ids), 5000):
        part = [told[sku] for sku in skus[at : at + 5000]]
        collection.add(
            ids=ids[at : at + 5000],
            embeddings=found[at : at + 5000],
            documents=texts.column("text").slice(at, 5000).to_pylist(),
            metadatas=[{"ip_rating": one["ip_rating"] or "", "cct_k": one["cct_k"]} for one in part],
        )


def _chroma(folder: Path) -> Any:
    import chromadb

    return chromadb.PersistentClient(str(folder / "chroma"), settings=chromadb.Settings(anonymized_telemetry=False))


def _searches() -> list[tuple[str, str, int]]:
    order = np.random.default_rng(5).permutation(len(SEARCHES))[:COUNT]
    return [SEARCHES[at] for at in order]


def _skus(inputs: Path) -> list[str]:
    import pyarrow.parquet as pq

    skus = pq.read_table(inputs / "root" / "tables" / f"{PRODUCTS}.parquet", columns=["sku"]).column(0).to_pylist()
    return [skus[at] for at in np.random.default_rng(5).integers(0, len(skus), COUNT)]


def serve_image(inputs: Path, _: Path) -> None:
    """Serve the image in a process of its own, which ends with this one, and ask it until it is ready."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        given["port"] = port = int(free.getsockname()[1])
    serve = f"serve(Path({str(inputs / 'root')!r}), port={port})"
    command = f"from pathlib import Path; from cradle.serve.server import serve; {serve}"
    environment = {**clean_environment("HOME", "PATH"), "PYTHONPATH": str(PROJECT)}
    server = subprocess.Popen([sys.executable, "-c", command], env=environment, stderr=subprocess.DEVNULL)
    atexit.register(server.wait)
    atexit.register(server.terminate)
    until = time.monotonic() + 120
    while not _is_ready(port):
        if server.poll() is not None or time.monotonic() > until:
            raise RuntimeError("the server does not answer")
        time.sleep(0.1)
    _ask([f"/search?{urlencode({'q': one})}" for one in ASKED[:3]])


def _is_ready(port: int) -> bool:
    with contextlib.suppress(OSError):
        connection = http.client.HTTPConnection("127.0.0.1", port)
        connection.request("GET", "/ready")
        return connection.getresponse().status == 200
    return False


def _ask(paths: list[str]) -> tuple[list[float], list[Any]]:
    connection = http.client.HTTPConnection("127.0.0.1", given["port"])
    took, answers = list[float](), list[Any]()
    for path in paths:
        begin = time.perf_counter()
        connection.request("GET", path)
        answer = json.loads(connection.getresponse().read())
        took.append((time.perf_counter() - begin) * 1000)
        answers.append(answer)
    return took, answers


def _over_http(paths: list[str], clients: int, fact: Callable[[Any], Any]) -> Facts:
    begin = time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        parts = list(pool.map(_ask, [paths[at::clients] for at in range(clients)]))
    seconds = time.perf_counter() - begin
    answers = {
        path: one for at, (_, part) in enumerate(parts) for path, one in zip(paths[at::clients], part, strict=True)
    }
    took = [one for part, _ in parts for one in part]
    return {
        "answers": [fact(answers[path]) for path in paths],
        "figures": {**_told(took), "per second": len(paths) / seconds},
    }


def _told(took: list[float]) -> dict[str, float]:
    return {"p50 ms": float(np.percentile(took, 50)), "p95 ms": float(np.percentile(took, 95))}


def _timed(calls: list[Callable[[], Any]]) -> Facts:
    calls[0]()
    took, answers = list[float](), list[Any]()
    for call in calls:
        begin = time.perf_counter()
        answers.append(call())
        took.append((time.perf_counter() - begin) * 1000)
    return {"answers": answers, "figures": {**_told(took), "per second": 1000 * len(took) / sum(took)}}


def by_us(clients: int) -> Callable[[Path, Path], Facts]:
    """Return the search by meaning and by words over HTTP, with so many clients at once."""
    searches = _searches()
    paths = [f"/search?{urlencode({'q': q, 'k': HITS, 'ip_rating': ip, 'cct_k': cct})}" for q, ip, cct in searches]
    return lambda _, __: _over_http(paths, clients, lambda answer: len(answer["hits"]))


def open_chroma(inputs: Path, scratch: Path) -> None:
    """Open a private copy of the collection, and the encoder."""
    import shutil

    from cradle.manifest import read_manifest
    from cradle.vectors.encoder import QueryEncoder

    shutil.copytree(inputs / "chroma", scratch / "chroma")
    root = inputs / "root"
    entry = read_manifest(root).encoder
    assert entry is not None
    given["encoder"] = QueryEncoder(root / entry.file, root / entry.tokenizer, entry)
    given["collection"] = _chroma(scratch).get_collection("chunks", embedding_function=None)


def by_chroma(_: Path, __: Path) -> Facts:
    """Search by meaning in the process itself, with Chroma's filter."""

    def one(question: str, ip: str, kelvin: int) -> int:
        found = given["collection"].query(
            query_embeddings=given["encoder"].encode(question),
            n_results=HITS,
            where={"$and": [{"ip_rating": ip}, {"cct_k": kelvin}]},
            include=["documents", "distances"],
        )
        return len(found["ids"][0])

    return _timed([lambda asked=asked: one(*asked) for asked in _searches()])


def look_up_by_us(clients: int) -> Callable[[Path, Path], Facts]:
    """Return the look-up of products over HTTP, with so many clients at once."""

    def run(inputs: Path, _: Path) -> Facts:
        paths = [f"/products/{quote(one)}" for one in _skus(inputs)]
        return _over_http(paths, clients, lambda answer: answer["sku"])

    return run


def look_up_by_duckdb(inputs: Path, _: Path) -> Facts:
    """Look products up in the same Parquet file, in the process itself."""
    import duckdb

    con = duckdb.connect()
    con.execute(f"create view products as select * from '{inputs}/root/tables/{PRODUCTS}.parquet'")

    def one(sku: str) -> Any:
        cursor = con.execute("select * from products where sku = ?", [sku])
        names = [column[0] for column in cursor.description]
        return json.loads(json.dumps(dict(zip(names, cursor.fetchone(), strict=True)), default=str))["sku"]

    return _timed([lambda sku=sku: one(sku) for sku in _skus(inputs)])


def make_iceberg(inputs: Path, scratch: Path) -> None:
    """Put the products into an Iceberg table."""
    import pyarrow.parquet as pq
    from pyiceberg.catalog.sql import SqlCatalog

    catalog = SqlCatalog("c", uri=f"sqlite:///{scratch}/c.db", warehouse=f"file://{scratch}/w")
    catalog.create_namespace("n")
    rows = pq.read_table(inputs / "root" / "tables" / f"{PRODUCTS}.parquet")
    given["table"] = catalog.create_table("n.t", rows.schema)
    given["table"].append(rows)


def look_up_by_pyiceberg(inputs: Path, _: Path) -> Facts:
    """Look products up in an Iceberg table, in the process itself."""
    from pyiceberg.expressions import EqualTo

    def one(sku: str) -> Any:
        return given["table"].scan(row_filter=EqualTo("sku", sku)).to_arrow().to_pylist()[0]["sku"]

    return _timed([lambda sku=sku: one(sku) for sku in _skus(inputs)])


SIZES = {"smoke": 60, "reduced": 600, "full": FULL}
SEARCH = Stage(
    name="search",
    title=f"{COUNT} searches with a filter",
    unit="products",
    sizes=SIZES,
    prepare=prepare,
    variants=(
        Variant("http", "Cradle: meaning and words, over HTTP", by_us(1), setup=serve_image),
        Variant("http, 8 clients", f"the same, {CLIENTS} clients", by_us(CLIENTS), setup=serve_image),
        Variant("chroma", "Chroma with `where`, in the process: meaning alone", by_chroma, setup=open_chroma),
    ),
    check=lambda facts: same(facts, "answers"),
    goals=(Goal(figure="p95 ms", at_most=60.0),),
)
LOOKUP = Stage(
    name="lookup",
    title=f"{COUNT} look-ups of a product with all its columns",
    unit="products",
    sizes=SIZES,
    prepare=prepare,
    variants=(
        Variant("http", "Cradle: key index, over HTTP", look_up_by_us(1), setup=serve_image),
        Variant("http, 8 clients", f"the same, {CLIENTS} clients", look_up_by_us(CLIENTS), setup=serve_image),
        Variant("duckdb", "DuckDB over Parquet, in the process", look_up_by_duckdb),
        Variant("pyiceberg", "PyIceberg, in the process", look_up_by_pyiceberg, setup=make_iceberg),
    ),
    check=lambda facts: same(facts, "answers"),
    goals=(Goal(figure="p95 ms", at_most=5.0),),
)
STAGES = (SEARCH, LOOKUP)
