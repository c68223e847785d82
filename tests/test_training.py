from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torch import nn
from training_jobs import fit

from iqa_core import evaluation, measuring, training
from iqa_core.full_reference import REGISTRY
from iqa_core.metrics import per_content
from iqa_core.models import VOTES, Contract, Objective, create_model
from iqa_core.stats import srcc
from iqa_core.training import Recipe, prepare
from iqa_core.training.schedules import Place, learning_rate


class Brightness(nn.Module):
    """A stand-in with the shape of a model: a one-layer pyramid on the mean colour, and a head."""

    def __init__(self):
        super().__init__()
        self.contract = Contract("test", crop=16, crops=4)
        self.backbone, self.head = nn.Linear(3, 8), nn.Linear(8, 1)

    def forward(self, images):
        return self.head(self.backbone(images.mean((2, 3))).tanh())[:, 0]


def data(number=48, seed=0, contents=4):
    random = np.random.default_rng(seed)
    light = random.uniform(20, 235, number)
    images = [np.clip(random.normal(v, 12, (24, 30, 3)), 0, 255).astype(np.uint8) for v in light]
    return images, pd.DataFrame({"label": 10 + light / 4, "content": np.arange(number) % contents})


PINNED = [0.74601, 0.64130, 0.56734, 0.52881]  # of `trained(epochs=4)`
OPTIONS = dict(
    epochs=6, batch_size=8, crops_per_image=2, backbone_lr=1e-2, head_lr=3e-2, weight_decay=1e-4
)


def trained(seed=0, **changes):
    training.seed_everything(seed)
    model = Brightness()
    rows = list(fit(model, *data(), *data(24, seed=1), seed=seed, **OPTIONS | changes))
    return model, rows


def without_seconds(rows):
    return [{key: value for key, value in row.items() if key != "seconds"} for row in rows]


def test_training_learns_and_keeps_the_best_row_s_weights():
    model, rows = trained()
    assert [row["epoch"] for row in rows] == [1, 2, 3, 4, 5, 6] and rows[-1]["step"] == 6 * 12
    assert rows[-1]["train_l1"] < 0.5 * rows[0]["train_l1"]
    images, table = data(24, seed=1)
    best = max(row["val_score"] for row in rows)
    predicted = evaluation.predict(model, images)
    within = per_content(predicted, table.label, table.content)
    assert within["srcc"] == pytest.approx(best, abs=1e-9)


def test_predictions_are_in_label_units():
    model, rows = trained(validate_every=6)
    images, table = data(24, seed=1)
    error = np.abs(evaluation.predict(model, images) - table.label).mean()
    assert rows[-1]["val_l1"] == pytest.approx(error)
    assert rows[-1]["val_l1"] < 0.5 * table.label.std()


def test_training_and_prediction_see_the_same_pixels_of_a_resized_image():
    class Recorder(Brightness):
        def __init__(self):
            super().__init__()
            self.contract = Contract("test", crop=20, crops=1, resize=20)
            self.contract.interpolation = ("bicubic", "nearest")
            self.seen = {True: set(), False: set()}

        def forward(self, images):
            self.seen[self.training] |= {image.numpy().tobytes() for image in images.contiguous()}
            return super().forward(images)

    images, table = data(8)
    squares = [image[:, :24] for image in images]  # of which the one crop is all
    model = Recorder()
    options = OPTIONS | dict(epochs=1, batch_size=2, flips="none")
    list(fit(model, squares, table, squares, table, **options))
    assert model.seen[True] == model.seen[False] and len(model.seen[True]) == 8


def test_images_smaller_than_the_crop_train_enlarged():
    images, table = data()
    small = [image[: 10 + i % 7, : 9 + i % 20] for i, image in enumerate(images)]
    rows = list(fit(Brightness(), small, table, *data(24, seed=1), **OPTIONS))
    assert rows[-1]["val_srcc"] > 0.9


def test_labels_are_taken_to_the_bounds_of_a_bounded_score():
    class Bounded(Brightness):
        def forward(self, images):
            return 2 + 3 * super().forward(images).sigmoid()

    training.seed_everything(0)
    model = Bounded()
    model.contract.low, model.contract.high, model.contract.units = 2.0, 5.0, "stars"
    rows = list(fit(model, *data(), *data(24, seed=1), **OPTIONS | {"epochs": 20}))
    labels, contract = data()[1].label, model.contract
    assert contract.offset + contract.scale * 2 == pytest.approx(labels.min())
    assert contract.offset + contract.scale * 5 == pytest.approx(labels.max())
    assert (contract.low, contract.high) == (2.0, 5.0)
    assert contract.units == "the labels it is trained on"
    assert rows[-1]["val_l1"] < 0.5 * labels.std()


def test_the_backbone_has_a_learning_rate_of_its_own():
    model = Brightness()
    backbone = model.backbone.weight.detach().clone()
    head = model.head.weight.detach().clone()
    options = OPTIONS | {"epochs": 1, "backbone_lr": 0.0, "weight_decay": 0.0}
    list(fit(model, *data(), *data(24, seed=1), **options))
    assert torch.equal(model.backbone.weight, backbone)
    assert not torch.equal(model.head.weight, head)


def test_what_data_and_model_cannot_do_together_is_said_before_the_first_step():
    def refused(match, *, table=None, contract=None, objective=None, **changes):
        model = Brightness()
        model.contract = model.contract.changed(**(contract or {}))
        images, own = data()
        train = images, own if table is None else table
        options = OPTIONS | changes | {"objective": objective}
        with pytest.raises((ValueError, KeyError), match=match):
            next(fit(model, *train, *data(24, seed=1), **options))

    refused("has no pristine images, .* column `reference`", contract={"reference": "pristine"})
    refused("2 crops make no grid", contract={"crops": 2})
    unlabelled = data()[1].assign(label=[np.nan] + [1.0] * 47)
    refused("1 labels of the train part are no numbers", table=unlabelled)
    refused("batch_tokens is of whole images", batch_tokens=100)
    refused("random_validation is of crops", contract={"crop": None}, random_validation=True)
    refused("Brightness is trained in one stage", stages=[3, 3])
    two = Objective(parts=("image", "partner"), stages=2)
    refused("Brightness is trained in 2 stages; give stages", objective=two)
    alone = data()[1].assign(content=range(48))
    pairs = Objective(parts=("image", "partner"))
    refused("content 0 has one training image", table=alone, objective=pairs)
    refused("learns by emd; leave loss and rank_weight out", objective=VOTES, loss="l1")


def test_the_same_seed_gives_the_same_rows_and_another_seed_others():
    rows = without_seconds(trained(3)[1])
    assert rows == without_seconds(trained(3)[1])
    assert rows[0]["train_l1"] != trained(4)[1][0]["train_l1"]


def test_a_row_every_so_many_epochs_and_one_for_the_last():
    assert [row["epoch"] for row in trained(validate_every=4)[1]] == [4, 6]


# ---- learning rates


def rates(name, base, *, steps=1000, epochs=10, head=True, warmup=0.0, decay_epochs=6, each=1):
    """The rates of every `each`th step."""
    options = dict(head=head, warmup=warmup, decay_epochs=decay_epochs)
    return [
        learning_rate(name, base, Place(s, steps, s * epochs // steps, epochs), **options)
        for s in range(0, steps, each)
    ]


def test_the_learning_rate_warms_up_then_falls_to_a_hundredth():
    found = rates("cosine", 1.0, warmup=0.05)
    assert found[0] < 0.03
    assert max(found) == pytest.approx(1, abs=1e-3)
    assert found.index(max(found)) == pytest.approx(50, abs=1)
    assert found[-1] == pytest.approx(0.01, abs=1e-4) and all(np.diff(found[51:]) < 0)


def test_constant_and_step():
    assert set(rates("constant", 0.3)) == {0.3}
    assert rates("step", 1.0, decay_epochs=3, each=100) == pytest.approx(
        [1, 1, 1, 0.1, 0.1, 0.1, 0.01, 0.01, 0.01, 0.001]
    )
    warm = rates("step", 1.0, warmup=0.05)
    assert warm[0] < 0.03 and warm[50] == 1.0


SMART = {  # as the published code computes them: peak rate, epochs, rates in order
    (5e-7, 10): "5.00 5.12 5.48 6.03 6.73 7.50 8.27 8.97 9.52 9.88 e-7",
    (5e-6, 10): "5.00 4.90 4.62 4.18 3.62 3.00 2.38 1.82 1.38 1.10 e-6",
}


@pytest.mark.parametrize("case", SMART)
def test_smart_s_cosine_ends_at_1e_6_whatever_it_starts_from(case):
    *expected, unit = SMART[case].split()
    base, epochs = case
    found = rates("smart", base, steps=epochs, epochs=epochs)
    assert [f"{rate / float('1' + unit):.2f}" for rate in found] == expected


def test_smart_s_other_published_runs():
    backbone = rates("smart", 1e-7, steps=15, epochs=15)
    assert backbone[0] == 1e-7 and f"{backbone[-1]:.1e}" == "9.9e-07" and all(np.diff(backbone) > 0)
    assert rates("smart", 1e-6, steps=15, epochs=15) == pytest.approx([1e-6] * 15)
    assert f"{rates('smart', 5e-6, steps=10)[-1]:.1e}" == "1.1e-06"
    assert f"{rates('smart', 5e-5, steps=10)[-1]:.1e}" == "2.2e-06"


def test_hyperiqa_s_code():
    expected = [2e-4] * 7 + [2e-5] * 3 + [2e-6] * 3 + [2e-7] * 3
    assert rates("hyperiqa", 2e-4, steps=16, epochs=16) == pytest.approx(expected)
    assert rates("hyperiqa", 2e-5, steps=16, epochs=16, head=False) == [2e-5] * 16


@pytest.mark.parametrize(("base", "head"), [(1e-4, False), (1e-3, True)])
def test_smart_iqa_s_resnet_solver(base, head):
    written, expected = base, []
    for t in range(16):  # its loop: train at the rate written last, then write the next
        expected.append(written)
        written = base / 10 ** (t // 6)
    assert rates("smart_resnet", base, steps=16, epochs=16, head=head) == pytest.approx(expected)
    assert expected == pytest.approx([base] * 7 + [base / 10] * 6 + [base / 100] * 3)


def test_maniqa_s_code_swings_with_a_period_of_100_steps():
    found = rates("maniqa", 1e-5, steps=400, epochs=2)
    module = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1e-5)
    theirs, expected = torch.optim.lr_scheduler.CosineAnnealingLR(module, T_max=50, eta_min=0), []
    for _ in range(400):
        expected.append(module.param_groups[0]["lr"])
        module.step()
        theirs.step()
    assert found == pytest.approx(expected, abs=1e-9)
    assert found[50] == pytest.approx(0, abs=1e-12)
    assert found[:100] == pytest.approx(found[100:200], abs=1e-12)


def test_schedules_reach_both_groups_and_the_row():
    rows = trained(schedule="hyperiqa", backbone_lr=1e-3, head_lr=1e-2, epochs=12)[1]
    assert [row["backbone_lr"] for row in rows] == [1e-3] * 12
    assert [row["head_lr"] for row in rows] == pytest.approx([1e-2] * 7 + [1e-3] * 3 + [1e-4] * 2)


# ---- groups, optimizers, quirks


def test_groups_are_the_parts_named_and_the_rest():
    def recipe_of(parts):
        rates = dict(backbone_lr=2e-5, head_lr=2e-4, backbone_weight_decay=0.0, weight_decay=5e-4)
        return Recipe(epochs=1, batch_size=1, backbone_parts=parts, **rates)

    model = create_model("hyperiqa", backbone="resnet18", head="published", pretrained=False)
    for names in (["backbone"], ["backbone", "local"]):  # published: both are in the slow group
        slow, fast = prepare.parameter_groups(model, recipe_of(names))
        expected = [p for name in names for p in getattr(model, name).parameters()]
        assert {id(p) for p in slow["params"]} == {id(p) for p in expected}
        assert len(slow["params"]) + len(fast["params"]) == len(list(model.parameters()))
        assert (slow["lr"], slow["weight_decay"]) == (2e-5, 0.0)
        assert (fast["lr"], fast["weight_decay"]) == (2e-4, 5e-4)
    wanted = "has no part swin to learn as backbone; it has backbone, local, hyper"
    with pytest.raises(KeyError, match=wanted):
        prepare.parameter_groups(model, recipe_of(["swin"]))


@pytest.mark.parametrize("optimizer", ["adamw", "adam", "sgd"])
def test_every_optimizer_learns(optimizer):
    rows = trained(optimizer=optimizer)[1]
    assert rows[-1]["train_l1"] < 0.6 * rows[0]["train_l1"]


def test_the_backbone_s_weight_decay_may_be_none():
    def shrunk(**changes):
        model = Brightness()
        parts = (model.backbone, model.head)
        before = [part.weight.norm().item() for part in parts]
        options = OPTIONS | dict(epochs=1, backbone_lr=1e-3, head_lr=1e-3, weight_decay=200.0)
        options |= dict(schedule="constant", warmup=0.0)
        list(fit(model, *data(), *data(24), **options | changes))
        after = [part.weight.norm().item() for part in parts]
        return tuple(new < 0.3 * old for new, old in zip(after, before, strict=True))

    assert shrunk() == (True, True) and shrunk(backbone_weight_decay=0.0) == (False, True)


def test_a_limit_of_the_gradient_s_norm_is_kept_and_none_is_none():
    def moved(**changes):
        model, start = Brightness(), Brightness()
        start.load_state_dict(model.state_dict())
        options = OPTIONS | dict(epochs=1, backbone_lr=1.0, head_lr=1.0, weight_decay=0.0)
        options |= dict(optimizer="sgd", batch_size=96, warmup=0.0)
        list(fit(model, *data(), *data(24), **options | changes))
        after, before = (
            nn.utils.parameters_to_vector(network.parameters()) for network in (model, start)
        )
        return (after - before).norm().item()

    assert moved(clip=1e-3) == pytest.approx(1e-3, rel=0.01) and moved(clip=None) > 0.1


def test_hyperiqa_s_quirks(tmp_path):
    def learnt(**changes):
        """Whether backbone and head learn after the first of three epochs, of 12 steps; and the
        steps that the optimizer counts for the weight and the bias of each.
        """
        seen, model, folder = [], Brightness(), tmp_path / "_".join(["kept", *changes])
        options = OPTIONS | dict(epochs=3, checkpoint=folder) | changes
        for _ in fit(model, *data(), *data(24), **options):
            seen.append([part.weight.detach().clone() for part in (model.backbone, model.head)])
            (file,) = folder.glob("*/last.ckpt")
            state = torch.load(file, weights_only=True)["optimizer"]["state"]
        moved = [not torch.equal(*pair) for pair in zip(seen[0], seen[2], strict=True)]
        return moved, [of_tensor["step"].item() for of_tensor in state.values()]

    assert learnt() == ([True, True], [36] * 4)
    assert learnt(rebuild_optimizer=True) == ([True, True], [12] * 4)
    assert learnt(exhausted_filter=True) == ([True, False], [36, 36, 12, 12])
    # the head has no state in the new optimizer
    assert learnt(exhausted_filter=True, rebuild_optimizer=True) == ([True, False], [12, 12])


# ---- rows


def test_rows_may_come_by_steps():
    rows = trained(epochs=2, validate_steps=5)[1]
    places = [(row["epoch"], row["step"]) for row in rows]
    assert places == [(1, 5), (1, 10), (2, 15), (2, 20), (2, 24)]


def test_training_ends_when_patience_does(capsys):
    rows = trained(epochs=40, patience=3, backbone_lr=0.0, head_lr=0.0)[1]
    assert [row["best"] for row in rows] == [True, False, False, False]
    assert "stopped after epoch 4, step 48: no better row since epoch 1" in capsys.readouterr().out


def test_other_sets_are_watched_and_choose_only_when_named(capsys):
    images, table = data(24, seed=5)
    upside_down = table.assign(label=-table.label)
    options = dict(validate_steps=3, head_lr=1e-3, backbone_lr=1e-3)
    watched = options | {"monitor": {"other": (images, upside_down)}}
    plain = without_seconds(trained(**options)[1])
    rows = without_seconds(trained(**watched)[1])
    for row in rows:
        assert -1 <= row.pop("other_srcc") <= 1 and -1 <= row.pop("other_plcc") <= 1
    assert rows == plain
    model, rows = trained(**watched, select="other")
    best = max(row["other_srcc"] for row in rows)
    predicted = evaluation.predict(model, images)
    assert srcc(predicted, upside_down.label.to_numpy()) == pytest.approx(best)
    val = [row for row in rows if row["val_best"]][-1]
    assert val["val_score"] == max(row["val_score"] for row in rows)
    log = capsys.readouterr().out
    assert f"chosen on val they give other_srcc {val['other_srcc']:.4f}; " in log
    assert f"choosing on other itself adds {best - val['other_srcc']:+.4f}" in log
    chosen = training.chosen(rows, "other")
    assert (chosen["selected_on"], chosen["other_srcc"]) == ("other", best)
    assert chosen["other_srcc_val_selected"] == val["other_srcc"]
    last_best = [row["step"] for row in plain if row["best"]][-1]
    assert training.chosen(plain)["selected_step"] == last_best


def test_a_log_tells_model_data_and_choice(capsys):
    trained(epochs=1)
    log = capsys.readouterr().out
    for expected in (
        "model: Brightness; 32 parameters (backbone) learn at 0.01, 9 at 0.03, 0 are fixed",
        "train 48 images of 4 contents, labels 15.1",
        "crops of 16 pixels",
        "device: cpu, processes 1",
        "stopped after epoch 1, step 12: all epochs are done\n"
        "weights chosen on val: epoch 1, step 12, val_score",
    ):
        assert expected in log


def test_validation_at_random_places_is_new_in_every_row_and_repeats_with_the_seed():
    frozen = dict(backbone_lr=0.0, head_lr=0.0, epochs=3)

    def errors(**options):
        return [row["val_l1"] for row in trained(**frozen, **options)[1]]

    first = errors(random_validation=True)
    assert len(set(first)) == 3 and first == errors(random_validation=True)
    assert len(set(errors())) == 1


# ---- losses and scales


@pytest.mark.parametrize("loss", ["l1", "l2", "plcc", "fidelity", "rank"])
def test_every_loss_teaches_the_order(loss):
    start = trained(4, backbone_lr=0.0, head_lr=0.0, epochs=1)[1][0]
    assert start["val_srcc"] < -0.95
    assert trained(4, loss=loss, rank_weight=0.3, epochs=3)[1][-1]["val_srcc"] > 0.95


def test_one_crop_a_step():
    assert trained(batch_size=1, epochs=1, crops_per_image=1)[1][0]["step"] == 48


def test_the_ranking_term_is_added_with_its_weight():
    frozen = dict(backbone_lr=0.0, head_lr=0.0, epochs=1)
    found = [trained(rank_weight=weight, **frozen)[1][0] for weight in (0.0, 1.0, 2.0)]
    gained = [row["train_loss"] - found[0]["train_loss"] for row in found]
    assert gained[1] > 0.01 and gained[2] == pytest.approx(2 * gained[1], rel=1e-4)
    assert len({row["train_l1"] for row in found}) == 1


@pytest.mark.parametrize(("scale", "expected"), [("raw", (0, 1)), ("unit", None)])
def test_scores_may_be_held_against_raw_labels_or_those_from_0_to_1(scale, expected):
    labels, model = data()[1].label, Brightness()
    list(fit(model, *data(), *data(24), **OPTIONS | dict(label_scale=scale, epochs=1)))
    low = labels.min()
    assert (model.contract.offset, model.contract.scale) == pytest.approx(
        expected or (low, labels.max() - low)
    )


class Votes(Brightness):
    objective = VOTES

    def __init__(self):
        super().__init__()
        self.contract = Contract("test", crop=16, crops=4, low=1.0, high=5.0)
        self.head = nn.Linear(8, 5)

    def distribution(self, images):
        return self.head(self.backbone(images.mean((2, 3))).tanh()).softmax(1)

    def forward(self, images):
        return self.distribution(images) @ torch.arange(1.0, 6.0)


def test_emd_learns_votes_and_wants_them():
    images, table = data()
    light = (table.label.to_numpy() - 15) / 54
    votes = np.stack([np.exp(-((light * 4 + 1 - k) ** 2)) for k in range(1, 6)], 1)
    columns = {f"c{k}": votes[:, k - 1] for k in range(1, 6)}
    table = table.assign(label=votes @ np.arange(1, 6) / votes.sum(1), **columns)
    model, options = Votes(), OPTIONS | dict(epochs=8)
    rows = list(fit(model, images, table, images, table, **options))
    assert rows[-1]["train_loss"] < 0.3 * rows[0]["train_loss"]
    assert rows[-1]["val_l1"] < 0.4 * table.label.std()
    assert (model.contract.offset, model.contract.scale) == (0.0, 1.0)
    wanted = "emd learns votes: the table needs c1 to c5, and their mean as its label"
    with pytest.raises(ValueError, match=wanted):
        list(fit(Votes(), *data(), *data(24), **options))
    with pytest.raises(ValueError, match="Brightness predicts a score, choose another loss"):
        list(fit(Brightness(), images, table, *data(24), **options, loss="emd"))


def test_four_losses_of_a_tiny_run_are_pinned():
    assert [row["train_loss"] for row in trained(epochs=4)[1]] == pytest.approx(PINNED, abs=1e-4)


class Memory(nn.Module):
    def __init__(self):
        super().__init__()
        self.contract = Contract("test", crop=24, crops=1)
        self.backbone, self.head = nn.Linear(24 * 24 * 3, 32), nn.Linear(32, 1)

    def forward(self, images):
        return self.head(self.backbone(images.flatten(1)).relu())[:, 0]


def test_eight_images_are_learnt_by_heart():
    random = np.random.default_rng(0)
    images = [random.integers(0, 256, (24, 24, 3), dtype=np.uint8) for _ in range(8)]
    table = pd.DataFrame({"label": random.random(8)})
    options = OPTIONS | dict(epochs=150, backbone_lr=1e-3, head_lr=1e-2, weight_decay=0.0)
    options |= dict(flips="none", validate_every=50)
    rows = list(fit(Memory(), images, table, images, table, **options))
    assert rows[-1]["train_l1"] < 0.02 * table.label.std() and rows[-1]["val_srcc"] == 1.0


# ---- what is refused


@pytest.mark.parametrize("what", ["loss", "gradient"])
def test_a_loss_or_gradient_that_is_not_finite_stops_naming_epoch_and_batch(what):
    class Breaking(Brightness):
        steps = 0

        def forward(self, images):
            scores = super().forward(images)
            self.steps += self.training
            if self.training and self.steps == 12 + 3:  # of 12 steps an epoch
                if what == "loss":
                    return scores * torch.nan
                scores.register_hook(lambda gradient: gradient * torch.nan)
            return scores

    wanted = f"{what} is nan in epoch 2, batch 3; look for labels .* lower the learning"
    with pytest.raises(FloatingPointError, match=wanted):
        list(fit(Breaking(), *data(), *data(24), **OPTIONS))


def test_sets_with_an_image_a_content_or_none_are_validated_by_plain_srcc():
    images, table = data(24, seed=1)
    for val in (table.assign(content=range(24)), table[["label"]]):
        rows = list(fit(Brightness(), *data(), images, val, **OPTIONS | dict(epochs=2)))
        assert rows[-1]["val_score"] == rows[-1]["val_srcc"] and "val_content_srcc" not in rows[-1]


def test_a_validation_without_a_value_never_becomes_the_best():
    images, table = data(24, seed=1)
    training = fit(Brightness(), *data(), images, table.assign(label=3.0), **OPTIONS)
    with (
        pytest.raises(ValueError, match="no validation gave an SRCC"),
        pytest.warns(RuntimeWarning, match="have no value"),
    ):
        list(training)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"optimizer": "lion"}, ValueError, "optimizer = 'lion' .*'adamw', 'adam' or 'sgd'"),
        ({"clip": 0}, ValueError, "clip = 0 .*greater than 0"),
        ({"rank_weight": -1.0}, ValueError, "rank_weight = -1.0 .*greater than or equal to 0"),
        ({"warmup": 1.0}, ValueError, "warmup = 1.0 .*less than 1"),
        ({"validate_every": 0}, ValueError, "validate_every = 0 .*greater than 0"),
        ({"colour_jiter": True}, KeyError, "no recipe has 'colour_jiter'; did you mean 'colour_j"),
        ({"epochs": 3}, KeyError, "the notebook has a parameter epochs; set that instead"),
        ({"model": 3}, KeyError, "no recipe has 'model'. It has: stages, accumulate"),
        ({"clip": "1e-1"}, ValueError, "clip = '1e-1' .str.* reads 1e-1 as text, write 1.0e-01"),
        ({"random_validation": "false"}, ValueError, "random_validation = 'false' .str.*bool"),
        ({"patience": 2.5}, ValueError, "patience = 2.5"),
        ({"backbone_parts": "backbone"}, ValueError, "backbone_parts = 'backbone'"),
        ({"stages": [1, 2]}, ValueError, "stages are .1, 2., 3 epochs together, but epochs is 6"),
    ],
)
def test_a_recipe_refuses_what_cannot_be_naming_it(options, error, message):
    with pytest.raises(error, match=message):
        Recipe.from_parameters(OPTIONS | {"model": "hyperiqa", "options": options})


def test_a_recipe_is_a_notebook_s_parameters_and_its_options():
    options = {"clip": None, "backbone_parts": ["backbone", "local"], "warmup": 0, "flips": "all"}
    recipe = Recipe.from_parameters(OPTIONS | {"data_set": "demo", "options": options})
    assert recipe == Recipe(**OPTIONS, **options) and recipe.warmup == 0.0
    with pytest.raises(ValueError, match="no recipe has 'epoch'; did you mean 'epochs'"):
        Recipe(**OPTIONS, epoch=3)


def test_a_set_that_is_not_watched_cannot_choose():
    with pytest.raises(KeyError, match="select is 'test'; there are val"):
        next(fit(Brightness(), *data(), *data(24), **OPTIONS, select="test"))


@pytest.mark.parametrize("loss", ["plcc", "rank", "fidelity"])
def test_losses_without_units_end_in_label_units(loss):
    model = trained(loss=loss)[0]
    images, table = data(24, seed=1)
    predicted = evaluation.predict(model, images)
    slope, start = np.polyfit(predicted, table.label, 1)
    assert (slope, start) == (pytest.approx(1, abs=1e-3), pytest.approx(0, abs=0.1))


def test_colour_jitter_reaches_the_training():
    still = dict(backbone_lr=0.0, head_lr=0.0, weight_decay=0.0, epochs=1)
    plain, jittered = (trained(**still, colour_jitter=on)[1][0] for on in (False, True))
    assert plain["train_loss"] != pytest.approx(jittered["train_loss"], rel=1e-5)


def test_random_places_are_seeded_by_image_and_inside():
    class Corner(Brightness):
        def forward(self, images):
            return images[:, 0, 0, 0] * 255 + images[:, 1, 0, 0] * 255 * 100 + 0 * self.head.bias

    ys, xs = np.mgrid[:24, :30]
    images = [np.stack([xs, ys, xs], -1).astype(np.uint8)] * 150
    model = Corner()
    corners = evaluation.predict(model, images, crops=1, random=(3, 4))
    assert {int(corner) % 100 for corner in corners} == set(range(15))
    assert {int(corner) // 100 for corner in corners} == set(range(9))
    again = evaluation.predict(model, images, crops=1, random=(3, 4), batch_size=7)
    np.testing.assert_array_equal(again, corners)
    assert (evaluation.predict(model, images, crops=1, random=(3, 5)) != corners).any()


def test_empty_and_uneven_parts_are_refused():
    images, table = data()
    with pytest.raises(ValueError, match="the val part has 0 images and 0 rows"):
        list(fit(Brightness(), images, table, [], table[:0], **OPTIONS))
    with pytest.raises(ValueError, match="the train part has 48 images and 47 rows"):
        list(fit(Brightness(), images, table[:47], images, table, **OPTIONS))


# ---- prediction


def test_prediction_averages_the_grid_s_crops_in_label_units_and_keeps_the_mode():
    model = Brightness().train()
    model.contract.offset, model.contract.scale = 50.0, 2.0
    image = data(1)[0][0]
    pixels = torch.from_numpy(image).permute(2, 0, 1).float() / 255
    grid = [pixels[:, top : top + 16, left : left + 16] for top in (0, 8) for left in (0, 14)]
    with torch.no_grad():
        score = model(torch.stack(grid)).mean().item()
    (predicted,) = evaluation.predict(model, [image])
    assert predicted == pytest.approx(50 + 2 * score, abs=1e-5)
    assert model.training


def test_predictions_do_not_depend_on_batches_or_on_other_images():
    model, images = Brightness(), data(7)[0] + [np.zeros((16, 99, 3), np.uint8)]
    one = [evaluation.predict(model, [image])[0] for image in images]
    np.testing.assert_allclose(evaluation.predict(model, images, batch_size=9), one, atol=1e-5)


def test_damaged_weights_are_noticed():
    model = Brightness()
    model.head.bias.data.fill_(np.nan)
    with pytest.raises(ValueError, match="1 predictions are not finite"):
        evaluation.predict(model, data(1)[0])


def test_measures_are_higher_for_better_and_need_references(tmp_path, capsys):
    images = data(3)[0]
    for i, image in enumerate(images):
        Image.fromarray(np.repeat(np.repeat(image, 8, 0), 8, 1)).save(tmp_path / f"{i}.png")
    table = pd.DataFrame({"image": ["1.png", "2.png", "0.png"], "reference": "0.png"})
    names = measuring.measurable(table, ["psnr", "mdsi"], root=tmp_path)
    found = measuring.measure(table, names, root=tmp_path, processes=1)
    assert found.image.tolist() == table.image.tolist()
    assert found.psnr.idxmax() == found.mdsi.idxmax() == 2
    alone = table[["image"]]
    assert measuring.measurable(alone, ["psnr"], root=tmp_path) == []
    assert capsys.readouterr().out == "no references, so not measured on this set: psnr\n"
    assert measuring.measure(alone, [], root=tmp_path).columns.tolist() == ["image"]
    with pytest.raises(KeyError, match="no full-reference measure 'psnrr'"):
        measuring.measurable(alone, ["psnrr"], root=tmp_path)
    Image.new("RGB", (9, 9)).save(tmp_path / "1.png")
    why = r"(?s)^1 of 3 images .* drop their rows.*1.png: it is 9x9, its reference 0.png 240x192;"
    with pytest.raises(ValueError, match=why):
        measuring.measurable(table, ["psnr"], root=tmp_path)
    names = measuring.measurable(table[1:], ["psnr"], root=tmp_path)  # as it was told
    assert len(measuring.measure(table[1:], names, root=tmp_path, processes=1)) == 2


def test_pairs_too_small_for_a_measure_are_named_before_any_work(tmp_path):
    for name in "abcde":
        Image.new("RGB", (15, 40)).save(tmp_path / f"{name}.png")
    table = pd.DataFrame({"image": [f"{name}.png" for name in "bcde"], "reference": "a.png"})
    why = r"4 of 4 .*(?s:.*)b.png: it is 15x40, and haarpsi needs 16 pixels a side(?s:.*)and 1 more"
    with pytest.raises(ValueError, match=why):
        measuring.measurable(table, ["psnr", "haarpsi"], root=tmp_path)
    assert measuring.measurable(table, ["psnr", "ssim"], root=tmp_path) == ["psnr", "ssim"]


def test_a_measure_that_fails_names_the_pair(tmp_path, monkeypatch):
    broken = replace(REGISTRY["psnr"], compute=lambda distorted, reference: float("nan"))
    monkeypatch.setitem(REGISTRY, "psnr", broken)
    for number, name in enumerate("ab"):
        Image.new("L", (20, 20), number).save(tmp_path / f"{name}.png")
    table = pd.DataFrame({"image": ["b.png"], "reference": "a.png"})
    with pytest.raises(ValueError, match="b.png against a.png: psnr of this pair is nan"):
        measuring.measure(table, ["psnr"], root=tmp_path, processes=1)
