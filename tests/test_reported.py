"""The MIQA paper's tables as data: complete, consistent with themselves, the same as in docs, and
beside what was measured.
"""

import re

import numpy as np
import pandas as pd
import pytest
from conftest import REPOSITORY

from iqa_core import tables
from iqa_core.tables.miqa import measured_cells


def test_both_tables_are_there_and_fit_their_identity():
    """39 and 66 cells; every RMSE is the labels' deviation times sqrt(1 - PLCC^2)."""
    data = tables.miqa_reported()
    assert data.groupby("table").size().to_dict() == {1: 39, 2: 66}
    assert tables.identity(data).fits.all()
    sigma = tables.identity(data).groupby(["task", "label"]).sigma.first().round(3)
    assert sigma["cls", "composite"] == 0.301


def test_the_known_misprint_is_flagged():
    """The code's README has, in one of its two tables, .5457 for .8457."""
    data = tables.miqa_reported()
    wrong = (data.method == "ResNet-50") & (data.task == "det") & (data.label == "consistency")
    data.loc[wrong, "plcc"] = 0.5457
    found = tables.identity(data)
    assert found[~found.fits].method.tolist() == ["ResNet-50"]
    assert found[~found.fits].rmse_by_plcc.iloc[0] == pytest.approx(0.2588, abs=2e-4)


def test_docs_have_the_same_numbers():
    text = (REPOSITORY / "docs/reproduction.md").read_text()
    text = text[text.index("## MIQA") : text.index("## Ten splits")]
    rows = {}
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if re.match(r"\d*\.\d{4}", cells[-1]):
            numbers = [float(number) for cell in cells[1:] for number in re.findall(r"\.\d+", cell)]
            rows.setdefault(cells[0], []).append(numbers)
    data = tables.miqa_reported()
    for method, of_method in data.groupby("method"):
        first = of_method[of_method.table == 1][["srcc", "plcc", "krcc", "rmse"]]
        assert rows[method][0] == pytest.approx(first.to_numpy().ravel())
        second = of_method[of_method.table == 2][["srcc", "plcc", "rmse"]]
        if len(second):
            assert rows[method][1] == pytest.approx(second.to_numpy().ravel())


def run(name="miqd/x", schedule="miqa", **parameters):
    correlations = {"n": 100, "srcc": 0.5, "plcc5": 0.6, "krcc": 0.4, "rmse": 0.2}
    given = {"data_set": "miqd_cls", "model": "ra_miqa", "options": {"schedule": schedule}}
    params = {"parameters": given | parameters}
    measures = pd.DataFrame({"image": list("abcdefgh"), "psnr": np.arange(8.0)})
    predictions = pd.DataFrame({"image": list("abcdefgh"), "label": np.arange(8.0) ** 2})
    return {
        "run": name,
        "params": params,
        "metrics": {"correlations": correlations},
        "measures": measures,
        "predictions": predictions,
    }


def test_measured_cells_stand_beside_reported_ones():
    measured = measured_cells([run(), run(model="miqa_baseline", data_set="demo")])
    assert measured.method.tolist() == ["RA-MIQA", "PSNR"]
    shown = tables.reported_and_measured(measured, task="cls", label="composite")
    assert shown.loc["RA-MIQA", "SRCC"] == ".7003 | .5000"
    assert shown.loc["RA-MIQA", "RMSE"] == ".2152 | .2000"
    assert shown.loc["PSNR", "SRCC"] == ".2388 | 1.0000"
    assert shown.loc["ViT-small", "PLCC"] == ".6161 | --"
    other = tables.reported_and_measured(measured, task="ins", label="accuracy")
    assert other.loc["RA-MIQA", "KRCC"] == "-- | --", "not reported there"


def test_the_published_and_the_mended_recipe_are_told_apart():
    measured = measured_cells([run("miqd/a"), run("miqd/b", schedule="cosine")])
    for recipe in ("published", "mended"):
        shown = tables.reported_and_measured(measured, task="cls", label="composite", recipe=recipe)
        assert shown.loc["RA-MIQA", "SRCC"] == ".7003 | .5000"
    with pytest.raises(ValueError, match="task is 'clss'; there are cls, det, ins"):
        tables.reported_and_measured(measured, task="clss", label="composite")


def test_two_runs_of_one_cell_are_refused():
    measured = measured_cells([run("miqd/a"), run("miqd/b")])
    with pytest.raises(ValueError, match="two runs of RA-MIQA for cls, composite: miqd/a, miqd/b"):
        tables.reported_and_measured(measured, task="cls", label="composite")


def test_another_network_is_none_of_the_paper_s():
    arguments = {"backbone": "vit_tiny_patch16_224"}
    assert measured_cells([run(arguments=arguments)]).method.tolist() == ["PSNR"]
    named = measured_cells([run(model="miqa_baseline", arguments={"backbone": "efficientnet_b5"})])
    assert named.method.tolist() == ["EfficientNet-b5", "PSNR"]
