"""Facts of pictures, a camera's view and clips: how bright, sharp and colourful, and what moves where.

R, G, B are red, green and blue in 0..1, Y = 0.299 R + 0.587 G + 0.114 B the brightness of a pixel (ITU-R BT.601), m(.)
the mean over pixels, sd(.) their standard deviation. Places run from 0 to 1, from left to right and from top to bottom.
Of a clip, what holds for a picture is told of its middle frame.
"""

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from edge.stream import Window

Floats = NDArray[np.float64]

_LUMA = np.array([0.299, 0.587, 0.114])
_HUES = np.exp(2j * np.pi * np.arange(3) / 3)  # red, green and blue around the circle of colours
_BINS = 36
_GREY = 1e-3  # a mean chroma below this is no colour
_DARK, _BRIGHT = 0.05, 0.95
_CHANGE = 0.05


class Picture:
    """An image window, or the image in a camera's."""

    def __init__(self, window: Window) -> None:
        self.rgb = window.values[..., :3].astype(np.float64)

    @cached_property
    def luma(self) -> Floats:
        """(H, W) Y."""
        luma: Floats = self.rgb @ _LUMA
        return luma


class View(Picture):
    """A camera window: an image, and the ray through each pixel."""

    def __init__(self, window: Window) -> None:
        super().__init__(window)
        self.rays = window.values[..., 3:5].astype(np.float64)


class Clip(Picture):
    """A video window."""

    def __init__(self, window: Window) -> None:
        self.rate = window.rate
        self.lumas: Floats = window.values.astype(np.float64) @ _LUMA
        self.rgb = window.values[len(window.values) // 2].astype(np.float64)

    @cached_property
    def change(self) -> Floats:
        """(T - 1, H, W) |Y_t+1 - Y_t|; one frame of zeros where there is a single frame."""
        change: Floats = np.abs(np.diff(self.lumas, axis=0))
        return change if len(change) else np.zeros((1, *self.lumas.shape[1:]))

    @cached_property
    def moved(self) -> Floats:
        """(H, W) D, the sum of the changes over time."""
        moved: Floats = self.change.sum(0)
        return moved


def brightness(s: Picture) -> float:
    """Brightness, 0 black to 1 white: m(Y)."""
    return float(s.luma.mean())


def contrast(s: Picture) -> float:
    """Contrast: sqrt(m((Y - m(Y))^2))."""
    return float(s.luma.std())


def colourfulness(s: Picture) -> float:
    """How colourful it looks (Hasler and Suesstrunk 2003): sqrt(sd(a)^2 + sd(b)^2) + 0.3 sqrt(m(a)^2 + m(b)^2), where
    a = R - G and b = (R + G) / 2 - B; 0 for grey.
    """
    red, green, blue = np.moveaxis(s.rgb, -1, 0)
    a, b = red - green, (red + green) / 2 - blue
    return float(np.hypot(a.std(), b.std()) + 0.3 * np.hypot(a.mean(), b.mean()))


def saturation(s: Picture) -> float:
    """Strength of colour: m(max(R, G, B) - min(R, G, B))."""
    return float((s.rgb.max(-1) - s.rgb.min(-1)).mean())


def sharpness(s: Picture) -> float:
    """Sharpness: sqrt(m(L^2)) of the Laplacian L, the sum of a pixel's four neighbours less 4 Y; low where blurred."""
    y = s.luma
    if min(y.shape) < 3:
        return 0.0
    laplacian = y[:-2, 1:-1] + y[2:, 1:-1] + y[1:-1, :-2] + y[1:-1, 2:] - 4 * y[1:-1, 1:-1]
    return float(np.sqrt(np.mean(laplacian**2)))


def hue(s: Picture) -> float:
    """Dominant hue, 0 red, 120 green, 240 blue, with c = R + G e^(i 120) + B e^(i 240): arg(sum(c)) over the 30 degrees
    of arg(c), in steps of 10, in which sum(|c|) is greatest; 0 where all is grey.
    """
    colour = (s.rgb @ _HUES).ravel()
    chroma = np.abs(colour)
    if chroma.mean() < _GREY:
        return 0.0
    share = (np.angle(colour) / (2 * np.pi)) % 1.0
    weights = np.bincount((share * _BINS).astype(np.int64) % _BINS, chroma, _BINS)
    weights += np.roll(weights, 1) + np.roll(weights, -1)
    middle = (int(weights.argmax()) + 0.5) / _BINS
    near = np.abs((share - middle + 0.5) % 1.0 - 0.5) <= 1.5 / _BINS
    return float(np.degrees(np.angle(colour[near].sum())) % 360.0)


def dark(s: Picture) -> float:
    """Share that is black: count(Y < 0.05) / count(Y)."""
    return float(np.mean(s.luma < _DARK))


def bright(s: Picture) -> float:
    """Share that is white: count(Y > 0.95) / count(Y)."""
    return float(np.mean(s.luma > _BRIGHT))


def view_x(s: View) -> float:
    """Field of view from the leftmost to the rightmost ray (x / z): atan(max(x / z)) - atan(min(x / z))."""
    return float(np.degrees(np.arctan(s.rays[..., 0].max()) - np.arctan(s.rays[..., 0].min())))


def view_y(s: View) -> float:
    """Field of view from the topmost to the lowest ray (y / z): atan(max(y / z)) - atan(min(y / z))."""
    return float(np.degrees(np.arctan(s.rays[..., 1].max()) - np.arctan(s.rays[..., 1].min())))


def motion(s: Clip) -> float:
    """Motion: how fast brightness changes, m(|Y_t+1 - Y_t|) / dt."""
    return float(s.change.mean() * s.rate)


def motion_x(s: Clip) -> float:
    """Middle of what moves, from left to right: sum(x D) / sum(D) over D = sum(|Y_t+1 - Y_t|); 0.5 for none."""
    return _middle(s.moved.sum(0))


def motion_y(s: Clip) -> float:
    """Middle of what moves, from top to bottom: sum(y D) / sum(D) over D = sum(|Y_t+1 - Y_t|); 0.5 for none."""
    return _middle(s.moved.sum(1))


def moving(s: Clip) -> float:
    """Share of the picture in which something moves: count(max(|Y_t+1 - Y_t|) >= 0.05) / count(Y)."""
    return float(np.mean(s.change.max(0) >= _CHANGE))


def _middle(weights: Floats) -> float:
    """Centre of mass of cells in a row that runs from 0 to 1."""
    total = float(weights.sum())
    place = (np.arange(len(weights)) + 0.5) / len(weights)
    return float(weights @ place / total) if total > 0 else 0.5
