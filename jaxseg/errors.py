"""The one exception that means: the user can mend this. And how it is worded."""

import difflib
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

MOST = 40
"""Problems that one line spells out; of more it counts all but the first `FEW` of each kind."""

FEW = 5


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


class Problem(NamedTuple):
    """What is wrong with one of many things: its kind, such as "missing", and what is said."""

    kind: str
    said: str


def refused(begin: str, problems: Sequence[Problem], end: str = "") -> UserError:
    """The error that lists all problems between ``begin`` and ``end``, or many by their kinds.

    What many leave out is the error's cause, which ``--debug`` shows.
    """
    every = "; ".join(problem.said for problem in problems)
    if len(problems) <= MOST:
        return UserError(begin + every + end)
    parts: list[str] = []
    for kind in dict.fromkeys(problem.kind for problem in problems):
        of_kind = [problem.said for problem in problems if problem.kind == kind]
        parts += of_kind[:FEW]
        parts += [f"{len(of_kind) - FEW} more {kind}"] if len(of_kind) > FEW else []
    error = UserError(begin + "; ".join(parts) + end)
    error.__cause__ = ValueError(every)
    return error


def first_line(error: BaseException) -> str:
    """The first line of what an error of somebody else's code says, at most 200 characters."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
