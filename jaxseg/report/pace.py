"""How fast a run goes."""

import time


class Pace:
    """Images a second of the loop: evaluation left out, and the first lap, which compiles."""

    def __init__(self, batch_size: int) -> None:
        self._batch_size = batch_size
        self._clock = self._paused = time.perf_counter()
        self._laps: list[tuple[int, float]] = []

    def lap(self, steps: int) -> float:
        """Images a second since the last call, over ``steps`` steps."""
        now = time.perf_counter()
        self._laps.append((steps, now - self._clock))
        self._clock = now
        return steps * self._batch_size / self._laps[-1][1]

    def pause(self) -> None:
        """Stop the clock until ``go_on``."""
        self._paused = time.perf_counter()

    def go_on(self) -> None:
        """The clock runs again."""
        self._clock += time.perf_counter() - self._paused

    @property
    def overall(self) -> float | None:
        """Images a second over all laps but the first; None where there was no other."""
        steps, seconds = map(sum, zip(*self._laps[1:], strict=True)) if self._laps[1:] else (0, 0.0)
        return steps * self._batch_size / seconds if seconds else None
