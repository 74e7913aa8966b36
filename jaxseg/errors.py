"""The one exception that means: the user can mend this. And how it is worded."""

import difflib
from collections.abc import Iterable
from typing import Any


class UserError(Exception):
    """A mistake in the input: one line that names the file or the option and what to change.

    The commands print it on stderr and exit with code 2; ``--debug`` shows the traceback.
    """


def require(holds: bool, option: str, value: Any, what: str) -> None:
    """Refuse the value of an option unless ``holds``: ``option=value: must be what``."""
    if not holds:
        raise UserError(f"{option}={value!r}: must be {what}")


def unknown(what: str, name: str, known: Iterable[str]) -> UserError:
    """The error for a name that is not among ``known``; it names the nearest, else all.

    ``what`` says what was looked for, such as ``data.root: unknown name`` or ``no model is
    called``: it precedes the name.
    """
    names = list(known)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.4)
    if near:
        return UserError(f"{what} {name!r}; the nearest is {near[0]!r}")
    return UserError(f"{what} {name!r}; there are {', '.join(names) or 'none'}")


def first_line(error: BaseException) -> str:
    """The first line of what an error of somebody else's code says, at most 200 characters."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
