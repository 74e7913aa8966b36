"""Weights of PyTorch's libraries in ours, and back; torch is not needed.

Each network and encoder has its own table, ``names``; here is what walks it.
"""

from jaxseg.convert.from_torch import LIBRARIES, from_torch, to_torch
from jaxseg.convert.names import laid_back, laid_out, names_of, place

__all__ = ["LIBRARIES", "from_torch", "laid_back", "laid_out", "names_of", "place", "to_torch"]
