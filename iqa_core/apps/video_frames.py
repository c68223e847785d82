"""A video's frames: upright, one after another, each with the time at which a player shows it.

What is done about rotation, alpha, odd time stamps and damaged packets is decided here alone.
"""

from array import array
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np

CHOICES = ("all", "uniform", "seconds", "key")
USUAL_RATE = 25  # frames a second, where a raw stream does not tell
NO_VIDEOS = ("_pipe", "image2", "tty")  # how FFmpeg calls pictures and text that it could show


class Frame(NamedTuple):
    index: int  # place in the file, from 0; frames that are lost keep their place
    seconds: float  # since the start of the file
    ticks: int  # the same, in units of the video's time_base
    image: np.ndarray  # (h, w, 3) uint8 RGB, upright, on white where it is transparent


class Video:
    """The first video stream of a file; a cover picture is none.

    Opening it reads all packets once, without decoding (8 bytes are kept of each), then decodes the
    first frame.

    path, codec         the file, and FFmpeg's name of the codec: h264
    width, height       of frames as they are shown, pixels as stored
    rotation            degrees clockwise, by which stored frames are turned to be upright
    fps, seconds        frames a second on average; time from the file's start to the last frame's
                        end
    frames_total        packets with a frame
    variable            whether frames follow each other at uneven times
    lacks               seconds that its header tells and that are not there: it is cut off
    corrupt_packets     of the latest reading: damaged, or not decodable and left out
    time_base, start    seconds of a tick (Fraction); seconds of the file's start on its own clock

    FileNotFoundError, ValueError for a file without a video stream or a frame that can be decoded;
    both say what to do.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self.corrupt_packets = 0
        with open_container(self.path) as container:
            stream = _video_stream(container, self.path)
            self.codec = stream.codec_context.codec.canonical_name
            self.time_base = stream.time_base
            self._read_times(container, stream)
        first = next(self._decoded(), None)
        if first is None:
            raise ValueError(
                f"{self.path}: none of its {self.frames_total} video packets can be decoded "
                f"({self.codec}): it is damaged or cut off; copy it anew, or convert it to H.264"
            )
        self.rotation = -round(first.picture.rotation) % 360
        self._turn = _turn(first.picture)
        self.height, self.width = _upright_rgb(first.picture, self._turn).shape[:2]

    def _read_times(self, container, stream):
        """When frames are shown, in order, from the packets alone."""
        rate = stream.guessed_rate or stream.average_rate or Fraction(USUAL_RATE)
        step = max(1, round(1 / rate / self.time_base))
        # AVI knows the order of decoding only, and raw streams know no times: there frames are
        # shown in their order, at the times of the packets.
        self._counted = container.format.name == "avi"
        times, keys, end = array("q"), array("q"), 0
        for packet in _packets(container, stream):
            if packet.size == 0 or packet.is_discard:
                continue
            time = packet.dts if self._counted else packet.pts
            if time is None:
                self._counted = True
                time = times[-1] + step if times else 0
            times.append(time)
            if packet.is_keyframe:
                keys.append(time)
            end = max(end, time + (packet.duration or step))
        self._times, self._keys = np.sort(times), np.sort(keys)
        self.frames_total = len(times)
        if not times:
            raise ValueError(f"{self.path}: its video stream is empty; record or convert it anew")
        first = int(self._times[0])
        self.start = Fraction(container.start_time or 0, 10**6)  # of all streams, so of a player
        if container.start_time is None:
            self.start = first * self.time_base
        self.seconds = float(end * self.time_base - self.start)
        self.fps = float(len(times) / ((end - first) * self.time_base))
        told = Fraction(container.duration or 0, 10**6)
        self.lacks = max(0.0, float(told) - self.seconds)
        if self.lacks < max(1.0, 0.05 * self.seconds):  # what headers round, or sound is longer
            self.lacks = 0.0
        steps = np.diff(self._times)
        usual = np.median(steps) if len(steps) else step
        self.variable = bool((abs(steps - usual) > max(2, 0.05 * usual)).any())

    def frames(self, choice: str = "all", *, n: int = 50, every: float = 1.0) -> Iterator[Frame]:
        """Frames in the order in which they are shown; no more than one is held.

        choice  "all"; "uniform": `n` of them, evenly spread, with the first and the last (all,
                where there are fewer); "seconds": the first of every `every` seconds; "key": key
                frames, without decoding the others

        Of a damaged video the next frame stands in for a chosen one that is lost. ValueError for
        another choice.
        """
        if choice not in CHOICES:
            raise ValueError(f"choice is {choice!r}; there are {', '.join(CHOICES)}")
        decoded = self._decoded(key_frames=choice == "key")
        if choice == "uniform":
            decoded = _reaching(decoded, spread(self.frames_total, n))
        elif choice == "seconds":
            decoded = _one_in(decoded, every)
        for frame in decoded:
            image = _upright_rgb(frame.picture, self._turn)
            yield Frame(frame.index, frame.seconds, frame.ticks, image)

    def _decoded(self, *, key_frames=False):
        self.corrupt_packets = 0
        times = self._keys if key_frames else self._times
        count, before = 0, None
        start = round(self.start / self.time_base)
        with open_container(self.path) as container:
            stream = _video_stream(container, self.path)
            if key_frames:
                stream.codec_context.skip_frame = "NONKEY"
            for packet in _packets(container, stream):
                for picture in self._pictures(packet):
                    time = picture.pts
                    if self._counted or time is None:
                        time = int(times[min(count, len(times) - 1)])
                    if before is not None and time <= before:  # MP4 wants times that grow
                        time = before + 1
                    index = int(np.searchsorted(self._times, time))
                    ticks = time - start
                    yield _Decoded(index, float(ticks * self.time_base), ticks, picture)
                    before = time
                    count += 1

    def _pictures(self, packet):
        damaged = packet.is_corrupt
        try:
            pictures = packet.decode()
        except av.FFmpegError:
            pictures = []
            damaged = True
        self.corrupt_packets += damaged or any(picture.is_corrupt for picture in pictures)
        return pictures

    def facts(self) -> dict:
        """What is known of it, as plain values."""
        return {
            "path": str(self.path),
            "codec": self.codec,
            "width": self.width,
            "height": self.height,
            "rotation": self.rotation,
            "fps": self.fps,
            "variable_frame_rate": self.variable,
            "duration": self.seconds,
            "frames": self.frames_total,
            "corrupt_packets": self.corrupt_packets,
            "seconds_lacking": self.lacks,
        }


class _Decoded(NamedTuple):
    index: int
    seconds: float
    ticks: int
    picture: av.VideoFrame


def open_container(path: Path):
    """A file to read packets of; FileNotFoundError, or ValueError where it is no video."""
    if not path.is_file():
        raise FileNotFoundError(f"{path} is not there, or is no file: give a video")
    try:
        container = av.open(str(path.absolute()), metadata_errors="replace")
    except av.FFmpegError as error:
        raise ValueError(
            f"{path} cannot be opened as a video ({error.strerror}): it is of another kind, or cut "
            "off (an MP4 has its table of contents at the end); play it to see, or copy it anew"
        ) from error
    if container.format.name.endswith(NO_VIDEOS):
        container.close()
        raise ValueError(f"{path} is no video but {container.format.name}: `score` is for pictures")
    return container


def _video_stream(container, path):
    for stream in container.streams.video:
        if av.stream.Disposition.attached_pic in stream.disposition:
            continue
        if stream.codec_context is None:
            raise ValueError(f"{path}: its video codec is not known to FFmpeg; convert it to H.264")
        return stream
    others = ", ".join(sorted({stream.type for stream in container.streams})) or "nothing"
    cover = " (a cover picture alone)" if container.streams.video else ""
    raise ValueError(
        f"{path} has no video stream{cover}: it holds {others}; give a file with moving pictures"
    )


def _packets(container, stream):
    """Packets of a stream, up to where the file cannot be read any further."""
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets, None)
        except av.FFmpegError:
            return
        if packet is None:
            return
        yield packet


def spread(total: int, n: int) -> np.ndarray:
    """`n` places of `total` (all, where they are fewer), evenly spread, the first and the last
    among them; of one place the first.
    """
    return np.linspace(0, total - 1, min(n, total)).round().astype(int)


def _reaching(decoded, wanted: Sequence[int]):
    """The frames that reach the wanted places, and the last one in place of those that are lost."""
    reached, last = 0, None
    for frame in decoded:
        if reached == len(wanted):
            return
        last = frame
        if frame.index >= wanted[reached]:
            reached = np.searchsorted(wanted, frame.index, side="right")
            yield frame
            last = None
    if last is not None:
        yield last


def _one_in(decoded, every):
    """The first frame of every so many seconds, counted from the first frame."""
    first, latest = None, -1
    for frame in decoded:
        first = frame.seconds if first is None else first
        turn = int((frame.seconds - first) / every + 1e-6)
        if turn > latest:
            latest = turn
            yield frame


class _Turn(NamedTuple):
    transposed: bool  # before the mirrorings
    upside_down: bool
    mirrored: bool


def _turn(picture) -> _Turn:
    """What makes frames upright; asked of one frame alone, for PyAV's side data stay in memory."""
    matrix = picture.side_data.get("DISPLAYMATRIX")
    if matrix is None:
        return _Turn(False, False, False)
    # x' = a x + c y, y' = b x + d y: quarter turns and mirrorings
    a, b, _, c, d = np.frombuffer(bytes(matrix), np.int32)[:5].tolist()
    if abs(b) > abs(a):
        return _Turn(True, b < 0, c < 0)
    return _Turn(False, d < 0, a < 0)


def _upright_rgb(picture, turn: _Turn) -> np.ndarray:
    if any(component.is_alpha for component in picture.format.components):
        pixels = picture.to_ndarray(format="rgba").astype(np.uint16)
        alpha = pixels[..., 3:]
        on_white = pixels[..., :3] * alpha + 255 * (255 - alpha)
        image = ((on_white + 127) // 255).astype(np.uint8)
    else:
        image = picture.to_ndarray(format="rgb24")
    if turn.transposed:
        image = image.swapaxes(0, 1)
    image = image[:: -1 if turn.upside_down else 1, :: -1 if turn.mirrored else 1]
    return np.ascontiguousarray(image)
