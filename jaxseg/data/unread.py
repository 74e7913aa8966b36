"""The data set of a run that was never trained here: it knows classes and channels, and no case."""

from dataclasses import dataclass

from jaxseg.data.protocols import Source
from jaxseg.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Unread:
    """What an imported network was made for, until ``data.dataset`` is typed."""

    num_classes: int
    channels: int
    rank: int = 2
    class_names: tuple[str, ...] = ()

    def open(self, root: str, split: str) -> Source:
        """Refuse: there is nothing to read."""
        raise UserError(
            f"data.dataset: this run was imported and reads no data, so it has no {split} split; "
            "train with a config whose data.dataset reads yours, and init_from this run"
        )
