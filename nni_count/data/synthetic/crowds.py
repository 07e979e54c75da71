"""Synthetic crowds: images by level, seed and number.

A camera looks down on a ground with a horizon, so heads shrink with the distance. People gather in groups, hide one
another, differ in skin, hair, hats and clothes, and stand before buildings and trees, among poles and head-coloured
things that are no heads. The harder levels are denser, and add obstacles, more things like heads, difficult light and
bad pictures.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator, default_rng

from nni_count.data.synthetic import places
from nni_count.data.synthetic.camera import photograph, photograph_badly
from nni_count.data.synthetic.dense import draw_dense_scene
from nni_count.data.synthetic.paint import Pair
from nni_count.data.synthetic.people import mixed_looks, paint_people
from nni_count.data.synthetic.scene import Scene, draw_scene
from nni_count.data.synthetic.stream import Stream, check_settings
from nni_count.errors import SettingError


@dataclass(frozen=True)
class Level:
    """What the images of a level are like.

    Args:
        size: height and width in pixels, where nothing else is said.
        people: fewest and most people in an image, where nothing else is said.
        strength: how often and how strongly obstacles, things like heads, difficult light and bad pictures come in,
            0 to 1.
    """

    size: Pair
    people: Pair
    strength: float


LEVELS = {
    "easy": Level((256, 256), (5, 300), 0.0),
    "medium": Level((384, 384), (5, 800), 0.5),
    "hard": Level((512, 512), (20, 2000), 1.0),
}


class CrowdStream(Stream):
    """Synthetic crowds without end, named ``synthetic-{seed}-{number}``, the harder ones
    ``synthetic-{level}-{seed}-{number}``.

    Points are the centres of the heads, inside the image; each head can be seen, if only in part.

    Args:
        seed: at least 0.
        level: ``easy``, ``medium`` or ``hard``.
        size: height and width in pixels, at least 32 each; heads grow with them. The level's where not given.
        people: fewest and most people in an image; the logarithm of the count is spread evenly between. The level's
            where not given.

    Raises:
        SettingError: when an argument is out of its range.

    Example:
        >>> stream = CrowdStream(seed=1, level="hard")
        >>> stream[7].read().shape
        (512, 512, 3)
    """

    def __init__(
        self, seed: int = 0, level: str = "easy", *, size: Pair | None = None, people: Pair | None = None
    ) -> None:
        if level not in LEVELS:
            raise SettingError(f"synthetic crowds: level {level!r} is unknown; choose {', '.join(LEVELS)}")
        self.seed = seed
        self.level = level
        self.size = size or LEVELS[level].size
        self.people = people or LEVELS[level].people
        self.strength = LEVELS[level].strength
        check_settings("synthetic crowds", seed, self.size, "people", self.people)

    @property
    def name(self) -> str:
        return f"synthetic-{self.seed}" if self.level == "easy" else f"synthetic-{self.level}-{self.seed}"

    def points(self, index: int) -> np.ndarray:
        return self.scene(index).points

    def scene(self, index: int) -> Scene:
        """Where the camera of image ``index`` looks and who stands there."""
        return self._draw(index)[1]

    def image(self, index: int) -> np.ndarray:
        rng, scene = self._draw(index)
        return _hard_picture(rng, scene, self.strength) if self.strength else _picture(rng, scene)

    def _draw(self, index: int) -> tuple[Generator, Scene]:
        """The scene, and the generator to go on with when it is painted."""
        if not self.strength:
            rng = default_rng((self.seed, index))
            return rng, draw_scene(rng, self.size, self.people)
        rng = default_rng((self.seed, index, list(LEVELS).index(self.level)))
        return rng, draw_dense_scene(rng, self.size, self.people, self.strength)


def _picture(rng: Generator, scene: Scene) -> np.ndarray:
    """The easy level: ``(H, W, 3)`` uint8 RGB."""
    image = places.paint_ground(rng, scene, places.ground_texture(rng))
    places.paint_backdrop(rng, scene, image)
    places.paint_clutter(rng, scene, image)
    return photograph(rng, scene, paint_people(rng, scene, image))


def _hard_picture(rng: Generator, scene: Scene, strength: float) -> np.ndarray:
    """The harder levels: ``(H, W, 3)`` uint8 RGB."""
    texture = places.ground_texture(rng)
    if rng.random() < 0.3 * strength:
        texture += places.paved(rng)
    # at a visible horizon, where the texture is endless, OpenCV takes seconds; and the backdrop hides it anyhow
    image = places.paint_ground(rng, scene, texture, first=int(scene.top) if scene.horizon >= 0 else 0)
    places.paint_backdrop(rng, scene, image)
    if rng.random() < 0.5 * strength:
        places.paint_stones(rng, scene, image, most=80)
    places.paint_clutter(rng, scene, image)
    return photograph_badly(rng, scene, paint_people(rng, scene, image, mixed_looks), strength)
