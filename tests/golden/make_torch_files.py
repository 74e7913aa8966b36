"""Files that PyTorch wrote, and what they hold, for `tests/convert/test_read.py`.

Run with torch 2.13: ``python tests/golden/make_torch_files.py``; the package never needs it.
"""

from collections import OrderedDict
from pathlib import Path

import numpy as np
import torch

HERE = Path(__file__).parent / "torch_files"


def main() -> None:
    """Write them."""
    torch.manual_seed(0)
    shared = torch.arange(24.0)
    whole = OrderedDict(
        plain=torch.randn(2, 3),
        parameter=torch.nn.Parameter(torch.randn(4)),
        part=shared[3:9].view(2, 3),
        turned=shared.view(4, 6).t(),
        scalar=torch.tensor(3),
        truth=torch.tensor([True, False]),
        half=torch.randn(3).half(),
        bfloat=torch.randn(3).bfloat16(),
        small=torch.arange(3, dtype=torch.int8),
        empty=torch.zeros(0, 3),
    )
    whole._metadata = {"version": 1}  # as a module's state_dict has it
    torch.save(whole, HERE / "zipped.pth")
    torch.save(whole, HERE / "legacy.pth", _use_new_zipfile_serialization=False)
    net = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.BatchNorm1d(3))
    optimizer = torch.optim.Adam(net.parameters())
    net(torch.randn(4, 2)).sum().backward()
    optimizer.step()
    state = {"state_dict": net.state_dict(), "optimizer": optimizer.state_dict(), "epoch": 3}
    torch.save({**state, "best": np.float64(0.5)}, HERE / "training.pth")
    parallel = torch.nn.DataParallel(net).state_dict()
    torch.save({"model": parallel, "ema": parallel}, HERE / "two.pth")
    held = {name: value.detach().float().numpy() for name, value in whole.items()}
    np.savez_compressed(HERE / "held.npz", **held, weight=net[0].weight.detach().numpy())


if __name__ == "__main__":
    main()
