"""MUSIQ's figures: stretched pictures, attention by scale, hashed positions."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from iqa_core import figures


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


# ---- stretched pictures


@pytest.fixture
def curves():
    """Two photographs and two methods; own shapes .5 and 2, scores 10 or 20 and a step a ratio."""
    rows = []
    for method, spread, step in (("full", 2.0, 1.0), ("square", 4.0, 0.0)):
        for photograph, own, score in (("a.png", 0.5, 10.0), ("b.png", 2.0, 20.0)):
            facts = {"photograph": photograph, "method": method, "spread": spread}
            rows.append(facts | {"ratio": own, "own": True, "predicted": score})
            for number, ratio in enumerate((0.25, 1.0, 1.5), 1):
                change = step * number if photograph == "a.png" else -2 * step * number
                rows.append(facts | {"ratio": ratio, "own": False, "predicted": score + change})
    return pd.DataFrame(rows)


def test_aspect_curves_are_one_photograph_and_the_mean_distance_in_deviations(curves):
    figure, data = figures.aspect_curves(curves)
    left, right = figure.axes
    full, square, own = left.lines
    np.testing.assert_allclose(full.get_xydata(), [[0.25, 11], [1, 12], [1.5, 13]])
    np.testing.assert_allclose(square.get_ydata(), 10)
    assert own.get_xdata()[0] == 0.5
    # Distances 1, 2, 3 and 2, 4, 6 of two photographs, in deviations of 2
    np.testing.assert_allclose(right.lines[0].get_ydata(), [0.75, 1.5, 2.25])
    np.testing.assert_allclose(right.lines[1].get_ydata(), 0)
    assert right.get_xticks().tolist() == [0.25, 0.5, 1, 1.5]
    drawn = np.concatenate([line.get_ydata() for axes in (left, right) for line in axes.lines[:2]])
    written = [*data.predicted.dropna(), *data.moved.dropna()]
    assert sorted(written) == pytest.approx(sorted(drawn)), "the table is what is drawn"
    assert set(data.photograph) == {"a.png", "mean of 2"}


def test_more_methods_than_colours_are_told_apart_by_their_lines(curves):
    one = curves[curves.method == "full"]
    many = pd.concat([one.assign(method=f"variant {number}") for number in range(9)])
    figure, _ = figures.aspect_curves(many)
    looks = {(line.get_color(), line.get_linestyle()) for line in figure.axes[1].lines}
    assert len(looks) == 9


# ---- attention by scale


def example(height, width, **maps):
    """A white picture, and maps of scales that all read it at its own size."""
    sizes = dict.fromkeys(maps, (height, width))
    image = np.full((height, width, 3), 255, np.uint8)
    return {"image": image, "title": f"{width}x{height}", "maps": maps, "sizes": sizes}


def test_attention_is_drawn_as_brightness_of_the_picture_scale_by_scale():
    attention = np.array([[0.1, 0.2], [0.3, 0.4]])
    shown = example(64, 64, native=attention)
    shown["maps"]["96"] = np.eye(3) / 3
    shown["sizes"]["96"] = (96, 96)
    figure, data = figures.scale_attention([shown])
    picture, native, larger = (axes.images[0].get_array() for axes in figure.axes)
    assert (picture == 255).all()
    assert picture.shape == native.shape == larger.shape == (64, 64, 3)
    light = native[[[8, 8], [56, 56]], [[8, 56], [8, 56]], 0] / 255
    np.testing.assert_allclose(light, attention / 0.4, atol=0.01)
    assert larger[4, 4, 0] == 255 and larger[4, 60, 0] == 0
    titles = [axes.get_title() for axes in figure.axes]
    assert titles == ["picture", "native", "longer side 96"]
    assert list(data) == ["image", "scale", "row", "column", "attention"]
    assert data.attention.tolist() == pytest.approx([*attention.ravel(), *np.eye(3).ravel() / 3])


def test_what_patches_cover_beyond_the_picture_is_not_drawn():
    """Of 33 rows the patches cover 64: 15 before and 16 behind them."""
    attention = np.array([[1.0], [0.0]])
    figure, _ = figures.scale_attention([example(33, 32, native=attention)])
    drawn = figure.axes[1].images[0].get_array()[:, 0, 0]
    assert (drawn == [255] * 17 + [0] * 16).all()


def test_pictures_of_any_shape_are_drawn_at_their_own_one():
    shapes = [(48, 160), (160, 48), (64, 64)]
    maps = [np.ones((-(-h // 32), -(-w // 32))) for h, w in shapes]
    shown = [example(*shape, native=each) for shape, each in zip(shapes, maps, strict=True)]
    figure, data = figures.scale_attention(shown)
    figure.canvas.draw()
    for number, (height, width) in enumerate(shapes):
        for axes in figure.axes[2 * number : 2 * number + 2]:
            box = axes.get_window_extent()
            assert box.height / box.width == pytest.approx(height / width, rel=0.02)
    assert len(data) == 10 + 10 + 4


# ---- hashed positions


def test_hash_similarity_is_the_cosine_of_every_cell_with_every_other():
    embedding = np.random.default_rng(0).normal(size=(9, 5))
    figure, data = figures.hash_similarity(embedding)
    axes, bar = figure.axes
    assert bar.get_ylabel() == "cosine"
    first, second = embedding[5], embedding[6]  # row 2 column 3, row 3 column 1
    cosine = first @ second / np.linalg.norm(first) / np.linalg.norm(second)
    (image,) = axes.images
    drawn = image.get_array()
    assert drawn.shape == (11, 11) and drawn[3].mask.all() and drawn[:, 7].mask.all()
    assert drawn[4 + 2, 8 + 0] == pytest.approx(cosine)
    assert image.get_clim() == (-1, 1) and image.get_cmap().name == "viridis"
    row = data.set_index(["row", "column", "row2", "column2"]).loc[2, 3, 3, 1]
    assert row.cosine == pytest.approx(cosine)
    assert len(data) == 81
    for axis in (axes.xaxis, axes.yaxis):
        assert axis.get_ticklocs().tolist() == [1, 5, 9]
        assert [name.get_text() for name in axis.get_ticklabels()] == [*"123"]
