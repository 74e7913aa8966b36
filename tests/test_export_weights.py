"""Weights for PyTorch: the state_dict in both files, what the caller owes, and what is refused."""

import json
import pickle
import struct
import zipfile
from collections import OrderedDict

import jax
import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file

from jaxseg import __version__, checkpoint, command
from jaxseg.convert import to_torch
from jaxseg.convert.torch_archive import STORAGES, write_torch
from jaxseg.crf import DenseCRF
from jaxseg.data import Data, Range, Synthetic
from jaxseg.encoders import Plain, ResNet, Standardize
from jaxseg.errors import UserError
from jaxseg.experiment import Checkpoints, Evaluation, Experiment
from jaxseg.export import main
from jaxseg.export_weights import export_weights
from jaxseg.init_from import write_run
from jaxseg.models import UNet
from jaxseg.recipes import Supervised

CAFFE = Standardize(mean=(104.0,), std=(2.0,), scale=255.0, order="bgr")


def made_run(folder, model, *, data=None, crf=None):
    data = data or Data(Synthetic(size=(32, 32)))
    experiment = Experiment(
        recipe=Supervised(model),
        data=data,
        evaluation=Evaluation(crf=crf),
        checkpoint=Checkpoints(best=None),
        steps=1,
        batch_size=1,
    )
    image = np.zeros((1, 32, 32, 1), np.float32)
    shapes = jax.eval_shape(lambda: model.init(jax.random.key(0), image, train=False))
    numbers = np.random.default_rng(0)
    variables = jax.tree.map(lambda x: numbers.random(x.shape, np.float32) + 0.5, shapes)
    write_run(folder, experiment, variables)
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of a network that segmentation_models_pytorch names too."""
    encoder = ResNet(18, width=4, standardize=CAFFE)
    model = UNet(2, encoder=encoder, widths=(8, 6, 6, 4, 4))
    return made_run(tmp_path_factory.mktemp("weights") / "run", model)


def read(path):
    """What torch.load(weights_only=True) does: four names of PyTorch's, and the storages."""
    with zipfile.ZipFile(path) as archive:
        assert archive.read("archive/byteorder") == b"little"
        assert archive.read("archive/version") == b"3\n"
        assert all(info.compress_type == zipfile.ZIP_STORED for info in archive.infolist())
        of_storage = {name: np.dtype(dtype) for dtype, name in STORAGES.items()}

        def rebuilt(storage, offset, shape, strides, grad, hooks):
            assert (offset, grad, hooks) == (0, False, OrderedDict())
            strides = [step * storage.itemsize for step in strides]
            return np.lib.stride_tricks.as_strided(storage, shape, strides)

        class Reader(pickle.Unpickler):
            def find_class(self, module, name):
                if module == "torch":
                    return of_storage[name]
                return {
                    "torch._utils _rebuild_tensor_v2": rebuilt,
                    "collections OrderedDict": OrderedDict,
                }[f"{module} {name}"]

            def persistent_load(self, found):
                kind, dtype, key, device, count = found
                assert (kind, device) == ("storage", "cpu")
                storage = np.frombuffer(archive.read(f"archive/data/{key}"), dtype)
                assert len(storage) == count
                return storage

        with archive.open("archive/data.pkl") as file:
            return Reader(file).load()


def test_torchs_file_holds_arrays_of_every_kind(tmp_path):
    numbers = np.random.default_rng(0)
    arrays = {d: (9 * numbers.random((2, 3, 4))).astype(d) for d in STORAGES}
    arrays |= {"scalar": np.zeros((), np.int64), "empty": np.zeros((0, 3), np.float32)}
    arrays |= {"view": arrays["float32"].T, "long": np.arange(70_000.0), "k" * 300: np.ones(1)}
    write_torch(tmp_path / "m.pt", arrays)
    found = read(tmp_path / "m.pt")
    assert list(found) == list(arrays)
    for name, array in arrays.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array, strict=True)
    raw = (tmp_path / "m.pt").read_bytes()
    with zipfile.ZipFile(tmp_path / "m.pt") as archive:
        for info in archive.infolist():
            name, extra = struct.unpack_from("<HH", raw, info.header_offset + 26)
            assert (info.header_offset + 30 + name + extra) % 64 == 0


def test_both_files_hold_the_state_dict_of_the_run(run, tmp_path, capsys):
    wanted = to_torch(*checkpoint.load(run))
    assert "decoder.blocks.4.conv2.1.running_var" in wanted
    main(["--workdir", str(run), "--format", "torch", "--output", str(tmp_path / "m.pt")])
    (line,) = capsys.readouterr().out.splitlines()
    assert f"{len(wanted)} keys for a network of segmentation_models_pytorch" in line
    assert "images [b, 1, h, w] in [0, 1], made (255 * image - (104.0,)) / (2.0,)" in line
    assert "blue first, sizes multiples of 32" in line
    assert f'torch.load("{tmp_path / "m.pt"}", weights_only=True)' in line
    path = tmp_path / "new" / "m.safetensors"
    main(["--workdir", str(run), "--format", "safetensors", "--output", str(path)])
    for found in (read(tmp_path / "m.pt"), load_file(path)):
        assert sorted(found) == sorted(wanted)
        for key, value in wanted.items():
            np.testing.assert_array_equal(found[key], value, strict=True)
    with safe_open(path, "numpy") as file:
        said = file.metadata()
    assert said["library"] == "segmentation_models_pytorch" and said["class"] == "models.UNet"
    assert (said["classes"], said["step"], said["jaxseg"]) == ("2", "0", __version__)
    assert "255 * image" in said["image"] and "arch" not in said


def test_the_call_that_makes_the_network_there_is_said(tmp_path):
    model = UNet(2, encoder=ResNet(18), widths=(16, 8, 8, 4, 4))
    workdir = made_run(tmp_path / "run", model)
    weights = export_weights(workdir, tmp_path / "m.safetensors")
    kwargs = {"encoder_name": "resnet18", "classes": 2, "in_channels": 1}
    kwargs["decoder_channels"] = (16, 8, 8, 4, 4)
    assert weights.constructor == ("segmentation_models_pytorch", "Unet", kwargs)
    call = "segmentation_models_pytorch.Unet(encoder_name='resnet18', classes=2, in_channels=1, "
    assert f"{call}decoder_channels=(16, 8, 8, 4, 4))" in str(weights)
    with safe_open(tmp_path / "m.safetensors", "numpy") as file:
        assert json.loads(file.metadata()["kwargs"])["encoder_name"] == "resnet18"


def test_what_stands_beside_the_network_is_owed_by_the_caller(tmp_path):
    data = Data(Synthetic(size=(32, 32)), normalize=Range(low=0.0, high=4095.0))
    model = UNet(2, encoder=ResNet(18, width=4), widths=(8, 6, 6, 4, 4))
    workdir = made_run(tmp_path / "run", model, data=data, crf=DenseCRF())
    line = str(export_weights(workdir, tmp_path / "m"))
    assert "as Range(low=0.0, high=4095.0" in line and "the CRF of the run's" in line


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--format onxn", "--format: no format is called 'onxn'"),
        ("--format torch --platforms cpu", "--platforms: is of --format stablehlo"),
        ("--format torch --crf", "--crf: is of --format stablehlo"),
        ("--library torchvision", "--library: is of --format safetensors and torch"),
        ("--format torch --library timn", "--library: UNet has no names of 'timn'"),
        ("--format torch --output m.safetensors", "called as --format safetensors would be"),
        ("--output m.pt", "called as --format torch would be"),
        ("--format torch --output .", "--output .: a folder"),
        ("--format torch --step 5", "no step 5"),
        ("--format onnx --output m.pt", "called as --format torch would be"),
        ("--format onnx --platforms cpu", "--platforms: is of --format stablehlo"),
    ],
)
def test_a_mistake_is_one_line_and_nothing_is_written(run, tmp_path, monkeypatch, words, said):
    monkeypatch.chdir(tmp_path)
    given = ["--workdir", str(run), "--output", "m", *words.split()]
    with pytest.raises(UserError) as refused:
        main(given)
    assert said in str(refused.value) and not list(tmp_path.iterdir())


def test_a_network_without_names_is_refused(tmp_path, capsys):
    workdir = made_run(tmp_path / "run", UNet(2, encoder=Plain((4, 6))))
    with pytest.raises(SystemExit) as ended:
        command.run(
            main, ["--workdir", str(workdir), "--format", "torch", "--output", str(tmp_path / "m")]
        )
    (line,) = capsys.readouterr().err.splitlines()
    assert ended.value.code == 2 and "no PyTorch library's names fit" in line
    assert not (tmp_path / "m").exists()
