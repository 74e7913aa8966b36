"""Reading a config: a Python file with ``def experiment() -> Experiment``, and what is typed after.

Plain constructors of frozen objects: what a config reads like is what exists. As a command it
prints every name of a config that can be typed: ``python -m jaxseg.config configs/quickstart.py``.
"""

import contextlib
import importlib.util
import shlex
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from jaxseg import calls, command, fields
from jaxseg.classes import CONFIG_MODULE
from jaxseg.classes import known as classes_by_name
from jaxseg.errors import UserError, first_line, unknown
from jaxseg.experiment import Experiment, check
from jaxseg.overrides import overridden, type_below


def read(path: str | Path, overrides: Sequence[str] = (), own: Iterable[type] = ()) -> Experiment:
    """The experiment of a config file, with overrides ``a.b.c=value`` applied in order.

    ``own`` are classes that overrides may name, beside jaxseg's and the config's. Raises UserError
    for a file that cannot be run or holds no ``experiment``, an unknown name, a value of the wrong
    type, and an experiment that cannot be trained.
    """
    path = Path(path)
    module = _module(path)
    experiment = overridden(_experiment(path, module), overrides, {*own, *_named(module)})
    check(experiment)
    return experiment


def _named(module: ModuleType) -> set[type]:
    """The own classes that overrides may name; Flax's layers are no parts of an experiment."""
    return {cls for cls in _own(module) if not cls.__module__.startswith("flax.")}


def classes(path: str | Path | None) -> tuple[type, ...]:
    """The classes that a Python file defines or uses: what ``--classes FILE`` hands to `load`.

    Those among its names, those of the modules among its names, and where it has an
    ``experiment()``, those of the experiment's objects.
    """
    if path is None:
        return ()
    module = _module(Path(path))
    found = _own(module)
    if callable(getattr(module, "experiment", None)):
        used = fields.classes_in(_experiment(Path(path), module))
        found |= {cls for cls in used if not _ours(cls.__module__)}
    return tuple(found)


def _own(module: ModuleType) -> set[type]:
    """The classes among a module's names, and among those of modules it imports, but jaxseg's."""
    values = list(vars(module).values())
    for value in vars(module).values():
        if isinstance(value, ModuleType) and not _ours(value.__name__):
            values += vars(value).values()
    return {value for value in values if fields.is_class(value) and not _ours(value.__module__)}


def _ours(module: str) -> bool:
    return module == "jaxseg" or module.startswith("jaxseg.")


def _module(path: Path) -> ModuleType:
    """The file as a module, known to ``sys.modules`` so that types and pickles find it."""
    if not path.is_file():
        raise _missing(path)
    spec = importlib.util.spec_from_file_location(CONFIG_MODULE + path.stem, path)
    if spec is None or spec.loader is None:
        raise UserError(f"{path}: a config is a Python file that ends in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    with _running(path, "while it is read"):
        spec.loader.exec_module(module)
    return module


def _missing(path: Path) -> UserError:
    siblings = [p.name for p in path.parent.glob("*.py")] if path.parent.is_dir() else []
    if not siblings:
        return UserError(f"{path}: no such config file")
    return unknown(f"{path}: no such config file:", path.name, siblings)


def _experiment(path: Path, module: Any) -> Experiment:
    if not callable(getattr(module, "experiment", None)):
        raise UserError(f"{path}: define `def experiment() -> Experiment` in it")
    with _running(path, "in experiment()"):
        experiment = module.experiment()
    if not isinstance(experiment, Experiment):
        given = type(experiment).__name__
        raise UserError(f"{path}: experiment() returns {given}; return an Experiment")
    return experiment


@contextlib.contextmanager
def _running(path: Path, when: str) -> Iterator[None]:
    """A config's own errors, whatever they are, as one line that names the file."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    except (Exception, SystemExit) as error:
        raise UserError(f"{path}: {type(error).__name__} {when}: {first_line(error)}") from error


# --- the command ----------------------------------------------------------------------------------


def lines(experiment: Experiment) -> list[tuple[str, str]]:
    """Every name of an experiment as ``name=value``, quoted for a shell, and its type.

    An object is followed by what it holds. All together, as overrides of the same config, give an
    equal experiment.
    """
    known = classes_by_name(fields.classes_in(experiment))

    def below(node: Any, before: str, hint: Any) -> Iterator[tuple[str, str]]:
        for name, value in fields.children(node).items():
            inner, dotted = type_below(node, name, hint), f"{before}{name}"
            text = calls.written(value, known)
            if isinstance(value, str) and _stays(value, inner, dotted, known):
                text = value
            yield f"{dotted}={shlex.quote(text)}", fields.spelt(inner)
            if fields.is_object(value) or isinstance(value, Mapping):
                yield from below(value, f"{dotted}.", inner)

    return list(below(experiment, "", Any))


def show(experiment: Experiment) -> None:
    """Print the lines, each with its type as a comment."""
    for line, kind in lines(experiment):
        print(f"{line}  # {kind}")


def _stays(text: str, hint: Any, dotted: str, known: calls.Known) -> bool:
    """Whether a string that is typed without quotes is read as itself."""
    try:
        return calls.read(text, hint, dotted, known) == text
    except UserError:
        return False


def main(arguments: Sequence[str]) -> None:
    """The command."""
    parser = command.parser(
        prog="python -m jaxseg.config",
        description="Print every name of a config that can be typed, with its value and type.",
        epilog="example: python -m jaxseg.config configs/quickstart.py recipe.optimizer=SGD",
    )
    parser.add_argument("config", type=Path, help="Python file with experiment()")
    parser.add_argument("overrides", nargs="*", metavar="a.b=value", help="such as batch_size=8")
    command.add_classes(parser)
    command.add_debug(parser)
    options = parser.parse_intermixed_args(arguments)
    show(read(options.config, options.overrides, classes(options.classes)))


if __name__ == "__main__":
    command.run(main)
