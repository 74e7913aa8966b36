"""From a key of a ``state_dict`` to the place and the layout of a parameter of ours, and back."""

import functools
import re
from collections.abc import Iterator, Mapping, Sequence

import flax.linen as nn
import numpy as np

PREFIX = {
    "junfu1115/DANet": "pretrained",
    "segmentation_models_pytorch": "encoder",
    "torchvision": "backbone",
}
"""What a library calls the encoder of a network."""

LEAVES = {"running_mean": "mean", "running_var": "var", "bias": "bias"}
_THEIRS = {ours: theirs for theirs, ours in LEAVES.items()}
_THEIRS |= {"kernel": "weight", "scale": "weight", "slope": "weight"}

MARKS = "!~-+^"
"""What a name of ours may end in: see `jaxseg.types.Names`."""

AGAIN = "="
"""What it begins with where the peer lists a tensor once more, under another key."""

Table = Sequence[tuple[str, str]]
"""The pairs of one library in a ``names`` of `jaxseg.types.Names`."""

_TOKEN = re.compile(r"\\(?P<escaped>.)|(?P<open>\((?:\?:|\?P<\w+>)?)|(?P<close>\))|(?P<plain>.)")


def names_of(model: nn.Module, library: str) -> list[tuple[str, str]]:
    """The network's table, and behind it its encoder's at the peer's place of an encoder.

    ``library`` may be a module of it, such as "torchvision.models.segmentation". An encoder that
    has no table of the library's own is called as torchvision calls it. There the ``features`` of
    a classifier are themselves the backbone of a network.
    """
    library = library.split(".")[0]
    names = list(getattr(model, "names", {}).get(library, ()))
    of_encoder = getattr(getattr(model, "encoder", None), "names", {})
    prefix = PREFIX.get(library, "encoder")
    for pattern, name in of_encoder.get(library) or of_encoder.get("torchvision", ()):
        inner = pattern.removeprefix(r"features\.") if library == "torchvision" else pattern
        names.append((rf"{prefix}\.{inner}", f"encoder.{name}"))
    return names


def place(key: str, shape: Sequence[int], names: Table) -> tuple[str, ...]:
    """Where a key of the ``state_dict`` stands in our variables, the collection first."""
    leaf, ours = key.rsplit(".", 1)[1], _named(key, names)
    if "@" in ours:
        ours, leaf = ours.rstrip(MARKS).split("@")
        return ("params", *ours.split("."), leaf)
    kind = "batch_stats" if leaf.startswith("running") else "params"
    leaf = LEAVES.get(leaf) or ("kernel" if len(shape) > 1 else "scale")
    of_conv = leaf == "kernel" or (leaf == "bias" and _is_of_conv(key, names))
    part = [] if ours.endswith(tuple(MARKS)) else ["conv" if of_conv else "norm"]
    return (kind, *ours.rstrip(MARKS).split("."), *part, leaf)


def key_of(place_of: Sequence[str], names: Table) -> str | None:
    """The key whose `place` this is, or None where the peer has no such parameter."""
    return next(iter(keys_of(place_of, names)), None)


def keys_of(place_of: Sequence[str], names: Table) -> list[str]:
    """All keys of which this is the `place`: one, and those under which the peer repeats it."""
    shape = (1, 1) if place_of[-1] == "kernel" else (1,)
    candidates = list(_keys(place_of, names))
    first = [key for key, again in candidates if not again]
    repeated = [key for key, again in candidates if again]
    found = [key for key in first if place(key, shape, names) == tuple(place_of)][:1]
    return found + [key for key in repeated if place(key, shape, names) == tuple(place_of)]


def repeats(key: str, names: Table) -> bool:
    """Whether the peer lists a tensor once more under this key."""
    return _row(key, names).startswith(AGAIN)


def is_passed_over(key: str, names: Table) -> bool:
    """Whether the peer computes nothing with what it lists under this key, or ours needs it not."""
    return any(not name and _compiled(pattern).fullmatch(key) for pattern, name in names)


def laid_out(value: np.ndarray, key: str, names: Table) -> np.ndarray:
    """A peer's ``[out in *kernel]`` as our ``[*kernel in out]``; ``~`` has [in out] there.

    Of ``+`` the first axis, of one row, is left out. With ``^`` it is ours already, as in Keras.
    """
    name = _named(key, names)
    if name.endswith("+"):
        return value[0] if value.shape[:1] == (1,) else value
    if value.ndim < 2 or name.endswith("^"):
        return value
    channels = (0, 1) if name.endswith("~") else (1, 0)
    return value.transpose(*range(2, value.ndim), *channels)


def laid_back(value: np.ndarray, key: str, names: Table) -> np.ndarray:
    """Ours in the peer's layout: `laid_out` the other way.

    Where the name says ``-`` it is a linear layer there, of the pixels of a window row by row, and
    a convolution of that window here, mostly of one tap.
    """
    name = _named(key, names)
    if name.endswith("+"):
        return value[None]
    if value.ndim < 2 or name.endswith("^"):
        return value
    if name.endswith("-"):
        value = value.reshape(-1, value.shape[-1])
    rank = value.ndim - 2
    channels = (rank, rank + 1) if name.endswith("~") else (rank + 1, rank)
    return value.transpose(*channels, *range(rank))


def _named(key: str, names: Table) -> str:
    return _row(key, names).removeprefix(AGAIN)


def _row(key: str, names: Table) -> str:
    """Our name by the first row that fits, with its marks; the peer's own where none does."""
    where = key.rsplit(".", 1)[0]
    rows = ((pattern, name) for pattern, name in names if name)
    found = ((_compiled(pattern).fullmatch(where), name) for pattern, name in rows)
    return next((match.expand(name) for match, name in found if match), where)


# A table has hundreds of rows and is walked for each key: more patterns than `re` itself keeps.
_compiled = functools.cache(re.compile)


def _is_of_conv(key: str, names: Table) -> bool:
    """Whether a pattern's choice of a convolution and its norm says that the key is the former's.

    So it is with networks without norms, whose convolutions have the biases.
    """
    where = key.rsplit(".", 1)[0]
    pattern = next((p for p, _ in names if _compiled(p).fullmatch(where)), "")
    choice = re.search(r"\(\?:([^()|]+)\|[^()|]+\)", pattern)
    if choice is None:
        return False
    conv = pattern[: choice.start()] + choice[1] + pattern[choice.end() :]
    return re.fullmatch(conv, where) is not None


# --- the other way --------------------------------------------------------------------------------


def _keys(place_of: Sequence[str], names: Table) -> Iterator[tuple[str, bool]]:
    """Keys that may have this place, and whether they repeat it, by the rows in their order."""
    _, *modules, leaf = place_of
    part = modules[-1] if modules and modules[-1] in ("conv", "norm") else ""
    theirs = _THEIRS.get(leaf, leaf)
    for pattern, name in names:
        if not name:
            continue
        again = name.startswith(AGAIN)
        called = leaf if name.endswith("^") else theirs  # Keras has kernels, as here
        ours, _, parameter = name.removeprefix(AGAIN).rstrip(MARKS).partition("@")
        if parameter and parameter != leaf:
            continue
        whole = parameter or name.endswith(tuple(MARKS))
        where = ".".join(modules if whole else modules[:-1])
        if not whole and not part:
            continue
        pieces, template = _inverse(pattern, ours)
        if found := template.fullmatch(where):
            yield f"{_written(pieces, found, part)}.{called}", again
    if part:  # a place without a row has its name there too
        yield f"{'.'.join(modules[:-1])}.{theirs}", False


@functools.cache
def _inverse(pattern: str, ours: str) -> tuple[list[tuple[str, str]], re.Pattern[str]]:
    """A pattern's parts, and the pattern of our places that it leads to."""
    pieces = _pieces(pattern)
    return pieces, re.compile(_template(ours, pieces))


def _pieces(pattern: str) -> list[tuple[str, str]]:
    """A pattern in its parts: ("text", as it stands), ("choice", "a|b"), ("group", its pattern).

    Patterns that say more than these cannot be gone back: ValueError.
    """
    pieces: list[tuple[str, str]] = []
    start, depth, kind = 0, 0, ""
    for token in _TOKEN.finditer(pattern):
        if token["open"]:
            if depth == 0:
                start, kind = token.end(), token["open"]
            elif not token["open"].startswith("(?:"):
                raise ValueError(f"{pattern}: a group within a group")
            depth += 1
        elif token["close"]:
            depth -= 1
            if depth == 0:
                inside = pattern[start : token.start()]
                pieces.append(("choice" if kind == "(?:" else f"group{kind[4:-1]}", inside))
        elif depth == 0:
            text = token["escaped"] or token["plain"]
            if (token["escaped"] or "").isalnum() or (token["plain"] or "") in [*"[]*+?|^$"]:
                raise ValueError(f"{pattern}: {token[0]} has no text of its own")
            pieces.append(("text", text))
    return pieces


def _template(ours: str, pieces: Sequence[tuple[str, str]]) -> str:
    """A pattern of our places, whose groups are those of theirs."""
    groups = [(kind[5:], inside) for kind, inside in pieces if kind.startswith("group")]
    used: set[int] = set()

    def group(match: re.Match[str]) -> str:
        names = [name for name, _ in groups]
        number = int(match[1]) if match[1] else names.index(match[2]) + 1
        if number in used:
            return f"(?P=g{number})"
        used.add(number)
        return f"(?P<g{number}>{groups[number - 1][1]})"

    text = re.escape(ours).replace(r"\\", "\\")
    return re.sub(r"\\(\d)|\\g<(\w+)>", group, text)


def _written(
    pieces: Sequence[tuple[str, str]], found: Mapping[str, str] | re.Match[str], part: str
) -> str:
    """Their text, where the groups have what was found of ours."""
    text, number = "", 0
    for kind, inside in pieces:
        if kind == "text":
            text += inside
        elif kind == "choice":
            of_conv, of_norm = inside.split("|")
            text += of_norm if part == "norm" else of_conv
        else:
            number += 1
            text += found[f"g{number}"]
    return text
