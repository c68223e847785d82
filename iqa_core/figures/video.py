"""How the scores of a video's frames run over time."""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from .registry import figure

LAYOUTS = ("frame", "second", "both")
NAME = 60  # letters of a video's name, at most


@figure
def video_scores(analysis: dict, *, layout: str = "both"):
    """Scores of a video over time: of the frames that were sampled, and averaged within each second
    (drawn in its middle, band: one standard deviation of its frames to either side). Dashed: the
    mean of what is drawn, which differs between the two where seconds hold unequal numbers of
    frames.

    analysis    what `apps.video.analyse` returned, or its JSON file read again
    layout      "frame", "second" or "both"

    The vertical axis covers the range of the scorer, and more where a score or a band lies outside;
    of a scorer without a range, what is drawn. The table has columns panel (frame or second),
    seconds, score and std (of seconds). KeyError for another layout.
    """
    if layout not in LAYOUTS:
        raise KeyError(f"layout is {layout!r}; there are {', '.join(LAYOUTS)}")
    panels = ["frame", "second"] if layout == "both" else [layout]
    frames, seconds = _frames(analysis), _seconds(analysis)
    data = pd.concat([part for part in (frames, seconds) if part.panel.iloc[0] in panels])
    width = 7.6 if layout == "both" else 6.4
    fig, grid = plt.subplots(1, len(panels), figsize=(width, 3.0), sharey=True, squeeze=False)
    for axes, panel in zip(grid.flat, panels, strict=True):
        if panel == "frame":
            _draw_frames(axes, frames)
        else:
            _draw_seconds(axes, seconds)
        mean = analysis["overall"][f"{panel}s"]["mean"]
        axes.axhline(mean, color="black", ls="--", lw=1)
        end = max(analysis["video"]["duration"], data.seconds.max())
        axes.set(xlabel="time (s)", xlim=_padded(0, end))
        axes.set_title(_statement(analysis, panel), loc="left", fontsize=8)
    scorer = analysis["scorer"]
    direction = "higher is better" if scorer["higher_is_better"] else "LOWER is better"
    units = _literal(scorer["units"] or "score")
    grid[0, 0].set(ylabel=f"{units}\n({direction})", ylim=_limits(scorer, data))
    fig.suptitle(_title(analysis), fontsize=9)
    return fig, data


def _frames(analysis):
    rows = pd.DataFrame(analysis["frames"], columns=["seconds", "score"])
    return rows.astype(float).assign(panel="frame", std=np.nan)


def _seconds(analysis):
    rows = pd.DataFrame(analysis["seconds"])
    middle = rows.second + 0.5
    return pd.DataFrame(
        {"seconds": middle, "score": rows["mean"], "panel": "second", "std": rows["std"]}
    )


def _draw_frames(axes, frames):
    marker = "." if len(frames) <= 200 else ""
    axes.plot(frames.seconds, frames.score, marker=marker, ms=4, lw=1.2, color="C0")


def _draw_seconds(axes, seconds):
    low, high = seconds.score - seconds["std"], seconds.score + seconds["std"]
    axes.fill_between(seconds.seconds, low, high, color="C1", alpha=0.2, lw=0)
    marker = "s" if len(seconds) <= 200 else ""
    axes.plot(seconds.seconds, seconds.score, marker=marker, ms=3.5, lw=1.2, color="C1")


def _statement(analysis, panel):
    """What a panel shows, in numbers."""
    overall = analysis["overall"][f"{panel}s"]
    what = "frames" if panel == "frame" else "seconds (band: ± 1 std within)"
    return (
        f"{overall['n']} {what}\n"
        f"mean {overall['mean']:.3g} (dashed), std {overall['std']:.3g}, "
        f"{overall['min']:.3g} to {overall['max']:.3g}"
    )


def _title(analysis):
    video, sampling = analysis["video"], analysis["sampling"]
    how = {
        "uniform": "evenly spread",
        "seconds": f"one every {sampling.get('every')} s",
        "key": "key frames",
    }[sampling["frames"]]
    name = _shortened(Path(video["path"]).name)
    scorer = _shortened(analysis["scorer"]["name"])
    sample = f"{sampling['taken']} of {video['frames']} frames, {how}"
    return _literal(f"{name}\n{sample}, by {scorer}")


def _shortened(text):
    half = NAME // 2
    return text if len(text) <= NAME else f"{text[: half - 1]}…{text[-half:]}"


def _literal(text):
    """Text of which nothing is read as mathematics."""
    return text.replace("$", r"\$")


def _limits(scorer, data):
    low = (data.score - data["std"].fillna(0)).min()
    high = (data.score + data["std"].fillna(0)).max()
    if scorer["low"] is not None:
        low = min(low, scorer["low"])
    if scorer["high"] is not None:
        high = max(high, scorer["high"])
    return _padded(low, high)


def _padded(low, high):
    margin = 0.04 * (high - low) or 0.04 * abs(high) or 0.04
    return low - margin, high + margin
