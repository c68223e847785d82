"""One `fit` trains every model: whole images of mixed size, votes, pairs, two stages, two views,
frozen crops.
"""

import signal

import numpy as np
import pytest
import torch
from objective_jobs import NAMES, case, killed_case, shared_cases
from training_jobs import free_port, run

from iqa_core import training
from iqa_core.evaluation import predict_samples
from iqa_core.models import Objective, create_model
from iqa_core.models.ckdn import learning_parts

EPOCHS = {"ckdn": 28, "ra_miqa": 20, "iqt": 32, "frozen crops": 20}


@pytest.mark.parametrize("name", NAMES)
def test_eight_samples_are_learnt_by_heart(name):
    model, samples, recipe = case(name, epochs=EPOCHS.get(name, 40))
    (row,) = training.fit(model, samples, samples, recipe=recipe, log=str)
    assert row["val_l1"] < 0.3 * samples.table.label.std() and row["val_srcc"] > 0.95


@pytest.mark.parametrize("name", NAMES)
def test_a_killed_training_goes_on_bit_for_bit(tmp_path, name):
    whole, left = tmp_path / "whole", tmp_path / "left"
    for folder in (whole, left):
        folder.mkdir()
    assert run(killed_case, whole, name, None) == [0]
    assert run(killed_case, left, name, 6) == [-signal.SIGKILL]
    assert run(killed_case, left, name, None) == [0]
    expected, found = (
        torch.load(folder / f"{name}.pt", weights_only=True) for folder in (whole, left)
    )
    assert found["rows"] == expected["rows"] and len(expected["rows"]) == 4
    assert all(torch.equal(found["weights"][k], v) for k, v in expected["weights"].items())


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """A folder with what one process made of every case, and two."""
    folder = tmp_path_factory.mktemp("shared")
    assert run(shared_cases, folder, 1, 0) == [0]
    assert run(shared_cases, folder, 2, free_port(), processes=2) == [0, 0]
    return folder


@pytest.mark.parametrize("name", NAMES)
def test_two_processes_do_the_training_of_one(shared, name):
    one, *two = (
        torch.load(shared / f"{name}-{which}.pt", weights_only=True)
        for which in ("1-0", "2-0", "2-1")
    )
    for other in two:
        (row,), (expected,) = other["rows"], one["rows"]
        assert row == pytest.approx(expected, rel=1e-3, abs=1e-4)
        for key, value in one["weights"].items():
            torch.testing.assert_close(other["weights"][key], value, rtol=1e-3, atol=2e-4)


# ---- what is particular to each


def test_musiq_s_batch_of_mixed_sizes_is_its_images_one_by_one():
    model, samples, _ = case("musiq", epochs=1)
    torch.nn.init.normal_(model.head.weight)
    images = [torch.from_numpy(i).permute(2, 0, 1) / 255 for i in samples.parts["image"]]
    for mode in (True, False):
        model.train(mode)
        with torch.no_grad():
            single = torch.cat([model([image]) for image in images])
            torch.testing.assert_close(model(images), single, rtol=1e-4, atol=1e-5)
    assert single.std() > 0.01


def test_iqt_looks_at_its_reference_in_training():
    def loss(pristine):
        model, samples, recipe = case("iqt", epochs=1)
        samples = samples._replace(parts=samples.parts | {"pristine": pristine})
        return next(training.fit(model, samples, samples, recipe=recipe, log=str))["train_loss"]

    _, samples, _ = case("iqt", epochs=1)
    images = samples.parts["image"]
    assert loss(samples.parts["pristine"]) != pytest.approx(loss(images), rel=1e-3)


def test_ckdn_s_stages_teach_what_they_should():
    model, samples, recipe = case("ckdn", epochs=4)
    recipe = recipe.model_copy(update={"validate_every": 2})
    before = {key: value.clone() for key, value in model.state_dict().items()}
    moved = []
    for _ in training.fit(model, samples, samples, recipe=recipe, log=str):
        now = model.state_dict()
        moved.append(
            {key.partition(".")[0] for key in now if not torch.equal(now[key], before[key])}
        )
        before = {key: value.clone() for key, value in now.items()}
    assert moved == [{"qse", "aux_csp", "aux_fc"}, {"qse", "dte", "csp", "fc"}]
    names = [{id(p) for p in learning_parts(model, stage)} for stage in (0, 1)]
    assert names[0] & names[1] == {id(p) for p in model.qse.parameters()}


def against_pristine(model, samples, **kwargs):
    """CKDN's upper bound: the pristine image in place of the degraded one."""
    return predict_samples(
        model, samples._replace(parts=samples.parts | {"degraded": samples.parts["pristine"]})
    )


def test_an_objective_may_say_how_a_validation_predicts():
    model, samples, recipe = case("ckdn", epochs=2)
    objective = Objective(**vars(model.objective) | {"predict": against_pristine})
    (row,) = training.fit(model, samples, samples, recipe=recipe, objective=objective, log=str)
    labels = samples.table.label
    off = np.abs(against_pristine(model, samples) - labels).mean()
    assert (
        row["val_l1"]
        == pytest.approx(off)
        != np.abs(predict_samples(model, samples) - labels).mean()
    )


def test_an_objective_s_functions_have_names():
    with pytest.raises(ValueError, match="forward is .*<lambda>: name a function of a module"):
        Objective(forward=lambda model, *views: model(*views))
    known = create_model("ckdn", backbone="test_convnext", pretrained=False).objective.identity()
    assert known["loss"] == "iqa_core.models.ckdn.staged_loss" and known["stages"] == "2"


def test_frozen_crops_are_for_models_that_read_pooled_stages():
    _, samples, _ = case("frozen crops", epochs=1)
    for name, arguments in {"maniqa": {"backbone": "vit_tiny_patch16_224", "crop": 128}}.items():
        model = create_model(name, **arguments, pretrained=False)
        recipe = training.Recipe(epochs=1, batch_size=4, backbone_lr=0, head_lr=0, weight_decay=0)
        with pytest.raises(ValueError, match="MANIQA cannot be trained on frozen crops"):
            next(training.fit(model, samples, samples, recipe=recipe))
