"""Encoders with the classifiers of their papers give the scores of timm.

Torchvision's are among tests/convert/test_records.py.
"""

import jax
import jax.numpy as jnp
import pytest

from jaxseg.encoders import ENCODERS, Classifier, MiT, ResNet, classifier
from jaxseg.errors import UserError
from tests.models import peers


@pytest.mark.parametrize(
    ("record", "name", "fields"),
    [
        ("timm_legacy_xception", "xception", {"stem": "valid"}),
        ("timm_xception65", "xception65", {}),
    ],
)
def test_scores_are_those_of_the_peer(record, name, fields):
    peers.check(peers.RECORDS, record, classifier(ENCODERS[name](**fields)))


def test_an_encoder_without_a_known_classifier_is_refused_or_given_one():
    with pytest.raises(UserError, match="no classifier is known of MiT; it is of AlexNet, Aligned"):
        classifier(MiT())
    model = Classifier(5, ResNet(10, width=4), hidden=(7,))
    x = jnp.zeros((2, 32, 32, 3))
    scores, variables = jax.eval_shape(
        lambda x: model.init_with_output(jax.random.key(0), x, train=False), x
    )
    assert scores.shape == (2, 5) and variables["params"]["hidden1"]["kernel"].shape == (32, 7)
