"""The README.md of a run that is shared: what the run itself knows, and nothing else."""

import importlib.metadata
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from jaxseg import __version__, checkpoint, cost, fields
from jaxseg.calls import written
from jaxseg.classes import known, name_of
from jaxseg.encoders import Standardize
from jaxseg.errors import UserError, first_line
from jaxseg.step_folder import metadata_of
from jaxseg.types import Paper
from jaxseg.workdir import CHECKPOINTS, EVALUATION

HEAD = """---
library_name: jaxseg
pipeline_tag: image-segmentation
tags:
- jaxseg
- jax
- image-segmentation
---
"""
"""What the Hugging Face hub reads of a card."""


def card(run: checkpoint.Opened, workdir: Path, name: str, classes: Iterable[type] = ()) -> str:
    """The card, in Markdown; ``name`` is what it is pulled by. ``classes`` are the run's own."""
    experiment, model = run.experiment, run.model
    data, types = experiment.data, known(classes)
    dataset = data.dataset
    paper: Paper | None = getattr(model, "paper", None)
    lines = [HEAD, f"# {name.rpartition('/')[2]}", "", "## Network", ""]
    lines += [f"`{written(model, types)}`, {cost.parameters(run.variables):,} parameters.", ""]
    if paper is not None:
        lines += [f"{paper.author} {paper.year}: [{paper.title}]({paper.url})", ""]
    lines += ["## Data", "", f"`{name_of(type(dataset))}`, rank {dataset.rank}.", ""]
    lines += [f"- channels: {dataset.channels}", f"- classes: {dataset.num_classes}"]
    lines += [f"  - {number}: {one}" for number, one in enumerate(dataset.class_names)]
    lines += [f"- values of raw images: {data.normalize.scale}"]
    lines += [f"- the network takes what `{written(data.normalize, types)}` leaves of them"]
    lines += [f"- brought to `{written(data.grid, types)}`"] if data.grid else []
    lines += [f"- prepared before by `{written(data.prepare, types)}`"] if data.prepare else []
    lines += [f"- inside, the network applies `{written(s, types)}`" for s in _standardized(model)]
    scores = list(_scores(workdir, run.step))
    lines += ["", "## Scores", "", f"Of step {run.step}, as the run has kept them.", ""]
    lines += ["| of | score | value |", "|---|---|--:|", *scores] if scores else ["None is kept."]
    versions = [f"jaxseg {__version__}"]
    versions += [f"{one} {importlib.metadata.version(one)}" for one in ("jax", "flax")]
    lines += ["", "## Use", "", "```", f"python -m jaxseg.hub pull --from {name} --workdir run"]
    lines += ["```", "", "```python", "import jaxseg", "", 'run = jaxseg.opened("run")']
    more = ", spacing=mm" if data.grid else ""
    take = f'image = run.experiment.data.image(raw, name="x"{more})'
    lines += [f"{take}  # raw: [*spatial, channels]"]
    lines += ["logits = run.model.apply(run.variables, image[None], train=False).logits", "```"]
    return "\n".join([*lines, "", f"Written by {', '.join(versions)}.", ""])


def _scores(workdir: Path, step: int) -> Iterator[str]:
    """Rows of a table: scores of this step, and what they came of, without paths of the machine."""
    kept = metadata_of(workdir / CHECKPOINTS / str(step))["scores"]
    for name, value in sorted(kept.items()):
        yield f"| validation, while training | {name} | {value:.4g} |"
    path = workdir / EVALUATION
    try:
        found = json.loads(path.read_text()) if path.exists() else {}
        scored = {key: one for key, one in found.items() if one["step"] == step}
    except (OSError, ValueError, TypeError, AttributeError, KeyError) as error:
        raise UserError(f"{path}: not what jaxseg.evaluate writes ({first_line(error)})") from error
    for key, scores in scored.items():
        for name, value in scores.items():
            if name != "step" and isinstance(value, int | float) and not isinstance(value, bool):
                yield f"| {_of(key)}, {scores.get('cases')} cases | {name} | {value:.4g} |"


def _of(key: str) -> str:
    """What was scored, by its key in ``evaluation.json``; folders are not named."""
    if key.startswith("images "):
        return "new labelled images"
    first, _, rest = key.partition(" ")
    private = any(mark in rest for mark in "/\\~")
    return f"{first} of other data" if private else key


def _standardized(node: Any) -> Iterator[Standardize]:
    if isinstance(node, Standardize):
        yield node
    for child in fields.children(node).values():
        yield from _standardized(child)
