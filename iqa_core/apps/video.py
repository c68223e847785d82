"""Scores of a video's frames: drawn beside every frame, or as numbers of a sample of them.

Frames are read, judged and let go a batch at a time, so that memory does not grow with the length
of a video; what is kept of a frame is its place, its time and its score.
"""

import itertools
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pandas as pd
from PIL import Image
from tqdm.auto import tqdm

from iqa_core.apps.scorers import Scorer
from iqa_core.apps.scorers import judged as judge_images
from iqa_core.apps.video_frames import Frame, Video
from iqa_core.apps.video_panel import BACKGROUND, HEIGHT, Panel
from iqa_core.apps.video_sound import Sound
from iqa_core.files import replacing, write_rows
from iqa_core.hints import nearest

ENDINGS = {".3gp", ".avi", ".flv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts"}
ENDINGS |= {".ogv", ".ts", ".webm", ".wmv"}
SAMPLES = ("uniform", "seconds", "key")
TINY = (HEIGHT, 640)  # height and width up to which small frames are enlarged, by a whole number


def list_videos(paths: Sequence[str | Path]) -> dict[str, Path]:
    """Videos by the name of what is made of them, in order.

    paths   videos, and folders, with all below them whose names end as videos' do; hidden ones not

    A name is that of the file without its ending, below the folder that was given; with its ending
    where two would have the same.

    FileNotFoundError for a path that is not there and a folder without videos; ValueError where two
    videos would still have the same name.
    """
    found = []
    for path in map(Path, paths):
        if not path.is_dir():
            if not path.exists():
                raise FileNotFoundError(f"{path} is not there: give videos, or folders of videos")
            found.append((path, Path(path.name)))
            continue
        below = [
            Path(folder, name).relative_to(path)
            for folder, _, names in os.walk(path)
            for name in names
            if Path(name).suffix.lower() in ENDINGS
        ]
        shown = [name for name in below if not any(part.startswith(".") for part in name.parts)]
        if not shown:
            known = ", ".join(sorted(ENDINGS))
            raise FileNotFoundError(f"folder {path} holds no video, no name that ends in {known}")
        found += [(path / name, name) for name in sorted(shown)]
    stems = [str(name.with_suffix("")) for _, name in found]
    videos = {}
    for (path, name), stem in zip(found, stems, strict=True):
        key = stem if stems.count(stem) == 1 else str(name)
        if key in videos:
            raise ValueError(f"{videos[key]} and {path} have the same name: give one of them")
        videos[key] = path
    return videos


def annotate(
    path: str | Path, scorer: Scorer, out: str | Path, *, batch: int = 8, progress: bool = True
) -> dict:
    """Writes a video as MP4 (H.264) with each frame's score and the curve so far beside it, and the
    scores as a CSV of the same name: frame (from 0), seconds, score.

    path        a video
    scorer      of single images
    out         the MP4 to write; whole or not at all
    batch       frames that are judged together

    Frames keep their times, also uneven ones, and the first sound track is kept: copied where
    browsers play it, else encoded anew as AAC. Frames smaller than the panel beside them are
    enlarged by a whole number, each pixel a square, or else stand in its middle. Where a side of
    the result were odd, which H.264 does not take, one more line of pixels is added.

    A frame that cannot be judged is shown without a score.

    Returns what was done: video (facts of the source), scorer (its facts), scores (mean, min, max,
    std and n of frames), not_judged (frames, and the reason of the first), range (the ends of the
    colours, and whose they are: the scorer's or this video's), enlarged (a factor), padded (pixels
    added right and below), width and height (of the result), sound (what became of it), csv.

    ValueError for a scorer that needs a reference, for a video or an output of another kind and
    where no frame can be judged; FileNotFoundError.
    """
    path, out = Path(path), Path(out)
    check_scorer(scorer)
    if out.suffix.lower() != ".mp4":
        raise ValueError(f"{out}: an annotated video is an MP4; give a name that ends in .mp4")
    video = Video(path)
    if out.exists() and out.samefile(path):
        raise ValueError(f"{out} is the video itself: write the annotated one elsewhere")
    # First all scores, then the drawing: only then are the number of frames and the range known.
    frames = tqdm(
        video.frames(),
        desc=f"score {path.name}",
        total=video.frames_total,
        mininterval=2,
        disable=not progress,
    )
    rows, not_judged = _scores(frames, scorer, batch, path)
    facts = video.facts()
    layout = _Layout(video, scorer.facts, [row["score"] for row in rows])
    with replacing(out) as draft:
        sound = _write(draft, video, rows, layout, progress=progress)
    csv = out.with_suffix(".csv")
    write_rows(csv, rows)
    panel = layout.panel
    return {
        "video": facts,
        "scorer": scorer.facts,
        "scores": statistics([row["score"] for row in rows]),
        "not_judged": not_judged,
        "range": {"low": panel.low, "high": panel.high, "of": panel.range_of},
        "enlarged": layout.enlarged,
        "padded": {"right": layout.width % 2, "below": layout.height % 2},
        "width": layout.canvas.shape[1],
        "height": layout.canvas.shape[0],
        "sound": sound,
        "csv": str(csv),
    }


def analyse(
    path: str | Path,
    scorer: Scorer,
    *,
    frames: str = "uniform",
    n: int = 50,
    every: float | None = None,
    batch: int = 8,
    progress: bool = True,
) -> dict:
    """Scores of a sample of a video's frames, and what they come to by second and overall.

    path        a video
    scorer      of single images
    frames      which: "uniform", `n` evenly spread ones with the first and the last; "seconds", the
                first of every `every` seconds (1 unless given); "key", the key frames
    batch       frames that are judged together

    Returns

    video           facts of the file: path, codec, width, height, rotation, fps, duration (s) ...
    scorer          facts of the scorer: name, units, low, high, higher_is_better ...
    sampling        frames, n or every, and taken: how many there were
    frames          frame (from 0), seconds, score; no score where it cannot be judged
    seconds         second (from 0), mean, min, max, std, frames: the sample's frames that fall in
                    it; std is the population's, 0 for one frame
    overall         mean, min, max, std and n, of "frames" and of "seconds", which is of the means
                    of seconds
    not_judged      frames, and the reason of the first

    ValueError for a scorer that needs a reference, a choice that there is not, a file that is no
    video, and where no frame can be judged; FileNotFoundError.
    """
    check_scorer(scorer)
    sampling = check_sampling(frames, n, every)
    video = Video(path)
    chosen = tqdm(
        video.frames(frames, n=n, every=every or 1.0),
        desc=f"score {video.path.name}",
        total=min(n, video.frames_total) if frames == "uniform" else None,
        mininterval=2,
        disable=not progress,
    )
    rows, not_judged = _scores(chosen, scorer, batch, video.path)
    seconds = by_second(rows)
    return {
        "video": video.facts(),
        "scorer": scorer.facts,
        "sampling": sampling | {"taken": len(rows)},
        "frames": rows,
        "seconds": seconds,
        "overall": {
            "frames": statistics([row["score"] for row in rows]),
            "seconds": statistics([row["mean"] for row in seconds]),
        },
        "not_judged": not_judged,
    }


def by_second(rows: Iterable[dict]) -> list[dict]:
    """Of frames (seconds, score) those of each second together: second, mean, min, max, std (of the
    population) and frames; seconds without a score are left out.
    """
    table = pd.DataFrame(rows, columns=["seconds", "score"]).dropna()
    groups = table.score.groupby(np.floor(table.seconds).astype(int))
    result = groups.agg(["mean", "min", "max"])
    result["std"] = groups.std(ddof=0)
    result["frames"] = groups.size()
    return result.rename_axis("second").reset_index().to_dict("records")


def statistics(scores: Iterable[float | None]) -> dict:
    """mean, min, max, std (of the population) and n of those that are numbers."""
    numbers = np.array([score for score in scores if score is not None])
    names = ("mean", "min", "max", "std")
    return {name: float(getattr(numbers, name)()) for name in names} | {"n": len(numbers)}


def check_scorer(scorer: Scorer) -> None:
    """ValueError for a scorer that compares with a reference."""
    if scorer.reference:
        raise ValueError(
            f"{scorer.name} compares with a {scorer.reference} image, which frames of a video do "
            "not have: take a scorer of single images, such as weak_scorer"
        )


def check_sampling(frames: str, n: int, every: float | None) -> dict:
    """A choice of frames, as `analyse` takes it, as plain values; ValueError where it is none."""
    if frames not in SAMPLES:
        hint = nearest(frames, SAMPLES)
        raise ValueError(f"frames is {frames!r}; there are {', '.join(SAMPLES)}{hint}")
    if n < 1:
        raise ValueError(f"n is {n}: take 1 frame or more")
    if every is not None and frames != "seconds":
        raise ValueError(f"every goes with frames 'seconds', not {frames!r}: leave one of them out")
    if every is not None and not every > 0:
        raise ValueError(f"every is {every} s: it must be above 0, such as 0.5")
    if frames == "uniform":
        return {"frames": frames, "n": n}
    return {"frames": frames, "every": every or 1.0} if frames == "seconds" else {"frames": frames}


def _scores(frames: Iterator[Frame], scorer, batch, path):
    """Rows of frame, seconds and score, and which have none; ValueError where all have none."""
    frames = iter(frames)
    rows, reasons = [], []
    while judged := _judged_rows(list(itertools.islice(frames, batch)), scorer):
        for row, reason in judged:
            rows.append(row)
            if reason:
                reasons.append(reason)
    if len(reasons) == len(rows):
        raise ValueError(
            f"{path}: none of {len(rows)} frames can be judged by {scorer.name}: {reasons[0]}"
        )
    return rows, {"frames": len(reasons), "reason": reasons[0] if reasons else ""}


def _judged_rows(frames: list[Frame], scorer):
    """(row, reason why it has no score) of each frame."""
    if not frames:
        return []
    judged = []
    scores = judge_images(scorer, [frame.image for frame in frames])
    for frame, (score, reason) in zip(frames, scores, strict=True):
        row = {"frame": frame.index, "seconds": round(frame.seconds, 6), "score": score}
        judged.append((row, reason))
    return judged


class _Layout:
    """Where the frame and the panel stand; `canvas` is the picture that is drawn on."""

    def __init__(self, video, facts, scores):
        size = video.height, video.width
        most = min(limit // side for limit, side in zip(TINY, size, strict=True))
        self.enlarged = max(1, most)
        self.size = size
        shown = [side * self.enlarged for side in size]
        scale = max(1.0, min(size) / 540)
        self.height = max(shown[0], 2 * round(HEIGHT * scale / 2))
        self.panel = Panel(facts, scores, seconds=video.seconds, height=self.height, scale=scale)
        self.width = shown[1] + self.panel.width
        even = (self.height + self.height % 2, self.width + self.width % 2)
        self.canvas = np.full((*even, 3), BACKGROUND, np.uint8)
        top = (self.height - shown[0]) // 2
        self._frame = self.canvas[top : top + shown[0], : shown[1]]
        self._beside = self.canvas[: self.height, shown[1] : self.width]

    def draw(self, number, frame, score):
        image = frame.image
        if image.shape[:2] != self.size:  # streams may change their size on the way
            image = np.asarray(Image.fromarray(image).resize(self.size[::-1]))
        if self.enlarged > 1:
            image = image.repeat(self.enlarged, 0).repeat(self.enlarged, 1)
        self._frame[:] = image
        self._beside[:] = self.panel.draw(number, frame.seconds, score)
        return self.canvas


def _write(draft, video, rows, layout, *, progress):
    """The second pass: every frame with its panel, and the sound; returns what became of that."""
    options = {"movflags": "faststart"}
    with av.open(str(draft), "w", format="mp4", options=options) as out:
        stream = _h264(out, video, layout.canvas)
        frames = tqdm(
            zip(rows, video.frames(), strict=True),
            desc=f"draw {video.path.name}",
            total=len(rows),
            mininterval=2,
            disable=not progress,
        )
        with closing(Sound(video.path, out, start=video.start)) as sound:
            for number, (row, frame) in enumerate(frames, 1):
                canvas = layout.draw(number, frame, row["score"])
                picture = av.VideoFrame.from_ndarray(canvas, format="rgb24")
                picture = picture.reformat(format="yuv420p", dst_colorspace="ITU709")
                picture.pts, picture.time_base = frame.ticks, video.time_base
                out.mux(stream.encode(picture))
                sound.write_until(frame.seconds)
            out.mux(stream.encode(None))
            sound.write_rest()
    return sound.how


def _h264(out, video, canvas):
    rate = Fraction(video.fps).limit_denominator(1001)
    stream = out.add_stream("libx264", rate=rate, options={"preset": "veryfast", "crf": "18"})
    stream.height, stream.width = canvas.shape[:2]
    stream.pix_fmt = "yuv420p"
    stream.codec_context.time_base = video.time_base
    # BT.709, limited range, said so that every player shows the same colours
    stream.codec_context.colorspace = 1
    stream.codec_context.color_primaries = 1
    stream.codec_context.color_trc = 1
    stream.codec_context.color_range = 1
    return stream
