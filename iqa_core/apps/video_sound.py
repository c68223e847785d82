"""A video's sound, carried over into an MP4."""

import math
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av

from iqa_core.apps.video_frames import open_container

COPIED = {"aac", "mp3", "opus", "flac"}  # an MP4 holds them, and browsers play them from it
RATE = 48000  # samples a second of what is encoded anew, as AAC


class Sound:
    """The first audio stream of `path`, to be written into an MP4 that is open for writing.

    start   seconds of the file's start on its own clock

    `how` says what is done: "none", "copied (aac)", "aac, encoded anew from ac3".
    """

    def __init__(self, path: Path, out: av.container.OutputContainer, *, start: Fraction):
        self._out, self._start = out, start
        self._container = open_container(path)
        self._steps = iter(())
        self._time = -math.inf  # seconds, up to which all is written
        streams = [s for s in self._container.streams.audio if s.codec_context is not None]
        self.how = "none"
        if not streams:
            return
        codec = streams[0].codec_context.codec.canonical_name
        if codec in COPIED:
            self.how = f"copied ({codec})"
            self._steps = self._copy(streams[0], out.add_stream_from_template(streams[0]))
        else:
            self.how = f"aac, encoded anew from {codec}"
            self._steps = self._encode(streams[0], out.add_stream("aac", rate=RATE))

    def write_until(self, seconds: float) -> None:
        """Writes what sounds up to that time."""
        while self._time <= seconds:
            self._time = next(self._steps, math.inf)

    def write_rest(self) -> None:
        """Writes what is left."""
        for _ in self._steps:
            pass

    def close(self) -> None:
        self._container.close()

    def _packets(self, source):
        """Packets of the sound, up to where the file cannot be read any further."""
        packets = self._container.demux(source)
        while True:
            try:
                packet = next(packets, None)
            except av.FFmpegError:
                self._say_damaged()
                return
            if packet is None:
                return
            yield packet

    def _say_damaged(self):
        if "damaged" not in self.how:
            self.how += ", with gaps where it is damaged"

    def _copy(self, source, target) -> Iterator[float]:
        start = round(self._start / source.time_base)
        before = -math.inf
        for packet in self._packets(source):
            if packet.size == 0 or packet.dts is None or packet.dts <= before:
                continue  # the last one, which is empty, or out of order, which no MP4 takes
            before = packet.dts
            packet.dts -= start
            packet.pts = packet.dts if packet.pts is None else packet.pts - start
            packet.stream = target
            time = float(packet.dts * source.time_base)
            try:
                self._out.mux(packet)
            except av.FFmpegError:  # a gap in the sound
                self._say_damaged()
            yield time

    def _encode(self, source, target) -> Iterator[float]:
        layout = "mono" if source.codec_context.layout.nb_channels == 1 else "stereo"
        target.layout = layout
        format = target.codec_context.format
        resampler = av.AudioResampler(format, layout, RATE, frame_size=1024)  # AAC takes no other
        for packet in self._packets(source):
            try:
                frames = packet.decode()
            except av.FFmpegError:  # a gap in the sound
                self._say_damaged()
                continue
            for frame in frames:
                if frame.pts is not None:
                    frame.pts -= round(self._start / frame.time_base)
                for part in resampler.resample(frame):
                    self._out.mux(target.encode(part))
                yield frame.time or 0.0
        for part in resampler.resample(None):
            self._out.mux(target.encode(part))
        self._out.mux(target.encode(None))
