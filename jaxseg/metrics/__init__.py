"""Metrics: frozen pytrees with ``zero``, ``of``, ``+`` to merge, and scores as methods."""

from jaxseg.metrics.confusion import Confusion, mean

__all__ = ["Confusion", "mean"]
