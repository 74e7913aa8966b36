"""nnU-Net's trained networks, by ``plans.json`` and ``dataset.json`` of its results folder.

The name of the network is that of a configuration, such as ``3d_fullres``.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxseg.convert import dynamic_network_architectures as dynamic
from jaxseg.convert.built import Built, Images, build
from jaxseg.data.by_channel import ByChannel
from jaxseg.data.grid import Grid
from jaxseg.data.normalize import CT, Normalize, Unit, ZScore
from jaxseg.errors import UserError, first_line, require, unknown

CONFIGURATIONS = ("2d", "3d_fullres", "3d_lowres", "3d_cascade_fullres")
"""Those that nnU-Net plans by itself; plans may have others."""

NIFTI_READERS = ("SimpleITKIO", "NibabelIO", "SimpleITKIOWithReorient", "NibabelIOWithReorient")
"""Readers of nnU-Net that give the axes of a volume in the reverse order, z first."""

Tree = str | Path | Mapping[str, Any]
"""A JSON file, or what it holds."""


def network(
    configuration: str,
    *,
    plans: Tree,
    dataset_json: Tree | None = None,
    deep_supervision: bool = False,
) -> Built:
    """The network of a configuration.

    ``dataset_json`` None is ``dataset.json`` beside the file ``plans``. UserError for what cannot
    be read, for a configuration or a class that is not there, and for regions as labels.
    """
    where = str(plans) if isinstance(plans, str | Path) else "plans"
    if dataset_json is None:
        require(where != "plans", "dataset_json", None, "given, where plans is no file")
        dataset_json = Path(where).parent / "dataset.json"
    tree, dataset = _tree(plans, "plans"), _tree(dataset_json, "dataset_json")
    found = _configuration(tree, configuration, where)
    arch, arguments = _architecture(found, f"{where}: {configuration}")
    channels, labels = _dataset(dataset, dataset_json)
    if found.get("previous_stage") is not None:  # the coarse stage's classes, one map each
        channels += len(labels) - 1
    arguments |= {"input_channels": channels, "num_classes": len(labels)}
    arguments["deep_supervision"] = deep_supervision
    try:
        built = build(dynamic.NETWORKS[arch], arch, arguments)
    except UserError as error:
        raise UserError(f"{where}: {configuration}: {error}") from error
    return built._replace(images=_images(tree, found, built.rank))


def _tree(given: Tree, argument: str) -> Mapping[str, Any]:
    """A JSON object from its file. UserError names the file."""
    tree: Any = given
    if isinstance(given, str | Path):
        try:
            tree = json.loads(Path(given).read_text())
        except (OSError, ValueError, RecursionError) as error:
            raise UserError(f"{argument} {given}: cannot be read ({first_line(error)})") from error
    if not isinstance(tree, Mapping):
        raise UserError(f"{argument} {given}: holds no JSON object")
    return tree


def _configuration(plans: Mapping[str, Any], name: str, where: str) -> dict[str, Any]:
    """A configuration with what it inherits."""
    known, found, visited = plans.get("configurations"), {}, []
    if not isinstance(known, Mapping):
        raise UserError(f"{where}: no plans of nnU-Net 2, it has no 'configurations'")
    while name is not None:
        if name not in known or not isinstance(known[name], Mapping):
            raise unknown(f"{where}: no configuration is called", str(name), known)
        if name in visited:
            raise UserError(f"{where}: {name} inherits from itself")
        visited.append(name)
        found = {**known[name], **found}
        name = known[name].get("inherits_from")
    return found


def _architecture(found: Mapping[str, Any], where: str) -> tuple[str, dict[str, Any]]:
    """A class of ``dynamic_network_architectures`` and its arguments, of either form of plans."""
    if "architecture" not in found and "UNet_class_name" in found:
        return _of_older_form(found, where)
    said = found.get("architecture")
    name, arguments = (
        (said.get("network_class_name"), said.get("arch_kwargs"))
        if isinstance(said, Mapping)
        else (None, None)
    )
    if not isinstance(name, str) or not isinstance(arguments, Mapping):
        raise UserError(f"{where}: no 'architecture' with network_class_name and arch_kwargs")
    return _known(name, where), dict(arguments)


def _of_older_form(found: Mapping[str, Any], where: str) -> tuple[str, dict[str, Any]]:
    """What nnU-Net reads into plans from before 2.3, which say less."""
    arch = _known(found["UNet_class_name"], where)
    wanted = ("n_conv_per_stage_encoder", "n_conv_per_stage_decoder", "conv_kernel_sizes")
    wanted += ("pool_op_kernel_sizes", "UNet_base_num_features", "unet_max_num_features")
    if missing := [name for name in (*wanted, "patch_size") if name not in found]:
        raise UserError(f"{where}: lacks {', '.join(missing)}")
    depths, base, most = (found[wanted[i]] for i in (0, 4, 5))
    stages, rank = len(depths), len(found["patch_size"])
    return arch, {
        "n_stages": stages,
        "features_per_stage": [min(base * 2**i, most) for i in range(stages)],
        "conv_op": f"torch.nn.modules.conv.Conv{rank}d",
        "kernel_sizes": found["conv_kernel_sizes"],
        "strides": found["pool_op_kernel_sizes"],
        "n_conv_per_stage" if arch == "PlainConvUNet" else "n_blocks_per_stage": depths,
        "n_conv_per_stage_decoder": found["n_conv_per_stage_decoder"],
        "conv_bias": True,
        "norm_op": f"torch.nn.modules.instancenorm.InstanceNorm{rank}d",
        "norm_op_kwargs": {"eps": 1e-5, "affine": True},
        "nonlin": "torch.nn.LeakyReLU",
        "nonlin_kwargs": {"inplace": True},
    }


def _known(class_name: Any, where: str) -> str:
    name = str(class_name).rpartition(".")[2]
    if name not in dynamic.NETWORKS:
        raise unknown(f"{where}: no network is here that is called", name, dynamic.NETWORKS)
    return name


def _dataset(dataset: Mapping[str, Any], path: Any) -> tuple[int, list[int]]:
    """The number of channels, and the labels but the ignored one, each once."""
    where = str(path) if isinstance(path, str | Path) else "dataset_json"
    channels = dataset.get("channel_names", dataset.get("modality"))
    labels = dataset.get("labels")
    if not isinstance(channels, Mapping) or not isinstance(labels, Mapping):
        raise UserError(f"{where}: has no 'channel_names' and 'labels', which nnU-Net 2 writes")
    numbers = set()
    for name, value in labels.items():
        number = value[0] if isinstance(value, list | tuple) and len(value) == 1 else value
        if isinstance(number, bool) or not isinstance(number, int):
            raise UserError(
                f"{where}: label {name!r} is {value!r}: regions overlap, and the classes of a run "
                "do not; take the network alone, as library dynamic_network_architectures"
            )
        numbers |= set() if name == "ignore" else {number}
    if sorted(numbers) != list(range(len(numbers))) or not numbers:
        raise UserError(f"{where}: labels {dict(labels)}: must be 0, 1, 2, ... without a gap")
    return len(channels), sorted(numbers)


# --- what the network expects of an image ---------------------------------------------------------


def _images(plans: Mapping[str, Any], found: Mapping[str, Any], rank: int) -> Images:
    """Axes, grid, normalisation and window of nnU-Net, and what of its preparation is not here."""
    axes, notes = _axes(plans, rank)
    normalize, said = _normalize(plans, found)
    notes += said
    if rank == 2 and plans.get("image_reader_writer") in NIFTI_READERS:
        notes.append(
            "volumes were cropped and z-scored as wholes there, slices each by itself here"
        )
    if (other := _other_resampling(found)) is not None:
        notes.append(f"images were resampled by {other} there, by cubic splines here")
    if found.get("previous_stage") is not None:
        notes.append("the last channels are the classes of the stage before it, one map each")
    places = [axes.index(axis) if axes else axis for axis in range(rank)]
    spacing, patch = (_numbers(found.get(name))[-rank:] for name in ("spacing", "patch_size"))
    grid = None
    if len(spacing) == rank and min(spacing) > 0:
        own = tuple(float(spacing[place]) for place in places)
        grid = Grid(spacing=own, crop=rank == 3)
    window = tuple(int(patch[place]) for place in places) if len(patch) == rank else None
    return Images(axes, normalize, window, tuple(notes), grid)


def _other_resampling(found: Mapping[str, Any]) -> str | None:
    """The name and options of a way of resampling images that is not the one here."""
    name = found.get("resampling_fn_data", "resample_data_or_seg_to_shape")
    options = found.get("resampling_fn_data_kwargs", {})
    usual = {"is_seg": False, "order": 3, "order_z": 0, "force_separate_z": None}
    if name == "resample_data_or_seg_to_shape" and usual | options == usual:
        return None
    return f"{name} with {options}"


def _axes(plans: Mapping[str, Any], rank: int) -> tuple[tuple[int, ...], list[str]]:
    """The network's axes among an image's, () where they are the same; and what is not so here."""
    forward = [int(axis) for axis in _numbers(plans.get("transpose_forward"))] or [0, 1, 2]
    require(sorted(forward) == [0, 1, 2], "transpose_forward", forward, "an order of 0, 1, 2")
    reader = plans.get("image_reader_writer")
    if reader in NIFTI_READERS:
        forward = [2 - axis for axis in forward]
    notes = []
    if str(reader).endswith("Reorient"):
        notes.append("volumes were turned to the orientation RAS there")
    if rank == 3:
        axes = tuple(forward)
    else:
        first = 0 if reader in NIFTI_READERS else 1
        axes = tuple(axis - first for axis in forward[1:])
        if sorted(axes) != [0, 1]:
            notes.append(f"its slices are those across axis {forward[0]} of a volume")
            return (), notes
    return (() if axes == tuple(range(rank)) else axes), notes


def _normalize(
    plans: Mapping[str, Any], found: Mapping[str, Any]
) -> tuple[Normalize | None, list[str]]:
    """How images are normalised, if jaxseg has it; None, and its name, if not."""
    schemes, masked = found.get("normalization_schemes"), found.get("use_mask_for_norm")
    schemes = list(schemes) if isinstance(schemes, Sequence) and schemes else ["nothing known"]
    masked = isinstance(masked, Sequence) and any(masked)
    ways = [None if masked else _way(plans, str(one), k) for k, one in enumerate(schemes)]
    known = [way for way in ways if way is not None]
    if len(known) == len(ways):
        same = all(way == known[0] for way in known)
        return known[0] if same else ByChannel(tuple(known)), []
    said = " and ".join(sorted(set(map(str, schemes)))) + (" inside the body's mask" * masked)
    return None, [f"images were normalised by {said} there; data.normalize is yours to say"]


def _way(plans: Mapping[str, Any], scheme: str, channel: int) -> Normalize | None:
    """The way of one channel; CT's by the numbers of the training images' foreground."""
    if scheme == "ZScoreNormalization":
        return ZScore()
    if scheme == "RGBTo01Normalization":
        return Unit()
    if scheme != "CTNormalization":
        return None
    every = plans.get("foreground_intensity_properties_per_channel")
    of = every.get(str(channel)) if isinstance(every, Mapping) else None
    names = ("percentile_00_5", "percentile_99_5", "mean", "std")
    numbers = [of.get(name) for name in names] if isinstance(of, Mapping) else []
    if len(_numbers(numbers)) != len(names):
        return None
    low, high, mean, deviation = map(float, numbers)  # pyright: ignore[reportArgumentType]
    return CT(low=low, high=high, mean=mean, deviation=max(deviation, 1e-8))


def _numbers(given: Any) -> list[int | float]:
    """A list of numbers; [] for anything else."""
    fits = isinstance(given, list | tuple)
    return list(given) if fits and all(isinstance(n, int | float) for n in given) else []
