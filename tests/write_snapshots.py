"""Write what the tests compare: ``python -m tests.write_snapshots``; the diff is for review.

``tests/snapshots``: the parameters of every network (without its encoder's) and every encoder by
name and shape, since names are an API, and every config's experiment. README: the table of
networks.
"""

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import jax

from jaxseg import config, record
from jaxseg.encoders import ENCODERS
from jaxseg.models import MODELS, create
from jaxseg.models.__main__ import rows_of
from jaxseg.types import accepted_size

ROOT = Path(__file__).parent.parent
SNAPSHOTS = ROOT / "tests" / "snapshots"
README = ROOT / "README.md"
TABLE = re.compile(r"(<!-- networks -->\n)(.*?)(<!-- end of networks -->\n)", re.DOTALL)
HEAD = "| network | parameters | GMACs at 512 x 512, 21 classes |\n|---|--:|--:|\n"
COMMAND = "run `python -m tests.write_snapshots` and look at the diff"


def of_model(name: str) -> str:
    """Paths, shapes and dtypes of a network's variables, without those of its encoder."""
    model = create(name, num_classes=2)
    shapes: Any = _shapes(model, accepted_size(model, (64, 64)))
    return _listed(
        {kind: {k: v for k, v in tree.items() if k != "encoder"} for kind, tree in shapes.items()}
    )


def of_encoder(name: str) -> str:
    """The same of an encoder."""
    return _listed(_shapes(ENCODERS[name](), (64, 64)))


def of_config(path: Path) -> str:
    """A config's experiment as JSON."""
    return json.dumps(record.to_json(config.read(path)), indent=1) + "\n"


def readme_rows(name: str, encoders: Iterable[str] = ENCODERS) -> str:
    """A network's lines of the README's table; with each encoder, where there is a choice."""
    lines = []
    for row in rows_of(name, 512, 21, 3, encoders):
        encoder = f" + `{row['encoder']}`" if row["encoder"] else ""
        size = f" ({row['size']} x {row['size']})" if row["size"] != 512 else ""
        macs = f"{row['macs'] / 1e9:.2f}"
        lines.append(f"| `{name}`{encoder}{size} | {row['parameters']:,} | {macs} |\n")
    return "".join(lines)


def configs() -> list[Path]:
    """All configs."""
    return sorted((ROOT / "configs").glob("*.py"))


def _shapes(module: Any, size: tuple[int, ...]) -> Any:
    image = jax.ShapeDtypeStruct((1, *size, 3), "float32")
    return jax.eval_shape(lambda x: module.init(jax.random.key(0), x, train=False), image)


def _listed(tree: Any) -> str:
    lines = [
        f"{'/'.join(entry.key for entry in path)} {leaf.shape} {leaf.dtype}"
        for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]
    ]
    return "\n".join(sorted(lines)) + "\n"


def main() -> None:
    """Write all of it, and remove what is of no network, encoder or config."""
    texts = {SNAPSHOTS / "models" / f"{name}.txt": of_model(name) for name in MODELS}
    texts |= {SNAPSHOTS / "encoders" / f"{name}.txt": of_encoder(name) for name in ENCODERS}
    texts |= {SNAPSHOTS / "configs" / f"{path.stem}.json": of_config(path) for path in configs()}
    for old in set(SNAPSHOTS.rglob("*.*")) - set(texts):
        old.unlink()
    for path, text in texts.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    table = HEAD + "".join(readme_rows(name) for name in MODELS)
    README.write_text(TABLE.sub(lambda m: m[1] + table + m[3], README.read_text()))


if __name__ == "__main__":
    main()
