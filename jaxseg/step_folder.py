"""The folder of one step: whether it is whole, what it notes, and what to use in its place.

Orbax and tensorstore say what is wrong with a file in many lines of their own; here it becomes one
line that names the checkpoint.
"""

import contextlib
import json
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import jax
from orbax.checkpoint import v1 as ocp

from jaxseg import digests, disk
from jaxseg.errors import UserError, first_line
from jaxseg.workdir import CHECKPOINTS


def steps(workdir: str | Path) -> list[int]:
    """The steps of whole checkpoints, ascending, without stray files and half-written saves."""
    folder = Path(workdir) / CHECKPOINTS
    if not folder.is_dir():
        return []
    found = [p for p in folder.iterdir() if p.name.isdigit() and (p / "state").is_dir()]
    return sorted(int(p.name) for p in found)


ONE_DEVICE = json.dumps(
    {
        "sharding_type": "NamedSharding",
        "shape": [1],
        "axis_names": ["device"],
        "axis_types": ["AxisType.Auto"],
        "partition_spec": [],
        "device_mesh": {"mesh": [{"id": 0}]},
    }
)
"""Orbax's words for "on the first device"."""


def open_anywhere(folder: Path) -> None:
    """Let orbax alone put the arrays on one device, whatever devices the run had.

    It would look for the run's own devices and refuse to open the checkpoint without them.
    """
    path = folder / "state" / "_sharding"
    if path.is_file():
        with disk.replacing(path) as beside:
            beside.write_text(json.dumps(dict.fromkeys(json.loads(path.read_text()), ONE_DEVICE)))


def metadata_of(folder: Path) -> dict[str, Any]:
    """What ``Saver.save`` noted beside the state: ``progress`` and ``scores``."""
    _intact(folder)
    with readable(folder):
        noted = ocp.checkpointables_metadata(str(folder.absolute())).custom_metadata
        return {"progress": noted["progress"], "scores": noted["scores"]}  # pyright: ignore


def tree_of(folder: Path) -> dict[str, Any]:
    """Shapes and dtypes of the arrays in a checkpoint that is whole, as a tree."""
    _intact(folder)
    with readable(folder):
        return dict(ocp.metadata(str(folder.absolute()), checkpointable_name="state").metadata)


def _intact(folder: Path) -> None:
    """Refuse a checkpoint of which a part is missing, damaged or cut short, naming it.

    Orbax opens all arrays at once, and where one cannot be read the others complain in logs and
    tracebacks of their own. So it is handed only what has passed here.
    """
    needed = ("state/_METADATA", "state/manifest.ocdbt", "_CHECKPOINT_METADATA")
    missing = [part for part in needed if not (folder / part).is_file()]
    with readable(folder):
        if missing:
            raise FileNotFoundError(f"{missing[0]} is missing")
        for path in digests.notes_of(folder):
            _parsed(path)
        store = digests.store_of(folder)
        names = store.list().result()
        if not names:
            raise ValueError("state/manifest.ocdbt is empty")
        for name in names:  # the last byte of each shows that the file reaches so far
            store.read(name, byte_range=slice(-1, None)).result()


def _parsed(path: Path) -> None:
    try:
        json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(f"{path.name} is damaged: {error}") from error


def check_digests(folder: Path, parts: Collection[str]) -> None:
    """Refuse a checkpoint of which a note, or an array of these parts, is not what was saved."""
    with readable(folder):
        digests.check(folder, parts)


def way_out(folder: Path) -> str:
    """What to use in the place of a checkpoint that cannot be used."""
    others = [step for step in steps(folder.parent.parent) if str(step) != folder.name]
    earlier = [step for step in others if step < int(folder.name)] or others
    if not earlier:
        return "there is no other checkpoint"
    return f"use step {earlier[-1]} (--step, or remove this folder to resume from there)"


@contextlib.contextmanager
def readable(folder: Path) -> Iterator[None]:
    """Orbax's long internal errors as one line that says which checkpoint."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # orbax and tensorstore raise what their layers raise
        why = f"{type(error).__name__}: {first_line(error)}"
        raise UserError(
            f"{folder}: damaged, truncated or foreign checkpoint ({why}); {way_out(folder)}"
        ) from error


def compare(folder: Path, found: Any, wanted: Any) -> None:
    """Refuse a checkpoint whose arrays are not those of the experiment's architecture."""
    have = {path: tuple(leaf.shape) for path, leaf in leaves_of(found)}
    want = {path: tuple(leaf.shape) for path, leaf in leaves_of(wanted)}
    for path in [*want, *have]:
        if have.get(path) != want.get(path):
            raise UserError(
                f"{folder}: checkpoint of another architecture: {path} is "
                f"{have.get(path, 'absent')} there and {want.get(path, 'absent')} in the experiment"
            )


def leaves_of(tree: Any) -> list[tuple[str, Any]]:
    """Leaves by path; orbax gives tuples and dataclasses back as lists and dicts, so names only."""
    flat = jax.tree_util.tree_flatten_with_path(tree)[0]

    def name(entry: Any) -> str:
        for attribute in ("key", "name", "idx"):
            if hasattr(entry, attribute):
                return str(getattr(entry, attribute))
        return str(entry)

    return [("/".join(name(entry) for entry in path), leaf) for path, leaf in flat]
