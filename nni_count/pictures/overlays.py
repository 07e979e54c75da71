"""Pictures of a map over its photo."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np


def overlay(image: np.ndarray, density: np.ndarray, count: float, noun: str = "count") -> np.ndarray:
    """A photo with its density as a heat map, and the count in the corner where the fewest people are.

    The hottest place has the strongest colour; a map that holds less than one person is fainter in proportion, so that
    an empty street stays empty. Where the density is zero, negative or not a number, the photo shows unchanged.

    Args:
        image: ``(H, W, 3)`` uint8 RGB; it is left as it is.
        density: people per pixel, ``(H, W)`` or smaller.
        count: what the caption says.
        noun: what it is called there.

    Returns:
        ``(H, W, 3)`` uint8 RGB.
    """
    height, width = image.shape[:2]
    positive = np.clip(np.nan_to_num(np.asarray(density, np.float32), posinf=0), 0, None)
    way = cv2.INTER_AREA if positive.shape[0] > height else cv2.INTER_LINEAR
    heat = cv2.resize(positive, (width, height), interpolation=way)
    heat = heat * (min(1.0, float(heat.sum())) / max(float(heat.max()), 1e-12))
    shade = np.round(50 + heat * 205).astype(np.uint8)  # the map's darkest colours would read as shadows
    colours = cv2.cvtColor(cv2.applyColorMap(shade, cv2.COLORMAP_TURBO), cv2.COLOR_BGR2RGB)
    strength = 0.75 * np.sqrt(heat)
    result: np.ndarray = cv2.blendLinear(np.ascontiguousarray(image), colours, 1 - strength, strength)
    _caption(result, f"{noun} {count:.1f}", heat)
    return result


def _caption(image: np.ndarray, text: str, heat: np.ndarray) -> None:
    """Write in place, light on dark, a twenty-fifth of the image high as far as that is readable and fits."""
    height, width = image.shape[:2]
    font, unit = cv2.FONT_HERSHEY_SIMPLEX, 22.0  # height of a digit at scale 1, in pixels
    scale = max(min(height, width) / 25, 9) / unit
    (wide, _), _ = cv2.getTextSize(text, font, scale, 1)
    scale = min(scale, 0.9 * width / max(wide, 1) * scale, 0.5 * height / unit)
    thickness = max(1, round(1.6 * scale))
    (wide, tall), _ = cv2.getTextSize(text, font, scale, thickness)
    margin = max(1, round(0.35 * tall))
    box_width, box_height = min(wide + 2 * margin, width), min(tall + 2 * margin, height)
    corners = [(x, y) for y in (0, height - box_height) for x in (0, width - box_width)]
    x, y = min(corners, key=lambda c: float(heat[c[1] : c[1] + box_height, c[0] : c[0] + box_width].sum()))
    image[y : y + box_height, x : x + box_width] //= 4
    cv2.putText(image, text, (x + margin, y + margin + tall), font, scale, (255, 255, 255), thickness, cv2.LINE_AA)


def outline(image: np.ndarray, rings: Sequence[np.ndarray], text: str, place: tuple[float, float]) -> None:
    """Draw in place the outlines of a region, ``(N, 2)`` x y each, and a text around a place, light on dark."""
    height, width = image.shape[:2]
    thick = max(1, round(min(height, width) / 300))
    corners = [np.round(ring).astype(np.int32) for ring in rings]
    for colour, more in (((0, 0, 0), 2 * thick), ((255, 255, 255), 0)):
        cv2.polylines(image, corners, True, colour, thick + more, cv2.LINE_AA)
    font, scale = cv2.FONT_HERSHEY_SIMPLEX, max(min(height, width) / 900, 0.35)
    (wide, tall), _ = cv2.getTextSize(text, font, scale, thick)
    x = round(min(max(place[0] - wide / 2, 0), max(width - wide, 0)))
    y = round(min(max(place[1] + tall / 2, tall), height))
    for colour, more in (((0, 0, 0), 3 * thick), ((255, 255, 255), 0)):
        cv2.putText(image, text, (x, y), font, scale, colour, thick + more, cv2.LINE_AA)


def blend(image: np.ndarray, values: np.ndarray, caption: str = "") -> np.ndarray:
    """A photo under a map of values in colours, from the smallest to the largest of them, and a caption.

    Args:
        image: ``(H, W, 3)`` uint8 RGB; it is left as it is.
        values: ``(H, W)`` or smaller.
        caption: in the corner where the values are smallest; none where it is empty.

    Returns:
        ``(H, W, 3)`` uint8 RGB.
    """
    height, width = image.shape[:2]
    heat = cv2.resize(np.nan_to_num(np.asarray(values, np.float32)), (width, height), interpolation=cv2.INTER_LINEAR)
    heat = (heat - heat.min()) / max(float(heat.max() - heat.min()), 1e-12)
    colours = cv2.applyColorMap(np.round(heat * 255).astype(np.uint8), cv2.COLORMAP_TURBO)[:, :, ::-1]
    result: np.ndarray = np.round(0.5 * image + 0.5 * colours).astype(np.uint8)
    if caption:
        _caption(result, caption, heat)
    return result
