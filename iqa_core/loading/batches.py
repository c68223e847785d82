"""Batches of a training: which samples, where they are looked at, and what the model takes."""

import json
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch

from ..models import Contract, Objective
from .jitter import draw_jitter
from .samples import Samples
from .views import FLIPS, Place, batch, draw_place, is_frozen, resized_shape, shape_of, views

ALIKE = 0.8  # of whole images: the shortest of a batch has at least that part of its longest


class Batch(NamedTuple):
    """One step's samples. `rows` and `partners` are of the whole batch, the rest of this process's
    part of it.
    """

    rows: np.ndarray  # (b,) positions in the samples
    partners: np.ndarray | None  # (b,) those of their partners, where the objective has such
    views: list  # of each input uint8 (n, 3, h, w), a list of (3, h, w), or frozen crops
    colours: tuple | None  # what `jitter.jitter` wants beside the views


class Batches:
    """Batches of samples, epoch after epoch without end, that can be taken up again anywhere.

    In an epoch every sample comes `crops_per_image` times, in random order; a last batch of less
    than half the size is left out, so that no step follows one or two images. Whole images come in
    batches of similar length, each of `batch_size` or as many fewer as `batch_tokens` allows, all
    of them in every epoch; a single image may be a batch. Of several processes all draw the same,
    and each looks at every `world`th sample of a batch.

    `lengths`: of whole images, (n,), by which they are put together. `rank`, `world`: this process
    and their number.
    ValueError for unknown flips, and for a whole image longer than `batch_tokens`.
    """

    def __init__(
        self,
        samples: Samples,
        contract: Contract,
        objective: Objective,
        *,
        batch_size: int,
        crops_per_image: int = 1,
        batch_tokens: int | None = None,
        lengths: Sequence[int] | None = None,
        flips: str = "horizontal",
        colour_jitter: bool = False,
        generator: np.random.Generator,
        rank: int = 0,
        world: int = 1,
    ):
        if flips not in FLIPS:
            raise ValueError(f"flips is {flips!r}; there are {', '.join(FLIPS)}")
        self.samples, self.contract, self.objective = samples, contract, objective
        self.batch_size, self.flips, self.colour_jitter = batch_size, flips, colour_jitter
        self.generator, self.rank, self.world = generator, rank, world
        self.taken = 0  # batches in all
        self.plan: list[np.ndarray] = []  # this epoch's batches, as positions in the samples
        self.positions = np.tile(np.arange(len(samples.table)), crops_per_image)
        self.frozen = is_frozen(samples.parts["image"][0])
        self.buckets = None
        if lengths is not None:
            lengths = np.asarray(lengths)[self.positions]
            buckets = buckets_of(lengths, batch_size=batch_size, tokens=batch_tokens)
            self.buckets = [(self.positions[bucket], parts) for bucket, parts in buckets]
        self.others = (
            _others_of_its_content(samples.table) if "partner" in objective.parts else None
        )

    def __len__(self) -> int:
        """Batches in an epoch."""
        if self.buckets is not None:
            return sum(parts for _, parts in self.buckets)
        full, rest = divmod(len(self.positions), self.batch_size)
        return max(1, full + (rest > 0 and rest >= self.batch_size / 2))

    def smallest(self) -> int:
        """Samples in the smallest batch that there may be."""
        if self.buckets is not None:
            return min(len(bucket) // parts for bucket, parts in self.buckets)
        return min(-(-self.batch_size // 2), len(self.positions))

    def __iter__(self) -> "Batches":
        return self

    def __next__(self) -> Batch:
        if self.taken % len(self) == 0:
            self.plan = self._new_epoch()
        rows = self.plan[self.taken % len(self)]
        partners = None if self.others is None else self._draw_partners(rows)
        arrays = self._look_at(rows, partners)
        colours = None
        if self.colour_jitter:
            order, amounts = draw_jitter(self.generator, len(rows))
            colours = order, amounts[self.rank :: self.world]
        self.taken += 1
        inputs = [batch(one_input) for one_input in zip(*arrays, strict=True)]
        return Batch(rows, partners, inputs, colours)

    def _new_epoch(self):
        if self.buckets is None:
            order = self.generator.permutation(self.positions)
            starts = range(0, len(self) * self.batch_size, self.batch_size)
            return [order[start : start + self.batch_size] for start in starts]
        batches = []
        for bucket, parts in self.buckets:
            batches += np.array_split(self.generator.permutation(bucket), parts)
        return [batches[k] for k in self.generator.permutation(len(batches))]

    def _draw_partners(self, rows):
        """Of every row another one of its content."""
        draws = self.generator.random(len(rows))
        return np.array(
            [
                self.others[row][int(draw * len(self.others[row]))]
                for row, draw in zip(rows, draws, strict=True)
            ]
        )

    def _look_at(self, rows, partners):
        """What the model takes of this process's samples, a list of arrays each. All places are
        drawn, so that a sample's does not depend on the number of processes.
        """
        images = self.samples.parts["image"]
        if self.frozen:
            picks = self.generator.integers(len(images[0]), size=len(rows))
            places = [Place(top=int(pick)) for pick in picks]
        else:
            shapes = [resized_shape(*shape_of(images, row), self.contract) for row in rows]
            drawing = self.contract, self.flips, self.generator
            places = [draw_place(*shape, *drawing) for shape in shapes]
        arrays = []
        for k, (row, place) in enumerate(zip(rows, places, strict=True)):
            if k % self.world == self.rank:
                parts = self._parts(row, None if partners is None else partners[k])
                arrays.append(views(parts, self.contract, [place]))
        return arrays

    def _parts(self, row, partner):
        sample = {}
        for name in self.objective.parts:
            images = self.samples.parts["image" if name == "partner" else name]
            sample[name] = images[partner if name == "partner" else row]
        return sample

    def state_dict(self) -> dict:
        """This epoch's batches, how many are taken, and the generator: tensors, numbers, text."""
        generator = json.dumps(self.generator.bit_generator.state)
        plan = [torch.from_numpy(rows) for rows in self.plan]
        return {"plan": plan, "taken": self.taken, "generator": generator}

    def load_state_dict(self, state: dict) -> None:
        """Go on where `state_dict` was asked for."""
        self.plan = [rows.numpy() for rows in state["plan"]]
        self.taken = state["taken"]
        self.generator.bit_generator.state = json.loads(state["generator"])


def buckets_of(
    lengths: np.ndarray, *, batch_size: int, tokens: int | None
) -> list[tuple[np.ndarray, int]]:
    """Samples of similar length: for each bucket their positions, and the number of batches in
    which an epoch takes them.

    A batch is padded to its longest sample, so it holds at most `tokens` // longest of them, and at
    most `batch_size`. A bucket ends where samples become shorter than `ALIKE` times its longest,
    but not before it fills a batch; what is left at the end joins the bucket before it.
    ValueError for a sample longer than `tokens`.
    """
    if tokens is not None and lengths.max() > tokens:
        raise ValueError(
            f"the longest image makes {lengths.max()} tokens, over batch_tokens: {tokens}; raise it"
        )
    order = np.argsort(-lengths, kind="stable")
    buckets: list[list[int]] = []
    for position in order:
        longest = lengths[buckets[-1][0]] if buckets else 0
        full = buckets and len(buckets[-1]) >= _most(longest, batch_size, tokens)
        if not buckets or (full and lengths[position] < ALIKE * longest):
            buckets.append([])
        buckets[-1].append(position)
    if (
        len(buckets) > 1
        and len(buckets[-1]) < _most(lengths[buckets[-1][0]], batch_size, tokens) / 2
    ):
        buckets[-2] += buckets.pop()
    return [
        (np.array(bucket), -(-len(bucket) // _most(lengths[bucket[0]], batch_size, tokens)))
        for bucket in buckets
    ]


def _most(longest, batch_size, tokens):
    return batch_size if tokens is None else max(1, min(batch_size, tokens // longest))


def _others_of_its_content(table: pd.DataFrame) -> list[np.ndarray]:
    """For every row the positions of the other rows of its content."""
    positions = pd.Series(np.arange(len(table)))
    groups = positions.groupby(table.content.to_numpy()).apply(np.array)
    return [
        group[group != position]
        for position, group in zip(positions, groups[table.content.to_numpy()], strict=True)
    ]
