"""Error-versus-reject curves: worked by hand, and what must hold of any."""

import numpy as np
import pytest
from test_detections import found, random_scenes

from iqa_core import rejection
from iqa_core.detections import average_precision, match
from iqa_core.rejection import area, curve, kept_means, oracle
from iqa_core.tables import thresholds


def contents(n, each):
    return np.repeat([f"c{i}" for i in range(n)], each)


def test_a_curve_worked_by_hand():
    """Four images, right are the best and the third: 2/4, then 2/3, 1/2, 1/1 are kept and right."""
    data = curve([4, 3, 2, 1], [1, 0, 1, 0], shares=[0, 0.25, 0.5, 0.75])
    assert data.performance.tolist() == pytest.approx([0.5, 2 / 3, 0.5, 1])
    assert data.n.tolist() == [4, 3, 2, 1]
    assert data["quality"].tolist() == [1, 2, 3, 4]


def test_images_of_equal_score_stand_for_each_other():
    assert kept_means(np.zeros(4), np.array([1, 0, 0, 0]), [0, 0.5]).tolist() == [0.25, 0.25]
    # two at the top share one right answer, so one of them alone is right half of the time
    assert kept_means(np.array([2, 2, 1]), np.array([1, 0, 1]), [2 / 3]).tolist() == [0.5]


def test_within_contents_a_difficult_photograph_cannot_be_rejected():
    """The score knows which photograph is difficult and nothing else."""
    content = contents(2, 10)
    right = np.repeat([1.0, 0.0], 10)
    quality = np.repeat([1.0, 0.0], 10)
    assert curve(quality, right, shares=[0.5]).performance.tolist() == [1]
    assert curve(quality, right, content=content, shares=[0.5]).performance.tolist() == [0.5]


@pytest.mark.parametrize("within", [False, True])
def test_the_area_lies_between_random_and_oracle(within):
    generator = np.random.default_rng(0)
    content, right = contents(15, 40), (generator.random(600) < 0.6).astype(float)
    assert area(right, right, content=content, within=within)["value"] == pytest.approx(1)
    assert area(np.zeros(600), right, content=content, within=within)["value"] == pytest.approx(0)
    found_one = area(-right, right, content=content, within=within)
    assert found_one["value"] < -0.5, "it rejects the better images first"
    noise = area(generator.random(600), right, content=content, within=within)
    low, high = noise["interval"]
    assert low < 0 < high
    assert (noise["unit"], noise["units"], noise["n"]) == ("content", 15, 600)
    useful = right + generator.normal(0, 1, 600)
    value = area(useful, right, content=content, within=within)
    assert value["interval"][0] > 0
    assert value["interval"][0] < value["value"] < value["interval"][1]


def _area_alone(quality, right):
    """The area by its definition, without an interval."""
    lines = [curve(score, right).performance for score in (quality, right, 0 * right)]
    found_line, top, base = (np.trapezoid(line, dx=0.05) for line in lines)
    return (found_line - base) / (top - base)


def test_the_interval_covers_as_it_says():
    """Of 60 draws of 20 contents about 95 % hold the value of very many contents."""
    generator = np.random.default_rng(1)

    def sample(k):
        right = (generator.random(20 * k) < 0.5).astype(float)
        return right + generator.normal(0, 1.5, 20 * k), right, contents(k, 20)

    truth = np.mean([_area_alone(*sample(400)[:2]) for _ in range(3)])
    held = 0
    for _ in range(60):
        quality, right, content = sample(20)
        low, high = area(quality, right, content=content, within=True)["interval"]
        held += low <= truth <= high
    assert held >= 50


def test_nothing_to_gain_is_said():
    with pytest.warns(RuntimeWarning, match="even the oracle gains nothing"):
        found_one = area([1, 2, 3, 4], [1, 1, 1, 1])
    assert np.isnan(found_one["value"])


def test_the_precision_of_what_is_kept_is_computed_anew():
    """Never a mean over images: an image without objects has none, and still costs by its
    mistakes.
    """
    truth, answers = random_scenes(12, seed=2)
    matches = match(answers, truth)
    quality = np.random.default_rng(0).permutation(12).astype(float)
    data = curve(quality, matches, shares=[0, 0.5])
    best = np.sort(np.argsort(-quality)[:6])  # equal detections are taken in images' order
    expected = match([answers[i] for i in best], [truth[i] for i in best])
    assert data.performance.iloc[1] == pytest.approx(average_precision(expected, threshold=0.75))
    assert data.objects.tolist() == [sum(map(len, truth)), sum(len(truth[i]) for i in best)]
    assert curve(oracle(matches), matches, threshold=0.5).performance.iloc[-1] > 0.5


def test_the_area_of_a_detector(monkeypatch):
    """A noisy look at each image's own precision earns some of it, its reverse the opposite."""
    monkeypatch.setattr(rejection, "DRAWS_OF_PRECISION", 30)
    truth, answers = random_scenes(40, seed=5)
    matches = match(answers, truth)
    own = oracle(matches, threshold=0.5)
    noisy = own + np.random.default_rng(0).normal(0, 0.3, 40)
    options = {"shares": [0, 0.2, 0.4, 0.6], "threshold": 0.5}
    found_one = area(noisy, matches, **options)
    assert 0.1 < found_one["value"] < 1
    low, high = found_one["interval"]
    assert low < found_one["value"] < high
    assert area(-noisy, matches, **options)["value"] < 0


def test_which_threshold():
    data = thresholds([0.9, 0.5, 0.7, 0.1, 0.3], {"m": np.array([1, 0, 1, 0, 0.0])})
    row = data[data.rejected.round(2) == 0.6].iloc[0]
    assert (row["keep from"], row["n"], row["m"]) == (0.7, 2, 1)


def test_what_is_refused():
    with pytest.raises(ValueError, match="2 scores, but matches of 1 images"):
        curve([1, 2], match([found([], [])], [found([], [])]))
    with pytest.raises(ValueError, match="lengths differ"):
        curve([1, 2], [1, 0, 1])
    with pytest.raises(ValueError, match="needs `content`"):
        area([1, 2], [1, 0], within=True)
