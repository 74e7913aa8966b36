"""The classes that can stand in an experiment, by the names that JSON and the command line use.

A class is known by its home: ``"models.UNet"`` is ours, ``"module:Qualname"`` somebody else's.
"""

import functools
import importlib
from collections.abc import Iterable, Mapping
from types import ModuleType

from jaxseg import fields

CONFIG_MODULE = "jaxseg_config_"
"""Precedes the name of a config file in its module's name."""

HOMES = (
    "augment", "crf", "data", "encoders", "experiment", "layers", "losses", "metrics", "models",
    "objects", "optimizers", "recipes", "sharding",
)  # fmt: skip
"""The modules of jaxseg whose classes can stand in an experiment."""


def name_of(cls: type) -> str:
    """The name of a class in JSON."""
    home, *rest = cls.__module__.split(".")
    if home == "jaxseg" and rest:
        return f"{rest[0]}.{cls.__name__}"
    return f"{cls.__module__.removeprefix(CONFIG_MODULE)}:{cls.__qualname__}"


def known(own: Iterable[type] = ()) -> dict[str, type]:
    """Every configurable class of jaxseg by its name, those its packages export, and one's own."""
    return {**_ours(), **{name_of(cls): cls for cls in own}}


@functools.cache
def _ours() -> Mapping[str, type]:
    modules: list[ModuleType] = [importlib.import_module(f"jaxseg.{home}") for home in HOMES]
    exported = [value for module in modules for value in vars(module).values()]
    found = [c for c in exported if isinstance(c, type) and c.__module__.startswith("jaxseg.")]
    return {name_of(cls): cls for cls in found if fields.is_class(cls)}


def called(name: str, among: Mapping[str, type]) -> dict[str, type]:
    """The classes of a table that a typed name means: ``Focal``, or with its home ``losses.Focal``.

    Several where one's own class has the name of one of ours.
    """
    dotted = {long: long.replace(":", ".") for long in among}
    return {long: among[long] for long, path in dotted.items() if f".{path}".endswith(f".{name}")}


def short(cls: type, among: Mapping[str, type]) -> str:
    """The shortest name by which `called` finds the class alone."""
    path = name_of(cls).replace(":", ".")
    parts = path.split(".")
    tails = (".".join(parts[-count:]) for count in range(1, len(parts)))
    return next((tail for tail in tails if len(called(tail, among)) < 2), path)
