"""What only real processes show: signals, sudden death, full disks, several that are one run."""

import dataclasses
import json
import signal
import socket
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import jax
import numpy as np
import pytest

from jaxseg import checkpoint, record, step_folder
from jaxseg import experiment as experiments
from jaxseg import workdir as workdirs
from jaxseg.train import train

ROOT = Path(__file__).parent.parent
SETTINGS = f"""
    import jax, sys
    jax.config.update("jax_num_cpu_devices", {{devices}})
    jax.config.update("jax_compilation_cache_dir", {str(ROOT / ".cache" / "jax-tests")!r})
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    from pathlib import Path
    from jaxseg import command, record, train
"""
TRAIN = """
    command.run(train.main, ["--config", sys.argv[1], "--workdir", *sys.argv[2:]])
"""
CONFIG = """
from pathlib import Path
from jaxseg import record


def experiment():
    return record.read_json(Path({path!r}))
"""


def start(program, *arguments, devices=8, **options):
    code = textwrap.dedent(SETTINGS.format(devices=devices)) + textwrap.dedent(program)
    command = [sys.executable, "-c", code, *map(str, arguments)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "cwd": ROOT}
    return subprocess.Popen(command, **{**pipes, **options})


def wait_for(condition, process, seconds=120):
    until = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < until, "it never came"
        time.sleep(0.01)


@pytest.fixture(scope="module")
def long_run(tiny_factory, tmp_path_factory):
    """An experiment that saves after every step, its config, and an uninterrupted run of it."""
    experiment = tiny_factory(steps=14, every=7, ema=0.9)
    often = experiments.Checkpoints(every=1, keep=2)
    experiment = dataclasses.replace(experiment, checkpoint=often)
    folder = tmp_path_factory.mktemp("long")
    record.write_json(experiment, folder / "mine.json")
    (folder / "mine.py").write_text(CONFIG.format(path=str(folder / "mine.json")))
    train(experiment, folder / "whole")
    return experiment, folder / "mine.py", folder / "whole"


def assert_same_end(experiment, one, other):
    abstract = checkpoint.abstract_state(experiment)
    states = [checkpoint.restore(w, experiment.steps, abstract)[0] for w in (one, other)]
    for a, b in zip(*map(jax.tree.leaves, states), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.slow
@pytest.mark.parametrize("delay", [0.0, 0.03, 0.1, 0.3])
def test_a_killed_run_goes_on_to_the_same_end(long_run, tmp_path, delay):
    """SIGKILL after the third checkpoint appeared, with another save mostly on its way."""
    experiment, path, whole = long_run
    workdir = tmp_path / "killed"
    process = start(TRAIN, path, workdir)
    wait_for(
        lambda: len(checkpoint.steps(workdir)) > 0 and checkpoint.steps(workdir)[-1] > 2, process
    )
    time.sleep(delay)
    process.kill()
    process.communicate()
    left = checkpoint.steps(workdir)[-1]
    checkpoint.load(workdir, left)
    assert train(experiment, workdir, resume=True)["step"] == experiment.steps
    assert_same_end(experiment, whole, workdir)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_and_leaves_in_peace(long_run, tmp_path, number):
    experiment, path, whole = long_run
    process = start(TRAIN, path, tmp_path / "w")
    wait_for(lambda: checkpoint.steps(tmp_path / "w"), process)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 128 + number and "Traceback" not in err, err
    last = checkpoint.steps(tmp_path / "w")[-1]
    assert 1 <= last < experiment.steps
    assert out.splitlines()[-1] == f"stopped at step {last}; --resume goes on from there"
    assert json.loads((tmp_path / "w/summary.json").read_text())["stopped"] == number.name
    train(experiment, tmp_path / "w", resume=True)
    assert_same_end(experiment, whole, tmp_path / "w")


@pytest.mark.slow
def test_a_second_run_in_the_same_workdir_is_refused(long_run, tmp_path):
    _, path, _ = long_run
    with workdirs.locked(tmp_path / "w"):
        done = start(TRAIN, path, tmp_path / "w")
        _, err = done.communicate(timeout=120)
    assert done.returncode == 2
    assert err.strip().splitlines()[-1].startswith("jaxseg: error: --workdir") and "in use" in err


SHRINK = """
    import resource, signal
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    jax.config.update("jax_enable_compilation_cache", False)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4000, 4000))
"""


@pytest.mark.slow
def test_a_full_disk_ends_in_one_line_and_the_last_checkpoint_survives(long_run, tmp_path):
    """The limit on file sizes stands for the disk: writes fail in the middle of a save."""
    experiment, path, whole = long_run
    workdir = tmp_path / "w"
    train(experiment, workdir, until=3)

    process = start(SHRINK + TRAIN, path, workdir, "--resume")
    _, err = process.communicate(timeout=120)
    assert process.returncode == 2, err
    # Threads of orbax that are cut off may add complaints of their own, before or after.
    assert len([line for line in err.splitlines() if line.startswith("jaxseg: error: ")]) == 1
    assert checkpoint.steps(workdir)[-1] == 3
    train(experiment, workdir, resume=True)
    assert_same_end(experiment, whole, workdir)


DISTRIBUTED = """
    jax.distributed.initialize(sys.argv[3], 2, int(sys.argv[4]))
    train.train(record.read_json(Path(sys.argv[1])), sys.argv[2])
"""


@pytest.mark.slow
def test_two_processes_equal_one(tiny, tmp_path):
    """Two processes of two devices with CPU collectives, against one of four devices."""
    from jaxseg.optimizers import SGD, Constant
    from jaxseg.sharding import MeshShape

    experiment = tiny(
        steps=4,
        mesh=MeshShape(data=2, fsdp=2),
        optimizer=SGD(learning_rate=Constant(0.01)),
        ema=0.5,
    )
    # A score of cases, too: each process scores its own.
    evaluation = dataclasses.replace(experiment.evaluation, metrics=("dice", "case_dice"))
    experiment = dataclasses.replace(experiment, evaluation=evaluation)
    record.write_json(experiment, tmp_path / "mine.json")
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"localhost:{free.getsockname()[1]}"
    processes = [
        start(DISTRIBUTED, tmp_path / "mine.json", tmp_path / "two", address, i, devices=2)
        for i in range(2)
    ]
    for process in processes:
        _, err = process.communicate(timeout=300)
        assert process.returncode == 0, err
    train(experiment, tmp_path / "one")
    pictures = [(tmp_path / w / "batch.png").read_bytes() for w in ("one", "two")]
    assert pictures[0] == pictures[1]
    abstract = checkpoint.abstract_state(experiment)
    one, two = (checkpoint.restore(tmp_path / w, 4, abstract)[0] for w in ("one", "two"))
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(two), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)
    read = {
        w: step_folder.metadata_of(tmp_path / w / "checkpoints" / "4")["scores"]
        for w in ("one", "two")
    }
    assert read["one"].keys() == read["two"].keys() >= {"dice", "case_dice"}
    np.testing.assert_allclose([*read["one"].values()], [*read["two"].values()], atol=1e-3)
