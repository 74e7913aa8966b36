"""A network of PyTorch's libraries as a run: ``python -m jaxseg.import_torch --library L ...``.

The output is a workdir of no steps: evaluate, predict, export, ``jaxseg.load`` and ``init_from`` of
another run take it as any other. torch is not needed.
"""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import flax.traverse_util
import numpy as np

from jaxseg import command, config, convert, cost, workdir
from jaxseg.convert.built import Built, Images
from jaxseg.convert.read import below
from jaxseg.convert.weights import shapes_of
from jaxseg.data import Data, Folder, Unit
from jaxseg.encoders import Classifier, Standardize
from jaxseg.errors import FEW, UserError
from jaxseg.experiment import Evaluation, Experiment, check
from jaxseg.init_from import write_run
from jaxseg.recipes import Supervised


@dataclasses.dataclass(frozen=True)
class Imported:
    """What was written: the run's folder and experiment, its parameters, and what to know."""

    folder: Path
    experiment: Experiment
    parameters: int
    notes: tuple[str, ...]

    def __str__(self) -> str:
        """The command's lines."""
        model: Any = self.experiment.recipe.model
        said = f"{self.folder}: {type(model).__name__}, {self.parameters:,} parameters"
        return "\n".join((said, *self.notes))


def import_torch(
    library: str,
    arch: str,
    kwargs: Mapping[str, Any],
    weights: str | Path | Mapping[str, Any],
    folder: str | Path,
    *,
    key: str = "",
    prefix: str = "",
    base: Experiment | None = None,
    standardize: bool = True,
) -> Imported:
    """Write the network that computes what ``library``'s ``arch(**kwargs)`` does as a run.

    ``weights`` is a file (`jaxseg.convert.read`, whose ``key`` and ``prefix`` say which weights of
    it) or a ``state_dict`` of arrays. ``base`` is the
    experiment whose data, recipe and evaluation the run gets; without one its data are a `Folder`
    of no place, which ``predict`` and ``evaluate --images --masks`` do not ask for. With
    ``standardize`` the encoder does to images in [0, 1] what its weights expect: what ``base``
    says of its encoder, else what the library's ImageNet weights do. Of nnU-Net's networks the
    order of axes, the window and, without ``base``, grid and normalisation are those of its plans.
    Without ``standardize`` the network takes images as they come.

    A network of one logit, whose sigmoid is the object's probability there, gets a second one, of
    the background and always 0, whose softmax is the same.

    UserError where nothing here is that network, where the weights do not fit, where the data's
    classes or channels do not, and where the folder holds a run; nothing is written then.
    """
    folder = Path(folder)
    held = [path for pattern in workdir.OUTPUTS for path in folder.glob(pattern)]
    if held or folder.is_file():
        raise UserError(f"--workdir {folder}: {'holds a run' if held else 'a file'}; name another")
    built = convert.counterpart(library, arch, kwargs)
    if isinstance(built.model, Classifier) or not hasattr(built.model, "num_classes"):
        raise UserError(
            f"{library} {arch} gives no classes of pixels, a run's network does; give its file to "
            "init_from of a network "
            'on that encoder: {"model": InitFrom(run=FILE, into="encoder")}'
        )
    state_dict, notes = _state_dict(weights, key, prefix)
    try:
        model, variables = convert.from_torch(library, arch, kwargs, state_dict)
    except UserError as error:
        if isinstance(weights, Mapping):
            raise
        raise UserError(f"{weights}: {error}") from error
    if model.num_classes == 1:  # pyright: ignore[reportAttributeAccessIssue]
        model, variables = _of_two_classes(model, variables, built.channels, built.rank)
        notes.append("one logit there, two classes here: the background's logit is 0")
    expected = _of_encoder(getattr(base.recipe, "model", None)) if base else None
    expected = expected or built.standardize
    if standardize and expected is not None:
        model, said = _standardized(model, expected)
        notes.append(said)
    images = built.images if standardize else Images()
    if images.axes:
        model = model.clone(axes=images.axes)
        notes.append(f"model.axes={images.axes}: the axes of a NIfTI in the order that it expects")
    if base and images.normalize and base.data.normalize != images.normalize:
        said = f"the config's data.normalize is {base.data.normalize}"
        notes.append(f"{said}; there it was {images.normalize}")
    if images.grid and base and base.data.grid != images.grid:
        said = f"the config's data.grid is {base.data.grid}"
        notes.append(f"{said}; there it was {images.grid}")
    elif images.grid:
        notes.append(f"data.grid={images.grid}: images are brought to it, and predictions back")
    notes += images.notes
    experiment = _experiment(model, built, images, base)
    write_run(folder, experiment, variables)
    return Imported(folder, experiment, cost.parameters(variables), tuple(notes))


def _state_dict(
    weights: str | Path | Mapping[str, Any], key: str, prefix: str
) -> tuple[Mapping[str, Any], list[str]]:
    """The arrays, and a note of those that the prefix leaves out."""
    held = weights if isinstance(weights, Mapping) else convert.read(weights, key=key)
    where = "the state_dict" if isinstance(weights, Mapping) else weights
    found = below(held, prefix, where)
    out = [name for name in held if not name.startswith(prefix)]
    if not out:
        return found, []
    more = ", ..." if len(out) > FEW else ""
    return found, [f"not below {prefix!r}, so left out: {', '.join(out[:FEW])}{more} ({len(out)})"]


def _of_two_classes(
    model: Any, variables: Mapping[str, Any], channels: int, rank: int
) -> tuple[Any, dict[str, Any]]:
    """The network with a logit of the background, 0 everywhere, before its only one."""
    wider = model.clone(num_classes=2)
    shapes = shapes_of(wider, channels, rank)
    flat: dict[Any, Any] = flax.traverse_util.flatten_dict(dict(variables))
    for at, shape in shapes.items():
        value = flat[at]
        if value.shape != shape:
            if (*value.shape[:-1], 2) != shape:
                raise UserError(f"{type(model).__name__}: {'/'.join(at)} cannot have two classes")
            flat[at] = np.concatenate([np.zeros_like(value), value], axis=-1)
    return wider, flax.traverse_util.unflatten_dict(flat)


def _of_encoder(model: Any) -> Standardize | None:
    """What a config says that the weights of its encoder expect."""
    return getattr(getattr(model, "encoder", None), "standardize", None)


def _standardized(model: Any, standardize: Standardize) -> tuple[Any, str]:
    encoder = getattr(model, "encoder", None)
    if encoder is None or not hasattr(encoder, "standardize"):
        return model, f"its weights expect {standardize}; nothing here applies it"
    said = f"its encoder applies what its weights expect: {standardize}"
    return model.clone(encoder=encoder.clone(standardize=standardize)), said


def _experiment(model: Any, built: Built, images: Images, base: Experiment | None) -> Experiment:
    channels = built.channels
    if base is None:
        folder = Folder(model.num_classes, channels=channels, rank=built.rank)
        data = Data(dataset=folder, normalize=images.normalize or Unit(), grid=images.grid)
        evaluation = Evaluation(window=images.window)
        fields = {"evaluation": evaluation, "steps": 1, "batch_size": 8}
        return Experiment(recipe=Supervised(model=model), data=data, **fields)
    recipe: Any = base.recipe
    if not hasattr(recipe, "model"):
        raise UserError(f"--config: its recipe {type(recipe).__name__} has no model to be replaced")
    dataset = base.data.dataset
    if dataset.channels != channels:
        raise UserError(
            f"--config: data.dataset has {dataset.channels} channels, the network {channels}"
        )
    made = dataclasses.replace(base, recipe=dataclasses.replace(recipe, model=model), init_from={})
    check(made)
    return made


def arguments_of(text: str) -> dict[str, Any]:
    """The peer's arguments out of a JSON object. UserError where it is none."""
    try:
        found = json.loads(text)
    except json.JSONDecodeError as error:
        said = f"must be a JSON object such as '{{\"classes\": 5}}', and is no JSON ({error})"
        raise UserError(f"--kwargs {text or repr(text)}: {said}") from error
    if not isinstance(found, dict):
        raise UserError(f"--kwargs {text}: must be a JSON object such as '{{\"classes\": 5}}'")
    return found


def main(arguments: Sequence[str]) -> None:
    """The command."""
    parser = command.parser(
        prog="python -m jaxseg.import_torch",
        description="Write a network of a PyTorch library, with its weights, as a run.",
        epilog="example: python -m jaxseg.import_torch --library segmentation_models_pytorch "
        '--arch Unet --kwargs \'{"encoder_name": "resnet34", "classes": 5}\' '
        "--input weights.safetensors --workdir runs/imported",
    )
    parser.add_argument("--library", required=True, help=f"among {', '.join(convert.LIBRARIES)}")
    parser.add_argument("--arch", required=True, help="class or builder of the library")
    parser.add_argument("--kwargs", default="{}", help="its arguments, as a JSON object")
    parser.add_argument("--input", required=True, help="file of its weights, or hf://owner/name")
    parser.add_argument(
        "--key", default="", help="where in the file they are, of several: model, or ema.model"
    )
    parser.add_argument(
        "--prefix", default="", help="what stands before their keys, such as model.; others stay"
    )
    parser.add_argument("--workdir", type=Path, required=True, help="folder of the new run")
    parser.add_argument(
        "--config", type=Path, help="config whose data, recipe and evaluation the run gets"
    )
    parser.add_argument(
        "--as-stored",
        action="store_true",
        help="images go to the network as they come, not as ImageNet weights expect them",
    )
    command.add_debug(parser)
    options = parser.parse_args(arguments)
    base = None if options.config is None else config.read(options.config)
    imported = import_torch(
        options.library,
        options.arch,
        arguments_of(options.kwargs),
        options.input,
        options.workdir,
        key=options.key,
        prefix=options.prefix,
        base=base,
        standardize=not options.as_stored,
    )
    print(imported)


if __name__ == "__main__":
    command.run(main)
