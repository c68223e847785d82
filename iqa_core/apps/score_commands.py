"""The verbs `score` and `scale`."""

from pathlib import Path
from typing import Annotated

import typer

from iqa_core.apps.printing import MetricType, Scale, Task

SHOWN = 20  # scores that are printed; of more, the summary alone


def score_command(
    paths: Annotated[
        list[str],
        typer.Argument(help="Pictures, folders, patterns, or CSV lists with a column image."),
    ],
    model: Annotated[
        list[str] | None,
        typer.Option(help="A run, published weights, a measure (psnr) or weak_scorer; repeatable."),
    ] = None,
    reference: Annotated[
        str | None,
        typer.Option(help="What is compared with: a picture, or a folder with the same names."),
    ] = None,
    task: Task = "",
    metric_type: MetricType = "",
    scale: Scale = "predicted",
    crops: Annotated[int | None, typer.Option(help="In place of the model's own number.")] = None,
    precision: Annotated[
        str, typer.Option(help="fp32, or bf16: faster, off by a little (docs/scoring.md).")
    ] = "fp32",
    save_results: Annotated[
        Path | None,
        typer.Option(help="A .csv, .json or .parquet; started again, it goes on where it stopped."),
    ] = None,
    visualize: Annotated[
        Path | None,
        typer.Option(help="A folder for a contact sheet, a histogram and pictures with scores."),
    ] = None,
) -> None:
    """Score pictures; failures are listed, and the exit code is then 1."""
    from iqa_core.apps import scoring
    from iqa_core.apps.scorers import SHIPPED

    try:
        scores = scoring.score(
            paths,
            model or [SHIPPED],
            reference=reference,
            task=task,
            metric_type=metric_type,
            scale=scale,
            crops=crops,
            precision=precision,
            save_results=save_results,
        )
    except KeyboardInterrupt:
        kept = "what was scored is kept: the same command goes on from there"
        lost = "nothing is kept; with --save-results it would be"
        print(f"stopped; {kept if save_results else lost}")
        raise typer.Exit(130) from None
    _print_scores(scores)
    if save_results:
        print(f"{save_results}: {len(scores)} rows; {save_results.name}.about.json tells what of")
    failures = scores.attrs["failures"]
    if failures:
        _print_failures(failures, save_results)
    if visualize:
        from iqa_core.apps.score_pictures import draw_scores

        for path in draw_scores(scores, visualize):
            print(path)
    if failures:
        raise typer.Exit(1)


def _print_scores(scores) -> None:
    from rich.markup import escape

    from iqa_core.apps.printing import print_table, table_of
    from iqa_core.apps.scoring import meaning, summary

    names = [facts["name"] for facts in scores.attrs["scorers"]]
    if 0 < len(scores) <= SHOWN:
        table = table_of("image", *names, right=tuple(names))
        for row in scores.to_dict("records"):
            values = ["" if row[name] != row[name] else f"{row[name]:.4g}" for name in names]
            table.add_row(escape(row["image"]), *values)
        print_table(table)
    for row in summary(scores).to_dict("records"):
        if row["n"] > 1:
            print(
                f"{row['scorer']}: n {row['n']}, mean {row['mean']:.4g}, std {row['std']:.3g}, "
                f"{row['min']:.4g} to {row['max']:.4g}; best {row['best']}, worst {row['worst']}"
            )
    print(*meaning(scores), sep="\n")


def _print_failures(failures, save_results) -> None:
    for failure in failures[:SHOWN]:
        by = f" ({failure['scorer']})" if failure["scorer"] else ""
        print(f"not scored{by}: {failure['image']}: {failure['reason']}")
    if len(failures) > SHOWN:
        print(f"and {len(failures) - SHOWN} more")
    where = f", listed in {save_results}.failures.csv" if save_results else ""
    print(f"{len(failures)} failure{'' if len(failures) == 1 else 's'}{where}")


def scale_command(
    paths: Annotated[
        list[str],
        typer.Argument(help="As `score` takes them; also addresses, as s3://bucket/folder."),
    ],
    out: Annotated[Path, typer.Option(help="The folder of Parquet shards and their manifest.")],
    model: Annotated[
        list[str] | None, typer.Option(help="As `score` takes it; repeatable.")
    ] = None,
    reference: Annotated[str | None, typer.Option(help="As `score` takes it.")] = None,
    workers: Annotated[
        int, typer.Option(help="Processes that score, each on a GPU where there is one.")
    ] = 1,
    per_shard: Annotated[int, typer.Option(help="Pictures a shard.")] = 10_000,
    address: Annotated[
        str | None, typer.Option(help="Of a Ray cluster; auto: the one that runs here.")
    ] = None,
    precision: Annotated[str, typer.Option(help="fp32 or bf16.")] = "fp32",
) -> None:
    """Score pictures beyond one machine, with Ray; a second start skips shards that are there."""
    from iqa_core.apps.scale import scale
    from iqa_core.apps.scorers import SHIPPED

    shards = scale(
        paths,
        out,
        model or [SHIPPED],
        reference=reference,
        workers=workers,
        per_shard=per_shard,
        address=address,
        precision=precision,
    )
    failures = int(shards.failures.sum())
    print(f"{out}: {len(shards)} shards, {shards.images.sum()} pictures, {failures} failures")
    if failures:
        print("the column failure of the shards says why")
        raise typer.Exit(1)
