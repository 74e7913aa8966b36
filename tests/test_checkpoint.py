import dataclasses
import json
import os
import shutil
import subprocess
import sys
import textwrap

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg import checkpoint, digests, record
from jaxseg import experiment as experiments
from jaxseg import workdir as workdirs
from jaxseg.errors import UserError
from jaxseg.metrics import Confusion, Evaluated
from jaxseg.optimizers import SGD, Constant
from jaxseg.overrides import override_one
from jaxseg.sharding import MeshShape
from jaxseg.train import train


def trees_equal(a, b):
    leaves = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    return all(bool((np.asarray(x) == np.asarray(y)).all()) for x, y in leaves)


@pytest.fixture(scope="module")
def run(tmp_path_factory, request):
    """A finished run of four steps with an average of its parameters."""
    make = request.getfixturevalue("tiny_factory")
    workdir = tmp_path_factory.mktemp("runs") / "one"
    experiment = make(ema=0.5)
    train(experiment, workdir)
    return workdir, experiment


@pytest.fixture
def copy(run, tmp_path):
    """A copy of the run that a test may break."""
    return shutil.copytree(run[0], tmp_path / "copy")


def test_load_gives_the_model_and_the_averaged_parameters(run):
    workdir, experiment = run
    model, variables = checkpoint.load(workdir, 4)
    assert model == experiment.recipe.served
    state, progress = checkpoint.restore(workdir, 4, checkpoint.abstract_state(experiment))
    assert trees_equal(variables["params"], state.ema)
    assert not trees_equal(variables["params"], state.params)
    assert trees_equal(variables["batch_stats"], state.batch_stats)
    assert progress.step == 4
    logits = model.apply(variables, jnp.zeros((1, 20, 12, 1)), train=False).logits
    assert logits.shape == (1, 20, 12, 2)


def test_load_prefers_the_best_step(run):
    workdir, _ = run
    best = json.loads((workdir / "summary.json").read_text())["best_step"]
    assert trees_equal(checkpoint.load(workdir)[1], checkpoint.load(workdir, best)[1])


def test_load_needs_no_data(copy):
    path = copy / "experiment.json"
    tree = json.loads(path.read_text())
    tree["data"]["root"] = "/nowhere"
    path.write_text(json.dumps(tree))
    checkpoint.load(copy)


def test_orbax_alone_opens_the_parameters(run):
    program = """
        import sys
        from orbax.checkpoint import v1 as ocp
        state = ocp.load(sys.argv[1], checkpointable_name="state")
        print(state["params"]["head"]["kernel"].shape)
        assert "jaxseg" not in sys.modules and "flax" not in sys.modules
    """
    folder = str(run[0] / "checkpoints" / "4")
    command = [sys.executable, "-c", textwrap.dedent(program), folder]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.stdout.strip() == "(1, 1, 4, 2)", done.stderr


def test_a_checkpoint_of_one_device_loads_on_a_mesh_and_back(run, tiny, tmp_path):
    workdir, experiment = run
    whole = checkpoint.load(workdir, 4)[1]
    mesh = MeshShape(data=2, fsdp=2, spatial=2)
    shutil.copytree(workdir, tmp_path / "on8")
    train(tiny(ema=0.5, steps=5, mesh=mesh), tmp_path / "on8", resume=True)
    train(
        tiny(ema=0.5, steps=5),
        workdir_copy := shutil.copytree(workdir, tmp_path / "on1"),
        resume=True,
    )
    a, b = checkpoint.load(tmp_path / "on8", 5)[1], checkpoint.load(workdir_copy, 5)[1]
    assert not trees_equal(a, whole)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_allclose(x, y, atol=1e-4)


@pytest.mark.parametrize(
    "victim",
    ["state/manifest.ocdbt", "state/_METADATA", "_CHECKPOINT_METADATA", "state/d"],
)
def test_a_truncated_checkpoint_is_named(copy, victim):
    target = copy / "checkpoints" / "4" / victim
    shutil.rmtree(target) if target.is_dir() else target.unlink()
    with pytest.raises(UserError, match=r"checkpoints/4: damaged, truncated or foreign") as caught:
        checkpoint.load(copy, 4)
    assert "\n" not in str(caught.value)


def test_data_files_cut_short_are_an_error_and_not_other_parameters(copy):
    files = [p for p in (copy / "checkpoints" / "4" / "state").rglob("*") if p.parent.name == "d"]
    assert files
    for path in files:
        os.truncate(path, path.stat().st_size // 2)
    with pytest.raises(UserError, match="checkpoints/4: damaged, truncated or foreign"):
        checkpoint.load(copy, 4)


def flipped(folder, number, count):
    """Flip one bit of a checkpoint; the file's name."""
    files = sorted(p for p in folder.rglob("*") if p.is_file() and p.stat().st_size)
    rng = np.random.default_rng(number)
    path = files[number * len(files) // count]
    content = bytearray(path.read_bytes())
    content[int(rng.integers(len(content)))] ^= 1 << int(rng.integers(8))
    path.write_bytes(content)
    return path.relative_to(folder)


def test_a_flipped_bit_is_refused_or_changes_nothing(copy, run):
    """In the arrays' files it is found by their digests: zstd has no checksum here."""
    whole = checkpoint.load(run[0], 4)[1]
    folder, refusals, count = copy / "checkpoints" / "4", 0, 24
    for number in range(count):
        shutil.rmtree(folder)
        shutil.copytree(run[0] / "checkpoints" / "4", folder)
        name = flipped(folder, number, count)
        try:
            found = checkpoint.load(copy, 4)[1]
        except UserError as error:
            refusals += 1
            assert "\n" not in str(error)
            assert "use step 2 (--step" in str(error)
        else:
            assert trees_equal(found, whole), name
    assert refusals > count // 3


def change_of_an_array(folder, name):
    """Another number in an array, written as orbax writes it: whole, and not what was saved."""
    store = digests.store_of(folder)
    key = next(k for k in store.list().result() if k.decode().startswith(f"{name}/c"))
    other = next(k for k in store.list().result() if k.decode().startswith("params.head.bias/c"))
    store.write(key, store.read(other).result().value).result()


def test_an_array_that_is_not_what_was_saved_is_named_at_load_and_resume(copy, run, tiny):
    name = "params.decoder.level0_conv1.norm.bias"
    change_of_an_array(copy / "checkpoints" / "4", name)
    with pytest.raises(UserError, match=rf"checkpoints/4: .*{name} is not what was saved.*step 2"):
        checkpoint.load(copy, 4)
    with pytest.raises(UserError, match=f"{name} is not what was saved"):
        train(tiny(ema=0.5, steps=5), copy, resume=True)


def test_digests_can_be_left_out_and_an_earlier_checkpoint_has_none(copy, run):
    whole = checkpoint.load(run[0], 4)[1]
    path = copy / "checkpoints" / "4" / digests.FILE
    assert "params.head.kernel" in json.loads(path.read_text())["arrays"]
    path.write_text('{"files": {}, "arrays": {}}')
    with pytest.raises(UserError, match="is not what was saved"):
        checkpoint.load(copy, 4)
    assert trees_equal(checkpoint.load(copy, 4, verify=False)[1], whole)
    path.unlink()
    assert trees_equal(checkpoint.load(copy, 4)[1], whole)


def test_a_checkpoint_of_another_architecture_names_the_parameter(copy):
    experiment = record.read_json(copy / "experiment.json")
    wider = override_one(experiment, "recipe.model.encoder.widths=(4, 16)")
    record.write_json(wider, copy / "experiment.json")
    with pytest.raises(UserError, match=r"another architecture: .*is \(8,\) there and \(16,\)"):
        checkpoint.load(copy, 4)


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (lambda w: (w / "experiment.json").unlink(), "experiment.json: no such file"),
        (lambda w: (w / "experiment.json").write_text("{"), "not a jaxseg experiment"),
        (lambda w: shutil.rmtree(w / "checkpoints"), "no checkpoint in it"),
    ],
)
def test_a_foreign_folder_is_refused(copy, break_it, message):
    break_it(copy)
    with pytest.raises(UserError, match=message):
        checkpoint.load(copy)


def test_a_missing_step_is_refused_with_those_there_are(run):
    with pytest.raises(UserError, match=r"no step 3; it has \[2, 4\]"):
        checkpoint.load(run[0], 3)


def test_stray_folders_are_no_steps(copy):
    for name in ("notes", "7", "8.orbax-checkpoint-tmp"):
        (copy / "checkpoints" / name).mkdir()
    assert checkpoint.steps(copy) == [2, 4]
    checkpoint.load(copy)


def test_one_workdir_is_for_one_run_at_a_time(tmp_path):
    with workdirs.locked(tmp_path):
        with pytest.raises(UserError, match="in use"), workdirs.locked(tmp_path):
            pass
    with workdirs.locked(tmp_path):
        pass


def test_a_failed_save_names_the_last_good_checkpoint(run, tiny, tmp_path, monkeypatch):
    workdir = shutil.copytree(run[0], tmp_path / "full")
    experiment = run[1]
    state, progress = checkpoint.restore(workdir, 4, checkpoint.abstract_state(experiment))

    def no_space(*_args, **_kwargs):
        raise OSError(28, "No space left on device")

    with checkpoint.Saver(workdir, experiment.checkpoint) as saver:
        monkeypatch.setattr(saver._checkpointer, "save_checkpointables_async", no_space)
        with pytest.raises(UserError, match=r"could not be saved .*last good checkpoint: .*/4"):
            saver.save(5, state, progress, {})
        saver._pending = None
    assert checkpoint.steps(workdir) == [2, 4]
    checkpoint.load(workdir, 4)


def test_checkpoints_are_kept_by_the_policy(run, tmp_path):
    workdir, experiment = run
    state, progress = checkpoint.restore(workdir, 4, checkpoint.abstract_state(experiment))
    with checkpoint.Saver(tmp_path, experiments.Checkpoints(keep=2, best="dice")) as saver:
        for step, dice in ((1, 0.2), (2, 0.9), (3, 0.1), (4, None), (5, 0.3), (6, None)):
            saver.save(step, state, progress, {} if dice is None else {"dice": dice})
    assert checkpoint.steps(tmp_path) == [2, 5, 6]
    assert checkpoint.best_step(tmp_path, "dice") == 2
    assert checkpoint.best_step(tmp_path, None) == 6


def test_of_equal_scores_the_first_is_kept_named_and_loaded(tiny, tmp_path):
    still = SGD(learning_rate=Constant(1e-30), momentum=0.0)
    made = tiny(steps=4, every=1, optimizer=still, augment=None)
    made = dataclasses.replace(made, checkpoint=dataclasses.replace(made.checkpoint, keep=1))

    def same(variables, samples=0):
        return Evaluated(Confusion(matrix=np.eye(2, dtype=int)), ("dice",)), []

    summary = train(made, tmp_path, evaluator=same)
    assert summary["best_step"] == 1 and checkpoint.steps(tmp_path) == [1, 4]
    assert checkpoint.best_step(tmp_path, "dice") == 1


def test_a_run_does_not_end_before_the_step_that_it_has_reached(copy, tiny):
    before = (copy / "experiment.json").read_text()
    with pytest.raises(UserError, match="steps=3: lies behind step 4, which .* has reached"):
        train(tiny(ema=0.5, steps=3), copy, resume=True)
    assert (copy / "experiment.json").read_text() == before
