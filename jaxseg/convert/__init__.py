"""Weights of PyTorch's libraries, and where they stand in ours.

Each network and encoder has its own table, ``names``; here is what walks it.
"""

from jaxseg.convert.names import laid_back, laid_out, names_of, place

__all__ = ["laid_back", "laid_out", "names_of", "place"]
