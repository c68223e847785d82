"""Machine labels: definitions worked by hand, on made answers; what is missing stays missing."""

import numpy as np
import pandas as pd
import pytest
from test_detections import found

from iqa_core import mmos
from iqa_core.mmos import Choices


def views(*rows):
    """Probabilities (1, classes) of one view an image."""
    return np.array(rows, float)[:, None]


def test_hard_consistency_and_accuracy_are_counts():
    original = np.array([[0.5, 0.3, 0.2]])
    answers = views([0.9, 0.1, 0], [0.3, 0.6, 0.1], [0.1, 0.2, 0.7])
    assert mmos.class_consistency(answers, original).tolist() == [1, 0, 0]
    assert mmos.class_accuracy(answers, 1).tolist() == [0, 1, 0]
    assert mmos.class_accuracy(answers, 1, "probability").tolist() == [0.1, 0.6, 0.2]


def test_soft_consistency_worked_by_hand():
    original, answers = np.array([[0.5, 0.5]]), views([1.0, 0.0], [0.5, 0.5])
    soft = {
        "bhattacharyya": np.sqrt(0.5),
        "cosine": 1 / np.sqrt(2),
        # entropies in bits: of the mean (.75, .25) .8113, of the two 0 and 1
        "jensen_shannon": 1 - (0.811278 - 0.5),
    }
    for name, value in soft.items():
        found_one = mmos.class_consistency(answers, original, name)
        assert found_one == pytest.approx([value, 1], abs=1e-6), name


@pytest.mark.parametrize("similarity", ["top1", "bhattacharyya", "cosine", "jensen_shannon"])
def test_any_consistency_is_1_of_equal_answers_and_lies_between_0_and_1(similarity):
    generator = np.random.default_rng(0)
    answers = generator.dirichlet(np.full(50, 0.1), (20, 2)).astype(np.float16).astype(np.float32)
    values = mmos.class_consistency(answers, answers[0], similarity)
    assert values[0] == pytest.approx(1, abs=2e-3)
    assert (values >= 0).all()
    assert (values <= 1).all()
    disjoint = views([0, 0, 0.6, 0.4]), np.array([[0.3, 0.7, 0, 0]])
    assert mmos.class_consistency(*disjoint, similarity) == pytest.approx(0)


def test_views_are_averaged():
    answers = np.array([[[0.9, 0.1], [0.2, 0.8]]])
    assert mmos.class_consistency(answers, np.array([[0.9, 0.1], [0.9, 0.1]])).tolist() == [0.5]


def test_a_detector_is_held_against_what_it_was_sure_of():
    original = found([[0, 0, 10, 10], [50, 50, 60, 60]], [1, 2], [0.9, 0.3])
    answers = [found([[0, 0, 10, 10]], [1], [0.6]), found([], [])]
    assert mmos.object_consistency(answers, original).tolist() == [1, 0]
    # with the second object as truth its class is missed: the mean of two classes
    assert mmos.object_consistency(answers, original, confidence=0.2).tolist() == [0.5, 0]
    assert np.isnan(mmos.object_consistency(answers, original, confidence=0.95)).all()


def test_without_a_truth_there_is_no_accuracy_and_no_composite():
    answers = views([0.9, 0.1], [0.2, 0.8])
    assert np.isnan(mmos.class_accuracy(answers, np.nan)).all()
    assert np.isnan(mmos.object_accuracy([found([], [])], None)).all()
    assert np.isnan(mmos.object_accuracy([found([[0, 0, 9, 9]], [1])], found([], []))).all()
    assert np.isnan(mmos.composite(0.7, np.nan))
    assert mmos.composite(0.7, 0.1) == pytest.approx(0.4)


def test_models_are_pooled_by_weights_and_gaps_are_no_zeros():
    scores = np.array([[1.0, 0.5, np.nan], [0.0, np.nan, np.nan]])
    pooled = mmos.pooled(scores, [3, 1])
    assert pooled["mean"][:2].tolist() == [0.5, 0.5]
    assert pooled["weighted"][:2].tolist() == [0.75, 0.5]
    assert pooled["std"][:2].tolist() == [0.5, 0]
    assert all(np.isnan(values[2]) for values in pooled.values())
    with pytest.raises(ValueError, match="must be 0 or more"):
        mmos.pooled(scores, [-1, 1])


def answers_of(values):
    """One row an image and model from {model: consistencies}; accuracy is half of it."""
    rows = []
    for machine, numbers in values.items():
        for i, value in enumerate(numbers):
            rows.append({"image": f"{i}.png", "machine": machine, "consistency": value})
    data = pd.DataFrame(rows)
    return data.assign(accuracy=data.consistency / 2)


def test_the_labels_of_several_models():
    answers = answers_of({"a": [1.0, 0.2], "b": [0.0, 0.6]})
    labels = mmos.labels_of(answers, Choices(weights="clean"), {"a": 0.75, "b": 0.25})
    assert labels.consistency.tolist() == pytest.approx([0.75, 0.3])
    assert labels.mean_consistency.tolist() == pytest.approx([0.5, 0.4])
    assert labels.composite.tolist() == pytest.approx([0.5625, 0.225])
    assert labels.image.tolist() == ["0.png", "1.png"]
    with pytest.raises(ValueError, match="that of b is not known"):
        mmos.labels_of(answers, Choices(weights="clean"), {"a": 0.75})
    with pytest.raises(ValueError, match="3 answers for 2 images by 2 models"):
        mmos.labels_of(answers.iloc[:3], Choices())


def test_labels_of_all_models_but_one():
    answers = answers_of({"a": [1.0], "b": [0.0], "c": [0.5]})
    others = mmos.without_each(answers, "consistency", Choices())
    assert others.iloc[0, 1:].to_dict() == {"without a": 0.25, "without b": 0.75, "without c": 0.5}


def test_choices_are_checked_and_said():
    for wrong in ({"similarity": "cos"}, {"hit": "top5"}, {"weights": "softmax"}):
        name, value = next(iter(wrong.items()))
        with pytest.raises(ValueError, match=f"{name} is '{value}'; there are"):
            Choices(**wrong)
    with pytest.raises(ValueError, match="confidence is 2"):
        Choices(confidence=2)
    assert "consistency by cosine" in Choices(similarity="cosine").sentence("cls")
    assert "from a score of 0.5 on" in Choices().sentence("det")
