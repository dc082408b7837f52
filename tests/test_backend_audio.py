"""Sound: the spectrum inside the graph, the encoder, its augmentation, and the clips of esc10."""

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from torch.nn import functional as F

from backend.data import esc10
from backend.data.recording import AUDIBLE_SHARE, Recording, event_first, sequence
from backend.model.audio import FLOOR, FRAME, AudioEncoder, LogMel, Masks, dft_kernel, mel_bank
from backend.tasks import TASKS
from backend.train.augment_audio import SoundVariety, at_another_speed, followed_by, mix_sounds, vary_sound
from broker.errors import DataError

EVENTS = TASKS["event-detection"]
RATE = 16000
STILL = SoundVariety(speed=0.0, colour_db=0.0, gain_db=0.0, mixed=0.0, noisy=0.0, quiet=0.0, followed=0.0)


@pytest.fixture
def encoder() -> AudioEncoder:
    torch.manual_seed(0)
    return AudioEncoder().eval()


def tone(hertz: float, seconds: float = 1.0, amplitude: float = 0.5) -> torch.Tensor:
    t = torch.arange(round(seconds * RATE)) / RATE
    return amplitude * torch.sin(2 * torch.pi * hertz * t)


def test_kernel_is_a_windowed_fourier_transform():
    x = np.random.default_rng(0).standard_normal(FRAME)
    hann = np.hanning(FRAME + 1)[:-1]
    wanted = np.abs(np.fft.rfft(x * hann)) * 2 / hann.sum() / FLOOR**0.5
    parts = dft_kernel(FRAME)[:, 0] @ x
    got = np.hypot(*np.split(parts, 2))
    np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=wanted.max() * 1e-5)


def test_a_full_scale_tone_is_full_scale():
    line = 32
    parts = dft_kernel(FRAME)[:, 0] @ tone(line * RATE / FRAME, amplitude=1.0)[:FRAME].numpy()
    assert np.hypot(*np.split(parts, 2))[line] ** 2 * FLOOR == pytest.approx(1.0, rel=1e-3)


def test_mel_bands_rise_and_each_sums_to_one():
    bank = mel_bank(64, FRAME, RATE)
    np.testing.assert_allclose(bank.sum(1), 1.0, rtol=1e-5)
    centre = (bank * np.arange(FRAME // 2 + 1)).sum(1)
    assert (np.diff(centre) >= 0).all() and (np.diff(centre)[8:] > 0).all()


@pytest.mark.parametrize("hertz", [200.0, 1000.0, 5000.0])
def test_a_tone_is_seen_in_its_own_band(hertz: float):
    picture = LogMel(64, RATE)(tone(hertz)[None])[0].mean(-1)
    centre_hz = (mel_bank(64, FRAME, RATE) * np.arange(FRAME // 2 + 1)).sum(1) * RATE / FRAME
    assert centre_hz[int(picture.argmax())] == pytest.approx(hertz, rel=0.1)


def test_contract(encoder: AudioEncoder):
    tokens, quality = encoder(0.1 * torch.randn(3, RATE, 1))
    assert tokens.shape == (3, 4, 128) and quality.shape == (3,)
    assert ((quality > 0) & (quality < 1)).all()
    assert tokens[0].numel() * 2 <= 2048, "tokens of a window are at most 2 KB in float16"
    assert sum(p.numel() for p in encoder.parameters()) <= 1_000_000


@pytest.mark.parametrize("seconds", [0.25, 0.5, 1.0, 2.5])
def test_any_length_from_a_quarter_second(encoder: AudioEncoder, seconds: float):
    tokens, _ = encoder(0.1 * torch.randn(2, round(seconds * RATE), 1))
    assert tokens.shape == (2, 4, 128) and tokens.isfinite().all()


def test_digital_silence_and_full_scale_are_finite(encoder: AudioEncoder):
    for x in (torch.zeros(1, RATE, 1), torch.ones(1, RATE, 1), torch.full((1, RATE, 1), 1e-6)):
        assert encoder(x)[0].isfinite().all()


def test_loudness_leaves_the_picture_but_reaches_the_tokens(encoder: AudioEncoder):
    x = 0.5 * torch.randn(1, RATE, 1)
    loud, soft = (encoder.spectrum(k * x[..., 0]) for k in (1.0, 0.2))
    assert (loud - soft).mean() == pytest.approx(2 * np.log(5), abs=0.01)
    assert ((loud - loud.mean()) - (soft - soft.mean())).abs().mean() < 0.01
    assert (encoder(x)[0] - encoder(0.2 * x)[0]).abs().max() > 0.01


def test_a_window_does_not_depend_on_its_batch(encoder: AudioEncoder):
    x = 0.1 * torch.randn(4, RATE, 1)
    torch.testing.assert_close(encoder(x)[0][1:2], encoder(x[1:2])[0], atol=1e-4, rtol=0)


def test_stripes_hide_while_training_only():
    torch.manual_seed(1)
    masks, picture = Masks(bands=10, frames=16), torch.ones(8, 64, 97)
    assert (masks.eval()(picture) == 1).all()
    hidden = masks.train()(picture) == 0
    assert 0 < hidden.float().mean() < 0.5
    assert (hidden.all(1).any(1) | hidden.all(2).any(1)).float().mean() > 0.8, "stripes go from edge to edge"


@pytest.mark.filterwarnings("ignore")
def test_exported_graph_equals_torch_for_any_batch_and_for_silence(encoder: AudioEncoder, tmp_path: Path):
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    path = tmp_path / "audio.onnx"
    sizes = {"x": {0: torch.export.Dim("batch")}}
    torch.onnx.export(
        encoder,
        (torch.randn(2, RATE, 1),),
        path,
        input_names=["x"],
        output_names=["tokens", "quality"],
        dynamic_shapes=sizes,
        external_data=False,
        verbose=False,
    )
    session = onnxruntime.InferenceSession(path.read_bytes())
    for x in (torch.zeros(1, RATE, 1), 0.1 * torch.randn(5, RATE, 1), 1e-4 * torch.randn(2, RATE, 1)):
        tokens, quality = session.run(None, {"x": x.numpy()})
        wanted_tokens, wanted_quality = encoder(x)
        np.testing.assert_allclose(tokens, wanted_tokens.detach(), atol=1e-4)
        np.testing.assert_allclose(quality, wanted_quality.detach(), atol=1e-4)


def test_it_learns_to_tell_sounds_apart():
    torch.manual_seed(0)
    encoder, head = AudioEncoder(), torch.nn.Linear(128, 3)
    optimizer = torch.optim.AdamW([*encoder.parameters(), *head.parameters()], 2e-3)

    def sounds(n: int) -> tuple[torch.Tensor, torch.Tensor]:
        kind = torch.arange(n) % 3
        pitch = 300 + 2000 * torch.rand(n)
        tones = torch.stack([tone(float(hertz)) for hertz in pitch])
        hiss = 0.1 * torch.randn(n, RATE)
        clicks = (torch.rand(n, RATE) < 1e-3).float()
        x = torch.stack([tones, hiss, clicks], 1)[torch.arange(n), kind]
        return (10 ** (-torch.rand(n, 1)) * x)[..., None], kind

    for _ in range(12):
        x, kind = sounds(24)
        loss = F.cross_entropy(head(encoder.train()(x)[0].mean(1)), kind)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    x, kind = sounds(30)
    with torch.no_grad():
        found = head(encoder(x)[0].mean(1)).argmax(-1)
    assert (found == kind).float().mean() >= 0.9


def test_variation_repeats_with_its_seed_and_nothing_changes_at_strength_zero():
    x = np.random.default_rng(0).standard_normal((5, RATE, 1)).astype(np.float32)
    first, again, other = (vary_sound(x, SoundVariety(), np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert (first == again).all() and not np.allclose(first, other)
    np.testing.assert_allclose(vary_sound(x, STILL, np.random.default_rng(0)), x, atol=1e-4)


def test_gain_stays_within_its_range():
    x = np.random.default_rng(0).standard_normal((1, RATE, 1)).astype(np.float32)
    only_gain = replace(STILL, gain_db=6.0)
    level = [vary_sound(x, only_gain, np.random.default_rng(seed)).std() / x.std() for seed in range(40)]
    assert min(level) >= 0.501 and max(level) <= 1.996 and max(level) / min(level) > 2


@pytest.mark.parametrize("level", [0.0, 0.01])
def test_a_quiet_room_fills_silence_and_hides_no_sound(level: float):
    x = np.float32(level) * np.random.default_rng(0).standard_normal((5, RATE, 1)).astype(np.float32)
    room = replace(STILL, quiet=1.0, quiet_db=(-70.0, -50.0))
    added = [float((vary_sound(x, room, np.random.default_rng(seed)) - x).std()) for seed in range(20)]
    assert min(added) >= 10**-3.5 * 0.99 and max(added) <= 10**-2.5 * 1.01
    assert max(added) / min(added) > 2


def mixed(targets: torch.Tensor, variety: SoundVariety) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Windows before mixing, windows and targets after: crop i is a square wave of amplitude i + 1."""
    crops, slots = targets.shape[:2]
    x = torch.arange(1.0, crops + 1).repeat_interleave(slots)[:, None, None].expand(-1, 50, 1)
    x = x * torch.where(torch.arange(50) % 2 > 0, 1.0, -1.0)[:, None]
    where = torch.cartesian_prod(torch.arange(crops), torch.arange(slots), torch.zeros(1, dtype=torch.long))
    return x, *mix_sounds(x, where, targets, 0, variety, np.random.default_rng(3))


def test_mixing_keeps_loudness_of_equals_and_shares_of_labels():
    targets = torch.eye(11)[torch.arange(1, 7)][:, None].repeat(1, 3, 1)
    x, y, shares = mixed(targets, SoundVariety(mixed=1.0))
    torch.testing.assert_close(shares.sum(-1), torch.ones(6, 3))
    own = shares.gather(2, torch.arange(1, 7)[:, None, None].expand(-1, 3, 1))
    assert (own >= 0.5 - 1e-6).all() and (own < 1).sum() >= 9
    torch.testing.assert_close(y, x, msg="alike waves at equal loudness mix to themselves")


def test_an_event_over_silence_is_that_event():
    targets = torch.zeros(2, 2, 11)
    targets[0, :, 0] = targets[1, :, 4] = 1.0
    _, _, shares = mixed(targets, SoundVariety(mixed=1.0))
    assert (shares[:, :, 4] == 1.0).all()


def test_unlabelled_crops_and_strength_zero_are_left_alone():
    targets = torch.zeros(3, 2, 11)
    targets[:2, :, 5] = 1.0
    x, y, shares = mixed(targets, SoundVariety(mixed=1.0))
    assert (y.reshape(3, -1)[2] == x.reshape(3, -1)[2]).all() and (shares[2] == 0).all()
    x, y, shares = mixed(targets, STILL)
    assert (y == x).all() and (shares == targets).all()


def test_none_gives_way_to_an_event_and_a_trace_of_one_to_none():
    shares = np.zeros((4, 11), np.float32)
    shares[0, [0, 3]] = 0.8, 0.2
    shares[1, [0, 3]] = 1 - AUDIBLE_SHARE / 2, AUDIBLE_SHARE / 2
    shares[2, 0] = 1.0
    got = event_first(shares, 0)
    assert got[0, 3] == 1.0 and got[1, 0] == 1.0 and got[2, 0] == 1.0 and (got[3] == 0).all()
    assert (event_first(shares, None) == shares).all()


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """A set of two clips: a tone with two seconds of silence from 1 s on, and noise in stereo at another rate."""
    folder = tmp_path / "esc10"
    folder.mkdir()
    wave = tone(440, 5.0).numpy()
    wave[RATE : 3 * RATE + 2000] = 0  # Vorbis smears a sound's start a little ahead
    soundfile.write(folder / "001-1-7-A.ogg", wave, RATE)
    noise = 0.1 * np.random.default_rng(0).standard_normal((22050 * 3, 2))
    soundfile.write(folder / "002-2-8-A.ogg", noise, 22050)
    with (folder / "meta.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["file", "class_id", "class_name", "fold", "freesound_source"])
        rows.writerow(["001-1-7-A.ogg", 1, "Dog bark", 1, 7])
        rows.writerow(["002-2-8-A.ogg", 2, "Rain", 2, 8])
    return folder


def labels_of(recording: Recording) -> list[str]:
    cut = sequence(recording)
    assert cut is not None
    return [EVENTS.labels[i] for i in cut.majority(EVENTS.name)]


def test_clips_are_read_with_their_silence(tiny: Path):
    first, second = esc10.recordings(tiny)
    assert (first.person, first.fold, second.fold) == ("freesound-7", 1, 2)
    assert first.tracks[0].values.shape == (5 * RATE, 1) and first.tracks[0].values.dtype == np.int16
    assert second.tracks[0].values.shape == (3 * RATE, 1)
    assert labels_of(first) == ["dog-bark"] * 2 + ["none"] * 3 + ["dog-bark"] * 4
    assert set(labels_of(second)) == {"rain"}
    assert esc10.recordings(tiny.parent)[0].name == first.name, "the parent folder does as well"


def test_errors_name_the_file(tiny: Path, tmp_path: Path):
    with pytest.raises(DataError, match="no clips of esc10"):
        esc10.recordings(tmp_path / "nowhere")
    meta = (tiny / "meta.csv").read_text()
    (tiny / "meta.csv").write_text(meta.replace("Rain", "Hail"))
    with pytest.raises(DataError, match="'Hail' is unknown; known: dog-bark"):
        esc10.recordings(tiny)
    (tiny / "meta.csv").write_text(meta)
    (tiny / "002-2-8-A.ogg").write_bytes(b"no sound")
    with pytest.raises(DataError, match=r"002-2-8-A\.ogg"):
        esc10.recordings(tiny)
    (tiny / "meta.csv").write_bytes(meta.encode() + b"\xff\xfe")
    with pytest.raises(DataError, match=r"meta\.csv: cannot be read as CSV"):
        esc10.recordings(tiny)
    (tiny / "meta.csv").write_text("file\n")
    with pytest.raises(DataError, match="columns"):
        esc10.recordings(tiny)


def test_a_part_of_the_set_and_the_publishers_layout_are_read(tiny: Path, tmp_path: Path):
    meta = (tiny / "meta.csv").read_text()
    (tiny / "002-2-8-A.ogg").rename(tmp_path / "rain.ogg")
    part = esc10.recordings(tiny)
    assert ([r.name for r in part], part.skipped) == (["001-1-7-A"], ("002-2-8-A.ogg",))
    published = tmp_path / "published"
    for folder, file, source in (
        ("001 - Dog bark", "1-7-A.ogg", tiny / "001-1-7-A.ogg"),
        ("002 - Rain", "2-8-A.ogg", tmp_path / "rain.ogg"),
    ):
        (published / folder).mkdir(parents=True)
        (published / folder / file).write_bytes(source.read_bytes())
    dog, rain = esc10.recordings(published)
    assert (dog.person, dog.fold, rain.fold, set(labels_of(rain))) == ("freesound-7", 1, 2, {"rain"})
    (tiny / "meta.csv").write_text(meta.replace("Dog bark,1,7", "Dog bark,,7"))
    with pytest.raises(DataError, match="line 2: fold '' is no number"):
        esc10.recordings(tiny)
    (tiny / "meta.csv").write_text(meta)
    soundfile.write(tiny / "001-1-7-A.ogg", np.zeros((0, 1)), RATE)
    with pytest.raises(DataError, match="no sound"):
        esc10.recordings(tiny)


def test_speed_moves_sound_and_labels_together(tiny: Path):
    first = esc10.recordings(tiny)[0]
    faster = at_another_speed(first, SoundVariety(speed=0.2), np.random.default_rng(4))
    factor = len(first.tracks[0].t) / len(faster.tracks[0].t)
    assert 0.8 < factor < 1.25 and abs(factor - 1) > 0.02
    edges, moved = (r.labels[EVENTS.name].edges for r in (first, faster))
    np.testing.assert_allclose(moved * factor, edges, rtol=1e-3)
    assert faster.tracks[0].values.dtype == np.int16


def test_another_clip_follows_after_a_pause(tiny: Path):
    first, second = esc10.recordings(tiny)
    for seed in range(20):
        joined = followed_by(first, second, SoundVariety(pause_s=2.0), np.random.default_rng(seed))
        track, segments = joined.tracks[0], joined.labels[EVENTS.name]
        assert len(track.t) == len(track.values) and (np.diff(track.t) == 62_500).all()
        assert segments.edges[0] == 0 and segments.edges[-1] == len(track.t) * 62_500
        assert (np.diff(segments.edges) >= 0).all() and len(segments.index) == len(segments.edges) - 1
        rain = segments.edges[:-1][segments.index == EVENTS.labels.index("rain")].min()
        np.testing.assert_array_equal(track.values[track.t >= rain], second.tracks[0].values[: round(2.5 * RATE)])
        cut = sequence(joined)
        assert cut is None or cut.majority(EVENTS.name)[-1] == EVENTS.labels.index("rain")


def test_sources_never_cross_folds(data_dir: Path):
    recordings = esc10.recordings(data_dir)
    assert len(recordings) == 320
    folds: dict[str, set[int | None]] = {}
    for recording in recordings:
        folds.setdefault(recording.person, set()).add(recording.fold)
    assert all(len(found) == 1 for found in folds.values())
