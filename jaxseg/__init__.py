"""Image segmentation in JAX.

``create`` a model by name, ``load`` a run's model and variables (``opened``: its experiment too),
``segment`` an image.
Everything is imported at first use, so that ``import jaxseg`` costs next to nothing.
"""

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from jaxseg.checkpoint import load as load
    from jaxseg.checkpoint import opened as opened
    from jaxseg.encoders import ENCODERS as ENCODERS
    from jaxseg.inference import segment as segment
    from jaxseg.models import MODELS as MODELS
    from jaxseg.models import create as create

_HOMES = {
    "create": "jaxseg.models",
    "MODELS": "jaxseg.models",
    "ENCODERS": "jaxseg.encoders",
    "load": "jaxseg.checkpoint",
    "opened": "jaxseg.checkpoint",
    "segment": "jaxseg.inference",
}

__all__ = ["ENCODERS", "MODELS", "__version__", "create", "load", "opened", "segment"]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'jaxseg' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
