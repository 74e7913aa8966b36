"""The key of scores in ``evaluation.json``: what was scored, and how it differs from the run."""

import dataclasses
from collections.abc import Iterable, Sequence

from jaxseg.checkpoint import Opened
from jaxseg.data import Data
from jaxseg.experiment import Evaluation


def key_of(
    what: str, stored: Sequence[Opened], given: Sequence[Opened], overrides: Sequence[str]
) -> str:
    """The key of the scores: the split or files, and what is other of the experiments."""
    before, now = stored[0].experiment, given[0].experiment
    name = _name(what, before.data, now.data, overrides)
    changes = [
        (one.experiment.evaluation, other.experiment.evaluation)
        for one, other in zip(stored, given, strict=True)
    ]
    return " ".join([name, *_otherwise(changes, overrides)])


def _name(split: str, stored: Data, given: Data, overrides: Sequence[str]) -> str:
    """The split, and what is other of the data than the run's."""
    given = dataclasses.replace(given, workers=stored.workers, cache=stored.cache)
    if given == stored:
        return split
    if dataclasses.replace(given, root=stored.root) == stored:
        return f"{split} {given.root}"
    return " ".join([split, *(one for one in overrides if one.startswith("data."))])


def _otherwise(
    changes: Sequence[tuple[Evaluation, Evaluation]], overrides: Sequence[str]
) -> Iterable[str]:
    """What changes the predictions, or the objects that are counted, of any of the runs."""
    if any(stored.tta != given.tta for stored, given in changes):
        yield "tta" if changes[0][1].tta else "without tta"
    for name in ("window", "overlap", "dropout_samples", "crf", "instances"):
        if any(getattr(stored, name) != getattr(given, name) for stored, given in changes):
            yield from (one for one in overrides if one.startswith(f"evaluation.{name}"))
