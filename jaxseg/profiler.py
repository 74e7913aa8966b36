"""A trace of a few training steps, for xprof and TensorBoard's profile page."""

import re
from pathlib import Path
from typing import Any

import jax

from jaxseg.errors import UserError


class Profiler:
    """Traces the steps ``first`` to ``last`` of a run, both included, into ``folder``.

    Without ``steps`` every method does nothing.
    """

    def __init__(self, steps: tuple[int, int] | None, folder: Path) -> None:
        """Nothing is traced or written yet."""
        self._steps, self._folder, self._running = steps, folder, False

    def check(self, done: int, total: int) -> None:
        """Refuse steps that the run, which goes on after step ``done``, will not make."""
        if self._steps is None:
            return
        first, last = self._steps
        if done >= total:
            raise UserError(f"--profile {first}:{last}: the run has made all of its steps")
        if not done < first <= last <= total:
            raise UserError(
                f"--profile {first}:{last}: name steps from {done + 1} to {total}, the first one "
                "first, such as 11:20"
            )

    def start(self, number: int) -> None:
        """Start the trace before step ``number`` where that is the first to trace."""
        if self._steps is not None and number == self._steps[0]:
            jax.profiler.start_trace(self._folder)
            self._running = True

    def stop(self, number: int, results: Any) -> None:
        """End the trace after step ``number``, if that is the last; waits for its ``results``."""
        if self._steps is not None and number == self._steps[1]:
            jax.block_until_ready(results)
            self.close()

    def close(self) -> None:
        """End a trace that is running, such as that of a run that was stopped within."""
        if self._running:
            self._running = False
            jax.profiler.stop_trace()


def steps_of(text: str | None) -> tuple[int, int] | None:
    """The two steps of ``START:STOP``; UserError for anything else."""
    if text is None:
        return None
    found = re.fullmatch(r"(\d+):(\d+)", text)
    if found is None:
        raise UserError(f"--profile {text}: expected START:STOP, two steps such as 11:20")
    return int(found[1]), int(found[2])
