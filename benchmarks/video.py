"""What does a frame of an annotated video cost, and does it cost more in a longer one?

python benchmarks/video.py: about three minutes.

drawing   CPU time of the panel beside one frame, against a matplotlib figure of the same size with
          the curve so far, made anew for every frame; a video of 1,000 frames, of which matplotlib
          draws every tenth
length    CPU time of a frame from decoding to encoding, the first 300 against the last 300 of an
          annotated clip of 3,000 frames, which show the same
memory    the most that a process of its own held (VmHWM) while it annotated 300 and 3,000 frames

Clips: 480 x 270, 30 frames a second, panned over the demo's photographs, the same every 300 frames.
The scorer is the mean of all pixels.
"""

import subprocess
import sys
import tempfile
import time
from fractions import Fraction
from pathlib import Path

import av
import matplotlib
import matplotlib.pyplot as plt
import numpy as np
from PIL import Image

from iqa_core.apps import video
from iqa_core.apps.scorers import Scorer
from iqa_core.apps.video_panel import HEIGHT, WIDTH, Panel
from iqa_core.files import project_root

CYCLE, SIZE = 300, (270, 480)
FACTS = {
    "name": "brightness",
    "what": "the mean of all pixels",
    "units": "share of white",
    "low": 0.0,
    "high": 1.0,
    "higher_is_better": True,
}


def brightness(images, references):
    return np.array([image.mean() / 255 for image in images])


def make_clip(path: Path, frames: int) -> Path:
    """Views that wander over three photographs, 100 frames each, and grow dark and bright again."""
    height, width = SIZE
    photographs = []
    for file in sorted((project_root() / "data/demo").glob("*.png"))[:3]:
        with Image.open(file) as image:
            photographs.append(np.asarray(image.convert("RGB").resize((640, 360)), np.float32))
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=30, options={"preset": "veryfast", "crf": "20"})
        stream.height, stream.width, stream.pix_fmt = height, width, "yuv420p"
        for number in range(frames):
            place = number % CYCLE
            left, top = (place % 100) * 160 // 100, (place % 100) * 90 // 100
            view = photographs[place // 100][top : top + height, left : left + width]
            light = 0.6 + 0.4 * np.cos(2 * np.pi * place / CYCLE)
            frame = av.VideoFrame.from_ndarray((view * light).astype(np.uint8), format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 30)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path


def redrawn(scores: np.ndarray) -> np.ndarray:
    """The chart of the scores so far, as a figure that is made anew."""
    figure, axes = plt.subplots(figsize=(WIDTH / 100, HEIGHT / 100), dpi=100)
    axes.plot(np.arange(len(scores)), scores)
    axes.set(xlabel="frame", ylabel="score", ylim=(0, 1), title=f"{scores[-1]:.3f}")
    figure.canvas.draw()
    pixels = np.asarray(figure.canvas.buffer_rgba())[..., :3].copy()
    plt.close(figure)
    return pixels


def drawing() -> None:
    scores = 0.5 + 0.3 * np.sin(np.arange(1000) / 20)
    start = time.process_time()
    panel = Panel(FACTS, scores.tolist(), seconds=40, height=HEIGHT)
    for number, score in enumerate(scores):
        ours = panel.draw(number + 1, number / 25, score)
    each = (time.process_time() - start) / 1000

    redrawn(scores[:1])  # imports and fonts are not counted
    start = time.process_time()
    for number in range(9, 1000, 10):
        theirs = redrawn(scores[: number + 1])
    theirs_each = (time.process_time() - start) / 100
    assert ours.shape == theirs.shape
    print(
        f"drawing: {each * 1e3:.2f} ms a frame, redrawn {theirs_each * 1e3:.1f} ms: "
        f"{theirs_each / each:.1f} times"
    )


def length(path: Path, folder: Path) -> None:
    moments, draw = [], Panel.draw

    def noted(self, *args):
        moments.append(time.process_time())
        return draw(self, *args)

    Panel.draw = noted
    start = time.perf_counter()
    scorer = Scorer("brightness", brightness, "", FACTS)
    video.annotate(path, scorer, folder / "out.mp4", progress=False)
    seconds = time.perf_counter() - start
    Panel.draw = draw
    # the first 100 fill the encoder's queue, which costs less
    each = np.diff(moments)[100:]
    first, last = each[:CYCLE].mean(), each[-CYCLE:].mean()
    print(
        f"length: {first * 1e3:.2f} ms a frame at the start, {last * 1e3:.2f} ms at the end: "
        f"{last / first:.2f} times; {len(moments)} frames in {seconds:.0f} s"
    )


def memory(path: Path, folder: Path) -> float:
    """MB that a process of its own held at most while it annotated a clip."""
    words = [sys.executable, __file__, str(path), str(folder / "child.mp4")]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    return float(done.stdout)


def child(path: Path, out: Path) -> None:
    video.annotate(path, Scorer("brightness", brightness, "", FACTS), out, progress=False)
    status = Path("/proc/self/status").read_text()
    print(int(status.partition("VmHWM:")[2].split()[0]) / 1e3)


def main() -> None:
    matplotlib.use("agg")
    drawing()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        short = make_clip(folder / "short.mp4", CYCLE)
        long = make_clip(folder / "long.mp4", 10 * CYCLE)
        length(long, folder)
        small, large = memory(short, folder), memory(long, folder)
    print(f"memory: {small:.0f} MB, {large:.0f} MB for ten times the frames: {large / small:.2f}")


if __name__ == "__main__":
    if len(sys.argv) == 3:
        child(*map(Path, sys.argv[1:]))
    else:
        main()
