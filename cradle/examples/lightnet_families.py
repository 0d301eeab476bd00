"""The families of the lighting catalogue: about 75 SKUs that share a series, its texts and what their columns say.

A family depends on the seed and its number alone, so that any process can make any of them.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from cradle.examples.lightnet_words import ATTRIBUTES, CCTS, FINISHES, FORMS, OPTICS, SENTENCES, SERIES, STEMS

PER_FAMILY: Final = 75
FIRST: Final = "AAXCBE-830H-Q1170"  # the SKU by which the catalogue is known
UNUSED: Final = 0.32  # of a family's columns that it has no values for
EMPTY: Final = 0.12  # of the cells in its other columns
NO_GERMAN: Final = 0.05  # families without a German text
NO_ENGLISH: Final = 0.15
TEXT_CHARS: Final = 500  # of a family's long text at least; it makes a chunk of its own
_NUMBERS: Final = 9900
Row = list[str]


@dataclass(frozen=True)
class Family:
    """What the SKUs of a series share."""

    code: str
    name: str
    kind_de: str
    kind_en: str
    text_de: str
    text_en: str


def family_sizes(seed: int, count: int) -> list[int]:
    """Return how many SKUs each family has, `count` in all: large and small ones, as in real catalogues."""
    draw = random.Random(f"{seed}/families")
    families = max(min(len(SERIES), count), count // PER_FAMILY)
    weights = [0.3 + 1.4 * draw.random() for _ in range(families)]
    total, reached, sizes, given = sum(weights), 0.0, list[int](), 0
    for number, weight in enumerate(weights, 1):
        reached += weight
        upto = count if number == families else round(number + (count - families) * reached / total)
        sizes.append(upto - given)
        given = upto
    return sizes


def family_rows(seed: int, number: int, size: int) -> list[Row]:
    """Return the rows of a family's first `size` SKUs; a longer list begins with the same rows."""
    draw = random.Random(f"{seed}/family/{number}")
    family = _family(draw, number)
    makers = [_maker(draw, kind, values) for _, _, kind, values in ATTRIBUTES]
    start = 1070 if number == 0 else int(draw.random() * _NUMBERS)
    rows = []
    for at in range(size):
        fixed = _fixed(draw, family, at, (start + 37 * at) % _NUMBERS + 100, number * 1000 + at)
        rows.append(
            [
                fixed[column] if column in fixed else make()
                for (column, *_), make in zip(ATTRIBUTES, makers, strict=True)
            ]
        )
    return rows


def sentence(draw: random.Random, language: str) -> str:
    """Return one of the sentences that the families share."""
    shared = SENTENCES[language][1]
    return shared[int(draw.random() * len(shared))]


def _family(draw: random.Random, number: int) -> Family:
    if number < len(SERIES):
        code, name, kind_de, kind_en = SERIES[number]
    else:
        stem, form = STEMS[number % len(STEMS)], FORMS[number // len(STEMS) % len(FORMS)]
        again = number // (len(STEMS) * len(FORMS))
        name = " ".join(
            [stem + form if form.startswith("-") else f"{stem} {form}".strip(), *(["No", str(again)] if again else [])]
        )
        code = stem[:3].upper() + _letters(number)
        _, _, kind_de, kind_en = SERIES[int(draw.random() * len(SERIES))]
    german, english = draw.random() >= NO_GERMAN or number == 0, draw.random() >= NO_ENGLISH or number == 0
    text_de, text_en = _text(draw, "de", name, kind_de), _text(draw, "en", name, kind_en)
    return Family(code, name, kind_de, kind_en, text_de if german else "", text_en if english or not german else "")


def _letters(number: int) -> str:
    return "".join(chr(65 + number // 26**place % 26) for place in (2, 1, 0))


def _text(draw: random.Random, language: str, name: str, kind: str) -> str:
    """Return an opening and as many shared sentences, each once, as a chunk of its own takes."""
    text = SENTENCES[language][0].format(name=name, kind=kind)
    left = list(SENTENCES[language][1])
    while len(text) < TEXT_CHARS:
        text += " " + left.pop(int(draw.random() * len(left)))
    return text


def _fixed(draw: random.Random, family: Family, at: int, number: int, article: int) -> dict[str, str]:
    """Return the cells that every SKU has."""
    cct, optic, finish = (int(draw.random() * len(one)) for one in (CCTS, OPTICS, FINISHES))
    watt, half, lumen = 4 + int(draw.random() * 177), int(draw.random() * 2), 105 + int(draw.random() * 30)
    if family.code == SERIES[0][0] and at == 0:
        cct, optic, finish = 1, 0, 2
    light = CCTS[cct]
    return {
        "sku": f"{family.code}-{light[0]}{OPTICS[optic][0]}-{FINISHES[finish][0]}{number:04d}",
        "name": f"{family.name} {family.kind_en} {light[1]}",
        "title_de": f"{family.name} {family.kind_de} {light[1]} {light[2]}",
        "series": family.name,
        "description_de": family.text_de,
        "description_en": family.text_en,
        "gtin": _gtin(article),
        "power_w": f"{watt},5" if half else str(watt),
        "luminous_flux_lm": str(round(watt * lumen, -1)),
        "cct_k": light[1].removesuffix("K"),
        "beam_angle_deg": OPTICS[optic][1],
        "colour": FINISHES[finish][1],
    }


def _gtin(article: int) -> str:
    digits = f"4019{article:08d}"
    odd, even = sum(map(int, digits[::2])), sum(map(int, digits[1::2]))
    return f"{digits}{-(odd + 3 * even) % 10}"


def _maker(draw: random.Random, kind: str, values: Any) -> Callable[[], str]:
    """Return what makes the cells of a family's column: none at all, mostly one text, or numbers in a range."""
    unused, favourite = draw.random() < UNUSED, draw.random()
    chance = draw.random
    if unused or not values or values == (0, 0):
        return lambda: ""
    if kind == "text":
        mostly = values[int(favourite * len(values))]

        def text() -> str:
            drawn = chance()
            if drawn < EMPTY:
                return ""
            return mostly if drawn < 0.6 else str(values[int(chance() * len(values))])

        return text
    low, high = values
    places = 1 + int(favourite * 2) if kind == "decimal" else 0
    steps = round((high - low) * 10**places) + 1

    def number() -> str:
        if chance() < EMPTY:
            return ""
        value = round(low * 10**places) + int(chance() * steps)
        return f"{value / 10**places:g}".replace(".", ",") if places else str(value)

    return number
