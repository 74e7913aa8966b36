"""Make meshnet.json: a record of a tiny network of Entodi/meshnet-pytorch.

    python tests/golden/make_meshnet.py

Needs torch 2.13.0. The network is built of the parts that its YAML files describe, under the names
that its own file gives them. The record is as those of make_converted.py.
"""

from collections import OrderedDict

import make_converted
from torch import nn


def layer(channels, features, dilation, dropout=0.25):
    taps = {"kernel_size": 3, "padding": dilation, "stride": 1, "dilation": dilation}
    return {
        "dropout": dropout,
        "params": {"in_channels": channels, "out_channels": features, **taps},
    }


LAST = {"kernel_size": 1, "padding": 0, "stride": 1, "dilation": 1}
PARAMS = [layer(2, 5, 1), layer(5, 5, 2), layer(5, 5, 1)]
PARAMS += [{"dropout": 0, "params": {"in_channels": 5, "out_channels": 3, **LAST}}]


def network(params):
    model = nn.Sequential()
    for i, one in enumerate(params):
        model.add_module(f"conv_{i}", nn.Conv3d(**one["params"]))
        if i < len(params) - 1:
            model.add_module(f"bn_{i}", nn.BatchNorm3d(one["params"]["out_channels"]))
            model.add_module(f"relu_{i}", nn.ReLU())
            model.add_module(f"dp_{i}", nn.Dropout3d(one["dropout"]))
    return nn.Sequential(OrderedDict(model=model))


if __name__ == "__main__":
    library, shape = "Entodi/meshnet-pytorch", (1, 2, 5, 9, 8)
    made = network(PARAMS)
    record = make_converted.record(library, "MeshNet", {"params": PARAMS}, made, shape)
    make_converted.write("meshnet.json", [record])
