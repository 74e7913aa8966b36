"""Reading a config: a Python file with ``def experiment() -> Experiment``, and what is typed after.

Plain constructors of frozen objects: what a config reads like is what exists.
"""

import contextlib
import importlib.util
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from jaxseg import fields
from jaxseg.errors import UserError, first_line, unknown
from jaxseg.experiment import Experiment, check
from jaxseg.overrides import overridden
from jaxseg.record import CONFIG_MODULE


def read(path: str | Path, overrides: Sequence[str] = ()) -> Experiment:
    """The experiment of a config file, with overrides ``a.b.c=value`` applied in order.

    Raises UserError for a file that cannot be run or holds no ``experiment``, an unknown name,
    a value of the wrong type, and an experiment that cannot be trained.
    """
    path = Path(path)
    experiment = overridden(_experiment(path, _module(path)), overrides)
    check(experiment)
    return experiment


def classes(path: str | Path | None) -> tuple[type, ...]:
    """The classes that a Python file defines or uses: what ``--classes FILE`` hands to `load`.

    Those among its names, those of the modules among its names, and where it has an
    ``experiment()``, those of the experiment's objects.
    """
    if path is None:
        return ()
    module = _module(Path(path))
    values = list(vars(module).values())
    for value in vars(module).values():
        if isinstance(value, ModuleType) and not _ours(value.__name__):
            values += vars(value).values()
    found = {value for value in values if fields.is_class(value)}
    if callable(getattr(module, "experiment", None)):
        found |= fields.classes_in(_experiment(Path(path), module))
    return tuple(cls for cls in found if not _ours(cls.__module__))


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
