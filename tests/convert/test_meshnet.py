"""MeshNet: brainchop's weights give the label map stored beside them; the authors' form."""

import json
from pathlib import Path

import jax
import numpy as np
import pytest

from jaxseg import checkpoint, import_torch
from jaxseg.convert import from_torch, read, to_torch
from jaxseg.data.normalize import Percentile
from jaxseg.errors import UserError
from tests.convert import recorded

GOLDEN = Path(__file__).parent.parent / "golden"
(KNOWN,) = json.loads((GOLDEN / "meshnet.json").read_text())  # golden/make_meshnet.py
AUTHORS = KNOWN["library"]
PARAMS = KNOWN["kwargs"]["params"]


def test_a_network_of_the_authors_is_converted_and_goes_back():
    recorded.check(KNOWN)


@pytest.fixture(scope="module")
def folder(shared):
    return shared / "data" / "weights" / "meshnet_gwm"


def test_the_released_network_becomes_a_run_that_gives_its_label_map(folder, tmp_path):
    """Of a part of the volume here; predict gives the whole to the voxel (docs/convert.md)."""
    nibabel = pytest.importorskip("nibabel")
    file = folder / "meshnet_gwm.safetensors"
    done = import_torch.import_torch("brainchop", "MeshNet", {}, file, tmp_path / "run")
    assert done.parameters == 23_290 and "256 x 256 x 256" in done.notes[0]
    assert done.experiment.evaluation.window == (256, 256, 256)
    normalize = done.experiment.data.normalize
    assert normalize == Percentile(low=0.0, high=100.0)
    whole = np.asarray(nibabel.load(folder / "t1.nii.gz").dataobj)
    start, margin, inner = (104, 64, 132), 24, 8  # a voxel sees 24 on each side
    part = tuple(slice(n, n + inner + 2 * margin) for n in start)
    known = np.load(folder / "reference.npz")["labels"][part][(slice(margin, -margin),) * 3]
    assert set(np.unique(known)) == {0, 1, 2}
    ends = np.array([[whole.min()], [whole.max()]], np.float32)
    x = normalize(whole[part][..., None], ends)[None]
    model, variables = checkpoint.load(tmp_path / "run")
    run = jax.jit(lambda v, x: model.apply(v, x, train=False).logits.argmax(-1))
    ours = np.asarray(run(variables, x))[0][(slice(margin, -margin),) * 3]
    assert (ours == known).mean() >= 0.9999
    theirs, back = read(file), to_torch(model, variables)
    assert back.keys() == theirs.keys()
    for key, value in theirs.items():
        np.testing.assert_array_equal(back[key], value, key)


def changed(number, **fields):
    layers = json.loads(json.dumps(PARAMS))
    layers[number]["params"] |= fields
    return {"params": layers}


@pytest.mark.parametrize(
    ("library", "kwargs", "message"),
    [
        (AUTHORS, {}, "argument 'params' is missing"),
        (AUTHORS, {"params": PARAMS[:1]}, "of two layers or more"),
        (AUTHORS, {"params": [{"dropout": 0}] * 2}, "a layer has no 'params'"),
        (AUTHORS, changed(1, padding=1), "padded by their dilation"),
        (AUTHORS, changed(1, bias=False), "padded by their dilation"),
        (AUTHORS, changed(-1, kernel_size=3), "one of 1 at the end"),
        (AUTHORS, changed(0, out_channels=7), "of one width and one dropout"),
        ("brainchop", {"dilations": [1, 0]}, "at least 1 each"),
        ("brainchop", {"act": "tanh"}, "must be 'relu' or 'elu' or 'gelu'"),
        ("brainchop", {"channels": 5}, "missing 19.kernel"),
    ],
)
def test_what_is_no_such_network_is_refused(library, kwargs, message):
    with pytest.raises(UserError, match=message):
        from_torch(library, "MeshNet", kwargs, {})
