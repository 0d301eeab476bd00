"""The data API of an image; needs the extra `serve` and nothing else."""

from cradle.serve.app import create_app
from cradle.serve.server import serve

__all__ = ["create_app", "serve"]
