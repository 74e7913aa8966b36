"""Print what a config can be made of: names, what they are, their fields and defaults.

example: python -m jaxseg.list losses
"""

import argparse
import functools
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from jaxseg import calls, classes, command, fields
from jaxseg.data import DATASETS
from jaxseg.encoders import ENCODERS
from jaxseg.errors import unknown
from jaxseg.losses import LOSSES
from jaxseg.metrics import CASE_SCORES, MORE, SCORES, Confusion
from jaxseg.models import MODELS
from jaxseg.optimizers import OPTIMIZERS

Named = Mapping[str, Callable[..., Any]]


class Entry(NamedTuple):
    """A name as it is typed, what it is in one line, and its fields with types and defaults."""

    name: str
    what: str
    fields: tuple[str, ...] = ()


def entries(kind: str) -> list[Entry]:
    """All entries of one kind; UserError names the nearest where there is none of that name."""
    if kind not in KINDS:
        raise unknown("list: no kind is called", kind, KINDS)
    return list(KINDS[kind]())


def _by_key(table: Named) -> Iterator[Entry]:
    """Networks and encoders, which are typed by their names: ``recipe.model=unet``."""
    for name, made in table.items():
        given: dict[str, Any] = {}
        while isinstance(made, functools.partial):
            made, given = made.func, {**made.keywords, **given}
        yield _entry(name, made, given)


def _by_class(table: Named) -> Iterator[Entry]:
    """What is typed by its class: ``recipe.optimizer=SGD``."""
    for cls in table.values():
        yield _entry(cls.__name__, cls, {})


def _of_home(home: str, but: Named) -> Iterator[Entry]:
    """The classes of one of jaxseg's modules that are not in a table."""
    found = {name: cls for name, cls in classes.known().items() if name.startswith(f"{home}.")}
    return _by_class({name: cls for name, cls in found.items() if cls not in but.values()})


def _datasets() -> Iterator[Entry]:
    """Data sets, by what their files say: one a file, and what is in it comes first there."""
    for entry, cls in zip(_by_class(DATASETS), DATASETS.values(), strict=True):
        yield entry._replace(what=_first_lines(inspect.getmodule(cls))[0])


def _entry(name: str, cls: Any, given: Mapping[str, Any]) -> Entry:
    known, hints = classes.known(), fields.hints(cls)
    shown = []
    for field in fields.configurable(cls):
        default = given[field] if field in given else calls.default(cls, field)
        value = "" if default is calls.NOTHING else f" = {calls.written(default, known)}"
        shown.append(f"{field}: {fields.spelt(hints[field])}{value}")
    return Entry(name, _said(cls), tuple(shown))


def _said(cls: Any) -> str:
    """The first line of a class's docstring; of its file's where that is a formula."""
    lines = _first_lines(cls) + _first_lines(inspect.getmodule(cls))
    return next((line for line in lines if not line.startswith("``")), *lines[:1])


def _first_lines(documented: Any) -> list[str]:
    """The first line of a docstring, or none."""
    text = inspect.getdoc(documented) if documented is not None else None
    return (text or "").splitlines()[:1]


def _metrics() -> Iterator[Entry]:
    """The scores that ``evaluation.metrics`` can name."""
    for name in (*SCORES, *MORE):
        score, _, how = name.partition("_")
        lines = _first_lines(getattr(Confusion, name, None))
        yield Entry(name, lines[0] if lines else f"{score}, {how} mean over the classes")
    for name, score in CASE_SCORES.items():
        best = "higher" if score.higher_is_better else "lower"
        needs = f", of {' and '.join(score.needs)}" if score.needs else ""
        unit = ", in mm where the spacing is known" if score.in_mm else ""
        yield Entry(name, f"case by case, {best} is better{needs}{unit}")


KINDS: dict[str, Callable[[], Iterator[Entry]]] = {
    "models": lambda: _by_key(MODELS),
    "encoders": lambda: _by_key(ENCODERS),
    "losses": lambda: _by_class(LOSSES),
    "metrics": _metrics,
    "datasets": _datasets,
    "optimizers": lambda: _by_class(OPTIMIZERS),
    "schedules": lambda: _of_home("optimizers", OPTIMIZERS),
    "recipes": lambda: _of_home("recipes", {}),
}


def main(arguments: Sequence[str]) -> None:
    """The command."""
    parser = command.parser(
        prog="python -m jaxseg.list",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("kind", help=f"one of {', '.join(KINDS)}")
    command.add_debug(parser)
    options = parser.parse_args(arguments)
    for entry in entries(options.kind):
        print(f"{entry.name}: {entry.what}")
        for field in entry.fields:
            print(f"    {field}")


if __name__ == "__main__":
    command.run(main)
