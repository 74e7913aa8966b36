"""Guard rails for every test: eight virtual devices, loud rank promotion, cached compilations."""

import gc
import os
from importlib.metadata import version
from pathlib import Path

# Tests check values, not speed: less optimisation halves the time to compile, and of what is left
# these flags take three quarters. A process ends at a flag that its XLA does not know.
FLAGS = ["--xla_cpu_parallel_codegen_split_count=1"]
if version("jaxlib").startswith("0.10."):
    FLAGS.append("--xla_cpu_use_fusion_emitters=false")
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
os.environ.setdefault("XLA_FLAGS", " ".join(FLAGS))
# pytest-xdist's workers inherit one order of sets, so that all of them collect the same tests.
os.environ.setdefault("PYTHONHASHSEED", "0")

gc.set_threshold(50_000, 20, 20)  # of tests that trace, the collector took a sixth of the time

import jax  # noqa: E402
import jaxtyping  # noqa: E402
import matplotlib  # noqa: E402
import pytest  # noqa: E402

matplotlib.use("Agg")
jax.config.update("jax_num_cpu_devices", 8)
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update(
    "jax_compilation_cache_dir", str(Path(__file__).parent.parent / ".cache" / "jax-tests")
)
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)
jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)

compiled_at_import: list[float] = []
"""Seconds of each compilation while tests are collected, which every worker of a run does."""


def _heard(event: str, seconds: float, **_) -> None:
    if _collecting and event.endswith("backend_compile_duration"):
        compiled_at_import.append(seconds)


_collecting = [True]
jax.monitoring.register_event_duration_secs_listener(_heard)


def pytest_collection_finish() -> None:
    """From here on tests may compile."""
    _collecting.clear()


@pytest.fixture(scope="session")
def compilations_at_import() -> list[float]:
    """Seconds of each compilation that importing the modules of tests took."""
    return compiled_at_import


SHARED = Path(__file__).parent.parent.parent / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The founders' folder of facts and data; tests that read it are skipped where it is absent."""
    if not SHARED.is_dir():
        pytest.skip("the shared folder is not on this machine")
    return SHARED


@pytest.fixture(scope="session")
def tiny_factory():
    """Builds an experiment that trains in seconds: ``tiny(steps=3, ema=0.9, ...)``."""
    from jaxseg.augment import Augment
    from jaxseg.data import Data, Synthetic
    from jaxseg.encoders import Plain
    from jaxseg.experiment import Checkpoints, Evaluation, Experiment
    from jaxseg.losses import CrossEntropy, Dice
    from jaxseg.models import UNet
    from jaxseg.optimizers import AdamW, Cosine
    from jaxseg.recipes import Supervised
    from jaxseg.sharding import MeshShape

    one = MeshShape(data=1)

    def make(
        *, steps=4, batch_size=4, every=2, mesh=one, data=None, seed=0, **recipe
    ) -> Experiment:
        fields = {
            "model": UNet(num_classes=2, encoder=Plain(widths=(4, 8))),
            "losses": {"cross_entropy": CrossEntropy(), "dice": Dice()},
            "optimizer": AdamW(learning_rate=Cosine(peak=1e-2, warmup=1)),
            "augment": Augment(flip=0.5),
        }
        synthetic = Synthetic(size=(32, 32), count=(8, 3, 3), radius=(3.0, 5.0))
        return Experiment(
            recipe=Supervised(**{**fields, **recipe}),
            data=data or Data(dataset=synthetic, patch=(16, 16), foreground=0.25),
            steps=steps,
            batch_size=batch_size,
            evaluation=Evaluation(every=every, window=(16, 16), loss=False),
            checkpoint=Checkpoints(every=every, keep=3),
            seed=seed,
            mesh=mesh,
        )

    return make


@pytest.fixture
def unchecked():
    """Calls whose types are not checked, in tests that trace what others trace with the checks.

    They are a third of the time that it takes to trace a network.
    """
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture
def tiny(tiny_factory):
    """The same for one test."""
    return tiny_factory


@pytest.fixture(params=["cpu", "cuda", "other"])
def platform(request, monkeypatch) -> str:
    """Takes the forms that layers and losses have for a platform; all of them must run here."""
    if request.param != "cpu":

        def chosen(*args, default, **forms):
            return forms.get(request.param, default)(*args)

        jax.clear_caches()  # a trace of before would be found again
        request.addfinalizer(jax.clear_caches)
        monkeypatch.setattr(jax.lax, "platform_dependent", chosen)
    return request.param


@pytest.fixture(autouse=True)
def quick_pictures(request, monkeypatch):
    """Saves figures of matplotlib as one pixel, where no test looks at them: half a second each.

    ``pytestmark = pytest.mark.pictures`` has them drawn.
    """
    if request.node.get_closest_marker("pictures") is None:
        from matplotlib.figure import Figure

        monkeypatch.setattr(Figure, "savefig", lambda self, path, **how: one_pixel(path))


def one_pixel(path) -> None:
    from PIL import Image

    Image.new("RGB", (1, 1)).save(path, format="PNG")


@pytest.fixture(autouse=True, scope="module")
def forget_programs():
    """Compiled programs of a module of tests go with it, or the run ends at many gigabytes."""
    yield
    jax.clear_caches()
