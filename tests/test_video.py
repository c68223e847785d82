"""Videos: frames and their times, annotated copies, scores of samples; clips are made here."""

import gc
import json
import weakref
from fractions import Fraction

import av
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from typer.testing import CliRunner

from iqa_core import figures
from iqa_core.apps import scorers, video, video_commands
from iqa_core.apps.scorers import Scorer
from iqa_core.apps.video_frames import Video, spread
from iqa_core.apps.video_panel import BACKGROUND, CURVE, Panel, clock
from iqa_core.figures.colours import score_colour, score_range


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def picture(number, total, *, height=48, width=64):
    """Brighter and brighter, with a gradient and a red upper left corner."""
    slope = np.linspace(0, 30, width)[None, :, None] + np.linspace(0, 30, height)[:, None, None]
    image = np.full((height, width, 3), 20 + 150 * number / total) + slope
    image[: height // 4, : width // 4] = (220, 30, 30)
    return image.astype(np.uint8)


def clip(
    path,
    *,
    frames=20,
    size=(48, 64),
    rate=20,
    codec="libx264",
    format="yuv420p",
    times=None,
    tick=None,
    gop=8,
    audio="",
    rotation=None,
    matrix=None,
    container=None,
):
    """A clip of `frames` pictures; `times` in ticks, `tick` in seconds, in place of a rate."""
    height, width = size
    tick = tick or Fraction(1, rate)
    with av.open(str(path), "w", format=container) as out:
        stream = out.add_stream(codec, rate=rate)
        stream.height, stream.width, stream.pix_fmt, stream.gop_size = height, width, format, gop
        if codec == "libx264":
            stream.options = {"crf": "12", "preset": "veryfast", "sc_threshold": "0"}
        stream.codec_context.time_base = tick
        if rotation is not None:
            stream.set_display_rotation(rotation)
        if matrix is not None:
            stream.set_display_matrix(matrix)
        sound = out.add_stream(audio, rate=48000, layout="stereo") if audio else None
        for number in range(frames):
            image = picture(number, frames, height=height, width=width)
            frame = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format=format)
            frame.pts, frame.time_base = times[number] if times else number, tick
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
        if sound:
            write_sound(out, sound, seconds=frames / rate)
    return path


def write_sound(out, sound, *, seconds):
    wave = 0.2 * np.sin(2 * np.pi * 440 * np.arange(round(seconds * 48000)) / 48000)
    resampler = av.AudioResampler(
        sound.codec_context.format, "stereo", 48000, sound.codec_context.frame_size or 1024
    )
    for start in range(0, len(wave), 1024):
        part = np.stack([wave[start : start + 1024]] * 2).astype(np.float32)
        frame = av.AudioFrame.from_ndarray(part, format="fltp", layout="stereo")
        frame.sample_rate, frame.pts = 48000, start
        for piece in resampler.resample(frame):
            out.mux(sound.encode(piece))
    for piece in resampler.resample(None):
        out.mux(sound.encode(piece))
    out.mux(sound.encode(None))


def brightness(images, references):
    return np.array([image.mean() / 255 for image in images])


def scorer(judge=brightness, *, low=0.0, high=1.0, higher_is_better=True, reference=""):
    facts = {
        "name": "brightness",
        "what": "the mean of all pixels",
        "units": "share of white",
        "low": low,
        "high": high,
        "higher_is_better": higher_is_better,
    }
    return Scorer("brightness", judge, reference, facts)


def annotated(path, folder, *args, **kwargs):
    """The summary, and the decoded frames of what was written."""
    out = folder / f"{path.stem}-annotated.mp4"
    done = video.annotate(path, *args or (scorer(),), out, progress=False, **kwargs)
    return done, list(Video(out).frames()), out


def analysed(path, *args, **kwargs):
    return video.analyse(path, *args or (scorer(),), progress=False, **kwargs)


def psnr(one, other):
    return 10 * np.log10(255**2 / (np.mean((one.astype(float) - other) ** 2) + 1e-6))


def damaged(path, *, share=0.4, length=4000):
    """The same file with random bytes in its middle."""
    content = bytearray(path.read_bytes())
    start = int(len(content) * share)
    noise = np.random.default_rng(0).integers(0, 256, length, dtype=np.uint8)
    content[start : start + length] = noise.tobytes()
    target = path.with_name(f"damaged{path.suffix}")
    target.write_bytes(content)
    return target


# Frames


def test_a_constant_frame_rate(tmp_path):
    source = Video(clip(tmp_path / "a.mp4"))
    assert (source.fps, source.frames_total, source.seconds) == (20, 20, 1)
    assert (source.height, source.width, source.codec, source.rotation) == (48, 64, "h264", 0)
    assert not source.variable
    frames = list(source.frames())
    assert [frame.index for frame in frames] == list(range(20))
    np.testing.assert_allclose([frame.seconds for frame in frames], np.arange(20) / 20)
    for frame in frames:
        assert frame.image.dtype == np.uint8
        assert psnr(frame.image, picture(frame.index, 20)) > 30


@pytest.mark.parametrize("ending", ["mkv", "mp4"])
def test_uneven_times_are_told_and_kept(tmp_path, ending):
    times = [0, 40, 80, 500, 540, 1300, 1340, 1900]
    path = clip(tmp_path / f"a.{ending}", frames=8, times=times, tick=Fraction(1, 1000))
    source = Video(path)
    assert source.variable
    _, frames, out = annotated(path, tmp_path)
    assert [round(frame.seconds * 1000) for frame in frames] == times
    with av.open(str(out)) as written:
        found = [float(picture.pts * picture.time_base) for picture in written.decode(video=0)]
    np.testing.assert_allclose(found, np.array(times) / 1000, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "kwargs"),
    [
        ("a.h264", {"container": "h264"}),  # neither times nor a duration
        ("a.avi", {}),  # times in the order of decoding
        ("a.mkv", {}),
        ("a.ts", {"container": "mpegts", "audio": "mp2"}),  # does not start at 0
        ("a.webm", {"codec": "libvpx"}),
        ("a.gif", {"codec": "gif", "format": "rgb8"}),
    ],
)
def test_containers(tmp_path, name, kwargs):
    source = Video(clip(tmp_path / name, **kwargs))
    frames = list(source.frames())
    assert [frame.index for frame in frames] == list(range(20))
    steps = np.diff([frame.seconds for frame in frames])
    np.testing.assert_allclose(steps, 0.05, atol=1e-6)
    assert 0 <= frames[0].seconds < 0.05
    assert source.fps == pytest.approx(20)
    brightnesses = [frame.image.mean() for frame in frames]
    assert brightnesses == sorted(brightnesses), "in the order in which they are shown"


@pytest.mark.parametrize(("rotation", "turns"), [(0, 0), (90, 1), (180, 2), (270, 3)])
def test_frames_come_upright(tmp_path, rotation, turns):
    path = clip(tmp_path / "a.mp4", frames=2, rotation=rotation)  # counterclockwise, as FFmpeg has
    source = Video(path)
    assert source.rotation == -rotation % 360
    upright = np.rot90(picture(0, 2), turns)
    frame = next(source.frames())
    assert (source.height, source.width) == upright.shape[:2]
    assert psnr(frame.image, upright) > 30


def test_mirrored_frames_come_upright(tmp_path):
    one = 1 << 16
    matrix = [-one, 0, 0, 0, one, 0, 0, 0, 1 << 30]
    frame = next(Video(clip(tmp_path / "a.mp4", frames=2, matrix=matrix)).frames())
    assert psnr(frame.image, picture(0, 2)[:, ::-1]) > 30


@pytest.mark.parametrize(
    ("codec", "format"), [("ffv1", "yuv420p10le"), ("ffv1", "gray"), ("ffv1", "gbrp12le")]
)
def test_kinds_of_pixels(tmp_path, codec, format):
    path = clip(tmp_path / "a.mkv", frames=2, codec=codec, format=format)
    frame = next(Video(path).frames())
    expected = picture(0, 2)
    if format == "gray":
        expected = np.asarray(Image.fromarray(expected).convert("L").convert("RGB"))
    assert frame.image.shape == (48, 64, 3)
    assert psnr(frame.image, expected) > 30


def test_transparent_frames_stand_on_white(tmp_path):
    pixels = np.zeros((8, 8, 4), np.uint8)
    pixels[:4] = (200, 0, 0, 255)
    pixels[4:] = (200, 0, 0, 51)
    with av.open(str(tmp_path / "a.mov"), "w") as out:
        stream = out.add_stream("qtrle", rate=10)
        stream.height, stream.width, stream.pix_fmt = 8, 8, "argb"
        out.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgba")))
        out.mux(stream.encode(None))
    image = next(Video(tmp_path / "a.mov").frames()).image
    assert image[0, 0].tolist() == [200, 0, 0]
    assert image[7, 7].tolist() == [244, 204, 204]


@pytest.mark.parametrize(("ending", "codec"), [("mp4", "libx264"), ("mkv", "ffv1")])
def test_damaged_packets_are_left_out_and_counted(tmp_path, ending, codec):
    path = damaged(clip(tmp_path / f"a.{ending}", size=(96, 128), codec=codec, gop=1))
    source = Video(path)
    frames = list(source.frames())
    assert source.corrupt_packets > 0
    assert 10 <= len(frames) < 20
    times = [frame.seconds for frame in frames]
    assert all(round(time * 20) in range(20) for time in times), "no frame takes another's time"
    last = list(source.frames("uniform", n=5))[-1]
    assert last.index == frames[-1].index

    done, shown, _ = annotated(path, tmp_path)
    assert done["video"]["corrupt_packets"] == source.corrupt_packets
    assert len(shown) == len(frames)
    assert pd.read_csv(done["csv"]).frame.tolist() == [frame.index for frame in frames]


@pytest.mark.parametrize("ending", ["mkv", "webm"])
def test_a_file_that_was_cut_off_says_so(tmp_path, ending):
    codec = {"webm": "libvpx"}.get(ending, "libx264")
    whole = clip(tmp_path / f"a.{ending}", frames=80, codec=codec)
    assert analysed(whole, n=3)["video"]["seconds_lacking"] == 0
    cut = tmp_path / f"cut.{ending}"
    cut.write_bytes(whole.read_bytes()[: round(0.5 * whole.stat().st_size)])
    facts = analysed(cut, n=3)["video"]
    assert facts["seconds_lacking"] == pytest.approx(4 - facts["duration"], abs=0.1)
    assert facts["seconds_lacking"] > 1


@pytest.mark.parametrize("audio", ["aac", "mp2"])
def test_damaged_sound_costs_no_frame(tmp_path, audio):
    path = damaged(clip(tmp_path / "a.ts", size=(96, 128), gop=1, audio=audio), length=20000)
    done = video.annotate(path, scorer(), tmp_path / "out.mp4", progress=False)
    assert done["scores"]["n"] > 5
    with av.open(done["csv"].replace(".csv", ".mp4")) as made:
        assert made.streams.audio


def test_files_without_frames_are_refused(tmp_path):
    text = tmp_path / "text.mp4"
    text.write_text("no video\n" * 200)
    with pytest.raises(ValueError, match="text.mp4 cannot be opened as a video .*copy it anew"):
        Video(text)
    with pytest.raises(FileNotFoundError, match="missing.mp4 is not there"):
        Video(tmp_path / "missing.mp4")
    Image.new("RGB", (8, 8)).save(tmp_path / "one.png")
    with pytest.raises(ValueError, match="one.png is no video .*`score` is for pictures"):
        Video(tmp_path / "one.png")

    whole = clip(tmp_path / "whole.mp4").read_bytes()
    (tmp_path / "cut.mp4").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="cut.mp4 cannot be opened as a video .*cut off"):
        Video(tmp_path / "cut.mp4")
    start, end = whole.find(b"mdat") + 4, whole.find(b"moov") - 4
    (tmp_path / "none.mp4").write_bytes(whole[:start] + bytes(end - start) + whole[end:])
    with pytest.raises(ValueError, match="none of its 20 video packets can be decoded"):
        Video(tmp_path / "none.mp4")


@pytest.mark.parametrize("cover", [False, True])
def test_sound_alone_is_refused(tmp_path, cover):
    path = tmp_path / "sound.mp4"
    with av.open(str(path), "w") as out:
        sound = out.add_stream("aac", rate=48000, layout="stereo")
        if cover:
            still = out.add_stream("png", rate=1)
            still.height, still.width, still.pix_fmt = 8, 8, "rgb24"
            still.disposition = av.stream.Disposition.attached_pic
            frame = av.VideoFrame.from_ndarray(np.zeros((8, 8, 3), np.uint8), format="rgb24")
            out.mux(still.encode(frame))
        write_sound(out, sound, seconds=0.2)
    told = "cover picture alone" if cover else "it holds audio"
    with pytest.raises(ValueError, match=f"no video stream.*{told}"):
        Video(path)


# Samples


@given(st.integers(1, 5000), st.integers(1, 300))
def test_a_spread_has_both_ends_and_even_steps(total, n):
    places = spread(total, n).tolist()
    assert len(places) == len(set(places)) == min(n, total)
    assert places == sorted(places)
    assert places[0] == 0
    assert n == 1 or places[-1] == total - 1
    steps = np.diff(places)
    assert len(steps) == 0 or steps.max() - steps.min() <= 1


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return clip(tmp_path_factory.mktemp("plain") / "plain.mp4")


@pytest.mark.parametrize("n", [1, 2, 7, 20, 99])
def test_uniform_frames(plain, n):
    taken = [frame.index for frame in Video(plain).frames("uniform", n=n)]
    assert taken == spread(20, n).tolist()


def test_frames_by_seconds_and_key_frames(plain):
    source = Video(plain)
    by_seconds = [frame.index for frame in source.frames("seconds", every=0.25)]
    assert by_seconds == [0, 5, 10, 15]
    key = list(source.frames("key"))
    every = {frame.index: frame.image for frame in source.frames()}
    assert [frame.index for frame in key] == [0, 8, 16]
    for frame in key:
        np.testing.assert_array_equal(frame.image, every[frame.index])


def test_few_frames_are_held(tmp_path):
    path = clip(tmp_path / "a.mp4", frames=24, size=(16, 16))
    alive, most = [], 0

    def judge(images, references):
        nonlocal most
        alive.extend(weakref.ref(image) for image in images)
        gc.collect()
        most = max(most, sum(image() is not None for image in alive))
        return brightness(images, references)

    analysed(path, scorer(judge), n=24, batch=4)
    assert len(alive) == 24
    assert most <= 5, "a batch, and perhaps the frame that was read last"


# Annotated videos


@pytest.mark.parametrize(
    ("size", "enlarged", "padded"),
    [
        ((384, 216), 1, (0, 0)),
        ((51, 33), 7, (1, 0)),
        ((24, 32), 15, (0, 0)),
        ((361, 64), 1, (0, 1)),
    ],
)
def test_any_size(tmp_path, size, enlarged, padded):
    path = clip(tmp_path / "a.mkv", frames=3, size=size, codec="ffv1", format="bgr0")
    done, frames, _ = annotated(path, tmp_path)
    assert done["enlarged"] == enlarged
    assert (done["padded"]["right"], done["padded"]["below"]) == padded
    assert frames[0].image.shape[:2] == (done["height"], done["width"])
    assert done["width"] == size[1] * enlarged + 320 + padded[0]
    top = (done["height"] - padded[1] - size[0] * enlarged) // 2
    for shown, source in zip(frames, Video(path).frames(), strict=True):
        left = shown.image[top : top + size[0] * enlarged, : size[1] * enlarged]
        assert psnr(left[::enlarged, ::enlarged], source.image) > 25, "corners lose colour"
        centre = left[enlarged // 2 :: enlarged, enlarged // 2 :: enlarged]
        assert psnr(centre, source.image) > 30


def test_the_csv_has_what_the_judge_said(plain, tmp_path):
    done, _, _ = annotated(plain, tmp_path)
    table = pd.read_csv(done["csv"])
    assert table.columns.tolist() == ["frame", "seconds", "score"]
    frames = list(Video(plain).frames())
    assert table.score.tolist() == brightness([frame.image for frame in frames], None).tolist()
    np.testing.assert_allclose(table.seconds, [frame.seconds for frame in frames])
    assert done["scores"]["mean"] == pytest.approx(table.score.mean())
    assert done["scores"]["n"] == 20


@pytest.mark.parametrize(
    ("audio", "ending", "how"),
    [
        ("aac", "mp4", "copied (aac)"),
        ("libmp3lame", "mkv", "copied (mp3)"),
        ("aac", "ts", "copied (aac)"),
        ("ac3", "mkv", "aac, encoded anew from ac3"),
    ],
)
def test_sound_is_kept(tmp_path, audio, ending, how):
    kinds = {"ts": "mpegts"}
    path = clip(tmp_path / f"a.{ending}", audio=audio, container=kinds.get(ending))
    done, _, out = annotated(path, tmp_path)
    assert done["sound"] == how
    sizes = []
    for file in (path, out):
        with av.open(str(file)) as container:
            packets = container.demux(container.streams.audio[0])
            sizes.append([packet.size for packet in packets if packet.size])
    if how.startswith("copied"):
        headers = 7 if ending == "ts" else 0  # of each AAC packet outside an MP4
        assert [size - headers for size in sizes[0]] == sizes[1]
    with av.open(str(out)) as container:
        samples = sum(frame.samples for frame in container.decode(audio=0))
    assert samples / 48000 == pytest.approx(1.0, abs=0.06)


def test_the_curve_grows(tmp_path):
    path = clip(tmp_path / "a.mp4", frames=40, size=(360, 64))
    _, frames, _ = annotated(path, tmp_path)

    def drawn(frame):
        distance = np.abs(frame.image[150:, 64:].astype(int) - CURVE).max(-1)
        return int((distance < 40).sum())

    lengths = [drawn(frame) for frame in frames]
    assert lengths[39] > lengths[20] + 50 > lengths[1] + 100


def test_the_panel_shows_the_score_and_its_place():
    panel = Panel(scorer().facts, [0.1, 0.9, None], seconds=1.5, height=360)
    bad, good, none = (panel.draw(n, n / 2, s) for n, s in enumerate([0.1, 0.9, None]))
    colours = [score_colour(score, 0, 1, higher_is_better=True) for score in (0.1, 0.9)]
    assert (bad == colours[0]).all(-1).sum() > 300
    assert (good == colours[1]).all(-1).sum() > 300
    for colour in colours:
        assert (none[40:100] == colour).all(-1).sum() == 0, "no number of the frame before"
    assert clock(7.25) == "0:07.25"
    assert clock(3727.996) == "1:02:08.00"


def test_lower_is_better_is_coloured_the_other_way_round(plain, tmp_path):
    low, high = (score_colour(score, 0, 1, higher_is_better=True) for score in (0, 1))
    assert score_colour(0, 0, 1, higher_is_better=False) == high
    assert score_colour(2, 0, 1, higher_is_better=False) == low, "beyond the range as at its end"
    assert low[0] > low[2] and high[0] < high[2], "orange and blue"
    _, frames, _ = annotated(plain, tmp_path, scorer(higher_is_better=False))
    panel = frames[0].image[40:100, -320:].astype(int)  # the number, of a dark frame
    assert (panel[..., 2] - panel[..., 0]).max() > 60
    _, frames, _ = annotated(plain, tmp_path)
    panel = frames[0].image[40:100, -320:].astype(int)
    assert (panel[..., 0] - panel[..., 2]).max() > 60


def test_colours_are_legible_and_run_one_way():
    def luminance(colour):
        linear = (np.array(colour) / 255) ** 2.2
        return linear @ (0.2126, 0.7152, 0.0722)

    scale = [score_colour(s, 0, 1, higher_is_better=True) for s in np.linspace(0, 1, 50)]
    contrast = [(luminance(c) + 0.05) / (luminance(BACKGROUND) + 0.05) for c in scale]
    assert min(contrast) > 4.5
    blueness = [c[2] - c[0] for c in scale]  # what people see who tell red and green apart badly
    assert (np.diff(blueness) > 0).all()


def test_ranges():
    assert score_range({"low": 0, "high": 100}, [40, 120]) == (0, 100, "scorer")
    assert score_range({"low": 0, "high": None}, [2, 3]) == (2, 3, "shown")
    assert score_range({"low": None, "high": None}, [4, 4]) == (2, 6, "shown")


def test_the_range_of_the_video_where_the_scorer_has_none(plain, tmp_path):
    done, _, _ = annotated(plain, tmp_path, scorer(low=None, high=None))
    scores = done["scores"]
    assert done["range"] == {"low": scores["min"], "high": scores["max"], "of": "shown"}


def test_frames_that_cannot_be_judged_are_gaps(plain, tmp_path):
    def judge(images, references):
        if any(image.mean() < 60 for image in images):
            raise ValueError("too dark")
        return brightness(images, references)

    done, frames, _ = annotated(plain, tmp_path, scorer(judge))
    table = pd.read_csv(done["csv"])
    dark = [frame.image.mean() < 60 for frame in Video(plain).frames()]
    assert table.score.isna().tolist() == dark
    assert done["not_judged"] == {"frames": sum(dark), "reason": "too dark"}
    assert len(frames) == 20
    assert done["scores"]["n"] == 20 - sum(dark)

    def no_number(images, references):
        return np.full(len(images), np.nan)

    with pytest.raises(ValueError, match="none of 20 frames can be judged .*score is nan"):
        analysed(plain, scorer(no_number))


def test_nothing_is_left_of_a_failure(plain, tmp_path, monkeypatch):
    out = tmp_path / "new" / "out.mp4"

    def fails(*args):
        raise RuntimeError("no memory")

    monkeypatch.setattr(Panel, "draw", fails)
    with pytest.raises(RuntimeError, match="no memory"):
        video.annotate(plain, scorer(), out, progress=False)
    assert not list(out.parent.iterdir())


def test_what_annotate_refuses(plain, tmp_path):
    with pytest.raises(ValueError, match="compares with a pristine image.*scorer of single"):
        video.annotate(plain, scorer(reference="pristine"), tmp_path / "a.mp4")
    with pytest.raises(ValueError, match="ends in .mp4"):
        video.annotate(plain, scorer(), tmp_path / "a.avi")
    with pytest.raises(ValueError, match="is the video itself"):
        video.annotate(plain, scorer(), plain)


# Analysis


def uneven(path):
    """12 frames in the first second, 3 in the second, 1 in the fourth."""
    times = [*range(0, 960, 80), 1000, 1300, 1600, 3100]
    return clip(path, frames=16, times=times, tick=Fraction(1, 1000))


def test_seconds_against_pandas(tmp_path):
    done = analysed(uneven(tmp_path / "a.mkv"), n=99)
    frames, seconds = pd.DataFrame(done["frames"]), pd.DataFrame(done["seconds"])
    assert seconds.second.tolist() == [0, 1, 3]
    assert seconds.frames.tolist() == [12, 3, 1]
    for row in done["seconds"]:
        scores = frames.score[(frames.seconds // 1) == row["second"]]
        assert row["mean"] == pytest.approx(scores.mean())
        assert (row["min"], row["max"]) == (scores.min(), scores.max())
        assert row["std"] == pytest.approx(scores.std(ddof=0))
    overall = done["overall"]
    assert overall["frames"]["mean"] == pytest.approx(frames.score.mean())
    assert overall["seconds"]["mean"] == pytest.approx(seconds["mean"].mean())
    assert (overall["frames"]["n"], overall["seconds"]["n"]) == (16, 3)
    assert abs(overall["frames"]["mean"] - overall["seconds"]["mean"]) > 0.05


def test_what_an_analysis_tells(plain):
    done = analysed(plain, n=5)
    assert done["video"] == {
        "path": str(plain),
        "codec": "h264",
        "width": 64,
        "height": 48,
        "rotation": 0,
        "fps": 20.0,
        "variable_frame_rate": False,
        "duration": 1.0,
        "frames": 20,
        "corrupt_packets": 0,
        "seconds_lacking": 0.0,
    }
    assert done["sampling"] == {"frames": "uniform", "n": 5, "taken": 5}
    assert done["scorer"]["units"] == "share of white"
    assert [row["frame"] for row in done["frames"]] == [0, 5, 10, 14, 19]
    assert analysed(plain, frames="seconds")["sampling"]["every"] == 1.0
    assert analysed(plain, frames="key")["sampling"] == {"frames": "key", "taken": 3}


@pytest.mark.parametrize(
    ("kwargs", "told"),
    [
        ({"frames": "unifrm"}, "did you mean 'uniform'"),
        ({"n": 0}, "n is 0: take 1 frame or more"),
        ({"every": 2.0}, "every goes with frames 'seconds'"),
        ({"frames": "seconds", "every": 0.0}, "it must be above 0"),
    ],
)
def test_choices_that_there_are_not(plain, kwargs, told):
    with pytest.raises(ValueError, match=told):
        analysed(plain, **kwargs)


@pytest.mark.parametrize("layout", ["frame", "second", "both"])
def test_the_figure(tmp_path, layout):
    done = analysed(uneven(tmp_path / "a $1$.mkv"), scorer(low=None, high=None), n=99)
    done["frames"][3]["score"] = None
    drawn, data = figures.video_scores(json.loads(json.dumps(done)), layout=layout)
    panels = {"both": ["frame", "second"]}.get(layout, [layout])
    assert data.panel.unique().tolist() == panels
    assert data.columns.tolist() == ["seconds", "score", "panel", "std"]
    assert [axes.get_xlabel() for axes in drawn.axes] == ["time (s)"] * len(panels)
    assert drawn.axes[0].get_ylabel() == "share of white\n(higher is better)"
    low, high = drawn.axes[0].get_ylim()
    assert low < (data.score - data["std"].fillna(0)).min()
    assert high > (data.score + data["std"].fillna(0)).max()
    for axes, panel in zip(drawn.axes, panels, strict=True):
        mean = done["overall"][f"{panel}s"]["mean"]
        assert any(np.allclose(line.get_ydata(), mean) for line in axes.lines)
        assert f"{done['overall'][f'{panel}s']['n']} {panel}s" in axes.get_title(loc="left")


def test_the_figure_covers_the_range_of_the_scorer(plain):
    done = analysed(plain, scorer(high=2.0, higher_is_better=False), n=5)
    drawn, _ = figures.video_scores(done)
    low, high = drawn.axes[0].get_ylim()
    assert low < 0 and 2 < high < 2.2
    assert "LOWER is better" in drawn.axes[0].get_ylabel()
    with pytest.raises(KeyError, match="layout is 'minute'"):
        figures.video_scores(done, layout="minute")


# Verbs


def test_names_of_what_is_made(tmp_path):
    for name in ("a.mp4", "b.mp4", "b.mov", "deep/a.webm", ".hidden/c.mp4", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    names = {
        "a": tmp_path / "a.mp4",
        "b.mov": tmp_path / "b.mov",
        "b.mp4": tmp_path / "b.mp4",
        "deep/a": tmp_path / "deep/a.webm",
    }
    assert video.list_videos([tmp_path]) == names
    assert video.list_videos([tmp_path / "b.mov"]) == {"b": tmp_path / "b.mov"}
    with pytest.raises(ValueError, match="have the same name"):
        video.list_videos([tmp_path / "a.mp4", tmp_path / "a.mp4"])
    with pytest.raises(FileNotFoundError, match="is not there"):
        video.list_videos([tmp_path / "c.mp4"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="holds no video"):
        video.list_videos([tmp_path / "empty"])


@pytest.fixture
def verb(monkeypatch):
    def open_fake(name, **options):
        assert name == "brightness"
        assert options == {"task": "det", "metric_type": "", "scale": "predicted"}
        return scorer()

    monkeypatch.setattr(scorers, "open_scorer", open_fake)

    def call(*words, code=0):
        words = [*map(str, words), "--model", "brightness", "--task", "det"]
        with plt.rc_context():
            done = CliRunner().invoke(video_commands.group, words)
        assert done.exit_code == code, done.output
        return done.output

    return call


def test_a_folder_with_a_broken_video(tmp_path, verb):
    folder, out = tmp_path / "videos", tmp_path / "out"
    folder.mkdir()
    for name in ("a.mp4", "z.mp4"):
        clip(folder / name, frames=6)
    (folder / "broken.mp4").write_text("no video")
    told = verb("analyse", folder, "--out", out, "--n", 3, code=1)
    made = sorted(path.name for path in out.iterdir())
    assert made == ["a-both.png", "a.json", "z-both.png", "z.json"]
    assert f"failed: {folder}/broken.mp4 cannot be opened" in told
    assert "1 of 3 videos failed" in told
    written = json.loads((out / "a.json").read_text())
    assert written["sampling"] == {"frames": "uniform", "n": 3, "taken": 3}
    with Image.open(out / "a-both.png") as image:
        assert image.width > 900

    told = verb("annotate", folder, "--out", out, code=1)
    assert {"a-annotated.mp4", "a-annotated.csv"} <= {path.name for path in out.iterdir()}
    assert "a-annotated.mp4: 6 frames" in told and "1 of 3 videos failed" in told


def test_layouts_and_choices_on_the_command_line(plain, tmp_path, verb):
    verb("analyse", plain, "--out", tmp_path, "--frames", "key", "--layout", "second")
    assert (tmp_path / "plain-second.png").is_file()
    result = CliRunner().invoke(
        video_commands.group,
        ["analyse", str(plain), "--out", "x", "--model", "m", "--layout", "minute"],
    )
    assert "there are frame, second, both" in str(result.exception)


def test_a_full_reference_measure_is_refused_once(plain, tmp_path, monkeypatch):
    monkeypatch.setattr(
        scorers, "open_scorer", lambda *args, **options: scorer(reference="pristine")
    )
    for verb in ("annotate", "analyse"):
        words = [verb, str(plain), "--out", str(tmp_path), "--model", "psnr"]
        result = CliRunner().invoke(video_commands.group, words)
        assert "compares with a pristine image" in str(result.exception)
        assert not result.output
