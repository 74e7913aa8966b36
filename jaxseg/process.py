"""The process that a run lives in: its signals, its compilations and where they are kept."""

import contextlib
import signal
from collections.abc import Callable, Iterator
from typing import Any

import jax
import platformdirs
from jax.experimental import multihost_utils

from jaxseg.errors import UserError, first_line


def join(
    coordinator: str | None, processes: int | None, process: int | None, *, distributed: bool
) -> None:
    """Become one of the processes of a run, found by JAX or as the first three say."""
    if not distributed:
        if (coordinator, processes, process) != (None, None, None):
            raise UserError("--coordinator, --processes and --process need --distributed")
        return
    try:
        jax.distributed.initialize(coordinator, processes, process)
    except (ValueError, RuntimeError) as error:
        raise UserError(f"--distributed: {first_line(error)}") from error


@contextlib.contextmanager
def stop_requests() -> Iterator[Callable[[int], str | None]]:
    """A function that gives, after a step, the signal that asked to stop: "SIGTERM" or "SIGINT".

    Processes of one run agree on the step through JAX's preemption service, which owns SIGTERM
    there. A second SIGINT interrupts at once.
    """
    if jax.process_count() > 1:
        agreed = multihost_utils.reached_preemption_sync_point
        yield lambda step: "SIGTERM" if agreed(step) else None
        return
    asked: list[int] = []

    def ask(number: int, _frame: Any) -> None:
        if asked and number == signal.SIGINT:
            raise KeyboardInterrupt
        asked.append(number)

    try:
        old = {number: signal.signal(number, ask) for number in (signal.SIGTERM, signal.SIGINT)}
    except ValueError:  # not the main thread: whoever runs us there owns the signals
        old = {}
    try:
        yield lambda _step: signal.Signals(asked[0]).name if asked else None
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)


def exit_code(stopped: str | None) -> int:
    """The exit code of a run: 128 and the signal's number where one has stopped it, else 0."""
    number = signal.Signals.__members__.get(stopped or "")
    return 128 + number if number else 0


@contextlib.contextmanager
def count_compilations() -> Iterator[list[float]]:
    """Seconds of each compilation while the block runs, in order."""
    seconds: list[float] = []

    def listen(event: str, duration_secs: float, **_: Any) -> None:
        if event.endswith("backend_compile_duration"):
            seconds.append(duration_secs)

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        yield seconds
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)


def cache_compilations() -> None:
    """Keep compiled programs on the disk between runs, unless the user has chosen a place."""
    if jax.config.jax_compilation_cache_dir is None:  # pyright: ignore[reportAttributeAccessIssue]
        folder = platformdirs.user_cache_path("jaxseg", appauthor=False) / "xla"
        jax.config.update("jax_compilation_cache_dir", str(folder))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)


def compiler_options() -> dict[str, str | bool]:
    """What to give ``jax.jit`` for a training step on this platform, as ``compiler_options``.

    On CPU, convolutions stay with Eigen. XLA would hand them to YNN, which computes most of those
    of up to 64 channels on one core (``benchmarks/results/cpu-2-cores/README.md``); matmuls and
    sums are YNN's as before. Training alone: of inference YNN makes a little more. On GPU, 3-D
    convolutions have channels last as those in 2-D have by themselves; else cuDNN turns each map to
    that and back.
    """
    kept = "LIBRARY_FUSION_TYPE_INDIVIDUAL_DOT,LIBRARY_FUSION_TYPE_REDUCE"
    options: dict[str, dict[str, str | bool]] = {
        "cpu": {"xla_cpu_experimental_ynn_fusion_type": kept},
        "gpu": {"xla_gpu_force_conv_nhwc": True},
    }
    return options.get(jax.default_backend(), {})
