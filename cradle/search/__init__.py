"""Search over an image's own files: query encoder, flat index, chunks."""

from cradle.search.searcher import Hit, Searcher

__all__ = ["Hit", "Searcher"]
