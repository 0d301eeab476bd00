"""Search over an image's own files: query encoder, flat index, chunks; by words without them."""

from cradle.search.hits import Hit
from cradle.search.searcher import Searcher

__all__ = ["Hit", "Searcher"]
