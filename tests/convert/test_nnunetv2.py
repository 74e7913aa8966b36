"""nnU-Net's folder of results: its checkpoint in the network of its plans, and as a run."""

import json
from pathlib import Path

import jax
import nibabel
import numpy as np
import pytest

from jaxseg import checkpoint, command, convert
from jaxseg.convert.from_torch import counterpart
from jaxseg.data import CT, ByChannel, Grid, Unit, ZScore
from jaxseg.errors import UserError
from jaxseg.import_torch import import_torch, main
from jaxseg.models import DynUNet
from jaxseg.predict import main as predict

FOLDER = Path(__file__).parent.parent / "golden" / "nnunet"  # golden/make_dynunet.py
RECORD = json.loads((FOLDER / "record.json").read_text())
PLANS = json.loads((FOLDER / "plans.json").read_text())
DATASET = json.loads((FOLDER / "dataset.json").read_text())
NAMED = {"plans": str(FOLDER / "plans.json")}


def image():
    random = np.random.RandomState(RECORD["input"]["seed"])
    return np.moveaxis(random.standard_normal(RECORD["input"]["shape"]).astype("f4"), 1, -1)


@pytest.mark.parametrize("name", ["checkpoint_final.pth", "checkpoint_legacy.pth"])
def test_a_checkpoint_computes_what_it_does_there(name):
    weights = convert.read(FOLDER / name)
    model, variables = convert.from_torch("nnunetv2", "3d_fullres", NAMED, weights)
    out = RECORD["outputs"][0]
    logits = jax.jit(lambda v, x: model.apply(v, x, train=False).logits)(variables, image())
    ours = np.moveaxis(np.asarray(logits), -1, 1).reshape(-1)[out["indices"]]
    assert abs(ours - np.array(out["values"])).max() <= 1e-3 * out["std"]
    back = convert.to_torch(model, variables, "nnunetv2")
    assert back.keys() == weights.keys()
    for key, value in weights.items():
        np.testing.assert_array_equal(back[key], value, key)


def built(plans=PLANS, dataset=DATASET, configuration="3d_fullres", **more):
    kwargs = {"plans": plans, "dataset_json": dataset, **more}
    return counterpart("nnunetv2", configuration, kwargs)


def planned(**changes):
    """The plans with another ``3d_fullres``."""
    full = {**PLANS["configurations"]["3d_fullres"], **changes}
    return {**PLANS, "configurations": {"3d_fullres": full}}


def test_plans_are_a_file_or_what_it_holds_and_configurations_inherit():
    named = counterpart("nnunetv2", "3d_fullres", NAMED)
    assert built() == named == built(configuration="3d_fullres_bs4")
    assert built(deep_supervision=True).model == named.model.clone(deep_supervision=True)


def test_plans_from_before_2_3_say_the_same():
    full = PLANS["configurations"]["3d_fullres"]
    kwargs = full["architecture"]["arch_kwargs"]
    older = {name: value for name, value in full.items() if name != "architecture"} | {
        "UNet_class_name": "PlainConvUNet",
        "UNet_base_num_features": 4,
        "unet_max_num_features": 6,
        "n_conv_per_stage_encoder": kwargs["n_conv_per_stage"],
        "n_conv_per_stage_decoder": kwargs["n_conv_per_stage_decoder"],
        "num_pool_per_axis": [1, 2, 2],
        "pool_op_kernel_sizes": kwargs["strides"],
        "conv_kernel_sizes": kwargs["kernel_sizes"],
    }
    plans = {**PLANS, "configurations": {"3d_fullres": older}}
    assert built(plans).model == built().model.clone(widths=(4, 6, 6))
    residual = {**older, "UNet_class_name": "ResidualEncoderUNet"}
    model = built({**PLANS, "configurations": {"3d_fullres": residual}}).model
    assert model == built().model.clone(widths=(4, 6, 6), block="residual")
    del residual["conv_kernel_sizes"]
    with pytest.raises(UserError, match="plans: 3d_fullres: lacks conv_kernel_sizes"):
        built({**PLANS, "configurations": {"3d_fullres": residual}})


def test_channels_and_classes_are_those_of_the_data_set():
    more = {**DATASET, "labels": {"background": 0, "a": [1], "ignore": 2}}
    more["channel_names"] = {"0": "T1", "1": "T2"}
    assert built(dataset=more)[:3] == (built().model.clone(num_classes=2), 2, 3)
    cascade = built(planned(previous_stage="3d_lowres"))
    assert cascade.channels == 1 + 2 and "the classes of the stage" in str(cascade.images.notes)


TIFF = {"image_reader_writer": "Tiff3DIO"}


@pytest.mark.parametrize(
    ("changes", "axes", "window"),
    [
        ({}, (2, 1, 0), (12, 8, 4)),
        ({"transpose_forward": [2, 0, 1]}, (0, 2, 1), (4, 12, 8)),
        (TIFF, (), (4, 8, 12)),
        (
            {"image_reader_writer": "Tiff3DIO", "transpose_forward": [1, 0, 2]},
            (1, 0, 2),
            (8, 4, 12),
        ),
    ],
)
def test_axes_are_those_of_its_reader_and_plans(changes, axes, window):
    images = built({**PLANS, **changes}).images
    assert (images.axes, images.window) == (axes, window)
    # the k-th axis of the window is as long as the patch along the axis of the network it becomes
    turned = tuple(window[axis] for axis in axes) if axes else window
    assert turned == (4, 8, 12)


def flat(**changes):
    """What the 2-D network of such plans expects."""
    said = PLANS["configurations"]["3d_fullres"]["architecture"]
    kwargs = {**said["arch_kwargs"], "kernel_sizes": [3] * 3, "strides": [1, 2, 2]}
    kwargs |= {"conv_op": "torch.nn.Conv2d", "norm_op": "torch.nn.InstanceNorm2d"}
    plane = {"architecture": {**said, "arch_kwargs": kwargs}, "patch_size": [8, 12]}
    plans = {**PLANS, **changes, "configurations": {"2d": plane}}
    return built(plans, configuration="2d").images


def test_a_slice_of_a_volume_is_turned_as_its_plane_is():
    assert (flat().axes, flat().window) == ((1, 0), (12, 8))
    assert flat(image_reader_writer="NaturalImage2DIO").axes == ()
    across_y = flat(transpose_forward=[1, 0, 2])
    assert across_y.axes == () and "across axis 1 of a volume" in across_y.notes[0]


OF_CT = {"percentile_00_5": -90, "percentile_99_5": 310.5, "mean": 80.0, "std": 40.0, "max": 2}
CUT = CT(low=-90.0, high=310.5, mean=80.0, deviation=40.0)


@pytest.mark.parametrize(
    ("changes", "normalize", "note"),
    [
        ({}, ZScore(), None),
        ({"normalization_schemes": ["RGBTo01Normalization"] * 3}, Unit(), None),
        ({"normalization_schemes": ["CTNormalization"]}, CUT, None),
        (
            {"normalization_schemes": ["CTNormalization", "ZScoreNormalization"]},
            ByChannel((CUT, ZScore())),
            None,
        ),
        ({"normalization_schemes": ["ZScoreNormalization", "CTNormalization"]}, None, "by CTNorm"),
        ({"use_mask_for_norm": [True]}, None, "ZScoreNormalization inside the body's mask"),
        ({"resampling_fn_data": "resample_torch_simple"}, ZScore(), "by resample_torch_simple"),
        ({"resampling_fn_data_kwargs": {"order": 1}}, ZScore(), "with {'order': 1} there"),
        ({"previous_stage": "3d_lowres"}, ZScore(), "the classes of the stage before"),
    ],
)
def test_what_was_done_to_images_is_done_or_said(changes, normalize, note):
    plans = planned(**changes) | {"foreground_intensity_properties_per_channel": {"0": OF_CT}}
    images = built(plans).images
    assert images.grid == Grid(spacing=(0.75, 0.8, 3.0), crop=True)  # x y z of the file
    assert images.normalize == normalize
    assert (note is None) == (images.notes == ()) and (note or "") in str(images.notes)


@pytest.mark.parametrize(
    ("plans", "dataset", "message"),
    [
        ({}, DATASET, "plans: no plans of nnU-Net 2"),
        (
            {**PLANS, "configurations": {"2d": {}}},
            DATASET,
            "no configuration .*'3d_fullres'; there",
        ),
        (planned(inherits_from="3d_fullres"), DATASET, "3d_fullres inherits from itself"),
        (planned(inherits_from="3d"), DATASET, "no configuration is called '3d'"),
        (planned(architecture={}), DATASET, "no 'architecture' with network_class_name"),
        (
            planned(architecture={"network_class_name": "a.Primus", "arch_kwargs": {}}),
            DATASET,
            "3d_fullres: no network is here that is called 'Primus'",
        ),
        (
            planned(architecture={"network_class_name": "PlainConvUNet", "arch_kwargs": {}}),
            DATASET,
            "plans: 3d_fullres: PlainConvUNet: argument 'n_stages' is missing",
        ),
        (str(FOLDER / "absent.json"), DATASET, r"plans .*absent.json: cannot be read"),
        (str(FOLDER / "checkpoint_final.pth"), DATASET, r"plans .*\.pth: cannot be read"),
        (PLANS, {"labels": {}}, "dataset_json: has no 'channel_names' and 'labels'"),
        (PLANS, {**DATASET, "labels": {"background": 0, "whole": [1, 2]}}, "regions overlap"),
        (PLANS, {**DATASET, "labels": {"background": 0, "a": 2}}, "without a gap"),
        (PLANS, None, "dataset_json=None: must be given"),
        (
            {**PLANS, "transpose_forward": [0, 1]},
            DATASET,
            "transpose_forward=.*an order of 0, 1, 2",
        ),
    ],
)
def test_what_is_no_plan_is_refused_in_one_line(plans, dataset, message):
    with pytest.raises(UserError, match=message) as caught:
        built(plans, dataset)
    assert "\n" not in str(caught.value)


def test_the_run_takes_volumes_as_a_nifti_has_them(tmp_path, capsys):
    """Axes x, y, z of the file, turned to the z, y, x of the network, and the mask back."""
    words = ["--library", "nnunetv2", "--arch", "3d_fullres", "--kwargs", json.dumps(NAMED)]
    words += ["--input", str(FOLDER / "checkpoint_final.pth"), "--workdir", str(tmp_path / "run")]
    main(words)
    said = capsys.readouterr().out
    assert "model.axes=(2, 1, 0)" in said and "data.grid=Grid(spacing=(0.75, 0.8, 3.0)" in said
    run = checkpoint.opened(tmp_path / "run")
    assert isinstance(run.model, DynUNet) and run.model.axes == (2, 1, 0)
    assert run.experiment.data.normalize == ZScore()
    assert run.experiment.evaluation.window == (12, 8, 4)

    volume = image()[0, ..., 0]  # z y x
    (tmp_path / "in").mkdir()
    spaced = np.diag([0.75, 0.8, 3.0, 1])  # as planned, so that nothing is resampled
    nibabel.save(nibabel.Nifti1Image(volume.T, spaced), tmp_path / "in" / "a.nii.gz")
    predict(["--workdir", str(tmp_path / "run"), "--input", str(tmp_path / "in"),
             "--output", str(tmp_path / "out")])  # fmt: skip
    mask = np.asarray(nibabel.load(next((tmp_path / "out").glob("a*.nii.gz"))).dataobj)
    weights = convert.read(FOLDER / "checkpoint_final.pth")
    model, variables = convert.from_torch("nnunetv2", "3d_fullres", NAMED, weights)
    z_scored = (volume - volume.mean()) / volume.std()
    logits = model.apply(variables, z_scored[None, ..., None], train=False).logits
    assert (mask == np.asarray(logits)[0].argmax(-1).T).mean() > 0.999


def test_a_run_that_takes_images_as_stored_turns_nothing(tmp_path):
    weights = convert.read(FOLDER / "checkpoint_final.pth")
    import_torch("nnunetv2", "3d_fullres", NAMED, weights, tmp_path / "run", standardize=False)
    run = checkpoint.opened(tmp_path / "run")
    assert run.model.axes == () and run.experiment.data.normalize == Unit()


def test_plans_of_another_network_leave_no_run(tmp_path, capsys):
    said = PLANS["configurations"]["3d_fullres"]["architecture"]
    kwargs = {**said["arch_kwargs"], "features_per_stage": [4, 6, 10]}
    plans = planned(architecture={**said, "arch_kwargs": kwargs})
    path = tmp_path / "plans.json"
    path.write_text(json.dumps(plans))
    kwargs = {"plans": str(path), "dataset_json": str(FOLDER / "dataset.json")}
    words = ["--library", "nnunetv2", "--arch", "3d_fullres", "--kwargs", json.dumps(kwargs)]
    words += ["--input", str(FOLDER / "checkpoint_final.pth"), "--workdir", str(tmp_path / "run")]
    with pytest.raises(SystemExit) as ended:
        command.run(main, words)
    assert ended.value.code == 2
    assert not (tmp_path / "run").exists()
    assert "encoder.stages.2.0.convs.0.conv.weight is (8," in capsys.readouterr().err
