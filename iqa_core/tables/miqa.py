"""The tables of the MIQA paper, as reported, beside what was measured here (Wang, Zhang, Lin 2025,
arXiv 2508.19850; numbers from the README of github.com/SYSU-Video/MIQA).

Reported are the images on which the best of about ten validations was chosen; RMSE and PLCC are
apparently after a fit. Then RMSE = sigma sqrt(1 - PLCC^2), with one sigma, the labels' standard
deviation, for all rows of a column: a test that every such table must pass.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from ..metrics import correlations

FILE = Path(__file__).with_name("miqa_reported.csv")
CELL = ["task", "label"]
STATISTICS = ["srcc", "plcc5", "krcc", "rmse"]
MEASURES = ("PSNR", "SSIM", "VSI", "LPIPS", "DISTS")
BACKBONES = {  # of the baselines: the paper's names
    "resnet18": "ResNet-18",
    "resnet50": "ResNet-50",
    "efficientnet_b1": "EfficientNet-b1",
    "efficientnet_b5": "EfficientNet-b5",
    "vit_small_patch16_224": "ViT-small",
}
ROUNDED = 2e-4  # of RMSE, of numbers with four digits


def miqa_reported() -> pd.DataFrame:
    """Both tables, a row a method and cell: columns table, group (HVS or Machine), method, task
    (cls, det, ins), label (composite, consistency, accuracy), srcc, plcc, krcc (composite alone)
    and rmse.
    """
    return pd.read_csv(FILE)


def identity(data: pd.DataFrame) -> pd.DataFrame:
    """What RMSE = sigma sqrt(1 - PLCC^2) says of a table of columns task, label, plcc and rmse: the
    rows with sigma, the standard deviation of their column's labels as most of its rows have it;
    rmse_by_plcc, what RMSE should be; and fits, whether it is that, up to rounding.
    """
    sigma = data.rmse / np.sqrt(1 - data.plcc**2)
    sigma = sigma.groupby([data[name] for name in CELL]).transform("median")
    expected = sigma * np.sqrt(1 - data.plcc**2)
    fits = (expected - data.rmse).abs() <= ROUNDED
    return data.assign(sigma=sigma, rmse_by_plcc=expected, fits=fits)


def reported_and_measured(
    measured: pd.DataFrame, *, task: str, label: str, recipe: str = "published"
) -> pd.DataFrame:
    """One block of the paper's tables for people: a row a method, a column a statistic, each cell
    as "reported | measured".

    measured   as `measured_cells` gives it; "--" stands where nothing was measured
    recipe     published or mended: which of the runs of networks are shown

    ValueError for a cell or recipe that there is not, and for two runs of one cell.
    """
    reported = miqa_reported()
    for name, value, known in (
        ("task", task, sorted({*reported.task})),
        ("label", label, sorted({*reported.label})),
        ("recipe", recipe, ["published", "mended"]),
    ):
        if value not in known:
            raise ValueError(f"{name} is {value!r}; there are {', '.join(known)}")
    of_recipe = (measured.recipe == recipe) | measured.method.isin(MEASURES)
    measured = measured[(measured.task == task) & (measured.label == label) & of_recipe]
    twice = measured[measured.duplicated("method")]
    if len(twice):
        runs = measured.run[measured.method == twice.method.iloc[0]]
        raise ValueError(
            f"two runs of {twice.method.iloc[0]} for {task}, {label}: {', '.join(runs)}; name the "
            "one to show"
        )
    reported = reported[(reported.task == task) & (reported.label == label)]
    both = reported.merge(measured, how="left", on=["method", *CELL], suffixes=("", "_here"))
    both = both.rename(columns={"plcc5": "plcc_here"})
    rows = []
    for row in both.to_dict("records"):
        cells = {"method": row["method"]}
        for name in ("srcc", "plcc", "krcc", "rmse"):
            texts = [_text(row[name]), _text(row[f"{name}_here"])]
            cells[name.upper()] = " | ".join(texts)
        rows.append(cells | {"n": "" if pd.isna(row["n"]) else int(row["n"])})
    return pd.DataFrame(rows).set_index("method")


def _text(value):
    return "--" if pd.isna(value) else f"{value:.4f}".replace("0.", ".", 1)


def measured_cells(runs: list[dict]) -> pd.DataFrame:
    """What finished runs measured of those tables: a row a method and cell, columns method, task,
    label, n, srcc, plcc5, krcc, rmse, run.

    runs   of each its name as `run`, and its params.json, metrics.json, measures and predictions
           (frames; measures None where it has none); runs of other sets and models have no row
    """
    rows = []
    for run in runs:
        parameters = run["params"]["parameters"]
        name, _, task = parameters.get("data_set", "").partition("_")
        if name != "miqd":
            continue
        cell = {"task": task, "label": parameters.get("target", "composite"), "run": run["run"]}
        schedule = parameters.get("options", {}).get("schedule")
        cell["recipe"] = "published" if schedule == "miqa" else "mended"
        if method := _method(parameters):
            rows.append({"method": method} | cell | _figures(run["metrics"]["correlations"]))
        if run["measures"] is not None:
            tested = run["predictions"].merge(run["measures"], on="image", validate="one_to_one")
            for measure in [column for column in run["measures"] if column != "image"]:
                if measure.upper() in MEASURES and tested[measure].notna().all():
                    found = correlations(tested[measure], tested.label, draws=200)
                    rows.append({"method": measure.upper()} | cell | _figures(found))
    data = pd.DataFrame(rows, columns=["method", "recipe", *CELL, "run", "n", *STATISTICS])
    # measures are the same on the same test images, whichever run computed them
    measure = data.method.isin(MEASURES)
    return pd.concat([data[~measure], data[measure].drop_duplicates(["method", *CELL])])


def _figures(found):
    return {name: found[name] for name in ("n", *STATISTICS)}


def _method(parameters):
    """The paper's name of a model; none for another."""
    model, arguments = parameters.get("model"), parameters.get("arguments", {})
    if model == "miqa_baseline":
        return BACKBONES.get(arguments.get("backbone", "resnet50").partition(".")[0])
    whole = "backbone" not in arguments and "region" not in arguments
    return "RA-MIQA" if model == "ra_miqa" and whole else None
