"""What docs/layouts.md says to write can be written, in a config and on the command line."""

import re
from pathlib import Path

import pytest

from jaxseg import data, record
from jaxseg.overrides import overridden

PAGE = (Path(__file__).parent.parent.parent / "docs" / "layouts.md").read_text()
NAMES = [cls.__name__ for cls in data.DATASETS.values()]
CALLS = sorted(set(re.findall(rf"`((?:{'|'.join(NAMES)})\([^`]+\))`", PAGE)))


@pytest.mark.parametrize("call", CALLS)
def test_every_data_set_of_the_page_is_one(tiny, call):
    typed = overridden(tiny(), [f"data.dataset={call}"]).data.dataset
    assert typed == eval(call, dict(vars(data)))
    assert record.from_json(record.to_json(typed)) == typed


def test_the_page_has_every_data_set_for_files_of_ones_own():
    named = {call.partition("(")[0] for call in CALLS}
    assert named == {"COCO", "Folder", "NNUNet", "Region", "TFDS", "Table", "VOC2012"}
