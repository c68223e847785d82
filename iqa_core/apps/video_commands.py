"""The verbs `video ...`."""

from pathlib import Path
from typing import Annotated

import typer

from iqa_core.apps.printing import MetricType, Scale, Task, verbs_below
from iqa_core.apps.scorers import SHIPPED

group = verbs_below("Score a video: beside every frame, or in numbers over its length.")

Paths = Annotated[list[Path], typer.Argument(help="Videos, and folders of videos.")]
Model = Annotated[str, typer.Option(help="A run, published weights; no full-reference measure.")]
Out = Annotated[Path, typer.Option(help="The folder to write into.")]


@group.command("annotate")
def annotate_videos(
    paths: Paths,
    out: Out,
    model: Model = SHIPPED,
    task: Task = "",
    metric_type: MetricType = "",
    scale: Scale = "predicted",
) -> None:
    """Write videos anew with the score and its curve beside every frame, and a CSV of the scores.

    Videos that cannot be read are listed, and the exit code is then 1.
    """
    from iqa_core.apps import video
    from iqa_core.apps.scorers import open_scorer

    videos = video.list_videos(paths)
    scorer = open_scorer(model, task=task, metric_type=metric_type, scale=scale)
    video.check_scorer(scorer)

    def annotated(name, path):
        target = out / f"{name}-annotated.mp4"
        done = video.annotate(path, scorer, target)
        print(
            f"{target}: {done['scores']['n']} frames, mean {done['scores']['mean']:.4g}, "
            f"{done['width']} x {done['height']}, sound: {done['sound']}{_lost(done)}"
        )

    _each(videos, annotated)


@group.command("analyse")
def analyse_videos(
    paths: Paths,
    out: Out,
    model: Model = SHIPPED,
    task: Task = "",
    metric_type: MetricType = "",
    scale: Scale = "predicted",
    frames: Annotated[
        str, typer.Option(help="uniform (evenly spread), seconds (see --every) or key (frames).")
    ] = "uniform",
    n: Annotated[int, typer.Option(help="How many frames, of uniform.")] = 50,
    every: Annotated[
        float | None,
        typer.Option(help="One frame every so many seconds, of seconds; 1 if not given."),
    ] = None,
    layout: Annotated[str, typer.Option(help="Of the picture: frame, second or both.")] = "both",
) -> None:
    """Score a sample of frames: a JSON of frames, seconds and overall figures, and a picture.

    Videos that cannot be read are listed, and the exit code is then 1.
    """
    from iqa_core.apps import video
    from iqa_core.apps.scorers import open_scorer
    from iqa_core.figures.video import LAYOUTS
    from iqa_core.files import write_json

    if layout not in LAYOUTS:
        raise ValueError(f"--layout is {layout!r}; there are {', '.join(LAYOUTS)}")
    video.check_sampling(frames, n, every)
    videos = video.list_videos(paths)
    scorer = open_scorer(model, task=task, metric_type=metric_type, scale=scale)
    video.check_scorer(scorer)

    def analysed(name, path):
        done = video.analyse(path, scorer, frames=frames, n=n, every=every)
        write_json(out / f"{name}.json", done)
        picture = out / f"{name}-{layout}.png"
        _draw(done, layout, picture)
        overall = done["overall"]
        print(
            f"{out / name}.json: {overall['frames']['n']} of {done['video']['frames']} frames, "
            f"mean {overall['frames']['mean']:.4g}; {overall['seconds']['n']} seconds, mean "
            f"{overall['seconds']['mean']:.4g}; {picture.name}{_lost(done)}"
        )

    _each(videos, analysed)


def _draw(analysis, layout, picture) -> None:
    import matplotlib.pyplot as plt

    from iqa_core import figures
    from iqa_core.files import replacing

    figures.style()
    figure, _ = figures.video_scores(analysis, layout=layout)
    with replacing(picture) as draft:
        figure.savefig(draft, format="png")
    plt.close(figure)


def _lost(done) -> str:
    """What of a video was not scored, in words."""
    words = ""
    if packets := done["video"]["corrupt_packets"]:
        words += f"; {packets} corrupt packets"
    if seconds := done["video"]["seconds_lacking"]:
        words += f"; it is cut off, {seconds:.1f} s of what its header tells are not there"
    if frames := done["not_judged"]["frames"]:
        words += f"; {frames} frames without a score ({done['not_judged']['reason']})"
    return words


def _each(videos, act) -> None:
    """One video after another; those that fail are listed at the end."""
    from av import FFmpegError

    failures = {}
    for name, path in videos.items():
        try:
            act(name, path)
        except (ValueError, OSError, FFmpegError, MemoryError, RuntimeError) as error:
            failures[path] = str(error)
    for path, error in failures.items():
        print(f"failed: {error}" if str(path) in error else f"failed: {path}: {error}")
    if failures:
        print(f"{len(failures)} of {len(videos)} videos failed")
        raise typer.Exit(1)
