"""Text, Markdown and HTML documents: one row each, the text in Markdown form."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import pyarrow as pa
from lxml import etree, html

from cradle.installation import Source
from dlt_pipelines.reading.parsed import TECHNICAL, Rejects

FIELDS = ("title", "text", "media_type")
MEDIA_TYPES = {"text": "text/plain", "markdown": "text/markdown", "html": "text/html"}
_DROPPED = ("script", "style", "noscript", "template", "head", "svg")
_HEADING = re.compile(r"^#{1,6}\s+(.+?)\s*#*\s*$", re.MULTILINE)
_CHARSET = re.compile(rb"<meta[^>]+charset=[\"']?([A-Za-z0-9_-]+)", re.IGNORECASE)


def parse_document(path: Path, source: Source, rejects: Rejects, notes: list[str]) -> Iterator[pa.Table]:
    """Parse one document."""
    text = _decoded(path.read_bytes(), source, rejects)
    title = PurePosixPath(rejects.source_file).stem
    if text is not None and source.format == "html":
        title, text = _html(text, title)
    elif text is not None and source.format == "markdown":
        heading = _HEADING.search(text)
        title = heading.group(1) if heading else title
    if text is not None and not text.strip():
        rejects.add("row", "empty_document", "the document holds no text", row_number=1)
        text = None
    fields = [*(pa.field(name, pa.string()) for name in FIELDS), *TECHNICAL]
    row = {"title": title, "text": text, "media_type": MEDIA_TYPES[source.format], "_row_number": 1}
    yield pa.Table.from_pylist([row] if text is not None else [], schema=pa.schema(fields))


def _decoded(data: bytes, source: Source, rejects: Rejects) -> str | None:
    declared = _CHARSET.search(data[:2048]) if source.format == "html" else None
    candidates = ["utf-16"] if data[:2] in (b"\xff\xfe", b"\xfe\xff") else ["utf-8-sig"]
    candidates += [declared.group(1).decode()] if declared else []
    candidates += [source.dialect.encoding, source.dialect.fallback_encoding or ""]
    for encoding in filter(None, candidates):
        try:
            text = data.decode(encoding)
        except (UnicodeDecodeError, LookupError):
            continue
        if "\0" in text:
            rejects.add("row", "nul_byte", "the document holds a NUL byte", row_number=1)
            return None
        return text.replace("\r\n", "\n").replace("\r", "\n")
    tried = ", ".join(filter(None, candidates))
    rejects.add("row", "bad_encoding", f"decodes as none of {tried}. Name its encoding in the dialect", row_number=1)
    return None


def _html(text: str, fallback: str) -> tuple[str, str]:
    """Return (title, Markdown) of a page; nothing is fetched and no entity is resolved from outside."""
    if not text.strip():
        return fallback, ""
    # As bytes, since lxml refuses text that declares an encoding of its own.
    parser = html.HTMLParser(encoding="utf-8", no_network=True, remove_comments=True, remove_pis=True)
    try:
        page = html.document_fromstring(text.encode(), parser=parser)
    except etree.ParserError:  # nothing but comments
        return fallback, ""
    named = page.findtext(".//title") or page.findtext(".//h1") or ""
    for element in list(page.iter(*_DROPPED)):
        element.drop_tree()
    for line_break in page.iter("br"):
        line_break.tail = "\n" + (line_break.tail or "")
    lines: list[str] = []
    _walk(page, lines)
    body = re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()
    return " ".join(named.split()) or fallback, body


def _walk(element: html.HtmlElement, lines: list[str]) -> None:
    """Append an element's text, block by block."""
    for child in element:
        tag = child.tag if isinstance(child.tag, str) else ""
        if re.fullmatch(r"h[1-6]", tag):
            lines += ["", f"{'#' * int(tag[1])} {_inline(child)}", ""]
        elif tag == "table":
            lines += ["", *_table(child), ""]
        elif tag == "pre":
            lines += ["", child.text_content().strip(), ""]
        elif tag in ("p", "li", "dt", "dd", "blockquote", "figcaption", "caption") and not _has_blocks(child):
            prefix = "- " if tag == "li" else ""
            lines += [f"{prefix}{_inline(child)}"] + ([] if tag == "li" else [""])
        elif _has_blocks(child):
            lines += [_squeezed(child.text)] if _squeezed(child.text) else []
            _walk(child, lines)
        elif _inline(child):
            lines += [_inline(child), ""] if tag == "div" else [_inline(child)]
        if _squeezed(child.tail):
            lines.append(_squeezed(child.tail))


_BLOCKS = "|".join(
    f".//{name}" for name in ("p", "div", "ul", "ol", "li", "table", "pre", "h1", "h2", "h3", "h4", "h5", "h6")
)


def _has_blocks(element: html.HtmlElement) -> bool:
    return bool(element.xpath(_BLOCKS))


def _inline(element: html.HtmlElement) -> str:
    return _squeezed(element.text_content())


def _squeezed(text: str | None) -> str:
    return " ".join((text or "").split())


def _table(table: html.HtmlElement) -> list[str]:
    rows = [[_inline(cell).replace("|", "/") for cell in row.iter("td", "th")] for row in table.iter("tr")]
    rows = [row for row in rows if row]
    lines = [f"| {' | '.join(row)} |" for row in rows]
    if len(lines) > 1:
        lines.insert(1, "|" + "---|" * len(rows[0]))
    return lines
