"""What the numbers of a table are of: columns, a line, a caption; and the walk over all tables of
an experiment finds what lacks.
"""

import json

import pandas as pd
import pytest
import stated_tables

from iqa_core import tables

RUNS = [
    {"method": "a", "split": "s1", "seed": 0, "crops": 4},
    {"method": "a", "split": "s2", "seed": 1, "crops": 4},
    {"method": "b", "split": "s1", "parameters": {"seeds": [5, 6]}, "crops": 1},
]


@pytest.fixture
def results():
    srcc = [0.8, 0.70004, 0.9]
    return pd.DataFrame({"method": ["a", "b", "psnr"], "n": 9, "unit": "image", "srcc": srcc})


def test_a_row_is_of_the_trainings_of_its_method_else_of_all(results):
    data = tables.stated(results, *RUNS)
    assert data.seeds.tolist() == ["0, 1", "5, 6", "0, 1, 5, 6"]
    assert data.split.tolist() == ["s1, s2", "s1", "s1, s2"]
    assert data.crops.tolist() == ["4", "1", "4, 1"]
    pair = pd.DataFrame({"variant": ["a"], "than": ["b"], "n": 9, "unit": "image"})
    both = [{**run, "variant": run["method"]} for run in RUNS]
    assert tables.stated(pair, *both, {"variant": "c", "seed": 7}).seeds.tolist() == ["0, 1, 5, 6"]
    assert "seeds" not in results, "the table that was given stays as it is"


def test_what_all_rows_share_is_printed_and_the_file_holds_everything(results, tmp_path, capsys):
    data = tables.stated(results, RUNS[0])
    shown = tables.shown(data, csv=tmp_path / "t.csv")
    assert capsys.readouterr().out == "n: 9, unit: image, split: s1, seeds: 0, crops: 4\n"
    assert list(shown) == ["method", "srcc"] and shown.srcc[1] == 0.7
    assert list(pd.read_csv(tmp_path / "t.csv")) == list(data)
    shown = tables.shown(tables.stated(results, *RUNS))
    assert capsys.readouterr().out == "n: 9, unit: image\n"
    assert {"split", "seeds", "crops"} < set(shown)


def test_in_latex_it_is_the_caption(results, tmp_path):
    results["method"] = ["a_1", "b", "psnr"]
    tables.export_stated(tables.stated(results, RUNS[0]), folder=tmp_path, name="t")
    tex = (tmp_path / "t.tex").read_text()
    assert r"\caption{n: 9, unit: image, split: s1, seeds: 0, crops: 4.}" in tex
    assert r"a\_1 & 0.8000" in tex and len(pd.read_csv(tmp_path / "t.csv").columns) == 7


def test_a_table_without_n_or_unit_is_refused_until_it_is_told():
    bare = pd.DataFrame({"stage": ["one"], "mean": [0.2]})
    with pytest.raises(ValueError, match="no column n, unit: give it to `stated`, n as the number"):
        tables.stated(bare, RUNS[0])
    assert tables.stated(bare, RUNS[0], n=3, unit="image").n[0] == 3


def experiment(root, html, printed, **files):
    """An experiment of one notebook with one table, and files."""
    folder = root / "data/runs/mine/02_x"
    folder.mkdir(parents=True)
    (root / "figures").mkdir()
    stream = {"output_type": "stream", "text": [printed]}
    shown = {"output_type": "display_data", "data": {"text/html": [html]}}
    notebook = {"cells": [{"outputs": [stream, shown] if printed else [shown]}]}
    (folder / "02_x.ipynb").write_text(json.dumps(notebook))
    for name, text in files.items():
        (folder / f"{name}.csv").write_text(text)
    return stated_tables.faults(root, "mine")


SAID = "n: 9, unit: image, split: s1, seeds: 0, crops: 4\n"


def test_the_walk_finds_what_a_displayed_table_lacks(tmp_path):
    html = pd.DataFrame({"srcc": [0.5]}).to_html()
    assert experiment(tmp_path / "said", html, SAID) == ([], 1)
    found, _ = experiment(tmp_path / "not", html, SAID.replace("unit: image, ", ""))
    assert found == ["02_x.ipynb, cell 0: no unit"]
    assert experiment(tmp_path / "nothing", html, "")[0] == [
        "02_x.ipynb, cell 0: no n, unit, split, seeds, crops"
    ]
    methods = pd.DataFrame({"method": ["a"], "srcc": [0.5]}).to_html()
    found, _ = experiment(tmp_path / "rule", methods, SAID)
    assert found == ["02_x.ipynb, cell 0: no the content-blind row"]
    other = pd.DataFrame({"images": [9]}).to_html()
    assert experiment(tmp_path / "counts", other, "") == ([], 0), "counts are no results"


def test_the_walk_finds_what_a_file_lacks(tmp_path):
    other = pd.DataFrame({"images": [9]}).to_html()
    files = {"history": "step,val_srcc\n1,.5\n", "loss": "n,low,high\n9,.1,.2\n"}
    found, number = experiment(tmp_path, other, "", **files)
    assert found == ["loss.csv: no unit, split, seeds, crops"] and number == 1
