"""The encoders of all 12 modalities: their contract, what they see and what they are blind to, and their export."""

import json
import math
from functools import cache

import numpy as np
import onnxruntime
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from backend.checkpoint import PRETRAINED
from backend.model.encoders import ENCODERS, build_encoder
from backend.model.frames import TOUCH, FrameEncoder, TouchView, unspiked
from backend.model.sensorlm import ModelConfig
from backend.model.tracks import GazeEncoder, GpsEncoder, PoseEncoder
from backend.model.trunk import Encoder, pools
from broker.errors import CheckpointError
from broker.modalities import MODALITIES
from edge.encoder import Encoder as DeviceEncoder
from edge.windows import Stream
from export.onnx import describe, to_bytes, to_onnx
from export.quantize import to_int8

SERIES = [m for m, row in MODALITIES.items() if row.axes == ("time",) and m != "audio"]
PICTURES = [m for m, row in MODALITIES.items() if "height" in row.axes]


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    torch.set_num_threads(1)


def blob(size: tuple[int, int], centre=(0.5, 0.5), radius=0.15) -> np.ndarray:
    """(H, W): 1 at a place (row, column in 0..1), and less around it."""
    y, x = ((np.arange(side) + 0.5) / side for side in size)
    return np.exp(-((y[:, None] - centre[0]) ** 2 + (x - centre[1]) ** 2) / (2 * radius**2))


def rays(size: tuple[int, int], focal: float = 0.6) -> np.ndarray:
    """(H, W, 2) of a camera with this focal length in widths of its frame."""
    y, x = ((np.arange(side) + 0.5 - side / 2) / (focal * size[1]) for side in size)
    return np.stack(np.broadcast_arrays(x, y[:, None]), -1)


def scene(
    modality: str, size: tuple[int, int], centre=(0.5, 0.5), rng: np.random.Generator | None = None
) -> np.ndarray:
    """One frame (H, W, C) of something at `centre`, seen by the modality's sensor; with `rng` by a noisy one."""
    thing, noise = blob(size, centre), np.zeros(size) if rng is None else rng.normal(0, 1, size)
    colours = 0.3 + 0.4 * thing[..., None] * np.array([1.0, 0.6, 0.2]) + 0.02 * noise[..., None]
    if modality in ("image", "video"):
        return colours
    if modality == "camera":
        return np.concatenate([colours, rays(size)], -1)
    metres = 3.0 - 2.0 * thing + 0.01 * noise
    holes = noise > 1.3
    return {
        "depth": lambda: np.where(holes, 0, metres)[..., None],
        "lidar": lambda: np.stack([np.where(holes, 0, metres**3), np.where(holes, 0, 0.2 + 0.5 * thing)], -1),
        "thermal": lambda: (294 + 9 * thing + 0.1 * noise)[..., None],
        "capacitance": lambda: (0.02 + 0.6 * thing + 0.003 * noise)[..., None],
    }[modality]()


def track(modality: str, points: int, rng: np.random.Generator) -> np.ndarray:
    """A series (T, C) as it is measured."""
    t = np.arange(points)[:, None] / MODALITIES[modality].rate
    if modality == "imu":
        return rng.normal([0.5, 1.0, 9.7, 0, 0, 0], [3, 3, 3, 2, 2, 2], (points, 6))
    if modality == "audio":
        return rng.normal(0, 0.1, (points, 1)) * np.sin(40 * t)
    if modality == "gps":
        way = rng.uniform(-500, 500, 3) + rng.normal(0, 1.4, 3) * t + rng.normal(0, 0.05, (points, 3))
        return np.concatenate([way, rng.uniform(0, 2, (points, 1)), rng.normal(0, 1, (points, 2))], 1)
    if modality == "gaze":
        point = rng.uniform(0, 1, 2) + np.cumsum(rng.normal(0, 0.01, (points, 2)), 0)
        return np.concatenate([point, rng.normal(np.linspace(-20, 20, 26), 1, (points, 26))], 1)
    body = rng.normal(0, 0.5, (24, 3)) + rng.uniform(-2, 2, 3) + np.sin(5 * t[..., None]) * rng.normal(0, 0.1, (24, 3))
    body[:, rng.integers(1, 24, 3)] = 0.0
    return body.reshape(points, 72)


def windows(modality: str, count: int = 4, seed: int = 0, shape: tuple[int, ...] = ()) -> Tensor:
    """(count, *shape) plausible windows, on the encoder's own grid unless a shape is given."""
    shape = shape or build_encoder(modality, {}).shape
    rng, made = np.random.default_rng(seed), []
    for _ in range(count):
        if len(shape) == 2:
            made.append(track(modality, shape[0], rng)[:, : shape[1]])
        elif len(shape) == 3:
            made.append(scene(modality, shape[:2], rng.uniform(0.2, 0.8, 2), rng))
        else:
            ways = np.linspace(rng.uniform(0.2, 0.8, 2), rng.uniform(0.2, 0.8, 2), shape[0])
            made.append(np.stack([scene(modality, shape[1:3], centre, rng) for centre in ways]))
    return torch.from_numpy(np.stack(made).astype(np.float32))


def seen(modality: str, places: list[tuple[float, float]], size: tuple[int, int] = (0, 0)) -> Tensor:
    """Windows without noise in which something stands at each of these places."""
    encoder = build_encoder(modality, {})
    frames = np.stack([scene(modality, size if any(size) else encoder.size, place) for place in places])
    x = torch.from_numpy(frames.astype(np.float32))
    return x[:, None].expand(-1, encoder.samples, -1, -1, -1) if modality == "video" else x


def extremes(shape: tuple[int, ...], scale: float = 1.0) -> Tensor:
    """Windows that hold nothing, one number everywhere, or far too much."""
    noise = torch.randn(2, *shape, generator=torch.Generator().manual_seed(1))
    level = torch.tensor([0.0, 1.0, -1.0, 300.0]).reshape(-1, *(1 for _ in shape))
    return torch.cat([level.expand(-1, *shape), noise * 1e-6, noise * 100.0]) * scale


@cache
def fresh(modality: str) -> Encoder:
    torch.manual_seed(0)
    return build_encoder(modality, {}).eval()


@cache
def used(modality: str) -> Encoder:
    """Far from its initialisation, with the statistics of many batches: what training leaves."""
    torch.manual_seed(1)
    encoder = build_encoder(modality, {})
    with torch.no_grad():
        for parameter in encoder.parameters():
            spread = parameter.std() if parameter.numel() > 1 else parameter.abs().mean()
            parameter.add_(torch.randn_like(parameter) * (0.5 * spread + 0.02))
        for norm in (m for m in encoder.modules() if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d)):
            norm.momentum = 0.3
        for seed in range(6):
            encoder(windows(modality, 8, seed=100 + seed))
    return encoder.eval()


@cache
def files(modality: str) -> dict[str, bytes]:
    encoder = used(modality)
    model = to_onnx(encoder)
    int8 = to_int8(model, fixed={name for name, _ in encoder.named_buffers()})
    describe(int8, encoder, "int8")
    return {"fp32": to_bytes(model), "int8": to_bytes(int8)}


@torch.inference_mode()
def tokens(encoder: Encoder, x: Tensor) -> Tensor:
    return encoder(x)[0]


def apart(one: Tensor, other: Tensor) -> float:
    """Root mean square difference of tokens, which have a root mean square of 1 each."""
    return float((one - other).square().mean().sqrt())


def test_every_modality_has_an_encoder():
    assert list(ENCODERS) == [*MODALITIES, "features"]
    assert all(encoder.modality == modality for modality, encoder in ENCODERS.items())


@pytest.mark.parametrize("modality", [name for name in ENCODERS if name != "audio"])  # whose autocast knows no "meta"
def test_encoders_work_where_their_windows_are(modality):
    encoder = ENCODERS[modality]().eval().to("meta")
    assert encoder(torch.zeros(2, *encoder.shape, device="meta"))[0].device.type == "meta"


@pytest.mark.parametrize("modality", MODALITIES)
def test_every_encoder_keeps_the_contract(modality):
    encoder, x = fresh(modality), windows(modality, 3)
    stream = Stream(modality, modality, "somewhere", channels=encoder.channels if modality in ("gps", "gaze") else 0)
    assert encoder.shape == stream.shape == tuple(x.shape[1:])
    found, quality = encoder(x)
    assert found.shape == (3, 4, 128)
    assert found[0].numel() * 2 <= 2048
    assert quality.shape == (3,)
    assert ((quality > 0) & (quality < 1)).all()
    assert torch.equal(tokens(encoder, x), found.detach())
    assert sum(p.numel() for p in encoder.parameters()) <= 2_000_000
    assert encoder.describe()["units"] == ", ".join(dict.fromkeys(MODALITIES[modality].units))


@pytest.mark.parametrize("modality", MODALITIES)
def test_a_window_is_the_same_alone_and_in_a_batch(modality):
    x = windows(modality, 5)
    together = tokens(used(modality), x)
    alone = torch.cat([tokens(used(modality), one[None]) for one in x])
    assert torch.allclose(together, alone, atol=1e-4)
    assert min(apart(a, b) for a, b in zip(together, together.roll(1, 0), strict=True)) > 0.02


@pytest.mark.parametrize("modality", MODALITIES)
def test_every_weight_learns(modality):
    torch.manual_seed(2)
    encoder = build_encoder(modality, {})
    nn.init.normal_(encoder.trust.weight, std=0.1)  # or quality would not depend on the tokens
    found, quality = encoder(windows(modality, 8))
    ((found * torch.randn_like(found)).sum() + quality.sum()).backward()
    still = [n for n, p in encoder.named_parameters() if p.grad is None or p.grad.abs().max() < 1e-5]
    assert still == (["attend.bias"] if modality == "audio" else [])  # a softmax does not see it
    assert all(torch.isfinite(p.grad).all() for p in encoder.parameters())


@pytest.mark.parametrize("modality", MODALITIES)
def test_no_window_breaks_it(modality):
    for encoder in (fresh(modality), used(modality)):
        x = extremes(encoder.shape, 1e-2 if modality == "audio" else 1.0)
        assert torch.isfinite(tokens(encoder, x)).all()
    torch.manual_seed(3)
    encoder = build_encoder(modality, {})
    x.requires_grad_()
    encoder(x)[0].square().sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in encoder.parameters() if p.grad is not None)
    assert torch.isfinite(x.grad).all()


@pytest.mark.parametrize("modality", MODALITIES)
def test_the_exported_file_equals_torch_on_windows_of_every_kind(modality):
    encoder = used(modality)
    session = onnxruntime.InferenceSession(files(modality)["fp32"], providers=["CPUExecutionProvider"])
    odd = extremes(encoder.shape, 1e-2 if modality == "audio" else 1.0)
    for x in (windows(modality, 7, seed=5), windows(modality, 1, seed=6), odd):
        with torch.inference_mode():
            wanted = encoder(x)
        found = session.run(["tokens", "quality"], {"x": x.numpy()})
        for a, b in zip(found, wanted, strict=True):
            np.testing.assert_allclose(a, b.numpy(), atol=1e-4)


@pytest.mark.parametrize("modality", MODALITIES)
def test_the_device_runs_the_file_and_int8_is_small_and_near(modality):
    encoder, x = used(modality), windows(modality, 6, seed=7)
    wanted = tokens(encoder, x).numpy()
    for precision, payload in files(modality).items():
        device = DeviceEncoder(payload)
        assert (device.modality, device.shape, device.size) == (modality, encoder.shape, encoder.size)
        assert (device.digest, device.precision) == (encoder.digest(), precision)
        device.check(Stream(modality, modality, "somewhere"))
        found = np.stack([device.encode(one)[0] for one in x.numpy()]).astype(np.float32)
        if precision == "fp32":
            np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=2e-4)  # float16 rounds by 5e-4
        else:
            assert np.sqrt(np.square(found - wanted).mean()) < 0.1
            assert len(payload) <= 2_000_000


@pytest.mark.parametrize("modality", ["gps", "gaze"])
def test_a_device_fills_up_channels_that_a_sensor_lacks_as_training_does(modality):
    named = len(MODALITIES[modality].channels)
    x = windows(modality, 2)[..., :named]
    found = np.stack([DeviceEncoder(files(modality)["fp32"]).encode(one)[0] for one in x.numpy()]).astype(np.float32)
    np.testing.assert_allclose(found, tokens(used(modality), x).numpy(), rtol=1e-3, atol=2e-4)


def test_the_bundled_encoders_are_who_they_were():
    config = json.loads((PRETRAINED / "config.json").read_text())
    weights = load_file(PRETRAINED / "model.safetensors")
    for modality, digest in config["encoders"].items():
        about = config["model"]
        options = {"tokens": about["tokens"], "dim": about["dim"], **about["encoders"].get(modality, {})}
        encoder = build_encoder(modality, options)
        mine = f"encoders.{modality}."
        encoder.load_state_dict({name.removeprefix(mine): w for name, w in weights.items() if name.startswith(mine)})
        assert encoder.digest() == digest


# Series


@pytest.mark.parametrize("modality", SERIES)
@pytest.mark.parametrize("points", [4, 5, 7, 8, 33, 120])
def test_a_series_may_have_any_length(modality, points):
    channels = fresh(modality).channels
    found = tokens(fresh(modality), windows(modality, 2, shape=(points, channels)))
    assert found.shape == (2, 4, 128)
    assert torch.isfinite(found).all()


@pytest.mark.parametrize("modality", ["gps", "gaze"])
def test_channels_that_are_absent_are_zero(modality):
    x = windows(modality, 2)
    named = len(MODALITIES[modality].channels)
    silent = x.clone()
    silent[..., named:] = 0.0
    assert torch.equal(tokens(used(modality), x[..., :named]), tokens(used(modality), silent))
    assert apart(tokens(used(modality), x), tokens(used(modality), silent)) > 0.05


def test_a_magnetometer_changes_nothing():
    x = windows("imu", 2)
    nine = torch.cat([x, torch.randn(2, 50, 3) * 40], -1)
    assert torch.equal(tokens(used("imu"), nine), tokens(used("imu"), x))
    found, _ = DeviceEncoder(files("imu")["fp32"]).encode(nine[0].numpy())
    np.testing.assert_allclose(found.astype(np.float32), tokens(used("imu"), x)[0].numpy(), rtol=1e-3, atol=2e-4)
    wide = build_encoder("imu", {"channels": 9})
    assert wide.shape == (50, 9)
    assert tokens(wide.eval(), nine).shape == (2, 4, 128)


def test_gps_does_not_know_its_origin_and_knows_its_speed():
    x = windows("gps", 3)
    there = x + torch.tensor([2048.0, -4096.0, 64.0, 0, 0, 0])
    assert apart(tokens(used("gps"), there), tokens(used("gps"), x)) < 0.02
    faster = x.clone()
    faster[..., :3] *= 3.0
    assert apart(tokens(used("gps"), faster), tokens(used("gps"), x)) > 0.1
    way = torch.stack([torch.arange(5) * 2.0 / 5, torch.arange(5) * 0.0, torch.arange(5) * 0.0], -1)[None] + 100.0
    _, told = GpsEncoder().views(torch.cat([way, torch.zeros(1, 5, 3)], -1))
    assert torch.allclose(told[..., 6].exp() - 1.0, torch.tensor(2.0), atol=1e-3)  # 2 m/s to the east
    assert torch.allclose(told[..., 7:9], torch.zeros(1), atol=1e-3)  # neither faster nor turning


def test_a_turn_to_the_left_is_not_one_to_the_right():
    angle = torch.linspace(0, 1.0, 5)
    left = torch.stack([20 * angle.sin(), 20 - 20 * angle.cos(), angle * 0, angle * 0, angle * 0, angle * 0], -1)[None]
    right = left * torch.tensor([1.0, -1, 1, 1, 1, 1])
    (_, one), (_, other) = GpsEncoder().views(left), GpsEncoder().views(right)
    assert (one[:, 2:, 8] > 1).all()
    assert torch.allclose(one[..., 8], -other[..., 8], atol=1e-4)


def test_features_that_come_with_a_gaze_tell_by_their_values():
    x = windows("gaze", 3)
    other = x.clone()
    other[..., 7] += 2.0
    assert apart(tokens(used("gaze"), x), tokens(used("gaze"), other)) > 0.02
    _, told = GazeEncoder().views(x)
    assert torch.equal(told[..., -26:], x[..., 2:])


def test_a_glance_to_the_right_is_not_one_to_the_left_wherever_the_screen_is():
    still, jump = torch.zeros(1, 30, 2), torch.tensor([0.3, 0.0])
    right = still.index_fill(1, torch.arange(15, 30), 1.0) * jump
    means = [GazeEncoder().views(x)[1][0, :, 6:].mean(0) for x in (still, right, -right, right + 0.4)]
    assert means[0].abs().max() < 0.01
    assert all(means[1][at] > 0.03 > abs(means[2][at]) for at in (3, 10))  # the share of glances to the right
    assert torch.allclose(means[1], means[3], atol=1e-5)


def test_a_tracker_that_trembles_does_not_hide_where_an_eye_goes():
    """Over 133 ms its noise from one point in time to the next is gone, and a jump that takes as long is whole."""
    jump = torch.arange(60).sub(26).clamp(0, 8)[None, :, None] * torch.tensor([0.02, 0.0])
    tremble = torch.arange(60)[None, :, None] % 2 * 0.02
    for over_s, clear in ((0.0, False), (0.133, True)):
        encoder = GazeEncoder(saccades=[(over_s, 0.3)])
        right, left, still = (encoder.views(x + tremble)[1][0, :, 6:].mean(0) for x in (jump, -jump, 0 * jump))
        assert bool(right[3] > 3 * still[3].abs() and right[3] > 3 * left[3]) is clear
    _, short = GazeEncoder(saccades=[(0.4, 0.3)]).views(jump[:, 20:40])
    assert not short[..., 7:13].any()  # a window that does not reach back so far tells nothing of it


@pytest.mark.parametrize("saccades", [[[0.1]], [0.25, 1.0], 0.25, [["soon", 1.0]], [None]])
def test_saccades_are_pairs_of_seconds_and_speed(saccades):
    with pytest.raises(CheckpointError, match=r"encoder of 'gaze': saccades is .*; give pairs of \[seconds, speed\]$"):
        build_encoder("gaze", {"saccades": saccades})


@pytest.mark.parametrize("pair", [[-0.1, 0.2], [0.1, 0.0], [math.inf, 0.2], [math.nan, 0.2], [0.1, math.inf]])
def test_saccades_are_finite(pair):
    with pytest.raises(CheckpointError, match=r"saccades has \[.*\]; give finite seconds >= 0 and speed > 0"):
        build_encoder("gaze", {"saccades": [[0.0, 0.25], pair]})


def test_joints_are_seen_from_the_pelvis_and_absent_ones_say_nothing():
    encoder, x = PoseEncoder(), windows("pose", 3)
    joint = x.reshape(3, 30, 24, 3)
    there = (joint.abs().amax(-1, keepdim=True) > 0).float()
    assert (there == 0).any()
    _, here = encoder.views(x)
    _, moved = encoder.views(((joint + torch.tensor([0.5, -1.0, 2.0])) * there).flatten(2))
    assert torch.allclose(here, moved, atol=1e-4)  # where in the room says nothing ...
    away = torch.linspace(0.0, 1.0, 30)[:, None, None] * torch.tensor([0.5, -1.0, 2.0])
    _, walked = encoder.views(((joint + away) * there).flatten(2))
    way = walked[:, -1, 72:75] - here[:, -1, 72:75]
    assert torch.allclose(way, torch.tensor([0.25, -0.5, 1.0]), atol=1e-4)  # ... and going somewhere does
    gone = (there == 0).expand(-1, -1, -1, 3).flatten(2)
    assert (here[..., :72][gone] == 0).all()
    assert (here[..., 75:147][gone] == 0).all()
    assert torch.equal(here[..., 150:], there.squeeze(-1))


def test_hands_without_a_body_are_seen_from_their_middle():
    x = windows("pose", 1).reshape(1, 30, 24, 3)
    x[:, :, :20] = 0.0
    _, told = PoseEncoder().views(x.flatten(2))
    hands = told[..., :72].reshape(1, 30, 24, 3)[:, :, 20:]
    present = (x[:, :, 20:].abs().sum(-1) > 0).sum(-1)
    assert (present > 0).all()
    assert torch.allclose(hands.sum(2), torch.zeros(1), atol=1e-5)


# Pictures


@pytest.mark.parametrize("modality", PICTURES)
def test_where_something_is_changes_the_tokens(modality):
    encoder = used(modality)
    places = [(0.3, 0.3), (0.3, 0.7), (0.7, 0.3), (0.7, 0.7)]
    found = tokens(encoder, seen(modality, places))
    assert min(apart(a, b) for i, a in enumerate(found) for b in found[:i]) > 0.03


@pytest.mark.parametrize("modality", PICTURES)
@pytest.mark.parametrize("size", [(4, 4), (5, 9), (27, 15), (41, 72), (96, 128)])
def test_frames_of_any_size_are_resized(modality, size):
    *time, _, _, channels = fresh(modality).shape
    found = tokens(used(modality), windows(modality, 2, shape=(*time, *size, channels)))
    assert found.shape == (2, 4, 128)
    assert torch.isfinite(found).all()


@pytest.mark.parametrize("modality", PICTURES)
def test_the_same_scene_in_twice_the_pixels_gives_nearly_the_same_tokens(modality):
    encoder, places = used(modality), [(0.3, 0.4), (0.7, 0.5)]
    height, width = encoder.size
    found, fine, coarse = (
        tokens(encoder, seen(modality, places, size))
        for size in ((height, width), (2 * height, 2 * width), (height // 2, width // 2))
    )
    for other in (fine, coarse):
        assert apart(found, other) < 0.5 * apart(found[0], found[1])


def test_a_grid_of_ones_own_is_part_of_who_an_encoder_is():
    torch.manual_seed(0)
    small = build_encoder("thermal", json.loads('{"size": [8, 8], "width": 8}'))
    assert small.shape == (8, 8, 1)
    assert small.describe()["size"] == (8, 8)
    torch.manual_seed(0)
    assert build_encoder("thermal", {"size": (8, 9), "width": 8}).digest() != small.digest()
    device = DeviceEncoder(to_bytes(to_onnx(small)))
    assert device.shape == (8, 8, 1)
    device.check(Stream("t", "thermal", "ceiling", size=(8, 8)))


@pytest.mark.parametrize(
    ("modality", "options", "words"),
    [
        ("thermal", {"size": [2, 8]}, r"size \[2, 8\]; give height and width"),
        ("image", {"size": [64]}, "give height and width"),
        ("video", {"size": [32, 32, 3]}, "give height and width"),
        ("depth", {"size": [48.0, 64]}, "give height and width"),
        ("gps", {"rate": 1.0}, "1 Hz and 1 s make 1 points in time; a series has at least 4"),
        ("gaze", {"channels": 29}, r"channels 29; give a number in 2\.\.28"),
        ("image", {"channels": 4}, r"channels 4; give a number in 3\.\.3"),
        ("lidar", {"seize": 1}, "'seize'; remove that option"),
        ("smell", {}, "has no encoder; known: audio, camera"),
    ],
)
def test_options_that_make_no_encoder_are_named(modality, options, words):
    with pytest.raises(CheckpointError, match=words):
        build_encoder(modality, options)


@pytest.mark.parametrize(
    ("modality", "own"),
    [
        ("imu", "width, blocks, dropout"),
        ("audio", "bands, width, dropout"),
        ("lidar", "size, width, dropout"),
        ("video", "size, width, dropout"),
        ("features", "width, dropout"),
    ],
)
def test_a_model_names_the_options_that_an_encoder_takes(modality, own):
    known = f"rate, window_s, hop_s, tokens, dim, channels, {own}"
    for stranger in ("wings", "options"):
        with pytest.raises(ValueError, match=rf"encoders.{modality} has no '{stranger}'; options: {known} \["):
            ModelConfig(encoders={modality: {stranger: 2}})


@pytest.mark.parametrize(
    ("size", "coarse"),
    [((64, 64), (8, 8)), ((24, 32), (6, 8)), ((48, 96), (6, 6)), ((32, 256), (8, 8)), ((4, 4), (4, 4))],
)
def test_axes_are_halved_until_both_are_coarse(size, coarse):
    down, across = np.prod(pools(size, 5), 0)
    assert (size[0] // down, size[1] // across) == coarse


def picture(modality: str, frame: np.ndarray) -> tuple[Tensor, Tensor]:
    encoder = fresh(modality)
    assert isinstance(encoder, FrameEncoder)
    return encoder.picture(torch.from_numpy(frame.astype(np.float32))[None].permute(0, 3, 1, 2))


def test_light_is_a_level_and_no_part_of_an_image():
    frame = scene("image", (64, 64))
    (one, level), (other, lighter) = picture("image", frame), picture("image", frame * 1.5 + 0.1)
    assert torch.allclose(one, other, rtol=0.05, atol=0.01)
    assert (lighter[:, :3] > level[:, :3]).all()


def test_depth_knows_gaps_from_near_things():
    frame = np.full((48, 64, 1), 2.0)
    frame[:, :32] = 0.0
    seen, level = picture("depth", frame)
    relative, nearness, mask = seen[0]
    assert (seen[0, :, :, :32] == 0).all()
    assert (mask[:, 32:] == 1).all()
    assert torch.allclose(relative, torch.zeros(1), atol=1e-6)
    assert (nearness[:, 32:] > 0).all()
    assert torch.allclose(level[0, 0], torch.tensor(2.0).log(), atol=1e-6)
    assert level[0, 3] == 0.5


def test_a_room_that_warms_up_is_a_level_of_thermal():
    frame = scene("thermal", (24, 32))
    (cold, low), (warm, high) = picture("thermal", frame), picture("thermal", frame + 5.0)
    assert torch.allclose(cold, warm, atol=1e-3)
    assert float(high[0, 0] - low[0, 0]) == pytest.approx(0.5, abs=1e-3)
    assert cold.max() > 1.0  # a hand of 9 K above its surroundings


def test_a_faint_touch_stands_out_and_is_known_to_be_faint():
    frame = 0.1 + 0.5 * blob((32, 32), (0.3, 0.6))[..., None]
    (strong, level), (faint, lower) = picture("capacitance", frame), picture("capacitance", 0.1 + (frame - 0.1) / 5)
    assert torch.allclose(strong[:, 1], faint[:, 1], atol=1e-3)
    assert (strong[:, 0].amax() > faint[:, 0].amax() + 1).all()
    assert lower[0, 1] < level[0, 1] - 1
    quiet, _ = picture("capacitance", 0.1 + np.random.default_rng(0).normal(0, 5e-4, (32, 32, 1)))
    assert quiet[:, 1].abs().max() < 0.2


def test_the_close_up_of_a_touch_is_the_same_wherever_it_is_and_no_glitch_draws_it_away():
    view = TouchView().eval()
    panel = torch.zeros(1, 1, 27, 15)
    panel[..., 10:13, 5:8] = torch.tensor([[0.2, 0.4, 0.1], [0.5, 0.9, 0.3], [0.2, 0.6, 0.1]])
    here, at = view.centred(panel)
    assert torch.equal(here[0, 0, 4:7, 4:7], panel[0, 0, 10:13, 5:8])
    there, elsewhere = view.centred(panel.roll((9, -4), (2, 3)))
    assert torch.equal(here, there)
    assert torch.allclose(elsewhere - at, torch.tensor([18 / 27, -8 / 15]))
    torn = panel.clone()
    torn[..., 20, 11], torn[..., 3, 2] = 2.8, -1.0
    with torch.no_grad():
        assert torch.allclose(view(torn), view(panel), atol=0.3)
    assert (unspiked(torn) - panel).abs().max() <= 2 * TOUCH


def test_a_camera_is_told_by_its_rays():
    frame = scene("camera", (48, 96))
    other = np.concatenate([frame[..., :3], rays((48, 96), focal=1.2)], -1)
    x = torch.from_numpy(np.stack([frame, other]).astype(np.float32))
    one, wide = tokens(used("camera"), x)
    assert apart(one, wide) > 0.02


def test_a_lidar_has_no_edge_between_its_last_azimuth_and_its_first():
    encoder = build_encoder("lidar", {}).eval()
    trunk = encoder.trunk
    trunk.columns.zero_()  # without a sense of direction a turned scene is the same, turned
    x, _ = encoder.picture(windows("lidar", 1).permute(0, 3, 1, 2))
    with torch.inference_mode():
        seen, turned = trunk(x), trunk(x.roll(96, -1))
    assert torch.allclose(turned, seen.roll(96 // 32, -1), atol=1e-5)


def test_a_clip_is_more_than_its_frames():
    x = windows("video", 2)
    forth, back = tokens(used("video"), x), tokens(used("video"), x.flip(1))
    assert apart(forth, back) > 0.05
    for frames in (1, 4, 16):
        assert tokens(used("video"), windows("video", 2, shape=(frames, 32, 32, 3))).shape == (2, 4, 128)
