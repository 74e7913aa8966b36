import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file

from jaxseg import cost
from jaxseg.convert import from_torch, to_torch
from jaxseg.convert.built import build
from jaxseg.convert.espnet import ESPNETS_V2
from jaxseg.encoders import Standardize
from jaxseg.errors import UserError
from tests.models.peers import weight

AUTHORS = "sacmehta/ESPNet"
STANDARDIZE = Standardize(  # of blue, green and red to 255, then / 255
    mean=tuple(m / 255 for m in (110.33139, 108.40919, 105.03353)),
    std=(72.125206, 72.68849, 69.902596),
    order="bgr",
)
GOLDEN = Path(__file__).parent.parent / "golden"


def test_the_released_network_gives_its_logits_and_goes_back(shared):
    folder = shared / "data" / "weights" / "espnet_camvid"
    theirs = load_file(folder / "espnet_p2_q8_camvid.safetensors")
    model, variables = from_torch(AUTHORS, "ESPNet", {"classes": 12, "p": 2, "q": 8}, theirs)
    model = model.clone(encoder=model.encoder.clone(standardize=STANDARDIZE))
    image = np.asarray(Image.open(folder / "test0_0001TP_008550.png").convert("RGB"))
    x = jnp.asarray(image[None], jnp.float32) / 255
    logits = jax.jit(lambda v, x: model.apply(v, x, train=False).logits)(variables, x)[0]
    known = np.load(folder / "camvid_logits_test0_stride2.npz")["logits_stride2"]
    ours = np.moveaxis(np.asarray(logits), -1, 0)[:, ::2, ::2]
    assert abs(ours - known).max() <= 1e-3 * known.std()
    back = to_torch(model, variables)
    for key, value in theirs.items():
        np.testing.assert_array_equal(back[key], value, key)
    assert {k for k in set(back) - set(theirs) if not k.endswith("num_batches_tracked")} == set()


def test_the_encoder_alone_stands_at_the_root_of_its_file():
    kwargs = {"classes": 3, "p": 1, "q": 2}
    _, variables = random(AUTHORS, "ESPNet_Encoder", kwargs)
    assert cost.parameters(variables) == 142_921
    back = to_torch(*random(AUTHORS, "ESPNet_Encoder", kwargs))
    assert {"level1.conv.weight", "b3.act.weight", "classifier.conv.weight"} < set(back)
    assert back["level3.1.d16.conv.weight"].shape == (25, 25, 3, 3)


def random(library, arch, kwargs):
    """The peer's network with weights by its keys, which a first, empty file is asked for."""
    with pytest.raises(UserError) as error:
        from_torch(library, arch, kwargs, {})
    every = error.value  # of which many are counted, and all are the last cause
    while every.__cause__ is not None:
        every = every.__cause__
    entries = str(every).rpartition("fit: ")[2].split("; ")
    keys = [entry.removeprefix("missing ").partition(" ") for entry in entries]
    drawn = {key: weight(key, json.loads(f"[{s[1:-1].strip(',')}]")) for key, _, s in keys}
    return from_torch(library, arch, kwargs, drawn)


@pytest.mark.parametrize(
    ("s", "widths", "dropout"),
    [(0.5, (16, 32, 64, 128), 0.1), (1.5, (32, 96, 192, 384), 0.2), (2, (32, 128, 256, 512), 0.2)],
)
def test_espnet_v2_has_the_widths_of_its_scale(s, widths, dropout):
    model = build(ESPNETS_V2["EESPNet_Seg"], "EESPNet_Seg", {"s": s}).model
    assert (model.widths, model.dropout) == (widths, dropout)


def test_espnet_v2_has_the_keys_of_its_record_and_slopes_that_are_never_read():
    known = json.loads((GOLDEN / "espnet_v2.json").read_text())  # golden/make_compact.py
    model, variables = random("sacmehta/ESPNetv2", "EESPNet_Seg", {"classes": 3, "s": 0.5})
    back = to_torch(model, variables)
    assert {key for key, _ in known["state_dict"]} < set(back)
    for level, (before, width) in enumerate(((16, 32), (32, 64), (64, 128)), start=2):
        assert back[f"net.level{level}_0.eesp.module_act.weight"].shape == (width - before,)


@pytest.mark.parametrize(
    ("library", "arch", "kwargs", "message"),
    [
        (AUTHORS, "ESPNet", {"classes": 4}, "classes=4: must be at least 5"),
        (AUTHORS, "ESPNet", {"q": 0}, "at least 1 each"),
        (AUTHORS, "ESPNet_C", {}, "the nearest is 'ESPNet"),
        ("sacmehta/ESPNetv2", "EESPNet_Seg", {"s": 1.7}, "s=1.7: must be above 0 and up to 1.5"),
        ("sacmehta/ESPNetv2", "EESPNet_Seg", {"s": 0.25}, "widths must be multiples of 16"),
    ],
)
def test_what_the_authors_do_not_have_is_refused(library, arch, kwargs, message):
    with pytest.raises(UserError, match=message):
        from_torch(library, arch, kwargs, {})
