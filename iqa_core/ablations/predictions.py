"""What notebook 04 does around its trainings: data that leave distortions out, tests with other
crops or with stage weights of other images, other sets, rows of other runs.
"""

import zlib
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import torch

from .. import evaluation, runs, splits, study
from ..attention import STAGES, stage_weights
from ..files import read_json
from ..loading import evaluation_views, floats
from ..loading.views import batch
from .jobs import POLICY, Job, has_adaptive_gate

# ---- distortions that a training leaves out


def leave_out(record: runs.Run, data: study.Data, kinds: list[str]) -> dict[str, study.Data]:
    """The data of the trainings of `left_out_parts`, by name; the run keeps their splits in
    splits/<name>.csv.
    """
    divided = {}
    for name, part in left_out_parts(data.table, kinds).items():
        split = data.table[["image"]].assign(split=part).dropna()
        split_hash = splits.save_split(split, record.path(f"splits/{name}.csv"))
        divided[name] = replace(data, part=part, split_hash=split_hash)
    return divided


def left_out_parts(table: pd.DataFrame, kinds: list[str]) -> dict[str, pd.Series]:
    """The part of every row for trainings that see all types of distortion (`all-types`), or all
    but one (`without-<type>`); nothing for no `kinds`.

    Contents are divided as random80-0 does; all test on the same images, all types of the test
    contents. `all-types` trains on as many images as the smallest of the others, drawn with seed 0:
    fewer images are then no part of what a type is worth.
    """
    if not kinds:
        return {}
    all_types = splits.part_of(splits.make_split(table, "random80-0"), table)
    without = {}
    for kind in kinds:
        part = splits.part_of(splits.make_split(table, f"leave-{kind}-out"), table)
        without[f"without-{kind}"] = part.where(all_types != "test", "test")
    fewest = min((part == "train").sum() for part in without.values())
    train = all_types.index[all_types == "train"]
    unused = np.random.default_rng(0).choice(train, len(train) - fewest, replace=False)
    return {"all-types": all_types.drop(unused).reindex(table.index), **without}


# ---- what is predicted


def predict_otherwise(record: runs.Run, job: Job, network, data: study.Data) -> None:
    """A job that only tests, done: predictions.csv of the test images, and the end of its run.

    network   the full model's, trained with the job's seed
    """
    network.contract = network.contract.changed(**job.contract)
    test = study.open_sets(record, data, network)["test"]
    # Crops at random places are each variant's own, so that two such variants differ by them.
    places = job.seed, zlib.crc32(job.variant.encode())
    random = places if job.recipe.random_validation else None
    predicted = evaluation.predict_samples(network, test, random=random, progress=True)
    rows = test.table[["image", "label"]].assign(split="test", predicted=predicted)
    rows.to_csv(record.path("predictions.csv"), index=False)
    record.record(seed=job.seed)
    record.finish({"networks_of": job.trained_by})


def read_predictions(record: runs.Run, jobs: Sequence[Job]) -> pd.DataFrame:
    """Test predictions of all jobs, one under the other: columns image, label, predicted, variant,
    seed, split (the job's), and networks, the variant whose networks predicted.
    """
    parts = []
    for job in jobs:
        rows = pd.read_csv(record.path(job.name) / "predictions.csv")
        rows = rows[rows.split == "test"].assign(variant=job.variant, seed=job.seed)
        networks = "full" if job.tests_only else job.variant
        parts.append(rows.assign(split=job.split, networks=networks))
    return pd.concat(parts, ignore_index=True)


def predict_shuffled(
    record: runs.Run, jobs: Sequence[Job], data: study.Data, *, draws: int = 3
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The test images of finished trainings, judged with the stage weights of other test images,
    drawn at random several times.

    Returns the predictions (columns image, variant "full, shuffled", seed, draw, predicted), and
    the mean stage weights of each image (columns stage1 to stage4, seed).
    """
    generator = np.random.default_rng(0)
    predictions, gates = [], []
    for job in jobs:
        network = study.load_network(record.path(job.name))
        test = study.open_sets(record, data, network, frozen_crops=job.frozen_crops)["test"]
        number = len(test.table)
        orders = np.array([generator.permutation(number) for _ in range(draws)])
        if (orders != np.arange(number)).mean() <= 0.5:
            raise ValueError(f"{number} test images are too few: most keep their own weights")
        scores, weights = shuffled(network, test.parts["image"], orders)
        for draw, predicted in enumerate(scores):
            rows = test.table[["image"]].assign(variant="full, shuffled", seed=job.seed)
            predictions.append(rows.assign(draw=draw, predicted=predicted))
        gates.append(pd.DataFrame(weights.mean(1), columns=STAGES).assign(seed=job.seed))
    return pd.concat(predictions), pd.concat(gates)


@torch.inference_mode()
def shuffled(
    model, images: Sequence[np.ndarray], orders: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Predicted labels of images, each with the stage weights of another.

    images   as for `evaluation.predict`; they may be frozen crops
    orders   (draws, n): image i is judged with the weights of image orders[draw, i], crop by crop;
             all else is its own

    Returns predicted labels (draws, n), and the stage weights (n, crops, 4) of all images.
    ValueError as `attention.stage_weights`, and for a gate that is not adaptive.
    """
    if not has_adaptive_gate(model):
        raise ValueError("only an adaptive gate has weights of other images to give")
    weights = stage_weights(model, images)
    device, training_mode = next(model.parameters()).device, model.training
    exchanged = torch.from_numpy(weights).float().to(device)[torch.as_tensor(orders)]
    draws = len(exchanged)  # (draws, n, crops, 4)
    scores = np.zeros(np.shape(orders))
    model.eval()
    for i, image in enumerate(images):
        # What an image's crops say is read once, and judged under the weights of every draw.
        (crops,) = evaluation_views({"image": image}, model.contract, crops=model.contract.crops)
        features = model.frozen_features(floats(batch([crops]), device, torch.float32))
        outputs = model(features.repeat(draws, 1), weights=exchanged[:, i].flatten(0, 1))
        scores[:, i] = outputs.view(draws, -1).mean(1).cpu()
    model.train(training_mode)
    return model.contract.offset + model.contract.scale * scores, weights


# ---- trained here, tested there


def sets_and_runs(transfer: list[str]) -> tuple[list[str], list[str]]:
    """The sets that `transfer` names (as `study.other_set`), and the runs, <experiment>/<run>."""
    sets = [name for name in transfer if "/" not in name]
    return sets, [name for name in transfer if "/" in name]


def predict_sets(
    record: runs.Run, jobs: Sequence[Job], others: dict[str, study.Data]
) -> pd.DataFrame:
    """The test images of other sets, judged by the networks of finished trainings: columns image,
    label, content, seed, tested (the set's name in `others`), predicted; empty for no sets.
    """
    parts = [pd.DataFrame()]
    for name, other in others.items():
        for job in jobs:
            network = study.load_network(record.path(job.name))
            samples = study.open_other(record, other, network, frozen_crops=job.frozen_crops)
            rows = samples.table.reindex(columns=["image", "label", "content"])
            rows = rows.assign(seed=job.seed, tested=name)
            predicted = evaluation.predict_samples(network, samples, progress=True)
            parts.append(rows.assign(predicted=predicted))
    return pd.concat(parts)


def read_transfers(parameters: dict) -> pd.DataFrame:
    """The rows of transfer.csv of the runs that `transfer` names, for one matrix with that of
    `parameters`; empty without such runs.

    ValueError for a run whose images are read by another rule (`contract`, `frozen_crops`) or that
    was trained on a set that another row has; FileNotFoundError for one that is unfinished or
    tested no other set.
    """
    rows = [pd.DataFrame()]
    rows_of = {parameters["data_set"]: "this run"}  # set: the run that was trained on it
    _, names = sets_and_runs(parameters["transfer"])
    for name in names:
        folder = runs.finished(name)
        theirs = read_json(folder / "params.json")["parameters"]
        data_set = theirs["data_set"]
        for key in POLICY:
            if theirs.get(key) != parameters[key]:
                raise ValueError(
                    f"run {name} has {key} {theirs.get(key)}, not {parameters[key]}: one matrix "
                    "has one crop policy; run one of them anew"
                )
        if data_set in rows_of:
            raise ValueError(
                f"run {name} was trained on {data_set}, as {rows_of[data_set]}; a matrix has one "
                "row a set"
            )
        file = folder / "transfer.csv"
        if not file.is_file():
            raise FileNotFoundError(
                f"run {name} has no transfer.csv: its `transfer` names no other set"
            )
        rows_of[data_set] = name
        rows.append(pd.read_csv(file))
    return pd.concat(rows)
