"""One `fit` trains every model: whole images of mixed size, votes, pairs, two stages, two views,
frozen crops.
"""

import numpy as np
import pytest
import torch
from objective_jobs import CASES, SHARED, case, shared_cases, trained
from torch.optim.optimizer import register_optimizer_step_pre_hook
from training_jobs import free_port, run

from iqa_core import training
from iqa_core.evaluation import predict_samples
from iqa_core.models import Objective, create_model
from iqa_core.models.ckdn import learning_parts

SMALL_STEPS = dict(batch_size=2, schedule="cosine")
BY_HEART = {  # epochs and options that suffice
    "musiq": dict(epochs=40),
    "musiq votes": dict(epochs=40),
    "iqt": dict(epochs=14, **SMALL_STEPS),
    "ckdn": dict(epochs=20),
    "ra_miqa": dict(epochs=12, **SMALL_STEPS),
    "frozen crops": dict(epochs=10, **SMALL_STEPS),
}


@pytest.mark.parametrize("name", CASES)
def test_eight_samples_are_learnt_by_heart(name):
    model, samples, recipe = case(name, **BY_HEART[name])
    (row,) = training.fit(model, samples, samples, recipe=recipe, log=str)
    assert row["val_l1"] < 0.3 * samples.table.label.std() and row["val_srcc"] > 0.95


# ---- left and taken up, and shared: two short epochs come out the same however they are done

SHORT = dict(epochs=2, optimizer="sgd", backbone_lr=1e-2, head_lr=1e-2)
SHORT |= dict(validate_every=1, checkpoint_minutes=0.0)  # a checkpoint before every step


@pytest.fixture(scope="module")
def whole():
    """Name -> rows and weights of a case trained in one go."""
    return {name: trained(name, **SHORT) for name in CASES}


@pytest.mark.parametrize("name", CASES)
def test_a_training_that_was_left_goes_on_bit_for_bit(whole, tmp_path, name):
    """In the middle of its second epoch; test_resume.py kills the process."""
    steps = 0

    def leave(optimizer, arguments, options):
        nonlocal steps
        steps += 1
        if steps == 4:
            raise KeyboardInterrupt

    hook = register_optimizer_step_pre_hook(leave)
    with pytest.raises(KeyboardInterrupt):
        trained(name, **SHORT, checkpoint=tmp_path / "last.ckpt")
    rows, weights = trained(name, **SHORT, checkpoint=tmp_path / "last.ckpt")
    hook.remove()
    expected_rows, expected = whole[name]
    assert steps == rows[-1]["step"] + 1, "what is done before the fourth step is kept"
    assert len(rows) == 2 and rows == expected_rows
    assert all(torch.equal(weights[key], value) for key, value in expected.items())


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """A folder with what each of two processes has after the same trainings."""
    folder = tmp_path_factory.mktemp("shared")
    assert run(shared_cases, folder, 2, free_port(), SHORT, processes=2) == [0, 0]
    return folder


@pytest.mark.parametrize("rank", [0, 1])
@pytest.mark.parametrize("name", SHARED)
def test_two_processes_do_the_training_of_one(whole, shared, name, rank):
    rows, weights = torch.load(shared / f"{name}-{rank}.pt", weights_only=True)
    expected_rows, expected = whole[name]
    for row, expected_row in zip(rows, expected_rows, strict=True):
        assert row == pytest.approx(expected_row, rel=1e-3, abs=1e-4)
    for key, value in expected.items():
        torch.testing.assert_close(weights[key], value, rtol=1e-3, atol=1e-5)


# ---- what is particular to each


def test_iqt_looks_at_its_reference_in_training():
    losses = []
    for part in ("pristine", "image"):
        model, samples, recipe = case("iqt", epochs=1)
        samples = samples._replace(parts=samples.parts | {"pristine": samples.parts[part]})
        (row,) = training.fit(model, samples, samples, recipe=recipe, log=str)
        losses.append(row["train_loss"])
    assert losses[0] != pytest.approx(losses[1], rel=1e-3)


def test_ckdn_s_stages_teach_what_they_should():
    model, samples, recipe = case("ckdn", epochs=2, validate_every=1)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    moved = []
    for _ in training.fit(model, samples, samples, recipe=recipe, log=str):
        now = {key: value.clone() for key, value in model.state_dict().items()}
        changed = [key for key in now if not torch.equal(now[key], before[key])]
        moved.append({key.partition(".")[0] for key in changed})
        before = now
    assert moved == [{"qse", "aux_csp", "aux_fc"}, {"qse", "dte", "csp", "fc"}]
    first, second = ({id(p) for p in learning_parts(model, stage)} for stage in (0, 1))
    assert first & second == {id(p) for p in model.qse.parameters()}


def against_pristine(model, samples, **kwargs):
    """CKDN's upper bound: the pristine image in place of the degraded one."""
    parts = samples.parts | {"degraded": samples.parts["pristine"]}
    return predict_samples(model, samples._replace(parts=parts))


def test_an_objective_may_say_how_a_validation_predicts():
    model, samples, recipe = case("ckdn", epochs=2)
    objective = Objective(**vars(model.objective) | {"predict": against_pristine})
    (row,) = training.fit(model, samples, samples, recipe=recipe, objective=objective, log=str)
    labels = samples.table.label
    own, other = (
        np.abs(predict(model, samples) - labels).mean()
        for predict in (against_pristine, predict_samples)
    )
    assert row["val_l1"] == pytest.approx(own) != other


def test_an_objective_s_functions_have_names():
    with pytest.raises(ValueError, match="forward is .*<lambda>: name a function of a module"):
        Objective(forward=lambda model, *views: model(*views))
    known = create_model("ckdn", backbone="test_convnext", pretrained=False).objective.identity()
    assert known["loss"] == "iqa_core.models.ckdn.staged_loss" and known["stages"] == "2"


def test_frozen_crops_are_for_models_that_read_pooled_stages():
    _, samples, _ = case("frozen crops", epochs=1)
    model = create_model("maniqa", backbone="vit_tiny_patch16_224", crop=128, pretrained=False)
    recipe = training.Recipe(epochs=1, batch_size=4, backbone_lr=0, head_lr=0, weight_decay=0)
    with pytest.raises(ValueError, match="MANIQA cannot be trained on frozen crops"):
        next(training.fit(model, samples, samples, recipe=recipe))


def test_only_the_last_stage_chooses_and_counts_for_patience():
    options = dict(validate_every=1, patience=2, head_lr=0.0, backbone_lr=0.0)
    rows, _ = trained("ckdn", epochs=8, **options)
    assert [row["best"] for row in rows] == [False] * 4 + [True, False, False]


def test_elo_scores_are_held_against_as_published():
    model, samples, recipe = case("ckdn", epochs=2, label_scale=[900, 1000])
    elo = samples._replace(table=samples.table.assign(label=934 + 900 * samples.table.label))
    list(training.fit(model, elo, elo, recipe=recipe, log=str))
    assert (model.contract.offset, model.contract.scale) == (900, 1000)


def test_companions_of_another_size_are_refused_before_the_first_step():
    model, samples, recipe = case("iqt", epochs=1)
    pristine = [*samples.parts["pristine"][:-1], np.zeros((192, 200, 3), np.uint8)]
    wrong = samples._replace(parts=samples.parts | {"pristine": pristine})
    with pytest.raises(
        ValueError, match=r"\(row 7\) is 192x192, its pristine image .* 200x192; they"
    ):
        next(training.fit(model, wrong, samples, recipe=recipe))
