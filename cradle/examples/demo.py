"""The demo shop: 1,000 sales orders, seven products, five documents."""

from __future__ import annotations

import csv
import io
import random
from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from typing import Final

PRODUCTS: Final = ("Laptop", "Monitor", "Keyboard", "Mouse", "Headset", "Webcam", "Desk Chair")
REGIONS: Final = ("North", "South", "East", "West", "Central")
START: Final = date(2024, 1, 1)
ORDERS: Final = 1000

_CATALOGUE: Final = (
    (
        "DEMO-LAP-14",
        "Laptop",
        "Computers",
        "1.35",
        "24",
        "true",
        "A 14-inch laptop for travelling colleagues. The battery lasts a working day, the lid opens flat, and the keyboard is lit. It wakes in two seconds and stays silent while you write.",
    ),
    (
        "DEMO-MON-27",
        "Monitor",
        "Displays",
        "5.80",
        "36",
        "true",
        "A 27-inch monitor with a matt panel and a stand that turns, tilts and rises. One cable carries picture, data and 90 watts of power to the laptop.",
    ),
    (
        "DEMO-KEY-DE",
        "Keyboard",
        "Input devices",
        "0.74",
        "24",
        "false",
        "A quiet full-size keyboard with German layout and a number pad. Keys are printed by laser, so that the letters stay readable for years.",
    ),
    (
        "DEMO-MOU-01",
        "Mouse",
        "Input devices",
        "0.09",
        "24",
        "true",
        "A wireless mouse for either hand. It works on glass, charges in an hour by USB-C and then runs for two months.",
    ),
    (
        "DEMO-HEA-02",
        "Headset",
        "Audio",
        "0.21",
        "24",
        "true",
        "A headset with soft ear pads for long calls. The microphone leaves out the noise of an open office and mutes when the arm is raised.",
    ),
    (
        "DEMO-WEB-4K",
        "Webcam",
        "Video",
        "0.16",
        "12",
        "true",
        "A webcam with a cover that slides over the lens. It corrects backlight and frames one or several people by itself.",
    ),
    (
        "DEMO-CHA-07",
        "Desk Chair",
        "Furniture",
        "17.40",
        "60",
        "false",
        "An office chair with a back that follows every movement. Seat depth, armrests and the support of the lower back can be set without tools.",
    ),
)

_DOCUMENTS: Final = {
    "documents/returns.md": """# Returns policy

You may return goods within 30 days after delivery. The parcel must be complete and the goods clean.

## How to send goods back

- Ask for a return label in your account.
- Put the goods into the original box with all cables.
- Hand the parcel to the carrier and keep the receipt.

## Money back

We pay the price back within five working days after the parcel has reached our warehouse. Shipping costs are paid back only when the whole order is returned.
""",
    "documents/shipping.md": """# Shipping guide

Orders that arrive before noon leave our warehouse the same day.

| region | days | price |
|---|---|---|
| North | 1 | 4.90 |
| South | 2 | 4.90 |
| East | 2 | 5.90 |
| West | 1 | 4.90 |
| Central | 1 | 3.90 |

## Large goods

Desk chairs come on a pallet. The driver calls one hour before delivery and carries the goods to the first closed door.
""",
    "documents/warranty.md": """# Warranty

Every product carries the warranty that its data sheet names, at least twelve months from the day of delivery.

## What is covered

Faults of material and workmanship are covered. A battery counts as faulty when it holds less than 70 percent of its capacity in the first year.

## What is not covered

Scratches, spilled liquids, and repairs by workshops that we have not named are not covered.
""",
    "documents/faq.html": """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Frequent questions</title>
<style>h2 { color: #345; }</style></head><body>
<h1>Frequent questions</h1>
<h2>Can I change an order?</h2>
<p>Yes, until the warehouse has packed it. Write to the service desk and name the order number, for example ORD-0001.</p>
<h2>Do you ship abroad?</h2>
<p>Not yet. We deliver to all five regions: North, South, East, West &amp; Central.</p>
<h2>How do I clean a keyboard?</h2>
<ul><li>Unplug it.</li><li>Shake it upside down.</li><li>Wipe it with a damp cloth, never with alcohol.</li></ul>
</body></html>
""",
    "documents/care.txt": """Product care

A laptop battery ages slowest between 20 and 80 percent of charge.
Clean the panel of a monitor with a dry microfibre cloth and do not press on it.
Oil the castors of a desk chair once a year.
""",
}


def demo_files(seed: int, rows: int | None) -> Iterator[tuple[str, bytes, int]]:
    """Yield (path, bytes, records) of the demo's files."""
    orders = ORDERS if rows is None else rows
    yield "sales/sales.csv", sales_csv(seed, orders), orders
    yield "products/products.csv", _products_csv(), len(_CATALOGUE)
    for path, text in sorted(_DOCUMENTS.items()):
        yield path, text.encode(), 1


def sales_csv(seed: int, orders: int) -> bytes:
    """Return the sales orders; per row the draws come in the order date, customer, product, quantity, amount, region."""
    draw = random.Random(seed)
    lines = [("order_id", "customer_id", "order_date", "product", "quantity", "amount", "region")]
    for number in range(1, orders + 1):
        day = START + timedelta(days=draw.randint(0, 89))
        customer = f"CUST-{draw.randint(1, 200):04d}"
        product = draw.choice(PRODUCTS)
        quantity = draw.randint(1, 5)
        amount = round(draw.uniform(20.0, 2000.0), 2)
        region = draw.choice(REGIONS)
        lines.append((f"ORD-{number:04d}", customer, day.isoformat(), product, str(quantity), f"{amount:.2f}", region))
    return _csv(lines)


def _products_csv() -> bytes:
    header = ("sku", "name", "category", "weight_kg", "warranty_months", "in_stock", "description")
    return _csv([header, *_CATALOGUE])


def _csv(lines: Sequence[tuple[str, ...]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(lines)
    return text.getvalue().encode()
