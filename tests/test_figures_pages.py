"""Figures at printed widths, the page of all of them, and what comparisons draw of runs."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from iqa_core import figures, tables
from iqa_core.figures.page import WIDTHS
from iqa_core.files import write_json


@pytest.fixture(autouse=True)
def styled():
    figures.style()
    yield
    plt.close("all")


def predictions(n=40):
    generator = np.random.default_rng(0)
    label = generator.uniform(0, 100, n)
    return pd.DataFrame({"label": label, "predicted": label + generator.normal(0, 9, n)})


@pytest.mark.parametrize("width", WIDTHS)
def test_a_figure_is_exactly_as_wide_as_it_is_printed(width, tmp_path):
    figures.export(figures.scatter, predictions(), folder=tmp_path, name="x", width=width)
    with Image.open(tmp_path / "x.png") as image:
        assert image.width == pytest.approx(WIDTHS[width] / 25.4 * figures.DOTS, abs=2)
    box = (tmp_path / "x.svg").read_text(encoding="utf-8").partition('width="')[2]
    assert float(box.partition("pt")[0]) == pytest.approx(WIDTHS[width] / 25.4 * 72, abs=0.5)
    with pytest.raises(KeyError, match="no width 'wide'; there are column, page, slide"):
        figures.export(figures.scatter, predictions(), folder=tmp_path, width="wide")


def test_a_page_of_pictures_stays_below_a_megabyte(tmp_path):
    root = tmp_path / "pictures"
    root.mkdir()
    generator = np.random.default_rng(0)
    for i in range(24):
        noise = generator.integers(0, 256, (400, 400, 3), dtype=np.uint8)
        Image.fromarray(noise).save(root / f"{i}.png")
    table = pd.DataFrame({"image": [f"{i}.png" for i in range(24)], "label": range(24)})
    figures.export(figures.image_grid, table, root=root, folder=tmp_path, name="grid")
    assert (tmp_path / "grid.png").stat().st_size <= figures.LARGEST_PNG


def test_the_page_of_an_experiment_shows_its_figures_and_tables_alone(tmp_path):
    folder = tmp_path / "figures"
    (tmp_path / "params/tiny-full").mkdir(parents=True)
    for name in ("tiny-scatter", "tiny-full-scatter"):
        figures.export(figures.scatter, predictions(), folder=folder, name=name)
    data = tables.paper.sota(tables.reported("sota_koniq10k"))
    tables.write(data, caption="50 % & more.", folder=folder, name="tiny-table-sota")
    text = figures.write_index(folder, "tiny").read_text(encoding="utf-8")
    assert text.count("<figure ") == 2 and "tiny-full" not in text
    assert 'src="tiny-scatter.png"' in text and "50 % &amp; more." in text
    for ending in ("pdf", "svg", "csv", "tex"):
        assert f'href="tiny-scatter.{ending}"' in text
    assert 'href="tiny-table-sota.md"' in text
    with pytest.raises(FileNotFoundError, match="iqa_core run other"):
        figures.write_index(folder, "other")


def run_of_ablations(folder):
    variants = {
        "single": {"arguments": {"multiscale": False}},
        "static": {"arguments": {"gate": "static"}},
        "slow": {"head_lr": 1e-4, "seeds": [0]},
        "l2": {"options": {"loss": "l2"}},
        "both": {"head_lr": 1e-4, "options": {"loss": "l2"}},
    }
    given = {"variants": variants, "head_lr": 1e-3, "epochs": 6, "options": {}}
    folder.mkdir(parents=True)
    write_json(folder / "params.json", {"parameters": given})
    rows = []
    for place, name in enumerate(["full", *variants]):
        row = {"label": "label", "variant": name, "seed": np.nan, "trainings": 3}
        row |= {"srcc": 0.5 + place / 10, "srcc_low": 0.4, "srcc_high": 0.9, "n": 40}
        rows += [row, row | {"seed": 0.0}, row | {"label": "label2"}]
    pd.DataFrame(rows).to_csv(folder / "ablations.csv", index=False)


def test_variants_that_change_one_thing_alone_are_in_its_comparison(tmp_path):
    run_of_ablations(tmp_path / "04_ablations")
    found = tables.variants_of(tmp_path / "04_ablations").set_index(["topic", "method"])
    assert list(found.loc["components"].index) == ["single", "full"]
    assert list(found.loc["components"].step) == [0, 1]
    rates = found.loc["learning_rates"]
    assert rates.lr.to_dict() == {"slow": 1e-4, "full": 1e-3} and (rates.epochs == 6).all()
    assert found.loc["losses"].loss.to_dict() == {"l2": "l2", "full": "l1"}
    assert found.loc["losses"].srcc.to_dict() == pytest.approx({"l2": 0.9, "full": 0.5})
    assert (found.kind == "measured").all()


@pytest.mark.parametrize("topic", figures.COMPARISONS)
def test_only_numbers_of_the_reports_images_stand_beside_theirs(topic, tmp_path):
    run_of_ablations(tmp_path / "04_ablations")
    variants = tables.variants_of(tmp_path / "04_ablations")
    given = {"method": ["SMART-IQA-T"], "own": True, "kind": "measured", "srcc": 0.8}
    given |= {"backbone": "Swin-T", "params_m": 29.5, "gmacs": 4.5, "protocol": "", "source": "x"}
    measured = pd.DataFrame(given)
    apart = tables.compared(topic, "demo", measured, variants)
    here = apart.pop(topic, None)
    assert list(apart) == [f"{topic}-reported"]
    assert (apart[f"{topic}-reported"].kind == "reported").all()
    together = tables.compared(topic, "koniq10k", measured, variants)
    assert list(together) == [topic]
    if here is not None:
        assert (here.kind == "measured").all()
        assert set(together[topic].kind) == {"measured", "reported"}
        getattr(figures, figures.COMPARISONS[topic])(together[topic])
    getattr(figures, figures.COMPARISONS[topic])(apart[f"{topic}-reported"])


def test_curves_stand_below_each_other_in_a_column(tmp_path):
    columns = ["epoch", "step", "train_l1", "val_l1", "val_score"]
    history = {
        "one": pd.DataFrame([[1, 9, 5.0, 6.0, 0.4], [2, 18, 4.0, 5.0, 0.5]], columns=columns)
    }
    curves = figures.training_curves
    first, second = figures.export(curves, history, folder=tmp_path, width="column").axes
    assert first.get_position().y0 > second.get_position().y1
    first, second = figures.export(curves, history, folder=tmp_path).axes
    assert first.get_position().x1 < second.get_position().x0
