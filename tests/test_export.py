"""The artifact: runs without jaxseg, equals the model, on free sizes, whole or absent."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg import checkpoint, config, errors
from jaxseg.checkpoint import Saver
from jaxseg.config import Checkpoints, Evaluation, Experiment
from jaxseg.data import Data, Synthetic
from jaxseg.encoders import Plain, ResNet
from jaxseg.errors import UserError
from jaxseg.export import export, main
from jaxseg.models import UNet, UNet2015, UNetMultiOutput
from jaxseg.recipes import Supervised

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
    shapes = checkpoint.abstract_state(experiment)
    keys = iter(jax.random.split(jax.random.key(0), 1000))

    def drawn(leaf):
        positive = jnp.abs(jax.random.normal(next(keys), leaf.shape)) * 0.3 + 0.05
        return positive.astype(leaf.dtype)

    state = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
    random = {part: jax.tree.map(drawn, getattr(shapes, part)) for part in ("params", "batch_stats")}
    workdir.mkdir()
    config.write(experiment, workdir / checkpoint.EXPERIMENT, checkpoint.write_text)
    with Saver(workdir, experiment.checkpoint) as saver:
        saver.save(7, state._replace(**random), {"step": 7}, {})
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
        arrays |= {f"image{i}": image, f"wanted{i}": np.asarray(jax.nn.softmax(logits))}
    np.savez(f"{path}.npz", **arrays)
    return str(path)


def test_a_program_without_jaxseg_gets_the_models_probabilities(flat, tmp_path):
    volume = made_run(tmp_path / "volume", UNet(2, encoder=Plain((4, 6))), rank=3)
    valid = made_run(tmp_path / "valid", UNet2015(2, widths=(4, 6)), window=(24, 28))
    cases = [
        (flat, [(1, 32, 32, 1), (3, 17, 50, 1), (1, 1, 5, 1)]),
        (volume, [(1, 8, 8, 8, 1), (2, 5, 9, 12, 1)]),
        (valid, [(1, 24, 28, 1), (3, 24, 28, 1)]),
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
        UNet(2, encoder=ResNet(18), upsample="nearest"),
        UNetMultiOutput(2, encoder=Plain((4, 6, 8), norm="group")),
    ],
)
def test_other_networks_have_free_sizes_too(model, tmp_path):
    workdir = made_run(tmp_path / "run", model)
    artifact = export(workdir, tmp_path / "m", platforms=["cpu"])
    assert artifact.image == "b, h, w, 1"
    assert artifact.probabilities == "b, h, w, 2"


def test_a_network_of_valid_convolutions_has_the_size_of_its_window(tmp_path):
    model = UNet2015(2, widths=(4, 6))
    workdir = made_run(tmp_path / "run", model, window=(24, 28))
    artifact = export(workdir, tmp_path / "m", platforms=["cpu"])
    assert artifact.image == "b, 24, 28, 1"
    h, w = model.output_size((24, 28))
    assert artifact.probabilities == f"b, {h}, {w}, 2"


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
    assert "[b, h, w, 1]" in lines[0] and "jax.export.deserialize" in lines[0]
    assert [p.name for p in tmp_path.iterdir()] == ["model.stablehlo"]


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("--step", "8", "no step 8"),
        ("--workdir", "nowhere", "nowhere/experiment.json"),
        ("--output", ".", "could not be written"),
        ("--platforms", "", "--platforms"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(flat, tmp_path, capsys, option, value, said):
    given = {"--workdir": flat, "--output": tmp_path / "m", option: value}
    with pytest.raises(SystemExit) as ended:
        errors.run(main, [str(word) for pair in given.items() for word in pair])
    assert ended.value.code == 2
    assert said in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
