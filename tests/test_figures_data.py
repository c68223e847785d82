import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from iqa_core import datasets, figures, tables


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


@pytest.fixture
def table(tmp_path):
    """Two contents x two types x seven levels, of which one image has a second distortion."""
    rows = [
        (f"{c}{d[0]}{v}.png", c, d, 1 + v / 1.5)
        for c in "pq"
        for d in ("blur", "noise")
        for v in range(7)
    ]
    table = pd.DataFrame(rows, columns=["image", "content", "distortion", "level"])
    table = table.assign(label=100 - 10 * table.level - (table.content == "q"), distortion2="")
    table["distortion2"] = table.distortion2.mask(table.image == "pb6.png", "noise")
    for image in table.image:
        Image.new("RGB", (60, 40), (200, 30, 90)).save(tmp_path / image)
    return table


def texts(figure):
    return [axes.get_xlabel() for axes in figure.axes]


def test_the_label_histogram_counts_every_image_once_in_its_part(table):
    split = pd.Series(np.where(table.content == "p", "train", "test")).mask(table.level == 1)
    figure, data = figures.label_histogram(table, split, label_name="MOS (1 to 5)")
    assert data[["train", "test", "left out"]].sum().to_dict() == {
        "train": 12,
        "test": 12,
        "left out": 4,
    }
    assert list(data.columns) == ["from", "to", "train", "test", "left out"]
    assert texts(figure) == ["MOS (1 to 5)"]
    assert figures.label_histogram(table)[1]["all"].sum() == len(table)


def test_the_label_is_named_after_its_kind():
    names = [
        tables.label_name(pd.DataFrame({"label_kind": [kind] * 2})) for kind in datasets.LABEL_KINDS
    ]
    assert names == ["label (MOS)", "label (pseudo-MOS)", "label (MMOS)"]


def test_sizes_are_counted_and_extreme_ones_stay_inside_the_axes():
    sizes = pd.DataFrame({"width": [640, 640, 480, 9000], "height": [480, 480, 640, 20]})
    figure, data = figures.image_sizes(sizes)
    assert data.set_index(["width", "height"]).images.to_dict() == {
        (640, 480): 2,
        (480, 640): 1,
        (9000, 20): 1,
    }
    assert data[data.width == 9000].aspect.item() == 450
    (axes,) = figure.axes
    assert (
        axes.get_xlim()[0] < 20 and axes.get_xlim()[1] > 9000 and axes.get_ylim() == axes.get_xlim()
    )


def test_rows_by_label_go_from_the_lowest_to_the_highest(table):
    chosen = tables.by_label(table, count=5)
    assert chosen.label.is_monotonic_increasing and len(chosen) == 5
    assert (chosen.label.iloc[0], chosen.label.iloc[-1]) == (table.label.min(), table.label.max())
    assert len(tables.by_label(table[:3], count=5)) == 3


def test_levels_rise_from_left_to_right_in_one_content_without_second_distortions(table, tmp_path):
    figure, chosen = figures.distortion_levels(table[::-1], root=tmp_path)
    assert chosen.groupby("distortion")["level"].apply(list).to_dict()["noise"] == pytest.approx(
        [1, 2, 3, 4, 5], abs=0.7
    )
    noise = chosen[chosen.distortion == "noise"]
    assert (
        set(noise.content) == {"p"}
        and noise.level.is_monotonic_increasing
        and noise.level.max() == 5
    )
    assert "pb6.png" not in set(chosen.image)
    assert len([axes for axes in figure.axes if axes.images]) == 10


def test_there_are_as_many_places_as_levels(table, tmp_path):
    some = table[table.level < 2.1]
    figure, chosen = figures.distortion_levels(some, root=tmp_path)
    assert len(chosen) == 4 and len(figure.axes) == 4


def test_leaking_pairs_stand_one_above_the_other_with_their_parts(table, tmp_path):
    pairs = pd.DataFrame(
        {
            "image": table.image[:6],
            "split": "train",
            "image2": table.image[14:20].to_list(),
            "split2": "test",
        }
    )
    figure, shown = figures.leaking_pairs(pairs, root=tmp_path, columns=4)
    assert len(shown) == 4
    assert texts(figure)[0] == "train\npb0.png" and texts(figure)[4] == "test\nqb0.png"
    assert len(figures.leaking_pairs(pairs[:1], root=tmp_path)[0].axes) == 2
    Image.new("RGB", (60, 40), (9, 200, 9)).save(tmp_path / pairs.image2[0])
    above, below = (
        axes.images[0].get_array()
        for axes in figures.leaking_pairs(pairs[:1], root=tmp_path)[0].axes
    )
    assert above[0, 0].tolist() == [200, 30, 90] and below[0, 0].tolist() == [9, 200, 9]


def test_pictures_are_shown_as_models_see_them(table, tmp_path):
    Image.fromarray(np.full((40, 60), 40_000, np.uint16)).save(tmp_path / "pb0.png")
    shown = figures.image_grid(table[:1], root=tmp_path)[0].axes[0].images[0].get_array()
    assert (shown == 40_000 >> 8).all()


def test_types_without_levels_are_shown_by_label_and_pairs_alone_are_refused(table, tmp_path):
    _, chosen = figures.distortion_levels(table.assign(level=np.nan), root=tmp_path)
    assert (
        len(chosen) == 10
        and chosen.groupby("distortion").label.apply(lambda x: x.is_monotonic_decreasing).all()
    )
    with pytest.raises(ValueError, match="no image has one distortion alone"):
        figures.distortion_levels(table.assign(distortion2="noise"), root=tmp_path)
