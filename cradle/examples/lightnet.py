"""A catalogue of professional LED lighting, German and English, with the repetition and the dirt of real ones.

Full size: 104,699 SKUs x 75 attributes in 15 CSV and 12 XLSX files.
"""

from __future__ import annotations

import csv
import io
import random
from collections.abc import Iterator
from typing import Final

from cradle.examples.lightnet_words import ATTRIBUTES, CCTS, FINISHES, GUIDES, OPTICS, SENTENCES, SERIES
from cradle.examples.workbook import workbook

FULL: Final = 104_699
CSV_SHARE: Final = 0.5556  # of the SKUs; the rest comes in workbooks
CSV_FILES: Final = 15
XLSX_FILES: Final = 12
CP1252_FILES: Final = (2, 5, 8, 11)  # CSV files in the older encoding
HEADERS: Final = tuple(header for _, header, _, _ in ATTRIBUTES)
Row = list[str]


def lightnet_files(seed: int, rows: int | None) -> Iterator[tuple[str, bytes, int]]:
    """Yield (path, bytes, records) of the catalogue: CSV files, workbooks, documents."""
    count = FULL if rows is None else rows
    draw = random.Random(seed)
    skus = _skus(draw, count)
    in_csv = round(count * CSV_SHARE)
    for number, part in enumerate(_parts(skus[:in_csv], min(CSV_FILES, max(2, in_csv // 200)))):
        lines = [_row(draw, *one) for one in part]
        lines += _dirt(draw, lines, number)
        encoding = "cp1252" if number in CP1252_FILES else "utf-8"
        yield f"catalogue/lightnet_{number + 1:02d}.csv", _csv(lines, encoding), len(lines)
    for number, part in enumerate(_parts(skus[in_csv:], min(XLSX_FILES, max(1, (count - in_csv) // 400)))):
        lines = [_row(draw, *one) for one in part]
        yield f"catalogue/lightnet_{number + 1:02d}.xlsx", workbook("Katalog", HEADERS, lines), len(lines)
    documents = 48 if rows is None else 6
    for number in range(documents):
        name, title, paragraphs = GUIDES[number % len(GUIDES)]
        series = SERIES[number % len(SERIES)][1]
        body = "\n\n".join(one.format(series=series) for one in paragraphs)
        yield f"documents/{number + 1:02d}_{name}.md", f"# {title.format(series=series)}\n\n{body}\n".encode(), 1


def _skus(draw: random.Random, count: int) -> list[tuple[str, int, int, int, int, int]]:
    """Return (SKU, series, colour temperature, optic, finish, watt) of every product, each SKU once."""
    found: dict[str, tuple[str, int, int, int, int, int]] = {}
    while len(found) < count:
        series = draw.randrange(len(SERIES))
        cct, optic, finish = draw.randrange(len(CCTS)), draw.randrange(len(OPTICS)), draw.randrange(len(FINISHES))
        watt = draw.randint(4, 180)
        code = (
            f"{SERIES[series][0]}-{CCTS[cct][0]}{OPTICS[optic][0]}-{FINISHES[finish][0]}{draw.randint(100, 9999):04d}"
        )
        found.setdefault(code, (code, series, cct, optic, finish, watt))
    first = ("AAXCBE-830H-Q1170", 0, 1, 0, 2, 42)  # the SKU by which the catalogue is known
    others = [one for code, one in found.items() if code != first[0]]
    return [first, *others[: count - 1]]


def _parts(
    skus: list[tuple[str, int, int, int, int, int]], files: int
) -> list[list[tuple[str, int, int, int, int, int]]]:
    size = -(-len(skus) // files)
    return [skus[at : at + size] for at in range(0, len(skus), size)]


def _row(draw: random.Random, sku: str, series: int, cct: int, optic: int, finish: int, watt: int) -> Row:
    _, name, kind_de, kind_en = SERIES[series]
    fixed = {
        "sku": sku,
        "name": f"{name} {kind_en} {CCTS[cct][1]}",
        "title_de": f"{name} {kind_de} {CCTS[cct][1]} {CCTS[cct][2]}",
        "series": name,
        "description_de": _text(draw, "de", name, kind_de, CCTS[cct][2]),
        "description_en": _text(draw, "en", name, kind_en, CCTS[cct][3]),
        "power_w": _number(watt + draw.choice((0.0, 0.5))),
        "luminous_flux_lm": str(round(watt * draw.choice((105, 112, 118, 126, 134)), -1)),
        "cct_k": CCTS[cct][1].removesuffix("K"),
        "beam_angle_deg": OPTICS[optic][1],
        "colour": FINISHES[finish][1],
    }
    row = []
    for column, _, kind, values in ATTRIBUTES:
        if column in fixed:
            row.append(fixed[column])
        elif draw.random() < 0.40:  # real catalogues are a third empty
            row.append("")
        elif kind == "decimal":
            low, high = values
            row.append(_number(round(draw.uniform(low, high), draw.choice((0, 1, 2)))))
        elif kind == "integer":
            low, high = values
            row.append(str(draw.randint(low, high)))
        else:
            row.append(draw.choice(values))
    return row


def _text(draw: random.Random, language: str, name: str, kind: str, light: str) -> str:
    opening, shared = SENTENCES[language]
    chosen = [shared[draw.randrange(len(shared))] for _ in range(draw.choice((1, 2, 2, 3)))]
    return " ".join([opening.format(name=name, kind=kind, light=light), *dict.fromkeys(chosen)])


def _number(value: float) -> str:
    return f"{value:g}".replace(".", ",")


def _dirt(draw: random.Random, lines: list[Row], number: int) -> list[Row]:
    """Spoil some cells in place, and return rows that are delivered a second time."""
    power = [column for column, *_ in ATTRIBUTES].index("power_w")
    weight = [column for column, *_ in ATTRIBUTES].index("weight_kg")
    if len(lines) > 20:
        lines[draw.randrange(10, len(lines))][power] = "ca. 40"
        lines[draw.randrange(10, len(lines))][weight] = "1.2.3"
    if number == 0:
        lines[-1][power] = "42 W"
    return [list(lines[5])] if number % 3 == 0 and len(lines) > 5 else []


def _csv(lines: list[Row], encoding: str) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, delimiter=";", lineterminator="\r\n")
    writer.writerow(HEADERS)
    writer.writerows(lines)
    return text.getvalue().encode(encoding)
