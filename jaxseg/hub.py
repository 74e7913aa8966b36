"""A run shared on the Hugging Face hub or in a folder, and fetched: ``python -m jaxseg.hub``.

What travels is ``model.safetensors`` (the variables by path, with a digest), ``experiment.json``
and ``README.md`` (`jaxseg.model_card`). Where data lie on this machine, and the runs that this one
began from, stay here.
"""

import contextlib
import dataclasses
import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import flax.traverse_util
import jax
import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from jaxseg import __version__, checkpoint, command, config, disk, record
from jaxseg.errors import UserError, first_line
from jaxseg.experiment import Experiment
from jaxseg.init_from import write_run
from jaxseg.model_card import card
from jaxseg.workdir import EXPERIMENT, classes_for

MODEL = "model.safetensors"
CARD = "README.md"
PREFIX = "hf://"
ABSOLUTE = re.compile(r"[/~\\]|file:|[A-Za-z]:[/\\]")
"""How a path begins that is of one machine."""


@dataclasses.dataclass(frozen=True)
class Shared:
    """What went from where to where; ``step`` is that of the run that was shared."""

    source: str
    target: str
    arrays: int
    step: int

    def __str__(self) -> str:
        """The command's last line."""
        return f"{self.source} step {self.step} -> {self.target}: {self.arrays} arrays"


def push(
    workdir: str | Path,
    to: str,
    *,
    step: int | None = None,
    private: bool = False,
    classes: Iterable[type] = (),
    verify: bool = True,
) -> Shared:
    """Share a run's network, variables and card as ``owner/name`` of the hub, or in a new folder.

    ``to`` is a folder where it begins with ``./``, ``../``, ``~`` or ``/``; it must not exist. A
    repository of the hub is made where it is absent; ``private`` refuses one that everybody reads.
    ``step=None`` is the best checkpoint. ``classes`` are the run's own classes; ``verify=False``
    does not hold the checkpoint against its digests. UserError, with nothing shared, for an
    experiment that names an absolute path anywhere but in ``data.root`` and ``init_from``.
    """
    workdir, classes, folder = Path(workdir), tuple(classes), _folder(to, "--to")
    if folder is not None and folder.exists():
        raise UserError(f"--to {to}: is there already; name another folder")
    api = _api() if folder is None else None
    run = checkpoint.opened(workdir, step, classes=classes, verify=verify)
    run = run._replace(experiment=_public(run.experiment, workdir))
    name = to.removeprefix(PREFIX) if folder is None else f"./{folder.resolve().name}"
    arrays = _flat(run.variables)
    about = {"format": "jaxseg", "jaxseg": __version__, "step": str(run.step)}
    about["sha256"] = _digest(arrays)

    def fill(place: Path) -> None:
        record.write_json(run.experiment, place / EXPERIMENT)
        (place / CARD).write_text(card(run, workdir, name, classes))
        save_file(arrays, place / MODEL, about)

    if folder is not None:
        with _appearing(folder, "--to") as beside:
            fill(beside)
    else:
        with tempfile.TemporaryDirectory() as beside:
            fill(Path(beside))
            _upload(api, name, beside, private)
    return Shared(str(workdir), to, len(arrays), run.step)


def pull(
    source: str,
    workdir: str | Path,
    *,
    revision: str | None = None,
    classes: Iterable[type] = (),
) -> Shared:
    """Make a run of no steps of what `push` shared; every command takes it.

    ``source`` is ``owner/name`` of the hub (``revision`` a branch, tag or commit), or a folder as
    for `push`. ``classes`` are the run's own classes. UserError, with nothing written, where the
    workdir exists, a file is absent or damaged, and where numbers and network do not fit.
    """
    workdir, folder = Path(workdir), _folder(source, "--from")
    if workdir.exists():
        raise UserError(f"--workdir {workdir}: is there already; name another folder")
    if folder is None:
        folder = _download(source.removeprefix(PREFIX), revision)
    elif revision is not None:
        raise UserError(f"--revision {revision}: a folder has none; leave it out")
    experiment = record.read_json(folder / EXPERIMENT, classes=classes, training=False)
    arrays, about = _read(folder / MODEL)
    variables = flax.traverse_util.unflatten_dict(arrays, sep="/")
    with _appearing(workdir, "--workdir") as beside:
        try:
            write_run(beside, experiment, variables)
        except UserError as error:
            line = str(error).replace(str(beside), str(workdir))
            raise UserError(f"{source}: {line}") from error
    return Shared(source, str(workdir), len(arrays), int(about.get("step", 0)))


# --- what travels ---------------------------------------------------------------------------------


def _public(experiment: Experiment, workdir: Path) -> Experiment:
    """The experiment without paths of this machine; UserError names one that cannot be left out."""
    streams = {
        name: dataclasses.replace(one, data=dataclasses.replace(one.data, root=""))
        for name, one in experiment.streams.items()
    }
    data = dataclasses.replace(experiment.data, root="")
    public = dataclasses.replace(experiment, data=data, streams=streams, init_from={})
    for dotted, text in _texts(record.to_json(public)):
        if ABSOLUTE.match(text):
            raise UserError(
                f"{workdir / EXPERIMENT}: {dotted}={text!r} is a path of this machine, which would "
                "be shared; make it relative to data.root"
            )
    return public


def _texts(tree: Any, dotted: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(tree, str):
        yield dotted, tree
    inside = dict(enumerate(tree)) if isinstance(tree, list) else tree
    inside = inside if isinstance(inside, dict) else {}
    for name, child in inside.items():
        yield from _texts(child, f"{dotted}.{name}".strip("."))


def _flat(variables: Mapping[str, Any]) -> dict[str, np.ndarray]:
    flat = flax.traverse_util.flatten_dict(jax.device_get(dict(variables)), sep="/")
    return {path: np.ascontiguousarray(leaf) for path, leaf in flat.items()}


def _digest(arrays: Mapping[str, np.ndarray]) -> str:
    """SHA-256 of the numbers, with the path, dtype and shape of each array."""
    found = hashlib.sha256()
    for path in sorted(arrays):
        array = arrays[path]
        found.update(json.dumps([path, array.dtype.str, array.shape]).encode())
        found.update(array.tobytes())
    return found.hexdigest()


def _read(path: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """The arrays of a file that `push` wrote, held against their digest, and its head."""
    if not path.is_file():
        raise UserError(f"{path}: no such file; is it a run that jaxseg.hub has shared?")
    try:
        with safe_open(path, "numpy") as file:
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            about = file.metadata() or {}
    except (SafetensorError, OSError, TypeError) as error:
        raise UserError(f"{path}: truncated or foreign ({first_line(error)})") from error
    if "sha256" not in about:
        raise UserError(f"{path}: not shared by jaxseg.hub; use jaxseg.import_torch for PyTorch's")
    if about["sha256"] != _digest(arrays):
        raise UserError(f"{path}: its numbers are not what was shared; fetch it again")
    return arrays, about


# --- places ---------------------------------------------------------------------------------------


def _folder(place: str, option: str) -> Path | None:
    """The local folder that is meant, or None for a repository of the hub."""
    if place.startswith((".", "/", "~")):
        return Path(place).expanduser()
    name = place.removeprefix(PREFIX)
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", name):
        raise UserError(f"{option} {place}: must be owner/name, ./folder or an absolute path")
    if name == place and Path(place).parent.is_dir():
        raise UserError(
            f"{option} {place}: a folder here, or of the hub? Say ./{place} or {PREFIX}{place}"
        )
    return None


@contextlib.contextmanager
def _appearing(folder: Path, option: str) -> Iterator[Path]:
    """A folder beside, which gets this name when all went well; else nothing is left of it."""
    disk.folder(folder.parent)
    beside = folder.with_name(f".{os.getpid()}.{folder.name}")
    try:
        beside.mkdir()
        yield beside
        beside.rename(folder)
    except OSError as error:
        raise UserError(f"{option} {folder}: could not be written ({first_line(error)})") from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _api() -> Any:
    try:
        import huggingface_hub  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise UserError("the hub needs huggingface_hub: pip install 'jaxseg[hub]'") from error
    return huggingface_hub.HfApi()


def _upload(api: Any, name: str, folder: str, private: bool) -> None:
    """One commit of the folder's files."""
    try:
        api.create_repo(name, private=private or None, exist_ok=True)
        is_public = private and not api.repo_info(name).private
        if not is_public:
            api.upload_folder(
                repo_id=name, folder_path=folder, commit_message=f"jaxseg {__version__}"
            )
    except Exception as error:  # of requests, of the hub, of no network: each has its own
        raise UserError(f"--to {name}: {first_line(error)}") from error
    if is_public:
        raise UserError(f"--to {name}: is there already and public; leave out --private")


def _download(name: str, revision: str | None) -> Path:
    api = _api()
    try:
        files = [MODEL, EXPERIMENT]
        return Path(api.snapshot_download(name, revision=revision, allow_patterns=files))
    except Exception as error:
        raise UserError(f"--from {name}: {first_line(error)}") from error


def main(arguments: Sequence[str]) -> None:
    """The command."""
    parser = command.parser(
        prog="python -m jaxseg.hub",
        description="Share a run on the Hugging Face hub or in a folder, or fetch one.",
        epilog="example: python -m jaxseg.hub push --workdir runs/mine --to owner/name",
    )
    made: Any = command.parser  # argparse asks for a class, and calls it
    actions = parser.add_subparsers(dest="action", required=True, parser_class=made)
    pushes = actions.add_parser("push", help="share a run", description="Share a run.")
    command.of_a_run(pushes, step="share")
    pushes.add_argument("--to", required=True, help="owner/name, ./folder or an absolute path")
    pushes.add_argument("--private", action="store_true", help="make the repository private")
    pulls = actions.add_parser("pull", help="fetch a run", description="Fetch a run.")
    pulls.add_argument("--from", dest="source", required=True, help="owner/name or ./folder")
    pulls.add_argument("--workdir", type=Path, required=True, help="folder of the new run")
    pulls.add_argument("--revision", help="branch, tag or commit of the hub")
    command.add_classes(pulls)
    command.add_debug(pulls)
    options = parser.parse_args(arguments)
    if options.action == "pull":
        own = config.classes(options.classes)
        print(pull(options.source, options.workdir, revision=options.revision, classes=own))
        return
    shared = push(
        options.workdir,
        options.to,
        step=options.step,
        private=options.private,
        classes=classes_for(options.workdir, options.classes),
        verify=not options.unverified,
    )
    print(shared)


if __name__ == "__main__":
    command.run(main)
