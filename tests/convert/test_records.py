"""Each recorded network of a peer: converted, its parameters and outputs, and back bit for bit."""

import json

import pytest

from jaxseg import cost
from jaxseg.convert import LIBRARIES, from_torch, names_of, to_torch
from tests.convert import recorded
from tests.golden.weights import weight
from tests.models import peers

KNOWN = {path.name[:-5]: json.loads(path.read_text()) for path in peers.RECORDS.iterdir()}

CONVERTED = [
    name for name, known in KNOWN.items() if known["arch"] in LIBRARIES.get(known["library"], ())
]

FARTHER = {"smp_unet_scse_resnet34": 4e-3}
"""Records that are themselves farther than 1e-3 from what the peer gives in float64."""


def test_no_record_is_missing():
    counts = {"monai": 8, "segmentation_models_pytorch": 27, "timm": 2, "torchvision": 9}
    found = [known["library"].split(".")[0] for known in KNOWN.values()]
    assert {library: found.count(library) for library in set(found)} == counts


@pytest.mark.parametrize("name", CONVERTED)
def test_a_network_is_converted_and_goes_back(name):
    known = KNOWN[name]
    drawn = {key: weight(key, shape) for key, shape in known["state_dict"]}
    model, variables = from_torch(known["library"], known["arch"], known["kwargs"], drawn)
    assert cost.parameters(variables) == known["parameters"]
    peers.check_outputs(known, model, variables, FARTHER.get(name, 1e-3))
    recorded.check_back(to_torch(model, variables), drawn, names_of(model, known["library"]))
