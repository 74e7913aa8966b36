"""Attention maps are read out by the names of their modules; the page of the docs does it."""

import inspect
import re
from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from jaxseg.attention import attention_maps
from jaxseg.encoders import Plain
from jaxseg.errors import UserError
from jaxseg.layers.attention_gate import AttentionGate
from jaxseg.layers.cbam import CBAM
from jaxseg.layers.dual_attention import ChannelAttention, PositionAttention
from jaxseg.layers.non_local import NonLocal
from jaxseg.layers.spatial_reduction import SpatialReductionAttention
from jaxseg.layers.squeeze_excitation import ConcurrentExcitation
from jaxseg.models import create
from jaxseg.models.nonlocal_unet import GlobalAggregation

PAGE = Path(__file__).parent.parent / "docs" / "attention.md"


class Calls(nn.Module):
    """A layer as a network is called, ``times`` one after another."""

    layer: nn.Module
    inputs: int = 1
    times: int = 1

    @nn.compact
    def __call__(self, image, *, train):
        takes = "train" in inspect.signature(type(self.layer).__call__).parameters
        for _ in range(self.times):
            how = {"train": train} if takes else {}
            image = self.layer(*(image,) * self.inputs, **how)
        return image


def maps_of(model, shape=(2, 4, 6, 8)):
    x = jax.random.normal(jax.random.key(0), shape)
    return attention_maps(model, model.init(jax.random.key(1), x, train=False), x)


def shapes_of(model, x):
    """Of each map, by its name; nothing is compiled."""
    variables = jax.eval_shape(lambda x: model.init(jax.random.key(0), x, train=False), x)
    maps = jax.eval_shape(lambda v, x: attention_maps(model, v, x), variables, x)
    return {name: a.shape for name, a in maps.items()}


GATE, SHARE = "a weight", "a share of all"


@pytest.mark.parametrize(
    ("layer", "inputs", "shapes"),
    [
        (AttentionGate(), 2, {"layer": (GATE, (2, 4, 6, 1))}),
        (AttentionGate(form="community"), 2, {"layer": (GATE, (2, 4, 6, 1))}),
        (
            ConcurrentExcitation(),
            1,
            {"layer/channel": (GATE, (2, 1, 1, 8)), "layer/spatial": (GATE, (2, 4, 6, 1))},
        ),
        (CBAM(1), 1, {"layer/channel": (GATE, (2, 1, 1, 8)), "layer/pixel": (GATE, (2, 4, 6, 1))}),
        (PositionAttention(), 1, {"layer": (SHARE, (2, 4, 6, 1))}),
        (ChannelAttention(), 1, {"layer": (GATE, (2, 8, 8))}),
        (NonLocal(pool=2), 1, {"layer": (SHARE, (2, 2, 3, 1))}),
        (GlobalAggregation(8, "down", heads=2), 1, {"layer": (SHARE, (2, 4, 6, 2))}),
        (SpatialReductionAttention(2, 2), 1, {"layer": (SHARE, (2, 2, 3, 2))}),
    ],
)
def test_a_layer_shows_its_maps(layer, inputs, shapes):
    found = maps_of(Calls(layer, inputs))
    assert {name: a.shape for name, a in found.items()} == {k: s for k, (_, s) in shapes.items()}
    for name, (kind, _) in shapes.items():
        a = found[name]
        assert a.dtype == np.float32 and a.min() >= 0 and a.max() <= 1 and a.std() > 0
        if kind == SHARE:
            np.testing.assert_allclose(a.sum((1, 2)), 1, rtol=1e-5)


def test_a_module_that_is_called_again_has_a_map_a_call():
    found = maps_of(Calls(AttentionGate(), 2, times=2))
    assert list(found) == ["layer", "layer#2"]
    assert abs(found["layer"] - found["layer#2"]).max() > 0


@pytest.mark.parametrize(
    ("name", "fields", "some"),
    [
        ("pan", {"width": 4}, {"fpa", "gau1"}),
        ("manet", {"widths": (6, 4), "position_width": 2}, {"pab", "level0_up", "level0_skip"}),
        ("lraspp", {"width": 4}, {"gate"}),
    ],
)
def test_a_network_shows_the_maps_of_its_parts(name, fields, some):
    model = create(name, num_classes=2, encoder=Plain((4, 6, 8)), **fields)
    assert some <= set(shapes_of(model, jnp.zeros((1, 32, 32, 2))))


def test_nothing_is_sown_unless_somebody_asks():
    x = jnp.zeros((1, 4, 4, 8))
    layer = PositionAttention()
    assert set(layer.init(jax.random.key(0), x)) == {"params"}
    whole = jax.make_jaxpr(lambda v: layer.apply(v, x))(layer.init(jax.random.key(0), x))
    assert len(whole.out_avals) == 1


def test_a_network_without_maps_says_so():
    model = create("baseline_unet", num_classes=2, widths=(4, 6))
    with pytest.raises(UserError, match="BaselineUNet has no attention maps with"):
        shapes_of(model, jnp.zeros((1, 8, 8, 1)))


def test_the_page_of_the_docs_makes_a_picture(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    page: dict = {"__name__": __name__}
    exec("\n".join(re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.S)), page)
    assert capsys.readouterr().out.splitlines() == [
        "level0_gate (1, 64, 96, 1)",
        "level1_gate (1, 32, 48, 1)",
    ]
    for gate in page["maps"].values():
        assert gate.min() >= 0 and gate.max() <= 1 and gate.std() > 0
    with Image.open(tmp_path / "level1_gate.png") as picture:
        assert picture.size == (96, 64) and len(picture.getcolors()) > 1
