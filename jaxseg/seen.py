"""Cases that are scored and that a run was trained on: their scores say nothing of new images."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jaxseg.checkpoint import Opened
from jaxseg.data import Data
from jaxseg.errors import UserError


def seen_line(
    data: Data, split: str, runs: Sequence[Opened], folders: Sequence[Path]
) -> str | None:
    """What to say where cases of a split of ``data`` are among those that one of the runs learnt.

    None where there are none, and where a run's data no longer lie where it was trained on them.
    """
    scored = _cases(data, split)
    for run, folder in zip(runs, folders, strict=True):
        both = scored & _trained(run.experiment.data)
        if both:
            return (
                f"{len(both)} of the {len(scored)} scored cases are among those that {folder} was "
                "trained on; their scores say nothing of new images"
            )
    return None


def _trained(data: Data) -> set[Any]:
    first, step = data.part or (0, 1)
    return _cases(data, "train", slice(first, None, step))


def _cases(data: Data, split: str, part: slice = slice(None)) -> set[Any]:
    """What tells the cases of a split apart from all others; empty where nothing does."""
    try:
        source = data.dataset.open(str(Path(data.root).expanduser()) if data.root else "", split)
        return {_identity(source, index) for index in range(len(source))[part]} - {None}
    except (UserError, OSError):
        return set()


def _identity(source: Any, index: int) -> Any:
    """The image's file and its page, else the source's key; None where it has neither."""
    pairs = getattr(source, "pairs", None)
    if pairs is not None:
        return str(Path(pairs[index].image).resolve()), pairs[index].page
    return source.key(index) if hasattr(source, "key") else None
