import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from iqa_core import evaluation, training
from iqa_core.models import Contract
from iqa_core.training import fit


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


OPTIONS = dict(epochs=6, batch_size=8, crops_per_image=2, backbone_lr=1e-2, head_lr=3e-2, weight_decay=1e-4)


def trained(seed=0, **changes):
    training.seed_everything(seed)
    model = Brightness()
    rows = list(fit(model, *data(), *data(24, seed=1), seed=seed, **OPTIONS | changes))
    return model, rows


def test_training_learns_and_keeps_the_best_row_s_weights():
    model, rows = trained()
    assert [row["epoch"] for row in rows] == [1, 2, 3, 4, 5, 6] and rows[-1]["step"] == 6 * 12
    assert rows[-1]["train_l1"] < 0.5 * rows[0]["train_l1"]
    images, table = data(24, seed=1)
    best = max(row["val_score"] for row in rows)
    predicted = evaluation.predict(model, images)
    from iqa_core.metrics import per_content

    assert per_content(predicted, table.label, table.content)["srcc"] == pytest.approx(best, abs=1e-9)


def test_predictions_are_in_label_units():
    model, rows = trained(validate_every=6)
    images, table = data(24, seed=1)
    assert np.abs(evaluation.predict(model, images) - table.label).mean() == pytest.approx(rows[-1]["val_l1"])
    assert rows[-1]["val_l1"] < 0.5 * table.label.std()


def test_training_and_prediction_resize_in_the_same_way(monkeypatch):
    asked = []

    def resize(image, size, interpolation, *, at_least):
        asked.append((size, interpolation, at_least))
        return image

    for module in (training, evaluation):
        monkeypatch.setattr(module, "resize", resize)
    model = Brightness()
    model.contract.resize, model.contract.interpolation = 20, ("bicubic", "nearest")
    list(fit(model, *data(), *data(24, seed=1), **OPTIONS | {"epochs": 1}))
    assert asked == [(20, "bicubic", 16)] * (48 * 2 + 24)


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
    assert (contract.low, contract.high, contract.units) == (2.0, 5.0, "the labels it is trained on")
    assert rows[-1]["val_l1"] < 0.5 * labels.std()


def test_the_backbone_has_a_learning_rate_of_its_own():
    model = Brightness()
    before = model.backbone.weight.detach().clone()
    list(fit(model, *data(), *data(24, seed=1), **OPTIONS | {"epochs": 1, "backbone_lr": 0.0, "weight_decay": 0.0}))
    assert torch.equal(model.backbone.weight, before)


@pytest.mark.parametrize("contract", [{"crop": None}, {"reference": "pristine"}, {"context": 20}])
def test_models_of_whole_images_or_two_inputs_are_refused(contract):
    model = Brightness()
    for name, value in contract.items():
        setattr(model.contract, name, value)
    with pytest.raises(ValueError, match="takes whole images or two of them"):
        next(fit(model, *data(), *data(24, seed=1), **OPTIONS))


def test_the_same_seed_gives_the_same_rows_and_another_seed_others():
    strip = [{k: v for k, v in row.items() if k != "seconds"} for row in trained(3)[1]]
    assert strip == [{k: v for k, v in row.items() if k != "seconds"} for row in trained(3)[1]]
    assert strip[0]["train_l1"] != trained(4)[1][0]["train_l1"]


def test_a_row_every_so_many_epochs_and_one_for_the_last():
    assert [row["epoch"] for row in trained(validate_every=4)[1]] == [4, 6]


def test_the_two_learning_rates_reach_their_groups():
    model, start = Brightness(), Brightness()
    start.load_state_dict(model.state_dict())
    list(fit(model, *data(), *data(24), **OPTIONS | dict(epochs=1, backbone_lr=0.0, weight_decay=0.0)))
    assert torch.equal(model.backbone.weight, start.backbone.weight)
    assert not torch.equal(model.head.weight, start.head.weight)


def test_the_learning_rate_warms_up_then_falls_to_a_hundredth():
    rates = [training._rate(step, 1000, 0.05) for step in range(1001)]
    assert rates[0] < 0.03 and max(rates) == pytest.approx(1, abs=1e-3) and rates.index(max(rates)) == pytest.approx(50, abs=1)
    assert rates[1000] == pytest.approx(0.01) and all(np.diff(rates[51:]) < 0)


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

    with pytest.raises(FloatingPointError, match=f"{what} is nan in epoch 2, batch 3; look for labels .* lower the learning"):
        list(fit(Breaking(), *data(), *data(24), **OPTIONS))


def test_sets_with_an_image_a_content_or_none_are_validated_by_plain_srcc():
    images, table = data(24, seed=1)
    for val in (table.assign(content=range(24)), table[["label"]]):
        rows = list(fit(Brightness(), *data(), images, val, **OPTIONS | dict(epochs=2)))
        assert rows[-1]["val_score"] == rows[-1]["val_srcc"] and "val_content_srcc" not in rows[-1]


def test_a_validation_without_a_value_never_becomes_the_best():
    images, table = data(24, seed=1)
    with (
        pytest.raises(ValueError, match="no validation gave an SRCC"),
        pytest.warns(RuntimeWarning, match="have no value"),
    ):
        list(fit(Brightness(), *data(), images, table.assign(label=3.0), **OPTIONS | dict(epochs=1)))


def test_numbers_below_one_are_refused():
    with pytest.raises(ValueError, match="{'epochs': 0}: at least 1 is wanted"):
        list(fit(Brightness(), *data(), *data(24), **OPTIONS | dict(epochs=0)))


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
    with torch.no_grad():
        scores = [model(torch.from_numpy(image[t : t + 16, x : x + 16].transpose(2, 0, 1)[None].copy()).float() / 255)
                  for t in (0, 8) for x in (0, 14)]  # fmt: skip
    (predicted,) = evaluation.predict(model, [image])
    assert predicted == pytest.approx(50 + 2 * float(torch.stack(scores).mean()), abs=1e-5)
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


def test_measures_are_higher_for_better_and_need_references(tmp_path):
    from PIL import Image

    images = data(3)[0]
    for i, image in enumerate(images):
        Image.fromarray(np.repeat(np.repeat(image, 8, 0), 8, 1)).save(tmp_path / f"{i}.png")
    table = pd.DataFrame({"image": ["1.png", "2.png", "0.png"], "reference": "0.png"})
    found = evaluation.measure(table, ["psnr", "mdsi"], root=tmp_path, processes=1)
    assert found.image.tolist() == table.image.tolist()
    assert found.psnr.idxmax() == found.mdsi.idxmax() == 2
    assert evaluation.measure(table[["image"]], [], root=tmp_path).columns.tolist() == ["image"]
    with pytest.raises(ValueError, match="leave `measures` empty"):
        evaluation.measure(table[["image"]], ["psnr"], root=tmp_path)
