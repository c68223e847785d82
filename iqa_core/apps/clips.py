"""Four short clips of one photograph, to see what a scorer makes of video: untouched, and with
brightness, bitrate and noise that get worse and better again.
"""

import io
from pathlib import Path

import av
import numpy as np
import pandas as pd
from PIL import Image

from iqa_core.files import replacing
from iqa_core.pixels import read_image

KINDS = ("untouched", "brightness", "bitrate", "noise")
WINDOW = 25 / 32  # of the photograph's sides, a view that moves over it: of 512 x 384, 400 x 300
LARGEST = 1024  # pixels of the photograph's longer side, to which larger ones are reduced
KEPT = 12  # the constant rate factor of x264 at which nobody sees a loss
STEPS = 4  # of the bitrate, on either side


def make_clips(
    photo: str | Path, folder: Path, *, frames: int = 60, fps: int = 12, seed: int = 0
) -> pd.DataFrame:
    """Writes <kind>.mp4 of `KINDS` into a folder: a view that goes round over the photograph.

    Returns what is done to each frame: columns frame (from 0), seconds and amount, which rises from
    0 to 1 in the middle and falls again. At 1 brightness is down to .3 of what it was, noise has a
    standard deviation of 40 of 255, and x264 a rate factor of 50, near its worst. x264 does not
    always make the same bytes of the same frames: scores differ in their third digit.

    ValueError for a photograph with less than 64 pixels a side.
    """
    picture = Image.fromarray(read_image(Path(photo)))
    if min(picture.size) < 64:
        raise ValueError(f"{photo} is {picture.size} pixels, no room for a view; take a larger one")
    picture.thumbnail((LARGEST, LARGEST))
    image = np.asarray(picture)
    size = [2 * int(WINDOW * side / 2) for side in image.shape[:2]]  # even, as H.264 wants it
    room = np.array(image.shape[:2]) - size
    amount = 1 - np.abs(np.linspace(-1.4, 1.4, frames)).clip(0, 1)
    turn = np.linspace(0, 2 * np.pi, frames, endpoint=False)
    places = np.stack([1 - np.cos(turn), 1 + np.sin(turn)], 1) / 2 * room
    pan = [
        image[top : top + size[0], left : left + size[1]]
        for top, left in places.round().astype(int)
    ]
    clips = {
        "untouched": pan,
        "brightness": [_bytes(frame * (1 - 0.7 * a)) for frame, a in zip(pan, amount, strict=True)],
        "bitrate": _compressed(pan, np.round(amount * STEPS) / STEPS),
        "noise": _noisy(pan, amount, np.random.default_rng(seed)),
    }
    for kind, pictures in clips.items():
        with replacing(folder / f"{kind}.mp4") as draft:
            draft.write_bytes(_encoded(pictures, fps=fps, crf=KEPT))
    numbers = np.arange(frames)
    return pd.DataFrame({"frame": numbers, "seconds": numbers / fps, "amount": amount})


def _bytes(values):
    return np.clip(np.round(values), 0, 255).astype(np.uint8)


def _noisy(pan, amount, generator):
    noise = (generator.normal(0, 40, frame.shape) for frame in pan)
    return [_bytes(frame + a * n) for frame, a, n in zip(pan, amount, noise, strict=True)]


def _compressed(pan, amount):
    """Each frame out of the whole clip coded at the rate factor of its amount."""
    decoded = {}
    for step in np.unique(amount):
        file = io.BytesIO(_encoded(pan, fps=12, crf=round(18 + 32 * step)))
        with av.open(file) as container:
            decoded[step] = [
                frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)
            ]
    return [decoded[step][number] for number, step in enumerate(amount)]


def _encoded(pictures, *, fps, crf) -> bytes:
    """An MP4 of uint8 RGB frames (h, w, 3)."""
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=fps, options={"crf": str(crf)})
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        for picture in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    return file.getvalue()
