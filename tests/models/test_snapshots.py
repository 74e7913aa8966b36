"""Parameter names are an API: a rename shows as a diff of ``tests/snapshots``.

``UPDATE_SNAPSHOTS=1 pytest tests/models/test_snapshots.py`` writes them anew.
"""

import json
import os
from pathlib import Path

import jax
import pytest

from jaxseg import config
from jaxseg.models import MODELS, create

ROOT = Path(__file__).parent.parent.parent
SNAPSHOTS = ROOT / "tests" / "snapshots"
UPDATE = os.environ.get("UPDATE_SNAPSHOTS") == "1"

VARIANTS = {name: (name, {}) for name in MODELS} | {
    "unet_resnet34": ("unet", {"encoder": "resnet34"}),
    "unet_resnet50": ("unet", {"encoder": "resnet50"}),
}
CONFIGS = sorted((ROOT / "configs").glob("*.py"))


def compare(path: Path, text: str) -> None:
    if UPDATE:
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    assert path.read_text() == text, f"{path.name} changed; is that meant?"


@pytest.mark.parametrize("variant", VARIANTS)
def test_parameters_keep_their_names_and_shapes(variant):
    name, fields = VARIANTS[variant]
    model = create(name, num_classes=2, **fields)
    size = 188 if name == "unet_2015" else 64
    image = jax.ShapeDtypeStruct((1, size, size, 3), "float32")
    shapes = jax.eval_shape(lambda x: model.init(jax.random.key(0), x, train=False), image)
    lines = [
        f"{'/'.join(entry.key for entry in path)} {leaf.shape} {leaf.dtype}"
        for path, leaf in jax.tree_util.tree_flatten_with_path(shapes)[0]
    ]
    compare(SNAPSHOTS / f"{variant}.txt", "\n".join(sorted(lines)) + "\n")


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_experiments_keep_their_settings(path):
    text = json.dumps(config.to_json(config.read(path)), indent=1) + "\n"
    compare(SNAPSHOTS / f"config_{path.stem}.json", text)
