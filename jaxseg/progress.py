"""What a training loop remembers from step to step, and a checkpoint keeps."""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far a run has come.

    ``step`` is the last one that is saved, ``seconds`` the time it took to get there. ``best`` is
    the highest score so far, of ``best_step``, and ``worse`` counts the evaluations since.
    ``scores`` are all scores of the best evaluation (of the last one where no score is best), and
    ``data`` is where the data iterator stands.
    """

    step: int = 0
    best: float | None = None
    best_step: int | None = None
    worse: int = 0
    seconds: float = 0.0
    scores: Mapping[str, Any] | None = None
    data: Mapping[str, Any] = field(default_factory=lambda: {"next_index": 0})

    def evaluated(self, step: int, scores: Mapping[str, Any], best: str | None) -> "Progress":
        """The progress after an evaluation; ``best`` names the score that counts, if one does."""
        if best is None:
            return dataclasses.replace(self, scores=scores, worse=self.worse + 1)
        score = scores[best]
        if math.isfinite(score) and (self.best is None or score > self.best):
            return dataclasses.replace(self, best=score, best_step=step, worse=0, scores=scores)
        return dataclasses.replace(self, worse=self.worse + 1)

    def saved(self, step: int, seconds: float, data: Mapping[str, Any]) -> "Progress":
        """The progress at a checkpoint."""
        return dataclasses.replace(self, step=step, seconds=seconds, data=data)

    def out_of(self, patience: int | None) -> bool:
        """Whether that many evaluations have passed without a better one."""
        return patience is not None and self.worse >= patience

    def highest(self, best: str | None) -> str:
        """What early stopping says of the score that it waits for."""
        if self.best is None:
            return f"{best} has not been a number"
        return f"{best} has not risen above {self.best:.4f} (step {self.best_step})"

    def to_json(self) -> dict[str, Any]:
        """What a checkpoint keeps beside the state."""
        return {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}

    @classmethod
    def from_json(cls, tree: Any) -> "Progress":
        """`to_json` read back; fields that a later version added have their defaults.

        Raises ValueError for what is not a progress.
        """
        known = {f.name for f in dataclasses.fields(cls)}
        if not isinstance(tree, dict) or not {"step", "data"} <= tree.keys():
            raise ValueError("its progress is not that of jaxseg.train")
        return cls(**{name: value for name, value in tree.items() if name in known})
