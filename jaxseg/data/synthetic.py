"""Generated nuclei: needs no download, and is never the same image twice.

Blobs with a wobbling outline, half of them pressed against another; domed brightness with texture;
an out-of-focus blur; light that falls off across the field; shot and read noise. A global threshold
does not separate them (the brightest background outshines the dimmest nucleus), a small U-Net does.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from jaxseg.data.source import rim, semantic, unknown_split
from jaxseg.errors import require

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class Synthetic:
    """Images of ``size`` (two sizes: images, three: volumes), uint8, one channel.

    ``count``: cases of train, validation and test. ``radius``: of a nucleus, in pixels.
    ``density``: share of the field that nuclei cover, about. ``noise``: standard deviation of the
    read noise, 1 = full scale. Case i of a split depends on ``seed``, split and i only.
    Classes: 0 background, 1 nucleus, and with ``boundary`` 2, the rim of each.
    """

    channels = 1  # grey

    size: tuple[int, ...] = (128, 128)
    count: tuple[int, int, int] = (256, 32, 32)
    radius: tuple[float, float] = (5.0, 11.0)
    density: float = 0.25
    noise: float = 0.05
    boundary: bool = False
    instances: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot be drawn."""
        for name, fine, what in (
            ("size", len(self.size) in (2, 3) and min(self.size) > 0, "two or three, above 0"),
            ("count", len(self.count) == 3 and min(self.count) >= 0, "three, at least 0"),
            ("radius", _is_range(self.radius), "two, above 0, the smaller first"),
            ("density", 0 <= self.density <= 1, "in [0, 1]"),
            ("noise", 0 <= self.noise < np.inf, "at least 0"),
            ("seed", self.seed >= 0, "at least 0"),
        ):
            require(fine, f"data.dataset.{name}", getattr(self, name), what)

    @property
    def num_classes(self) -> int:
        """Two classes, or three with the rim."""
        return 3 if self.boundary else 2

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names by label."""
        return ("background", "nucleus", "rim")[: self.num_classes]

    @property
    def rank(self) -> int:
        """The number of sizes."""
        return len(self.size)

    def open(self, root: str, split: str) -> "Nuclei":
        """The cases of a split; ``root`` is not looked at."""
        del root
        if split not in SPLITS:
            raise unknown_split(split, SPLITS, "Synthetic")
        return Nuclei(self, split)


def _is_range(radius: tuple[float, ...]) -> bool:
    return len(radius) == 2 and 0 < radius[0] <= radius[1] < np.inf


@dataclass(frozen=True)
class Nuclei:
    """One split of generated cases, each made when asked for."""

    dataset: Synthetic
    split: str

    def __len__(self) -> int:
        return self.dataset.count[SPLITS.index(self.split)]

    def __getitem__(self, index: int) -> dict:
        if not 0 <= index < len(self):
            raise IndexError(index)
        chosen = self.dataset
        rng = np.random.default_rng((chosen.seed, SPLITS.index(self.split), index))
        instance, bright = place(rng, chosen.size, chosen.radius, chosen.density)
        image = expose(rng, bright, chosen.noise)
        case = {
            "name": f"{self.split}_{index:04d}",
            "image": np.round(image * 255).astype(np.uint8)[..., None],
            "label": semantic(instance, boundary=chosen.boundary),
        }
        return case | ({"instance": instance} if chosen.instances else {})

    def files(self, index: int) -> tuple[str, ...]:
        """The case by split and number, since there is no file."""
        return (f"Synthetic {self.split} {index}",)

    def key(self, index: int) -> str:
        """The generator's fields, split and number, which fix the case."""
        return repr((self, index))


def place(
    rng: np.random.Generator, size: tuple[int, ...], radius: tuple[float, float], density: float
) -> tuple[Int[np.ndarray, "*spatial"], Float[np.ndarray, "*spatial"]]:
    """Object numbers, and the light that each pixel gives before the microscope sees it."""
    rank = len(size)
    instance, bright = np.zeros(size, np.int32), np.zeros(size, np.float32)
    ball = np.pi if rank == 2 else 4 / 3 * np.pi
    mean = ball * np.mean(np.square(radius) if rank == 2 else np.power(radius, 3))
    centres: list[tuple[np.ndarray, float]] = []
    wanted = density * np.prod(size)
    for _ in range(max(4, round(2 * wanted / mean))):
        if np.count_nonzero(instance) >= wanted:
            break
        reach = rng.uniform(*radius)
        centre = rng.uniform(0, size)
        if centres and rng.random() < 0.5:  # beside another: the two touch
            other, its = centres[rng.integers(len(centres))]
            direction = rng.standard_normal(rank)
            centre = other + direction / np.linalg.norm(direction) * 0.9 * (its + reach)
        low = np.clip(np.floor(centre - 1.6 * reach), 0, size).astype(int)
        high = np.clip(np.ceil(centre + 1.6 * reach), 0, size).astype(int)
        box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
        if instance[box].size == 0:
            continue
        inside, dome = blob(
            rng, [np.arange(a, b) for a, b in zip(low, high, strict=True)], centre, reach
        )
        free = inside & (instance[box] == 0)
        if free.sum() < 0.6 * inside.sum() or free.sum() < 8:  # no slivers under another
            continue
        centres.append((centre, reach))
        instance[box][free] = len(centres)
        bright[box][free] = (rng.uniform(0.16, 0.6) * dome)[free]
    # neighbours overlap in the image, so the gap between them is dimmer and not dark
    bright[rim(instance)] *= 0.8
    return instance, bright


def blob(
    rng: np.random.Generator, axes: list[np.ndarray], centre: np.ndarray, reach: float
) -> tuple[Bool[np.ndarray, "*box"], Float[np.ndarray, "*box"]]:
    """An ellipsoid with a wobbling outline, and its brightness: domed, with coarse texture."""
    rank = len(axes)
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), -1).astype(np.float32) - centre
    turn, _ = np.linalg.qr(rng.standard_normal((rank, rank)))
    at = grid @ (turn / (reach * rng.uniform(0.75, 1.25, rank))).astype(np.float32)
    wave = rng.normal(0, 1.6, (rank, 4)).astype(np.float32)
    phases = np.sin(at.astype(np.float32) @ wave + rng.uniform(0, 2 * np.pi, 4).astype(np.float32))
    distance = np.sqrt(np.sum(at**2, -1)) + 0.07 * phases.sum(-1)
    dome = 0.65 + 0.35 * np.sqrt(np.clip(1 - distance**2, 0, 1)) + 0.08 * phases[..., 0]
    return distance < 1, dome


def expose(
    rng: np.random.Generator, bright: Float[np.ndarray, "*spatial"], noise: float
) -> Float[np.ndarray, "*spatial"]:
    """The picture that a microscope takes: blur, uneven light, noise; in [0, 1]."""
    from scipy.ndimage import gaussian_filter

    size = bright.shape
    image = gaussian_filter(bright, rng.uniform(0.7, 1.3))
    haze = gaussian_filter(bright, 0.08 * max(size), truncate=2)  # light from out of focus
    light, glow = np.ones((), np.float32), np.zeros((), np.float32)
    for axis, n in enumerate(size):
        shape = [1] * len(size)
        shape[axis] = n
        at = np.linspace(-1, 1, n, dtype=np.float32).reshape(shape)
        light = light * (1 - rng.uniform(0, 0.45) * (at - rng.uniform(-0.8, 0.8)) ** 2 / 2)
        glow = glow + rng.uniform(-0.15, 0.15) * at
    image = light * (image + 0.5 * haze) + 0.14 + np.clip(glow + 0.1, 0, None)
    spread = noise * np.sqrt(0.3 + image)  # shot noise grows with the light
    image = image + spread * rng.standard_normal(size, dtype=np.float32)
    return np.clip(image, 0, 1)
