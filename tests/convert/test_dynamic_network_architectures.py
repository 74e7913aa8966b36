"""nnU-Net's networks by its plans' arguments: the same numbers, weights back, what is refused."""

import json
from pathlib import Path

import numpy as np
import pytest

from jaxseg.convert import from_torch, to_torch
from jaxseg.errors import UserError
from tests.convert import recorded

LIBRARY = "dynamic_network_architectures"
RECORDS = json.loads((Path(__file__).parent.parent / "golden" / "dynunet.json").read_text())
NAMES = [f"{known['arch']}-{number}" for number, known in enumerate(RECORDS)]


@pytest.mark.parametrize("known", RECORDS, ids=NAMES)
def test_it_computes_what_the_release_does_at_settings_that_differ(known):
    recorded.check(known, known["library"])


PLAIN, RESIDUAL = RECORDS[1], RECORDS[3]


def drawn():
    return {key: recorded.drawn_weight(key, shape) for key, shape in PLAIN["state_dict"]}


def test_one_of_the_keys_of_a_tensor_will_do_and_all_go_back():
    """As of a file of safetensors, which keeps one."""
    model, variables = from_torch(LIBRARY, PLAIN["arch"], PLAIN["kwargs"], drawn())
    whole = to_torch(model, variables, LIBRARY)
    few = {k: v for k, v in whole.items() if "all_modules" in k or ".conv" not in k}
    few = {k: v for k, v in few.items() if not k.startswith("encoder")}
    assert len(few) < len(whole) / 2
    _, again = from_torch(LIBRARY, PLAIN["arch"], PLAIN["kwargs"], few)
    for key, value in to_torch(model, again, LIBRARY).items():
        if not key.endswith("num_batches_tracked"):
            np.testing.assert_array_equal(value, whole[key], key)


def test_a_tensor_that_lacks_all_its_keys_is_missed_by_its_first():
    few = {k: v for k, v in drawn().items() if "stages.1.0.convs.0" not in k}
    with pytest.raises(UserError, match=r"missing encoder\.stages\.1\.0\.convs\.0\.conv\.weight"):
        from_torch(LIBRARY, PLAIN["arch"], PLAIN["kwargs"], few)


@pytest.mark.parametrize(
    ("known", "changed", "message"),
    [
        (PLAIN, {"conv_op": "torch.nn.Linear"}, "conv_op='Linear': must be 'Conv1d' or"),
        (PLAIN, {"norm_op": "torch.nn.LayerNorm"}, "norm_op: nothing is here .* 'LayerNorm'"),
        (PLAIN, {"norm_op": "torch.nn.BatchNorm3d"}, "norm_op=.*for 2 axes, as conv_op is"),
        (PLAIN, {"norm_op_kwargs": {"track": 1}}, "norm batch takes no argument 'track'"),
        (PLAIN, {"nonlin": "torch.nn.RReLU"}, "nonlin: nothing is here .* 'RReLU'"),
        (PLAIN, {"dropout_op": "AlphaDropout"}, "dropout_op: nothing is here that is called"),
        (PLAIN, {"dropout_op_kwargs": {"p": 0.0}}, "p=0.0: must be above 0; leave dropout_op out"),
        (PLAIN, {"n_conv_per_stage": [1, 1, 1]}, "n_conv_per_stage=.*or 2 entries by n_stages"),
        (PLAIN, {"n_conv_per_stage_decoder": [1, 1]}, "n_conv_per_stage_decoder=.*or 1 entries"),
        (PLAIN, {"strides": 2}, "must be 1 at first"),
        (PLAIN, {"kernel_sizes": [3, 4]}, "kernel_size=4: must be odd"),
        (PLAIN, {"features_per_stage": [4, 0]}, "widths=.*at least 1"),
        (PLAIN, {"pool": "max"}, "PlainConvUNet takes no argument 'pool'"),
        (RESIDUAL, {"block": "torch.nn.Module"}, "block='Module': must be 'BasicBlockD' or"),
        (RESIDUAL, {"bottleneck_channels": None}, "bottleneck_channels is missing"),
    ],
)
def test_what_nothing_of_ours_computes_is_refused_by_name(known, changed, message):
    with pytest.raises(UserError, match=message):
        from_torch(LIBRARY, known["arch"], known["kwargs"] | changed, drawn())
