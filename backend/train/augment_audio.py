"""How training varies sound: the same event faster or slower, nearer, through another microphone, over another sound.

Four places: a whole recording is played at another speed (`at_another_speed`), and followed by a pause and another one
(`followed_by`), before it is cut; the windows of one crop change together (`vary_sound`); crops of one batch are laid
over each other with their labels (`mix_sounds`). Everything is a function of the generator given. Stripes over the
spectrum are the encoder's own (`backend.model.audio.Masks`).
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic.dataclasses import dataclass
from torch import Tensor

from backend.choices import CHECKED, Amount, Range, Share
from backend.data.recording import Recording, Segments, Track
from backend.tasks.events import EVENTS
from edge.clock import SECOND

SILENCE = 10.0**-3
"""Root mean square of a crop below which there is no loudness that another could be brought to."""
KEPT_S = 2.5
"""Of each of two recordings that follow each other: a little less than a crop."""
Array = NDArray[np.float32]
Generator = np.random.Generator


@dataclass(frozen=True, config=CHECKED)
class SoundVariety:
    """By how much. Ranges are uniform and symmetric unless said otherwise.

    `speed`: log of the playing speed, which moves pitch too. `colour_db`: deviation of each of three smooth
    waves over frequency. `gain_db`: loudness. `mixed`: share of crops that get a second sound under them.
    `noisy`: share of crops with white noise, at a signal to noise ratio within `noise_db`. `quiet`: share of crops
    that get the noise of a quiet room, at a loudness within `quiet_db` of full scale: what the label none sounds
    like where silence is not digital. `followed`: share of recordings that break off, and after a pause of up to
    `pause_s` another begins: a decision has to learn when its context is over.
    """

    speed: Amount = 0.2
    colour_db: Amount = 2.0
    gain_db: Amount = 10.0
    mixed: Share = 0.5
    noisy: Share = 0.3
    noise_db: Range = (5.0, 40.0)
    quiet: Share = 0.4
    quiet_db: Range = (-80.0, -50.0)
    followed: Share = 0.35
    pause_s: Amount = 4.0


def at_another_speed(recording: Recording, variety: SoundVariety, rng: Generator) -> Recording:
    """The recording with its sound and its labels played faster or slower, by linear interpolation.

    A recording that is not of sound alone is returned as it is: motion has a speed of its own.
    """
    if any(track.stream.modality != "audio" for track in recording.tracks):
        return recording
    factor = math.exp(rng.uniform(-variety.speed, variety.speed))
    tracks = tuple(_played(track, factor) for track in recording.tracks)
    start = recording.tracks[0].t[0]

    def at(t: NDArray[np.int64]) -> NDArray[np.int64]:
        return np.asarray(start + np.rint((t - start) / factor), np.int64)

    return replace(recording, tracks=tracks, labels={task: truth.moved(at) for task, truth in recording.labels.items()})


def followed_by(first: Recording, second: Recording, variety: SoundVariety, rng: Generator) -> Recording:
    """Up to `KEPT_S` of one recording of sound, broken off anywhere, a pause, and as much of another's beginning.

    The pause is digital silence, labelled none in tasks that have it; it takes any length up to `pause_s`.
    """
    none, a_truth, b_truth = EVENTS.none_index, first.labels[EVENTS.name], second.labels[EVENTS.name]
    assert none is not None and isinstance(a_truth, Segments) and isinstance(b_truth, Segments)
    a, b = first.tracks[0], second.tracks[0]
    step_ns, kept = round(SECOND / a.stream.rate), round(KEPT_S * a.stream.rate)
    end = int(rng.integers(min(kept, len(a.t)) // 2, len(a.t) + 1))
    start, pause = max(end - kept, 0), round(rng.uniform(0.0, variety.pause_s) * a.stream.rate)
    values = np.concatenate([a.values[start:end], np.zeros((pause, 1), a.values.dtype), b.values[:kept]])
    t = step_ns * np.arange(len(values))
    edges, index = [np.zeros(1, np.int64)], []
    pieces = (
        _part(a_truth, a, start, end),
        Segments(np.array([0, pause * step_ns]), np.array([none])),
        _part(b_truth, b, 0, kept),
    )
    for piece in pieces:
        edges.append(edges[-1][-1] + piece.edges[1:])
        index.append(piece.index)
    labels = {EVENTS.name: Segments(np.concatenate(edges), np.concatenate(index))}
    return replace(first, tracks=(replace(a, t=t, values=values),), labels=labels)


def _part(segments: Segments, track: Track, start: int, end: int) -> Segments:
    """The labels of samples `start` to `end`, from time 0 on; as long as the samples are."""
    step_ns = round(SECOND / track.stream.rate)
    end = min(end, len(track.t))
    edges = np.clip(segments.edges - track.t[0] - start * step_ns, 0, (end - start) * step_ns)
    edges[0], edges[-1] = 0, (end - start) * step_ns
    return Segments(edges, segments.index)


def _played(track: Track, factor: float) -> Track:
    at = np.arange(0.0, len(track.t) - 1, factor)
    wave = np.asarray(track.values, np.float32)[:, 0]
    values = np.interp(at, np.arange(len(wave)), wave)[:, None]
    if np.issubdtype(track.values.dtype, np.integer):
        values = np.rint(values)
    step_ns = round(SECOND / track.stream.rate)
    return replace(track, t=track.t[0] + step_ns * np.arange(len(at)), values=values.astype(track.values.dtype))


def vary_sound(x_LTC: Array, variety: SoundVariety, rng: Generator) -> Array:
    """The windows (L, T, 1) of one crop through another microphone, nearer or farther, with some noise."""
    x_LT = _coloured(x_LTC[..., 0], variety.colour_db * rng.standard_normal(3))
    x_LT = x_LT * np.float32(10.0 ** (rng.uniform(-variety.gain_db, variety.gain_db) / 20.0))
    if rng.random() < variety.noisy:
        size = _level(x_LT) * 10.0 ** (-rng.uniform(*variety.noise_db) / 20.0)
        x_LT = x_LT + np.float32(size) * rng.standard_normal(x_LT.shape, np.float32)
    if rng.random() < variety.quiet:
        x_LT = x_LT + _room(x_LT, variety.quiet_db, rng)
    return np.asarray(x_LT[..., None], np.float32)


def _room(x_LT: Array, level_db: tuple[float, float], rng: Generator) -> Array:
    """Noise whose power falls with frequency; it stays well below a crop that can be heard, and so hides nothing."""
    level, heard = 10.0 ** (rng.uniform(*level_db) / 20.0), _level(x_LT)
    if heard > 10.0 ** (level_db[0] / 20.0):
        level = min(level, 0.3 * heard)
    hertz_F = np.maximum(np.arange(x_LT.shape[-1] // 2 + 1), 20) / 20.0  # of windows of a second
    spectrum_LF = np.fft.rfft(rng.standard_normal(x_LT.shape, np.float32)) * hertz_F ** -rng.uniform(0.0, 1.0)
    noise_LT = np.fft.irfft(spectrum_LF, n=x_LT.shape[-1])
    return np.asarray(noise_LT * level / noise_LT.std(), np.float32)


def _coloured(x_LT: Array, waves_db: NDArray[np.float64]) -> Array:
    """A gain that is smooth over frequency: as many cosines over the root of frequency as `waves_db` has entries."""
    bend_F = np.sqrt(np.linspace(0.0, 1.0, x_LT.shape[-1] // 2 + 1)) * math.pi
    gain_db_F = sum(size * np.cos((order + 1) * bend_F) for order, size in enumerate(waves_db))
    spectrum_LF = np.fft.rfft(x_LT) * np.float32(10.0 ** (gain_db_F / 20.0))
    return np.asarray(np.fft.irfft(spectrum_LF, n=x_LT.shape[-1]), np.float32)


def mix_sounds(
    x_nTC: Tensor, where_n3: Tensor, target_RLN: Tensor, none: int, variety: SoundVariety, rng: Generator
) -> tuple[Tensor, Tensor]:
    """Lay another crop's sound, made as loud, under some of the R crops of a batch (mixup, Zhang et al. 2018).

    `x_nTC` are the batch's windows of sound and `where_n3` their crop, slot and row, as in `batch.Windows`. Targets mix
    in the same proportion, but `none` gives way: a dog over silence is a dog. Windows that have no partner, and
    crops without labels of this task, stay as they are.
    """
    crops, slots = target_RLN.shape[:2]
    crop_n, slot_n = where_n3[:, 0], where_n3[:, 1]
    index_RL = torch.full((crops, slots), -1)
    index_RL[crop_n, slot_n] = torch.arange(len(x_nTC))
    able = torch.unique(crop_n[target_RLN[crop_n].sum((1, 2)) > 0])
    other_R = torch.arange(crops)
    other_R[able] = able[torch.from_numpy(rng.permutation(len(able)))]
    chosen_R = torch.from_numpy(rng.random(crops) < variety.mixed) & (other_R != torch.arange(crops))
    part_R1 = torch.where(chosen_R, torch.from_numpy(rng.uniform(0.5, 1.0, crops)), 1.0).float()[:, None]
    part_RL = torch.where((index_RL >= 0) & (index_RL[other_R] >= 0), part_R1, 1.0)

    level_R = _levels(x_nTC, crop_n, crops)
    size_R = torch.where(level_R > SILENCE, (level_R / level_R[other_R]).clamp(max=10.0), 1.0)
    part_n11, size_n11 = part_RL[crop_n, slot_n, None, None], size_R[crop_n, None, None]
    under_nTC = x_nTC[index_RL[other_R[crop_n], slot_n]] * size_n11
    target_RLN = _mixed_targets(target_RLN, target_RLN[other_R], part_RL[..., None], none)
    return part_n11 * x_nTC + (1.0 - part_n11) * under_nTC, target_RLN


def _mixed_targets(first_RLN: Tensor, second_RLN: Tensor, part_RL1: Tensor, none: int) -> Tensor:
    """Shares of both by `part`, counting only what is an event in either; the first where neither is."""
    first_RL1 = part_RL1 * (first_RLN.sum(-1, keepdim=True) - first_RLN[..., none : none + 1])
    second_RL1 = (1.0 - part_RL1) * (second_RLN.sum(-1, keepdim=True) - second_RLN[..., none : none + 1])
    total_RL1 = first_RL1 + second_RL1
    mixed_RLN = (first_RL1 * first_RLN + second_RL1 * second_RLN) / total_RL1.clamp_min(1e-6)
    return torch.where(total_RL1 > 1e-6, mixed_RLN, first_RLN)


def _levels(x_nTC: Tensor, crop_n: Tensor, crops: int) -> Tensor:
    """Root mean square of each crop's sound, (R,); never zero."""
    count_R = torch.bincount(crop_n, minlength=crops).clamp_min(1)
    power_R = torch.zeros(crops).index_add_(0, crop_n, x_nTC.square().mean((1, 2)))
    return (power_R / count_R).sqrt() + 1e-6


def _level(x_LT: Array) -> float:
    return float(np.sqrt(np.square(x_LT).mean()))
