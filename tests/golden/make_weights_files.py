"""Make weights_files/: small files as PyTorch writes them, and numbers.npz, what is in them.

    python tests/golden/make_weights_files.py

Needs torch 2.13.0. `numbers.npz` has "file/name" for each tensor, as float32 where numpy or the
reader has no such float.
"""

import argparse
import datetime
import pathlib

import numpy as np
import torch

HERE = pathlib.Path(__file__).parent / "weights_files"
HERE.mkdir(exist_ok=True)
STORE = {}

torch.manual_seed(0)


def note(file, tensors):
    for name, tensor in tensors.items():
        tensor = tensor.detach()
        wide = tensor.is_floating_point() and tensor.element_size() < 4
        tensor = (tensor.float() if wide else tensor).resolve_conj().resolve_neg()
        STORE[f"{file}/{name}"] = tensor.contiguous().numpy()


def save(file, content, tensors, **options):
    torch.save(content, HERE / file, **options)
    note(file, tensors)


def views():
    base = torch.arange(24, dtype=torch.float32).reshape(4, 6)
    z = torch.complex(torch.arange(4.0), torch.arange(4.0) - 1)
    return {
        "base": base, "transposed": base.T, "part": base[1:3, 2:5], "every_third": base[:, ::3],
        "expanded": base[:1].expand(3, 6), "one": base[2, 3], "parameter": torch.nn.Parameter(base),
        "none": torch.zeros(0, 3), "conjugate": z.conj(), "negative": z.clone().conj().imag,
    }  # fmt: skip


def kinds():
    names = ("float32 float64 float16 bfloat16 int64 int32 int16 int8 uint8 bool complex64 "
             "complex128 uint16 uint32 uint64 float8_e4m3fn float8_e5m2").split()  # fmt: skip
    return {name: torch.tensor([0, 1, 3, 7]).to(getattr(torch, name)) for name in names}


def network():
    net = torch.nn.Sequential(torch.nn.Conv2d(2, 3, 1), torch.nn.BatchNorm2d(3))
    optimizer = torch.optim.Adam(net.parameters())
    net(torch.randn(2, 2, 2, 2)).square().sum().backward()
    optimizer.step()
    return net, optimizer


OLD = {"_use_new_zipfile_serialization": False}
VIEWS, KINDS = views(), kinds()
save("views.pth", VIEWS, VIEWS)
save("views_legacy.pth", VIEWS, VIEWS, **OLD)
save("kinds.pt", KINDS, KINDS)
LEGACY = {name: t for name, t in KINDS.items() if name not in ("uint16", "uint32", "uint64")}
save("kinds_legacy.pt", LEGACY, LEGACY, **OLD)
save("protocol_4.bin", VIEWS, VIEWS, pickle_protocol=4)

NET, OPTIMIZER = network()
MARKED = torch.ones(2)
MARKED.origin = "an attribute"
TRAINING = {
    "epoch": 3,
    "state_dict": {f"module.{name}": t for name, t in NET.state_dict().items()},
    "optimizer": OPTIMIZER.state_dict(),
    "best": np.float64(0.5),
    "history": np.arange(3.0),
    "args": argparse.Namespace(lr=0.1, out=pathlib.PurePosixPath("x")),
    "at": datetime.date(2020, 1, 1),
    "device": torch.device("cpu"),
    "size": torch.Size([1, 2]),
}
for FILE, OPTIONS in (("training.ckpt", {}), ("training_legacy.pth.tar", OLD)):
    save(FILE, TRAINING, NET.state_dict(), **OPTIONS)
save("attributes.pth", {"marked": MARKED}, {"marked": MARKED})
TWO = {"model": {"a": torch.ones(2)}, "ema": {"a": torch.zeros(2)}}
save("two.pth", TWO, TWO["ema"])
STRAY = {"generator": torch.ones(3), "state_dict": {"a": torch.ones(2), "b": torch.zeros(1)}}
save("stray.pth", STRAY, STRAY["state_dict"])
save("whole_network.pth", NET, {})
np.savez_compressed(HERE / "numbers.npz", **STORE)
