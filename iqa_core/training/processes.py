"""One training by the processes that torchrun started, or by this one alone.

Every process draws the whole batch, process r of w works on crops r, r + w, ..., and losses are
taken over the whole batch.
"""

import os
from collections.abc import Callable

import timm
import torch
from lightning_fabric import Fabric
from lightning_fabric.strategies import DDPStrategy
from torch import nn


def start(precision: str) -> Fabric:
    """A Fabric over the processes of torchrun, on one device each; over this process alone outside
    torchrun.
    """
    world = int(os.environ.get("WORLD_SIZE", 1))
    local = int(os.environ.get("LOCAL_WORLD_SIZE", world))
    strategy = "auto"
    if world > 1:
        strategy = DDPStrategy(find_unused_parameters=True)  # published networks have unused ones
    fabric = Fabric(
        accelerator="auto",
        devices=local,
        num_nodes=world // local,
        strategy=strategy,
        precision=precision,
    )
    fabric.launch()
    return fabric


def check_batches(fabric: Fabric, smallest: int) -> None:
    """ValueError for more processes than there are samples in the smallest batch."""
    if fabric.world_size > smallest:
        raise ValueError(
            f"{fabric.world_size} processes for batches of which some hold {smallest} images; give "
            "each process two"
        )


def own_dropout(fabric: Fabric, seed: int) -> None:
    """Lets each process draw other random numbers in the network."""
    if fabric.global_rank > 0:
        torch.manual_seed(seed + fabric.global_rank)


class Forward(nn.Module):
    """A model and the function that calls it in a step, as one module: what DDP wraps."""

    def __init__(self, model: nn.Module, function: Callable):
        super().__init__()
        self.model, self.function = model, function

    def forward(self, *views):
        return self.function(self.model, *views)


def set_up(
    fabric: Fabric, model: nn.Module, function: Callable, optimizer: torch.optim.Optimizer
) -> tuple:
    """The network, which calls function(model, *views), and the optimizer, as Fabric wraps them.

    Batch norms of several GPUs share their statistics; on CPUs, where PyTorch cannot, each process
    normalises by its own crops, and the first one's running averages are kept.
    """
    if fabric.world_size > 1 and fabric.device.type == "cuda":
        # In place; PyTorch's own would drop timm's activations.
        timm.layers.convert_sync_batchnorm(model)
    model.to(memory_format=torch.channels_last)
    return fabric.setup(Forward(model, function), optimizer)


def agree(fabric: Fabric, taken: int) -> None:
    """Waits for all processes; ValueError if they do not go on from the same step, as machines that
    share no disk may not.
    """
    found = [taken] * fabric.world_size
    if fabric.world_size > 1:
        torch.distributed.all_gather_object(found, taken)
    if len(set(found)) > 1:
        fix = "let all machines share data/runs, or copy data/runs/.trainings to each"
        raise ValueError(
            f"the processes found checkpoints of different steps ({', '.join(map(str, found))}); "
            f"{fix}"
        )


def same_buffers(fabric: Fabric, model: nn.Module) -> None:
    """Gives all processes the first one's buffers (running averages), so that all validate the same
    network.
    """
    if fabric.world_size > 1:
        for buffer in model.buffers():
            torch.distributed.broadcast(buffer, 0)


def gathered(fabric: Fabric, outputs: torch.Tensor, number: int) -> torch.Tensor:
    """The `number` rows of all processes in the batch's order; gradients flow to this process's
    rows alone.

    A loss of them, times the number of processes, has that loss's gradient once DDP has averaged
    over processes.
    """
    if fabric.world_size == 1:
        return outputs
    most = -(-number // fabric.world_size)  # processes behind the last crop have one less
    padded = torch.cat([outputs, outputs.new_zeros(most - len(outputs), *outputs.shape[1:])])
    everyones = [torch.empty_like(padded) for _ in range(fabric.world_size)]
    torch.distributed.all_gather(everyones, padded.detach())
    everyones[fabric.global_rank] = padded
    return torch.stack(everyones, 1).flatten(0, 1)[:number]
