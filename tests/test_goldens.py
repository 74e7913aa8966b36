"""Every reference value of losses and metrics that the founders wrote down stands in a test.

That a literal stands there does not show that it is asserted well; that one is missing shows that
nothing asserts it. The values lie in the founders' shared folder; without it this is skipped.
"""

import json
import math
import re
from pathlib import Path

import pytest

ELSEWHERE = (
    "adv.",  # adversarial training
    "kd.", "skd.", "ummkd.kd",  # distillation
    "ritm.disk", "ritm.tanh", "dextr.",  # maps of clicks
    "prune.", "svd.", "tucker2", "int8.",  # compression
)  # fmt: skip
"""Beginnings of names that speak of neither losses nor metrics."""


@pytest.fixture(scope="module")
def literals() -> list[float]:
    """All numbers in the tests of losses, metrics and data."""
    here = Path(__file__).parent
    files = [p for d in ("losses", "metrics", "data") for p in (here / d).glob("*.py")]
    texts = [p.read_text().replace("_", "") for p in files]
    return [float(n) for text in texts for n in re.findall(r"\d+\.?\d*(?:e-?\d+)?", text)]


@pytest.mark.parametrize("name", ["losses", "metrics", "misc", "coco"])
def test_every_golden_of_losses_and_metrics_stands_in_a_test(shared, literals, name):
    goldens = json.loads((shared / "facts/golden" / f"{name}.json").read_text())
    if name == "coco":
        goldens = {f"{kind} {i}": x for kind, row in goldens.items() for i, x in enumerate(row)}
    missing = [
        key
        for key, value in goldens.items()
        if not key.startswith(ELSEWHERE)
        and not any(math.isclose(abs(value), x, rel_tol=1e-9, abs_tol=1e-12) for x in literals)
    ]
    assert not missing
