"""The embedded databases: twelve small schemas with seeded rows, and a hand-written question bank for each."""

from askguru_lib.databases.samples.building import ENGINES, build, build_all, content_hash
from askguru_lib.databases.samples.catalog import NAMES, Definition, bank, critic_items, definition, load, training_bank
from askguru_lib.databases.samples.server import serve, stop

__all__ = [
    "ENGINES",
    "NAMES",
    "Definition",
    "bank",
    "build",
    "build_all",
    "content_hash",
    "critic_items",
    "definition",
    "load",
    "serve",
    "stop",
    "training_bank",
]
