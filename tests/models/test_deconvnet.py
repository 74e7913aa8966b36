"""DeconvNet: numbers of an independent form, and images below its own size."""

from pathlib import Path

from jaxseg.models import create
from tests.models import peers

GOLDEN = Path(__file__).parent.parent / "golden"


def test_its_numbers_are_those_of_a_form_from_the_paper():
    # made by golden/make_fully_convolutional.py; fc6 sees 7 x 8 pixels
    names = [(r"(.*deconv.*\.conv)", r"\1~"), (r"(.*)", r"\1!")]
    peers.check(GOLDEN, "deconvnet", create("deconvnet", num_classes=4, width=4, hidden=6), names)
