"""The weights of the records' networks, which every framework can draw again."""

import zlib
from collections.abc import Sequence

import numpy as np


def weight(key: str, shape: Sequence[int]) -> np.ndarray:
    """The numbers of one key of a ``state_dict``."""
    if key.endswith("num_batches_tracked"):
        return np.zeros(shape, np.int64)
    r = np.random.RandomState(zlib.crc32(key.encode())).standard_normal(shape)
    if key.endswith("running_mean") or (len(shape) == 1 and key.endswith("bias")):
        r = 0.1 * r
    elif key.endswith("running_var"):
        r = 1 + 0.1 * abs(r)
    else:
        r = r * np.sqrt(2 / np.prod(shape[1:])) if len(shape) > 1 else 1 + 0.1 * r
    return r.astype("f4")
