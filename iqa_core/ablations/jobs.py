"""Which trainings and tests a notebook of ablations asks for: variants of a model, and trainings
that leave a distortion out; checked before any begins.
"""

import copy
import functools
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import torch
from torch import nn

from .. import runs, study, training
from ..loading import Samples, check_frozen
from ..loading.samples import wanted_parts
from ..loading.views import FROZEN
from ..models import create_model, objective_of
from ..models.smart_iqa import AdaptiveGate
from ..runs.variants import CHANGEABLE, OF_RECIPE, merged
from ..training import Recipe

POLICY = ("contract", "frozen_crops")  # how images reach a model: one for all rows of a matrix
# What a single training does not depend on, so that it is not repeated when these change.
OF_NO_TRAINING = {
    "variants": {},
    "compare": [],
    "shuffle": False,
    "left_out": [],
    "transfer": [],
    "averages": {},
    "questions": [],
    "measures": [],
    "others": [],
}


@dataclass(frozen=True)
class Job:
    """One training; or, where `tests_only`, one more test of the full model's network."""

    variant: str
    model: str
    seed: int  # of initialisation, crops, order
    split: str  # its images are divided by
    arguments: dict  # of the network
    contract: dict  # how images reach it
    frozen_crops: int
    recipe: Recipe
    tests_only: bool
    parameters: dict  # of the notebook, for this job alone

    @property
    def name(self) -> str:
        """Of its run folder."""
        return f"{self.variant}-seed{self.seed}"

    @property
    def trained_by(self) -> str:
        """The name of the job that trains the network."""
        return f"full-seed{self.seed}" if self.tests_only else self.name

    @property
    def crops(self) -> int | None:
        """Of an image in evaluation."""
        return _network(self).contract.crops

    @property
    def facts(self) -> dict:
        """What the numbers of its predictions are of, for `tables.stated`."""
        named = {"variant": self.variant, "split": self.split}
        return named | {"seed": self.seed, "crops": self.crops}

    def build(self, record: runs.Run) -> nn.Module:
        """Its network before the training, of which the run takes note."""
        return study.build_network(
            record,
            self.model,
            self.arguments,
            contract=self.contract,
            recipe=self.recipe,
            frozen_crops=self.frozen_crops,
        )


# ---- what is trained


def plan(parameters: dict) -> list[Job]:
    """All jobs of a notebook, by variants, `full` after the others, then the trainings that leave
    distortions out; checked before any begins.

    parameters   those of the notebook; one that declares no `model` is about SMART-IQA, and what
                 `OF_NO_TRAINING` names need not be among them

    KeyError, ValueError or TypeError, naming the variant, for what it cannot change, for a network
    that cannot be built, and for what `training.fit` would refuse; also for pairs of variants that
    there are not, and for a shuffle of stage weights that do not depend on the image.
    """
    variants = parameters["variants"]
    if "full" in variants:
        raise ValueError(
            "full is the model of `arguments`; change these, or name the variant otherwise"
        )
    jobs = []
    for variant, change in {**variants, "full": {}}.items():
        try:
            jobs += _jobs_of(variant, change, parameters)
        except (KeyError, ValueError, TypeError) as error:
            raise type(error)(f"variant {variant}: {error.args[0]}") from error
    _check_comparisons(jobs, parameters)
    full = [job for job in jobs if job.variant == "full"]
    for split in left_out_names(parameters.get("left_out", [])):
        for job in full:
            changed = {**job.parameters, "split": split}
            jobs.append(replace(job, variant=split, split=split, parameters=changed))
    return jobs


def tests_only(change: dict) -> bool:
    """Whether a variant changes nothing but where crops are taken in the test: then the full
    model's networks stand for it.
    """
    allowed = {"contract": {"crops"}, "options": {"random_validation"}}
    return bool(change) and all(
        key in allowed and set(value) <= allowed[key] for key, value in change.items()
    )


def _jobs_of(variant, change, parameters):
    """The jobs of a variant, one a seed; errors for what could not be done."""
    if unknown := sorted(set(change) - set(CHANGEABLE)):
        raise KeyError(f"it cannot change {', '.join(unknown)}, but {', '.join(CHANGEABLE)}")
    unused = {name: value for name, value in OF_NO_TRAINING.items() if name in parameters}
    changed = merged({**parameters, **unused}, change)
    if tests_only(change):
        changed["frozen_crops"] = 0  # another crop is another image
    if not changed["seeds"]:
        raise ValueError("seeds is empty; a training has one")
    jobs = []
    for seed in changed["seeds"]:
        of_recipe = {key: changed[key] for key in OF_RECIPE if key in changed}
        job = Job(
            variant=variant,
            model=changed.get("model", "smart_iqa"),
            seed=seed,
            split=changed["split"],
            arguments=changed["arguments"],
            contract=changed["contract"],
            frozen_crops=changed["frozen_crops"],
            recipe=Recipe.from_parameters({**of_recipe, "seed": seed}),
            tests_only=tests_only(change),
            parameters={**changed, "seeds": [seed]},
        )
        jobs.append(job)
    _check_training(jobs[0])
    return jobs


def _check_training(job):
    """Refuses what `training.fit` would."""
    network = _network(job)
    if job.frozen_crops:
        check_frozen(network, job.frozen_crops)
    image = np.zeros((1, 1), FROZEN if job.frozen_crops else np.uint8)
    table = pd.DataFrame({"label": [0.0, 0.0], "content": ["", ""]})
    stand_in = Samples({part: [image, image] for part in wanted_parts(network)}, table)
    sets = {"train": stand_in, "val": stand_in}
    training.prepare.check(network, objective_of(network), job.recipe, sets)
    training.prepare.parameter_groups(network, job.recipe)


def _network(job):
    """The network of a job, without weights and memory for them."""
    arguments = json.dumps({**job.arguments, "pretrained": False})
    network = copy.copy(_without_memory(job.model, arguments))
    network.contract = network.contract.changed(**job.contract)
    if job.frozen_crops:
        network.contract = network.contract.changed(crops=job.frozen_crops)
    return network


@functools.cache
def _without_memory(model, arguments):
    with torch.device("meta"):
        return create_model(model, **json.loads(arguments))


def _check_comparisons(jobs, parameters):
    """Refuses pairs, a shuffle or a transfer for which the jobs do not give what they need."""
    variants = list(dict.fromkeys(job.variant for job in jobs))
    strangers = {name for pair in parameters.get("compare", []) for name in pair} - set(variants)
    if strangers:
        raise KeyError(
            f"compare names {', '.join(sorted(strangers))}; the variants are {', '.join(variants)}"
        )
    full = jobs[-1]
    if parameters.get("shuffle") and not has_adaptive_gate(_network(full)):
        raise ValueError(
            "shuffle gives images the stage weights of others: full needs an adaptive gate; or "
            "shuffle: false"
        )
    on_the_grid = parameters.get("shuffle") or parameters.get("transfer")
    if full.recipe.random_validation and on_the_grid:
        raise ValueError(
            "shuffle and transfer read crops on the grid, full at random places; leave out "
            "random_validation"
        )


def has_adaptive_gate(model) -> bool:
    """Whether a model's stage weights depend on the image."""
    return isinstance(getattr(model, "gate", None), AdaptiveGate)


def overview(jobs: Sequence[Job], divided: dict[str, study.Data], variants: dict) -> pd.DataFrame:
    """A row a variant: its split, training images, trainings (0 where the full model's networks are
    tested), and what differs from the full model.

    divided   data by the name of the split
    """
    rows = []
    for variant in dict.fromkeys(job.variant for job in jobs):
        of_variant = [job for job in jobs if job.variant == variant]
        split = of_variant[0].split
        row = {"variant": variant, "split": split}
        row["train images"] = len(divided[split].rows("train"))
        row["trainings"] = sum(not job.tests_only for job in of_variant)
        row["what differs from full"] = variants.get(variant, "")
        rows.append(row)
    return pd.DataFrame(rows)


def figure_groups(variants: dict) -> dict[str, list[str]]:
    """The variants that are drawn together: `ladder`, those of another network but for the kind of
    gate; `controls`, those with another gate or none; `settings`, those of the same network.
    """
    changed = {name: set(change.get("arguments", {})) for name, change in variants.items()}
    return {
        "ladder": [name for name, keys in changed.items() if keys and "gate" not in keys],
        "controls": [
            name for name, keys in changed.items() if keys and keys <= {"gate", "attention"}
        ],
        "settings": [name for name, keys in changed.items() if not keys],
    }


def left_out_names(kinds: list[str]) -> list[str]:
    """The splits of the trainings that leave each of some distortions out, and of the one that
    sees all.
    """
    return ["all-types", *(f"without-{kind}" for kind in kinds)] if kinds else []
