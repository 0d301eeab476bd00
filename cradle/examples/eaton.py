"""Mixed documents of an electrical supplier: a price list as CSV, an extract as workbook, guides as text.

The kinds that no parser reads yet (PDF, BMEcat XML, archives, CAD) are not made here.
"""

from __future__ import annotations

import csv
import io
import random
from collections.abc import Iterator
from typing import Final

from cradle.examples.workbook import workbook

FULL: Final = 500
FAMILIES: Final = (
    ("FAZ", "Miniature circuit breaker", "Leitungsschutzschalter", (6, 10, 13, 16, 20, 25, 32)),
    ("PKZ", "Motor-protective circuit breaker", "Motorschutzschalter", (1, 4, 10, 16, 25)),
    ("DIL", "Contactor", "Leistungsschütz", (7, 9, 12, 17, 25, 32)),
    ("RMQ", "Push button", "Drucktaster", (4,)),
    ("EMR", "Monitoring relay", "Überwachungsrelais", (3, 5)),
)
CURVES: Final = ("B", "C", "D", "K")
HEADER: Final = ("sku", "name", "name_de", "family", "rated_current_a", "poles", "weight_g", "price_eur", "description")
_GUIDES: Final = {
    "documents/selection.md": """# Selecting a circuit breaker

The rated current follows from the cable, the curve from the load.

## Curves

- B trips between three and five times the rated current; it suits sockets and lighting.
- C trips between five and ten times; it suits loads with moderate inrush, such as small motors.
- D trips between ten and twenty times; it suits transformers.

## Poles

| network | poles |
|---|---|
| single phase | 1 |
| single phase with neutral | 2 |
| three phases | 3 |
""",
    "documents/wartung.md": """# Wartung von Schützen

Prüfen Sie die Hauptkontakte nach einer Million Schaltspielen.

## Reinigung

Entfernen Sie Staub mit einem trockenen Pinsel. Öl und Kontaktspray zerstören die Beschichtung.

## Austausch

Tauschen Sie die Spule nur im spannungsfreien Zustand. Die Kennzeichnung A1 und A2 muss lesbar bleiben.
""",
    "documents/safety.html": """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Safety notes</title></head><body>
<h1>Safety notes</h1>
<p>Only qualified electricians may open the enclosure &mdash; dangerous voltage remains for five minutes.</p>
<h2>Torque</h2>
<table><tr><th>terminal</th><th>Nm</th></tr><tr><td>main</td><td>2.4</td></tr><tr><td>control</td><td>1.2</td></tr></table>
</body></html>
""",
    "documents/lieferung.txt": """Lieferbedingungen

Lagerware verlässt das Werk innerhalb von zwei Arbeitstagen.
Für Sonderanfertigungen gilt die in der Auftragsbestätigung genannte Frist.
Beanstandungen nehmen wir innerhalb von zehn Tagen nach Erhalt der Ware entgegen.
""",
}


def eaton_files(seed: int, rows: int | None) -> Iterator[tuple[str, bytes, int]]:
    """Yield (path, bytes, records): half of the products as CSV in cp1252, half as workbook, and the guides."""
    count = FULL if rows is None else rows
    draw = random.Random(seed)
    products = _products(draw, count)
    half = len(products) // 2
    text = io.StringIO()
    writer = csv.writer(text, delimiter=";", lineterminator="\r\n")
    writer.writerows([HEADER, *products[:half]])
    yield "products/price_list.csv", text.getvalue().encode("cp1252"), half
    yield "products/extract.xlsx", workbook("Extract", HEADER, products[half:]), len(products) - half
    for path, content in sorted(_GUIDES.items()):
        yield path, content.encode(), 1


def _products(draw: random.Random, count: int) -> list[list[str]]:
    found: dict[str, list[str]] = {}
    while len(found) < count:
        code, name, name_de, currents = draw.choice(FAMILIES)
        current, poles, curve = draw.choice(currents), draw.randint(1, 4), draw.choice(CURVES)
        sku = f"{code}-{curve}{current}/{poles}-{draw.randint(1, 99):02d}"
        found[sku] = [
            sku,
            f"{name} {current} A {poles}-pole",
            f"{name_de} {current} A {poles}-polig",
            name,
            str(current),
            str(poles),
            f"{draw.uniform(40, 900):.1f}".replace(".", ","),
            f"{draw.uniform(4, 1890):,.2f}".replace(",", " ").replace(".", ",").replace(" ", "."),
            f"{name} with curve {curve}, {poles} poles and {current} A. Für Schaltschränke und Verteiler.",
        ]
    return list(found.values())
