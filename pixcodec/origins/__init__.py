"""What pictures were made from: found while encoding, stored in their place, rendered exactly while decoding.

A kind of origin is a file here; `search` knows them all and is imported when a picture may have one, since they bring
much. What is known without any of them is here: trees, and the choices that name no kind.
"""

from __future__ import annotations

from pixcodec.origins.tree import Leaf, Node, known_leaves, leaves, render, words, write

AUTO, NONE = "auto", "none"  # whatever is found, and nothing

__all__ = ["AUTO", "NONE", "Leaf", "Node", "known_leaves", "leaves", "render", "words", "write"]
