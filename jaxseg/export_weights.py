"""A run's weights by a PyTorch library's names, as ``.safetensors`` or as ``torch.save``'s file.

They are the ``state_dict`` that `jaxseg.convert.to_torch` gives of the run's network. What that
network is called there, if it is found, is said beside; the library does the rest.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
from safetensors.numpy import save_file

from jaxseg import __version__, checkpoint, disk, fields
from jaxseg.classes import name_of
from jaxseg.convert import to_torch
from jaxseg.convert.constructor import Constructor, constructor_of
from jaxseg.convert.torch_archive import write_torch
from jaxseg.data import Unit
from jaxseg.encoders import Standardize
from jaxseg.errors import UserError, unknown
from jaxseg.experiment import Experiment
from jaxseg.types import strides_of

FORMATS = {
    "safetensors": 'safetensors.torch.load_file("{path}")',
    "torch": 'torch.load("{path}", weights_only=True)',
}
"""How PyTorch reads a file of each format."""


@dataclass(frozen=True)
class Weights:
    """What was written: ``keys`` arrays in ``size`` bytes, and what reads them.

    ``constructor`` is the call that makes the network there, if one is known that computes the
    same. ``image`` says what the caller owes it.
    """

    path: Path
    size: int
    format: str
    library: str
    keys: int
    constructor: Constructor | None
    image: str

    def __str__(self) -> str:
        """The command's last line: what it is, and what the caller owes."""
        network = self.constructor or (
            f"a network of {self.library} (no call of it is known here that computes the same: "
            "compare the outputs)"
        )
        return (
            f"{self.path}: {self.size / 1e6:.2f} MB, {self.keys} keys for {network}; it takes "
            f"{self.image}; read it with {FORMATS[self.format].format(path=self.path)}"
        )


def export_weights(
    workdir: str | Path,
    output: str | Path,
    *,
    format: str = "safetensors",
    library: str | None = None,
    step: int | None = None,
    classes: Iterable[type] = (),
    verify: bool = True,
) -> Weights:
    """Write the ``state_dict`` of a run's network; needs no torch.

    ``format`` is one of ``FORMATS``. ``library=None`` is the first whose names the network has.
    ``step=None`` is the best checkpoint. ``classes`` are the run's own classes; ``verify=False``
    does not hold the checkpoint against its digests. UserError for a network without PyTorch names,
    or without those of the library; nothing is written then.
    """
    output = Path(output)
    if output.is_dir():
        raise UserError(f"--output {output}: a folder; name a file, such as model.{format}")
    run = checkpoint.opened(workdir, step, classes=classes, verify=verify)
    library = _library(Path(workdir), run.model, library)
    try:
        state_dict = to_torch(run.model, jax.device_get(run.variables), library)
    except UserError as error:
        raise UserError(f"{workdir}: {error}") from error
    dataset = run.experiment.data.dataset
    constructor = constructor_of(run.model, library, dataset.channels, dataset.rank)
    if output.parent != Path():
        disk.folder(output.parent)
    with disk.replacing(output) as beside:
        if format == "torch":
            write_torch(beside, state_dict)
        else:
            save_file(state_dict, beside, _metadata(run, library, constructor))
    size, image = output.stat().st_size, image_line(run.experiment)
    return Weights(output, size, format, library, len(state_dict), constructor, image)


def _library(workdir: Path, model: nn.Module, wanted: str | None) -> str:
    """The library whose names are taken; UserError where the network has none of it."""
    kind = type(model).__name__
    names: Mapping[str, Any] = getattr(model, "names", {})
    if not names:
        raise UserError(
            f"{workdir}: {kind} has no PyTorch names; --format stablehlo has any network"
        )
    if wanted is None:
        return next(iter(names))
    if wanted.split(".")[0] not in names:
        raise unknown(f"--library: {kind} has no names of", wanted, names)
    return wanted.split(".")[0]


def _metadata(
    run: checkpoint.Opened, library: str, constructor: Constructor | None
) -> dict[str, str]:
    """What stands in the head of a safetensors file: strings by name."""
    said = {
        "format": "pt",  # for readers that ask whose layout it is
        "library": library,
        "class": name_of(type(run.model)),
        "classes": str(run.experiment.data.dataset.num_classes),
        "step": str(run.step),
        "jaxseg": __version__,
        "image": image_line(run.experiment),
    }
    if constructor is not None:
        said["arch"], said["kwargs"] = constructor.arch, json.dumps(constructor.kwargs)
    return said


def image_line(experiment: Experiment) -> str:
    """What the caller of the weights owes an image: its layout, scale and normalisation."""
    data, model = experiment.data, experiment.recipe.served
    rank, normalize = data.dataset.rank, data.normalize
    letters = ("d", "h", "w")[3 - rank :]
    said = f"images [b, {data.dataset.channels}, {', '.join(letters)}]"
    said += " in [0, 1]" if isinstance(normalize, Unit) else f" as {normalize} leaves them"
    if data.prepare:
        said += f", prepared by data.prepare={data.prepare} before"
    for standardize in _standardized(model):
        scaled = "image" if standardize.scale == 1 else f"{standardize.scale:g} * image"
        said += f", made ({scaled} - {standardize.mean}) / {standardize.std} by channel"
        said += ", blue first" if standardize.order == "bgr" else ""
    strides = strides_of(model, rank) or (1,)
    if max(strides) > 1:
        said += f", sizes multiples of {' x '.join(map(str, dict.fromkeys(strides)))}"
    if experiment.evaluation.crf is not None:
        said += "; the CRF of the run's evaluation is no part of it"
    return said


def _standardized(node: Any) -> Iterator[Standardize]:
    """What the network makes of the image itself, which no ``state_dict`` says."""
    if isinstance(node, Standardize):
        yield node
    for child in fields.children(node).values():
        yield from _standardized(child)
