"""Example data: seeded, byte-identical each time, nobody's real data."""

from cradle.examples.generate import EXAMPLES, Generated, generate

__all__ = ["EXAMPLES", "Generated", "generate"]
