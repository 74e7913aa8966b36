"""The artifact: runs without jaxseg, equals the model, on free sizes, whole or absent."""

import subprocess
import sys

import jax
import numpy as np
import pytest

from jaxseg import checkpoint, command, record
from jaxseg.checkpoint import Saver
from jaxseg.command import UserError
from jaxseg.data import Data, Synthetic
from jaxseg.encoders import Plain, ResNet
from jaxseg.experiment import Checkpoints, Evaluation, Experiment
from jaxseg.export import export, main
from jaxseg.models import UNet, UNet2015, UNetMultiOutput
from jaxseg.progress import Progress
from jaxseg.recipes import Supervised
from jaxseg.types import Batch
from jaxseg.workdir import EXPERIMENT

STRANGER = """
import sys, jax, numpy as np
for path in sys.argv[1:]:
    arrays = np.load(path + ".npz")
    artifact = jax.export.deserialize(bytearray(open(path, "rb").read()))
    for name in [n for n in arrays if n.startswith("image")]:
        ours = np.asarray(artifact.call(arrays[name]))
        wanted = arrays[name.replace("image", "wanted")]
        assert ours.shape == wanted.shape and ours.dtype == np.float32, ours.shape
        assert np.abs(ours - wanted).max() < 1e-5, name
assert not {"jaxseg", "flax", "orbax"} & set(sys.modules)
print("equal")
"""


def made_run(workdir, model, rank=2, window=None):
    """A run with one checkpoint, of step 7, as training would leave it."""
    experiment = Experiment(
        recipe=Supervised(model),
        data=Data(Synthetic(size=(32,) * rank)),
        evaluation=Evaluation(window=window),
        checkpoint=Checkpoints(best=None),
        steps=7,
        batch_size=2,
    )
    spatial = window or (18,) * rank
    example = Batch(
        np.zeros((1, *spatial, 1), np.float32), np.zeros((1, *spatial), np.int32), np.ones(1, bool)
    )
    state = jax.jit(lambda: experiment.scheduled.init(jax.random.key(1), example))()
    workdir.mkdir()
    record.write_json(experiment, workdir / EXPERIMENT)
    with Saver(workdir, experiment.checkpoint) as saver:
        saver.save(7, state, Progress(step=7), {})
    return workdir


@pytest.fixture(scope="module")
def flat(tmp_path_factory):
    """A run of a 2-D network."""
    model = UNet(2, encoder=Plain((4, 6, 8)))
    return made_run(tmp_path_factory.mktemp("flat") / "run", model)


def beside(path, workdir, shapes):
    """Images, and what the model makes of them in this process, beside the artifact."""
    model, variables = checkpoint.load(workdir)
    arrays = {}
    for i, shape in enumerate(shapes):
        image = np.random.default_rng(i).random(shape, np.float32)
        logits = model.apply(variables, image, train=False).logits
        wanted = np.asarray(jax.nn.softmax(logits))
        assert 0.01 < wanted.min(-1).max()  # not so sure that any weights would do
        arrays |= {f"image{i}": image, f"wanted{i}": wanted}
    np.savez(f"{path}.npz", **arrays)
    return str(path)


def test_a_program_without_jaxseg_gets_the_models_probabilities(flat, tmp_path):
    volume = made_run(tmp_path / "volume", UNet(2, encoder=Plain((4, 6))), rank=3)
    valid = made_run(tmp_path / "valid", UNet2015(2, widths=(4, 6)), window=(24, 28))
    cases = [
        (flat, [(1, 32, 32, 1), (3, 17, 50, 1), (1, 1, 5, 1)]),
        (volume, [(2, 5, 9, 12, 1)]),
        (valid, [(3, 24, 28, 1)]),
    ]
    files = []
    for i, (workdir, shapes) in enumerate(cases):
        artifact = export(workdir, tmp_path / f"model{i}.stablehlo")
        files.append(beside(artifact.path, workdir, shapes))
    done = subprocess.run(
        [sys.executable, "-c", STRANGER, *files], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.stdout == "equal\n", done.stderr


@pytest.mark.parametrize(
    "model",
    [
        UNet(2, encoder=ResNet(18, width=4), upsample="nearest"),
        UNetMultiOutput(2, encoder=Plain((4, 6, 8), norm="group")),
    ],
)
def test_other_networks_have_free_sizes_too(model, tmp_path):
    workdir = made_run(tmp_path / "run", model)
    artifact = export(workdir, tmp_path / "m", platforms=["cpu"])
    assert artifact.image == "b, h, w, 1"
    assert artifact.outputs == "probabilities [b, h, w, 2]"


def test_a_network_of_valid_convolutions_has_the_size_of_its_window(tmp_path):
    model = UNet2015(2, widths=(4, 6))
    workdir = made_run(tmp_path / "run", model, window=(24, 28))
    artifact = export(workdir, tmp_path / "m", platforms=["cpu"])
    assert artifact.image == "b, 24, 28, 1" and "of this size only" in str(artifact)
    h, w = model.output_size((24, 28))
    assert artifact.outputs == f"probabilities [b, {h}, {w}, 2]"


def test_valid_convolutions_without_a_window_are_refused(tmp_path):
    workdir = made_run(tmp_path / "run", UNet2015(2, widths=(4, 6)))
    with pytest.raises(UserError, match=r"evaluation\.window"):
        export(workdir, tmp_path / "m")


def test_one_artifact_is_for_all_three_platforms(flat, tmp_path):
    exported = jax.export.deserialize(
        bytearray(export(flat, tmp_path / "new" / "m").path.read_bytes())
    )
    assert exported.platforms == ("cpu", "cuda", "tpu")


def test_platforms_can_be_chosen_and_unknown_ones_are_refused(flat, tmp_path):
    assert export(flat, tmp_path / "m", platforms=["tpu"]).platforms == ("tpu",)
    with pytest.raises(UserError, match="abacus"):
        export(flat, tmp_path / "other", platforms=["cpu", "abacus"])
    assert not (tmp_path / "other").exists()


def test_the_command_prints_one_line_that_says_how_to_run_it(flat, tmp_path, capsys):
    path = tmp_path / "model.stablehlo"
    main(["--workdir", str(flat), "--output", str(path), "--platforms", "cpu", "--step", "7"])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1
    assert f"{path}: {path.stat().st_size / 1e6:.2f} MB" in lines[0]
    assert "[b, h, w, 1] in [0, 1] -> probabilities [b, h, w, 2]" in lines[0]
    assert "of this size only" not in lines[0] and "jax.export.deserialize" in lines[0]
    assert [p.name for p in tmp_path.iterdir()] == ["model.stablehlo"]


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("--step", "8", "no step 8"),
        ("--workdir", "nowhere", "nowhere/experiment.json"),
        ("--output", ".", "--output .: a folder"),
        ("--platforms", "", "--platforms"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(flat, tmp_path, capsys, option, value, said):
    given = {"--workdir": flat, "--output": tmp_path / "m", option: value}
    with pytest.raises(SystemExit) as ended:
        command.run(main, [str(word) for pair in given.items() for word in pair])
    assert ended.value.code == 2
    assert said in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
