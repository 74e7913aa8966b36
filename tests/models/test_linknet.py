"""LinkNet: segmentation_models_pytorch's numbers, and the paper's figure 1."""

import jax
import jax.numpy as jnp

from jaxseg import cost
from jaxseg.encoders import ResNet
from jaxseg.models.linknet import LinkNet


def test_the_papers_decoder_has_the_widths_of_its_table():
    model, x = LinkNet(21, encoder=ResNet(18)), jax.ShapeDtypeStruct((1, 64, 64, 3), jnp.float32)
    params = jax.eval_shape(lambda x: model.init(jax.random.key(0), x, train=False), x)["params"]
    shapes = {name: params[f"{name}_expand"]["conv"]["kernel"].shape[2:] for name in (
        "decoder4", "decoder3", "decoder2", "decoder1")}  # fmt: skip
    # table 1: m / 4 -> n channels
    assert list(shapes.values()) == [(128, 256), (64, 128), (32, 64), (16, 64)]
    assert params["head"]["kernel"].shape == (2, 2, 32, 21)
    assert params["final_up"]["kernel"].shape == (3, 3, 64, 32)
    assert round(cost.parameters({"params": params}) / 1e6, 1) == 11.5  # as the paper says


def test_the_last_block_is_added_to_the_pooled_stem():
    model = LinkNet(2, encoder=ResNet(10, width=4), width=4)
    x = jax.random.normal(jax.random.key(0), (1, 32, 32, 1))
    shapes = jax.eval_shape(lambda x: model.init(jax.random.key(0), x, train=False), x)
    v = jax.tree.map(lambda leaf: jnp.full(leaf.shape, 0.1), shapes)
    v["params"]["decoder1_expand"] = jax.tree.map(jnp.zeros_like, v["params"]["decoder1_expand"])
    deeper, stem = ({**v, "params": {**v["params"]}} for _ in range(2))
    double = lambda tree: jax.tree.map(lambda a: 2 * a, tree)  # noqa: E731
    deeper["params"]["decoder4_expand"] = double(v["params"]["decoder4_expand"])
    stem["params"]["encoder"] = double(v["params"]["encoder"])
    run = jax.jit(lambda v: model.apply(v, x, train=False).logits)
    assert (run(v) == run(deeper)).all(), "with decoder1 at zero nothing deeper reaches the logits"
    assert (run(v) != run(stem)).any()
