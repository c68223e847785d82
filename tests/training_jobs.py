"""What tests have other processes do: trainings that are killed, and trainings that several share.

`run` forks them from a server that has imported everything once and never started a thread.
"""

import io
import multiprocessing
import os
import shutil
import signal
import socket
import sys
from multiprocessing import forkserver
from pathlib import Path
from unittest import mock

import numpy as np
import pandas as pd
import torch
from torch import nn

from iqa_core import evaluation, runs, training
from iqa_core.loading import Samples
from iqa_core.models import Contract

SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(
    ["training_jobs", "objective_jobs", "torch.utils.tensorboard", "timm.layers"]
)


def run(job, *arguments, processes=1):
    """Exit codes of `processes` processes that each did job(rank, *arguments)."""
    with mock.patch.dict(
        os.environ, PYTHONPATH=os.pathsep.join(sys.path)
    ):  # which the server does not get otherwise
        forkserver.ensure_running()
    started = [SERVER.Process(target=job, args=(rank, *arguments)) for rank in range(processes)]
    for process in started:
        process.start()
    for process in started:
        process.join(120)
        process.kill()
    return [process.exitcode for process in started]


def fit(model, images, table, val_images, val_table, *, monitor=None, **options):
    """`training.fit` of images and tables; options that are no arguments of it are the recipe's."""
    watched = {
        name: Samples({"image": some}, rows) for name, (some, rows) in (monitor or {}).items()
    }
    arguments = {
        name: options.pop(name) for name in ("objective", "checkpoint", "log") if name in options
    }
    train, val = Samples({"image": images}, table), Samples({"image": val_images}, val_table)
    recipe = training.Recipe(**options)
    return training.fit(model, train, val, recipe=recipe, monitor=watched, **arguments)


def data(number=48, seed=0, contents=4, size=(24, 30), noise=0.0):
    random = np.random.default_rng(seed)
    light = random.uniform(20, 235, number)
    images = [np.clip(random.normal(v, 12, (*size, 3)), 0, 255).astype(np.uint8) for v in light]
    labels = 10 + light / 4 + noise * random.normal(size=number)
    return images, pd.DataFrame({"label": labels, "content": np.arange(number) % contents})


class Small(nn.Module):
    """Two layers with all that a resumed training must find again: running averages, dropout, two
    parts.
    """

    def __init__(self):
        super().__init__()
        self.contract = Contract("test", crop=16, crops=4)
        self.backbone = nn.Sequential(nn.Conv2d(3, 6, 3, stride=2), nn.BatchNorm2d(6), nn.ReLU())
        self.dropout, self.head = nn.Dropout(0.3), nn.Linear(6, 1)

    def forward(self, images):
        return self.head(self.dropout(self.backbone(images).mean((2, 3))))[:, 0]


# ---- killed


KILLS = ("first step", "in a write", "after a write", "middle of an epoch", "validation")
OPTIONS = dict(
    epochs=3, batch_size=8, crops_per_image=1, backbone_lr=1e-2, head_lr=1e-2, weight_decay=1e-4
)
OPTIONS |= dict(colour_jitter=True, flips="all", random_validation=True)


def killed_training(rank, root: Path, where: str, minutes: float) -> None:
    """A run of the notebook 01_x that counts its steps in steps.txt, and is killed there; `where`
    may be "nowhere".
    """
    torch.set_num_threads(1)
    os.environ["IQA_ROOT"] = str(root)
    record = runs.start("01_x", {"experiment": "lab", "run": "a"})
    training.seed_everything(2)
    model, steps, looks = Small(), 0, 0
    count = os.open(root / "steps.txt", os.O_APPEND | os.O_CREAT | os.O_WRONLY)

    def counted(module, _):
        nonlocal steps, looks
        if module.training:
            steps += 1
            os.write(count, b".")
        else:
            looks += 1  # four in a validation of 25 images with four crops each
        if where == {1: "first step", 12 + 4: "middle of an epoch"}.get(steps) and module.training:
            os.kill(os.getpid(), signal.SIGKILL)
        if where == "validation" and looks == 5:
            os.kill(os.getpid(), signal.SIGKILL)

    model.register_forward_pre_hook(counted)
    _lay_traps(where)
    options = OPTIONS | dict(
        checkpoint=record.trainings, checkpoint_minutes=minutes, log=record.note
    )
    for row in fit(model, *data(), *data(25, seed=1, noise=15.0), **options):
        record.log(row)
    torch.save(model.state_dict(), record.path("weights.pt"))
    record.finish({})


def _lay_traps(where):
    """Kill this process in the write of the 16th checkpoint, or just after that of the third."""
    save, replace, numbers = torch.save, Path.replace, iter(range(1, 1000))

    def die_in_write(state, file):
        if next(numbers) < 16:
            return save(state, file)
        whole = io.BytesIO()
        save(state, whole)
        file.write(whole.getvalue()[: len(whole.getvalue()) // 2])
        file.flush()
        os.kill(os.getpid(), signal.SIGKILL)

    def die_after_write(path, target):
        done = replace(path, target)
        if Path(target).name == "last.ckpt" and next(numbers) == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        return done

    if where == "in a write":
        torch.save = die_in_write
    if where == "after a write":
        Path.replace = die_after_write


# ---- shared


class Swin(nn.Module):
    """A small Swin pyramid without dropout, with a part that no score depends on, as published
    networks have.
    """

    def __init__(self):
        from iqa_core.models.pyramid import Pyramid

        super().__init__()
        self.contract = Contract("test", crop=64, crops=1)
        small = dict(
            embed_dim=8,
            depths=(1, 1, 1, 1),
            num_heads=(1, 1, 2, 2),
            drop_path_rate=0.0,
            img_size=64,
            window_size=2,
        )
        self.backbone = Pyramid("swin_tiny_patch4_window7_224", pretrained=False, **small)
        self.head, self.unused = nn.Linear(64, 1), nn.Linear(2, 2)

    def forward(self, images):
        return self.head(self.backbone(images)[-1].mean((2, 3)))[:, 0]


SHARED = {  # arguments of fit for 20 images, 5 steps
    "even": dict(batch_size=4),
    "odd": dict(batch_size=7, crops_per_image=2, flips="all", colour_jitter=True),
    "correlation": dict(batch_size=4, loss="plcc", rank_weight=0.5),
    "fidelity": dict(batch_size=5, loss="fidelity", crops_per_image=1),
    "parts": dict(batch_size=4, accumulate=2),
}
SGD = dict(
    epochs=3,
    backbone_lr=0.01,
    head_lr=0.03,
    weight_decay=1e-4,
    crops_per_image=1,
    optimizer="sgd",
    warmup=0.0,
)
SGD |= dict(precision="64-true", validate_steps=1)


def shared_training(rank, folder: Path, world: int, port: int) -> None:
    """Every training of SHARED, five rows each with the weights then, and the predictions at last:
    <name>-<world>.pt.
    """
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)
    if world > 1:
        told = dict(
            RANK=rank,
            LOCAL_RANK=rank,
            WORLD_SIZE=world,
            LOCAL_WORLD_SIZE=world,
            MASTER_PORT=port,
            GROUP_RANK=0,
        )
        os.environ |= {name: str(value) for name, value in told.items()}
        os.environ |= dict(
            MASTER_ADDR="127.0.0.1", TORCHELASTIC_RUN_ID="test", GLOO_SOCKET_IFNAME="lo"
        )
    images, val = data(20, size=(70, 66)), data(7, seed=1, size=(66, 66))
    for name, options in SHARED.items():
        training.seed_everything(0)
        model, rows = Swin(), []
        for row in fit(model, *images, *val, **SGD | options, log=Silent(rank)):
            weights = {key: value.clone() for key, value in model.state_dict().items()}
            rows.append(
                {key: value for key, value in row.items() if key != "seconds"}
                | {"weights": weights}
            )
            if len(rows) == 5:
                break
        predicted = torch.from_numpy(evaluation.predict(model, val[0], distributed=True))
        torch.save({"rows": rows, "predicted": predicted}, folder / f"{name}-{world}-{rank}.pt")
    if world > 1:
        _stopped_and_taken_up(rank, folder, images, val)
        _norms(rank, folder)


def _stopped_and_taken_up(rank, folder, images, val):
    """Rows of a training in one go, and of one that is left after its second row and begun
    again.
    """
    rows = {}
    for name, stop in (("whole", None), ("left", 2), ("left", None)):
        training.seed_everything(0)
        fitted = fit(
            Swin(),
            *images,
            *val,
            **SGD | dict(epochs=1, batch_size=4),
            checkpoint=folder / name,
            log=Silent(rank),
        )
        rows[name] = []
        for row in fitted:
            rows[name].append({key: value for key, value in row.items() if key != "seconds"})
            if len(rows[name]) == stop:
                if rank == 1:
                    shutil.copytree(folder / "left", folder / "own-1")
                break
    torch.save(rows, folder / f"resumed-{rank}.pt")
    options = SGD | dict(
        epochs=1, batch_size=4, checkpoint=folder / f"own-{rank}", log=Silent(rank)
    )
    training.seed_everything(0)
    try:
        next(fit(Swin(), *images, *val, **options))
    except ValueError as error:
        (folder / f"refused-{rank}.txt").write_text(str(error))


def _norms(rank, folder):
    """The rows and weights of a model with running averages."""
    training.seed_everything(0)
    model = Small()
    options = dict(
        epochs=2,
        batch_size=8,
        crops_per_image=1,
        backbone_lr=1e-2,
        head_lr=1e-2,
        weight_decay=0.0,
        precision="64-true",
    )
    rows = list(fit(model, *data(), *data(25, seed=1, noise=15.0), **options, log=Silent(rank)))
    torch.save(
        {"rows": [row | {"seconds": 0} for row in rows], "weights": model.state_dict()},
        folder / f"norms-{rank}.pt",
    )


class Silent:
    """Takes what a training says; an error in any process but the first."""

    def __init__(self, rank):
        self.rank = rank

    def __call__(self, text):
        assert self.rank == 0


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]
