"""The image files that are to be predicted, and what must not be written over for them."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from jaxseg.data import images
from jaxseg.errors import UserError
from jaxseg.predicted_file import endings


class Input(NamedTuple):
    """An image file, and its path below the input without its suffix."""

    file: Path
    name: Path


def inputs(path: str | Path, output: str | Path) -> list[Input]:
    """The file itself, or the images in the folder and below, by name; hidden ones are left out.

    So is what lies in ``output``, where that is a folder below the input; and links to folders.
    """
    path, output = Path(path), Path(output)
    if path.is_dir():
        found = [
            Input(file, file.relative_to(path).with_name(images.stem(file)))
            for file in sorted(path.rglob("*"))
            if images.suffix(file) in images.SUFFIXES and not file.is_dir()
        ]
        found = [one for one in found if not _passed_over(one, path, output)]
        if not found:
            raise UserError(f"{path}: holds no image ({' '.join(images.SUFFIXES)})")
        return found
    if not path.exists():
        raise UserError(f"--input {path}: no such file or folder")
    if images.suffix(path) not in images.SUFFIXES:
        raise UserError(f"--input {path}: not an image ({' '.join(images.SUFFIXES)})")
    return [Input(path, Path(images.stem(path)))]


def _passed_over(one: Input, path: Path, output: Path) -> bool:
    """Whether a file is hidden, or an older output that lies below the input."""
    below = path.resolve() in output.resolve().parents
    hidden = any(part.startswith(".") for part in one.name.parts)
    return hidden or (below and output.resolve() in one.file.resolve().parents)


def admit(
    files: Sequence[Input],
    folder: Path,
    rank: int,
    suffixes: Sequence[str],
    *,
    numbered: bool,
    overwrite: bool,
) -> None:
    """Refuse inputs that would write over one another, over an input, or over older output."""
    owner: dict[str, Path] = {}
    beside = [*(images.stem(suffix) for suffix in suffixes), *["_instances"] * numbered]
    for file, name in files:
        for added in ("", *beside):
            other = owner.setdefault(str(name) + added, file)
            if other != file:
                raise UserError(
                    f"{other} and {file} would be written to the same name; rename one of them"
                )
    sources = {file.resolve() for file, _ in files}
    planned = []
    for file, name in files:
        maps = endings(file, rank)
        more = [f"_instances{end}" for end in maps] if numbered else []
        planned += [folder / (str(name) + added) for added in (*maps, *more, *suffixes)]
    existing = [path for path in planned if path.exists()]
    for path in existing:
        if path.resolve() in sources:
            raise UserError(f"--output {folder}: {path} is an input; name another folder")
    if existing and not overwrite:
        more = f" and {len(existing) - 1} more" if len(existing) > 1 else ""
        raise UserError(
            f"{existing[0]}{more} would be replaced; name another --output, or say --overwrite"
        )
