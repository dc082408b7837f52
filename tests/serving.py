"""Shared by the tests of serving: a small real model, frames of it, and a device that speaks the protocol."""

import asyncio
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
from prometheus_client import CollectorRegistry

from backend.metrics import Metrics
from broker import topics
from broker.link import Link
from broker.messages import Frame, Status, StreamInfo, decode_ack, encode_frame, encode_json
from broker.modalities import MODALITIES

HOP = 500_000_000
T0 = 1_700_000_000_000_000_000  # a multiple of the hop


def new_metrics() -> Metrics:
    return Metrics(CollectorRegistry())


def imu_frame(
    seq: int, slot: int, *, base: int = 1, epoch: str = "e1", seed: int = 0, placement: str = "wrist"
) -> Frame:
    """A second of motion; the same arguments give the same samples."""
    rng = np.random.default_rng([seed, slot])
    level = (0.3, 3.0, 1.0, 9.0)[slot // 8 % 4]  # something changes every four seconds
    data = rng.normal(level, level, (50, 6)).astype(np.float32)
    facts = {"imu.rms": float(data.std())}
    return Frame(epoch, seq, base, "imu", placement, "raw", T0 + slot * HOP, 50.0, data, facts=facts)


def status(streams: Iterable[str] = ("imu",), state: str = "online", epoch: str = "e1") -> Status:
    row = MODALITIES["imu"]
    infos = tuple(StreamInfo(name, "imu", "wrist", row.units, 50.0, 1.0, 0.5) for name in streams)
    return Status(state, epoch, infos, "0", "2026-01-01T00:00:00Z")  # type: ignore[arg-type]


def small_checkpoint(seed: int = 0):
    """The real model class, untrained: what it says is noise, but always the same noise."""
    import torch

    from backend.checkpoint import Checkpoint
    from backend.model.sensorlm import ModelConfig, SensorModel

    torch.manual_seed(seed)
    torch.set_num_threads(1)
    model = SensorModel(ModelConfig(modalities=("imu",), tasks=("activity-recognition",), layers=1))
    for head in model.heads.values():  # confident noise: labels change and cross the thresholds
        torch.nn.init.normal_(head.weight, std=2.0)
    return Checkpoint(model)


def small_model(seed: int = 0):
    """`small_checkpoint`, ready to answer."""
    from backend.model.sensorlm import Predictor

    return Predictor(small_checkpoint(seed))


def save_small_checkpoint(folder: Path) -> Path:
    """`small_checkpoint` on disk."""
    from backend.checkpoint import save_checkpoint

    save_checkpoint(small_checkpoint(), folder)
    return folder


def senses_checkpoint(seed: int = 3):
    """A model of every sense and every task that the simulator has, with the encoders of the default size: untrained.

    All weights have left what they begin with, and so have the statistics of normalisation, so that whatever is left
    out on the way (a level, a gate, a fold) shows. Classifications are confident and never say that nothing is there.
    """
    import torch

    from backend.checkpoint import Checkpoint
    from backend.model.sensorlm import SensorModel
    from backend.recipes import model_for
    from backend.tasks import Classification

    torch.manual_seed(seed)
    torch.set_num_threads(1)
    model = SensorModel(model_for("synthetic", "synthetic_drive", "synthetic_touch", layers=1)).eval()
    with torch.no_grad():
        for name, value in model.state_dict().items():
            if name.endswith("running_var"):
                value.mul_(torch.exp(0.2 * torch.randn_like(value)))
            elif value.is_floating_point() and "turns" not in name:  # what turns a hip throws a hand about
                value.add_(torch.randn_like(value), alpha=0.05)
        for name, task in model.tasks.items():
            if isinstance(task, Classification):
                torch.nn.init.normal_(model.heads[name].weight, std=1.0)
                if task.none_index is not None:
                    model.heads[name].bias[task.none_index] = -100.0
    return Checkpoint(model)


class Device:
    """The sending end of Go-Back-N, as small as it can be: sends what is not acknowledged, again and again."""

    def __init__(self, link: Link, site: str, name: str, frames: list[Frame], window: int = 64) -> None:
        self.link, self.site, self.name, self.frames, self.window = link, site, name, frames, window
        self.acked = 0
        self._progress = asyncio.Event()

    async def run(self, timeout_s: float = 0.3) -> None:
        """Return when every frame is acknowledged. `link` is entered by the caller."""
        await self.link.subscribe(topics.acks(self.site, self.name))
        listener = asyncio.create_task(self._listen())
        hello = encode_json(status({f.modality for f in self.frames}, epoch=self.frames[0].epoch))
        sent = 0
        await self.link.publish(topics.status(self.site, self.name), hello, retain=True)
        while self.acked < self.frames[-1].seq:
            for frame in self.frames:
                if sent < frame.seq <= self.acked + self.window:
                    await self._send(frame)
                    sent = frame.seq
            try:
                self._progress.clear()
                await asyncio.wait_for(self._progress.wait(), timeout_s)
            except TimeoutError:
                sent = self.acked  # go back
        await self.link.publish(topics.status(self.site, self.name), encode_json(status((), "offline")), retain=True)
        listener.cancel()

    async def _send(self, frame: Frame) -> None:
        payload = encode_frame(replace(frame, base=self.acked + 1))
        await self.link.publish(topics.frames(self.site, self.name, frame.modality), payload)

    async def _listen(self) -> None:
        async for message in self.link.messages():
            ack = decode_ack(message.payload)
            if ack.epoch == self.frames[0].epoch and ack.seq > self.acked:
                self.acked = ack.seq
                self._progress.set()
