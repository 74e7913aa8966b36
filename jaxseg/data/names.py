"""Names of classes from a file, such as the ``classes.txt`` that labelling programs write."""

from pathlib import Path

from jaxseg.data.checks import few
from jaxseg.errors import UserError


def class_names(path: Path | str) -> tuple[str, ...]:
    """The lines of a text file, class 0 first: ``Folder(..., class_names=class_names(path))``.

    A config calls it, so that the run keeps the names and needs the file no more. Blank lines at
    the end are passed over. Raises UserError for a file that is missing or empty, a blank line
    between names, and a name that stands twice.
    """
    path = Path(path).expanduser()
    try:
        lines = path.read_text(encoding="utf-8-sig").rstrip().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: no readable file of class names, one a line") from error
    names = tuple(line.strip() for line in lines)
    blank = [str(number) for number, name in enumerate(names, 1) if not name]
    if not names or blank:
        what = f"line {few(blank, 3)} is blank" if blank else "is empty"
        raise UserError(f"{path}: {what}; give one name a line, class 0 first")
    twice = [name for name in dict.fromkeys(names) if names.count(name) > 1]
    if twice:
        raise UserError(f"{path}: {few(twice, 3)} stands twice; a name is one class's")
    return names
