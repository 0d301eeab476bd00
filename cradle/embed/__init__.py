"""Texts to vectors. A vector depends on its text alone, not on the texts beside it (DESIGN, section 7)."""

from cradle.embed.embedder import Embedder, Places, Progress, load_embedder
from cradle.embed.model import EMBED_FORMAT, Vectors, model_folder, model_key
from cradle.embed.tokens import PIECE

__all__ = [
    "EMBED_FORMAT",
    "PIECE",
    "Embedder",
    "Places",
    "Progress",
    "Vectors",
    "load_embedder",
    "model_folder",
    "model_key",
]
