"""Classes that never occur among the cases to train on, so that a run can say so."""

from collections.abc import Iterable, Sequence

import numpy as np

from jaxseg.data.checks import few
from jaxseg.data.protocols import Source
from jaxseg.data.sampling import slabs


def unseen(cases: Source, numbers: Iterable[int], num_classes: int) -> tuple[int, ...]:
    """The classes without one pixel in these cases, which are read until each class was seen."""
    left = set(range(num_classes))
    for number in numbers:
        label = cases[number].get("label")
        for _, slab in slabs(label) if label is not None else ():
            left -= set(np.unique(slab).tolist())
        if not left:
            break
    return tuple(sorted(left))


def unseen_line(absent: Sequence[int], class_names: Sequence[str], count: int) -> str:
    """What a run says of absent classes: their names, in how many cases, and what to look at."""
    named = [f"{k} ({class_names[k]})" if class_names else str(k) for k in absent]
    return (
        f"{'class' if len(named) == 1 else 'classes'} {few(named)}: no pixel in the {count} cases "
        "to train on; are `values`, `ignore` and num_classes those of the masks?"
    )
