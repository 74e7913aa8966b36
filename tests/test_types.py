"""What passes between the parts: strides, dtypes and sizes of networks."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec

from jaxseg import record
from jaxseg.errors import UserError
from jaxseg.models import UNet, UNet2015
from jaxseg.sharding import MeshShape, check_rows, of_batch
from jaxseg.types import (
    Batch,
    Objects,
    Prediction,
    accepted_size,
    at_dtype,
    covering_size,
    strides_of,
)


class Ensemble(nn.Module):
    """The mean of its members' logits."""

    members: tuple[nn.Module, ...]
    dtype: str = "float32"

    @property
    def num_classes(self):
        return self.members[0].num_classes

    @property
    def stride(self):
        return self.members[0].stride

    @nn.compact
    def __call__(self, image, *, train):
        return Prediction(sum(m(image, train=train).logits for m in self.members))


class Net(nn.Module):
    """A network of a stride."""

    stride: int | tuple[int, ...] | None = 4


def test_a_composite_in_bfloat16_has_bfloat16_members():
    net = UNet(num_classes=2)
    half = at_dtype(Ensemble(members=(net, net)), "bfloat16")
    assert half.dtype == "bfloat16" and {m.dtype for m in half.members} == {"bfloat16"}
    assert half.members[0].encoder == net.encoder and net.dtype == "float32"
    assert at_dtype(half, "float32") == Ensemble(members=(net, net))


def test_an_ensemble_of_one_network_twice_has_two_sets_of_parameters_once_it_is_read():
    from jaxseg.encoders import Plain

    net = UNet(num_classes=2, encoder=Plain(widths=(4, 8)))
    both = Ensemble(members=(net, net))
    read = record.from_json(record.to_json(both), classes=[Ensemble])
    image = jnp.zeros((1, 8, 8, 1))
    shapes = jax.eval_shape(lambda: read.init(jax.random.key(0), image, train=False))
    assert len(shapes["params"]) == 2


def test_strides_are_one_for_each_axis_or_none():
    assert strides_of(Net(), 3) == (4, 4, 4)
    assert strides_of(Net((1, 4, 4)), 3) == (1, 4, 4)
    assert strides_of(Net(None), 2) is None
    for stride, rank in (((2, 2), 3), (0, 2), ((2, -1), 2)):
        with pytest.raises(UserError, match=r"Net.stride=.*: must be a whole number"):
            strides_of(Net(stride), rank)


def test_a_network_without_a_stride_is_said():
    class Bare(nn.Module):
        pass

    with pytest.raises(UserError, match="Bare has no `stride`: give the class its total"):
        strides_of(Bare(), 2)


def test_rows_of_a_network_without_a_common_stride_are_not_split():
    mesh = MeshShape(data=1, spatial=2).build()
    with pytest.raises(UserError, match="Net has stride=None, whose rows cannot be split"):
        check_rows(mesh, Net(None), (64, 64))
    check_rows(mesh, Net((4, 1)), (16, 7))
    with pytest.raises(UserError, match="needs a multiple of 16: 16 or 32"):
        check_rows(mesh, Net((4, 1)), (24, 64))


def test_only_what_has_spatial_axes_is_split_by_rows():
    mesh = MeshShape(data=2, spatial=2).build()
    row = Batch(
        image=np.zeros((4, 8, 8, 1)),
        label=np.zeros((4, 8, 8), int),
        valid=np.ones(4, bool),
        present=np.ones((4, 3), bool),
        objects=Objects(np.zeros((4, 7, 4)), np.zeros((4, 7), int)),
    )
    placed = of_batch(mesh, row._replace(streams={"more": row}))
    for batch in (placed, placed.streams["more"]):
        assert batch.image.spec == batch.label.spec == PartitionSpec(("data", "fsdp"), "spatial")
        assert batch.valid.spec == batch.present.spec == PartitionSpec(("data", "fsdp"))
        assert batch.objects.boxes.spec == PartitionSpec(("data", "fsdp"))
        assert batch.objects.masks is None and batch.weight is None
    assert placed.streams["more"].streams is None


def test_sizes_of_valid_convolutions():
    net = UNet2015(2)
    assert accepted_size(net, (512, 100)) == (524, 188)
    assert covering_size(net, (388, 4)) == (572, 188)
    assert accepted_size(UNet(2), (7, 9)) == covering_size(UNet(2), (7, 9)) == (7, 9)


def test_an_ensemble_of_one_network_twice_trains_and_loads(tiny, tmp_path):
    from jaxseg import checkpoint
    from jaxseg.train import train

    net = tiny().recipe.model
    experiment = tiny(steps=1, every=1, model=Ensemble(members=(net, net)))
    train(experiment, tmp_path)
    model, variables = checkpoint.load(tmp_path, classes=[Ensemble])
    assert model == Ensemble(members=(net, net))
    first, second = (variables["params"][name] for name in sorted(variables["params"]))
    kernels = [tree["head"]["kernel"] for tree in (first, second)]
    assert abs(kernels[0] - kernels[1]).max() > 0
    logits = model.apply(variables, jnp.ones((1, 16, 16, 1)), train=False).logits
    assert logits.shape == (1, 16, 16, 2)
