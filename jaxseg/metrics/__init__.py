"""Metrics: frozen pytrees with ``zero``, ``of``, ``+`` to merge, and scores as methods."""

from jaxseg.metrics.confusion import SCORES, Confusion, mean

__all__ = ["SCORES", "Confusion", "mean"]
