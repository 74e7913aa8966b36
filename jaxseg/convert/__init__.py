"""Weights of PyTorch's libraries in ours, and back; torch is not needed.

Each network and encoder has its own table, ``names``; here is what walks it.
"""

from jaxseg.convert.encoder import encoder_weights
from jaxseg.convert.from_torch import LIBRARIES, counterpart, from_torch, to_torch
from jaxseg.convert.names import laid_back, laid_out, names_of, place
from jaxseg.convert.read import read

__all__ = [
    "LIBRARIES",
    "counterpart",
    "encoder_weights",
    "from_torch",
    "laid_back",
    "laid_out",
    "names_of",
    "place",
    "read",
    "to_torch",
]
