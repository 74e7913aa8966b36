"""Images to predict that are not like those of training, so that a command can say so."""

import logging
from dataclasses import dataclass, field

import numpy as np

from jaxseg import ensemble
from jaxseg.data.checks import few
from jaxseg.data.intensities import Intensities
from jaxseg.ensemble import Workdirs
from jaxseg.workdir import INTENSITIES


@dataclass(frozen=True)
class Unlike:
    """Files whose intensities lie far from those that a run was trained on, and how."""

    known: tuple[Intensities | None, ...]
    """Of each run; None for one that has kept none."""
    found: dict[str, str] = field(default_factory=dict)

    @classmethod
    def to(cls, workdir: Workdirs) -> "Unlike":
        """The record for these runs, with no file in it yet."""
        return cls(tuple(Intensities.read(d / INTENSITIES) for d in ensemble.listed(workdir)))

    def look(self, number: int, image: np.ndarray, name: str) -> None:
        """Take note of an image as run ``number`` sees it."""
        known = self.known[number]
        how = known.far(image) if known is not None else None
        if how:
            self.found.setdefault(name, how)

    def say(self, count: int) -> None:
        """One line on all of them."""
        if self.found:
            how = next(iter(self.found.values()))
            logging.getLogger("jaxseg").warning(
                f"{len(self.found)} of {count} files are unlike the images that the run was "
                f"trained on, so their label maps may mean nothing: "
                f"{few(list(self.found), 20)}; in the first, {how}"
            )
