"""What a training says of itself, in sentences for its log."""

import torch

from ..loading.views import is_frozen
from .prepare import backbone_of


def opening(training) -> str:
    """Model, data, input, steps and device of a training (`step.Training`), a line each."""
    model, recipe, sets = training.model, training.recipe, training.sets
    lines = (
        _model(model, recipe, training.groups),
        "data: " + "; ".join(f"{name} {_set(samples.table)}" for name, samples in sets.items()),
        _input(model.contract, training.batches),
        _steps(recipe, training.batches, training.loss),
        _device(training.fabric, recipe),
    )
    return "\n".join(lines)


def _model(model, recipe, groups):
    counts = {True: 0, False: 0}
    for group in groups:
        counts[group["head"]] += sum(p.numel() for p in group["params"] if p.requires_grad)
    slow, fast = counts[False], counts[True]
    fixed = sum(p.numel() for p in model.parameters()) - slow - fast
    learning = f"{fast:,} parameters learn at {recipe.head_lr:g}"
    if slow:
        backbone = ", ".join(backbone_of(model, recipe))
        learning = (
            f"{slow:,} parameters ({backbone}) learn at {recipe.backbone_lr:g}, "
            f"{fast:,} at {recipe.head_lr:g}"
        )
    return f"model: {type(model).__name__}; {learning}, {fixed:,} are fixed"


def _set(table):
    contents = f" of {table.content.nunique():,} contents" if "content" in table else ""
    labels = f"labels {table.label.min():.4g} to {table.label.max():.4g}"
    return f"{len(table):,} images{contents}, {labels}"


def _input(contract, batches):
    size = f"resized to {contract.resize}" if contract.resize else "as they are"
    text = f"whole images {size}"
    if contract.crop:
        text = f"crops of {contract.crop} pixels, images {size}"
    image = batches.samples.parts["image"][0]
    if is_frozen(image):
        text = f"frozen: {len(image)} fixed {text}"
    if len(batches.objective.parts) > 1:
        text = f"{', '.join(batches.objective.parts)}: {text}"
    return f"input: {text}; label = {contract.offset:.4g} + {contract.scale:.4g} score"


def _steps(recipe, batches, loss):
    whole = batches.buckets is not None
    images = f"{'at most ' if whole else ''}{recipe.batch_size} images"
    hinge = f" + {recipe.rank_weight:g} x hinge" if recipe.rank_weight else ""
    stages = f" in stages of {', '.join(map(str, recipe.stages))}" if recipe.stages else ""
    return (
        f"steps: {recipe.epochs} epochs{stages} of {len(batches)} with {images}; "
        f"loss {loss}{hinge}, {recipe.optimizer}, schedule {recipe.schedule}, seed {recipe.seed}; "
        f"weights chosen on {recipe.select}"
    )


def _device(fabric, recipe):
    device = fabric.device
    if device.type == "cuda":
        device = torch.cuda.get_device_name(device)
    return (
        f"device: {device}, processes {fabric.world_size}, precision {recipe.precision}, "
        f"torch {torch.__version__}"
    )


def column(select: str) -> str:
    """The column of a training's rows whose highest value chooses the weights."""
    return "val_score" if select == "val" else f"{select}_srcc"


def chosen(rows: list[dict], select: str = "val") -> dict:
    """Which row of a training chose the weights; where that was not val's choice, what both choices
    give on that other set.

    Keys selected_on, selected_epoch, selected_step and, on another set than val, <set>_srcc and
    <set>_plcc of the chosen row and <set>_srcc_val_selected, <set>_plcc_val_selected of the row
    that val would have chosen.
    """
    best = [row for row in rows if row["best"]][-1]
    choice = {
        "selected_on": select,
        "selected_epoch": best["epoch"],
        "selected_step": best["step"],
    }
    if select == "val":
        return choice
    val_best = [row for row in rows if row["val_best"]][-1]
    for name in (f"{select}_srcc", f"{select}_plcc"):
        choice[name] = best[name]
        choice[f"{name}_val_selected"] = val_best[name]
    return choice


def ending(rows: list[dict], steps: int, select: str) -> str:
    """Why it stopped and which row was chosen; where another set than val chose, also what val's
    choice gives there.
    """
    last, choice, name = rows[-1], chosen(rows, select), column(select)
    best = [row for row in rows if row["best"]][-1]
    why = "all epochs are done"
    if last["step"] < steps:
        why = f"no better row since epoch {best['epoch']}"
    lines = [
        f"stopped after epoch {last['epoch']}, step {last['step']}: {why}",
        f"weights chosen on {select}: epoch {best['epoch']}, step {best['step']}, "
        f"{name} {best[name]:.4f}",
    ]
    if select != "val":
        honest = choice[f"{name}_val_selected"]
        lines.append(
            f"chosen on val they give {name} {honest:.4f}; choosing on {select} itself adds "
            f"{best[name] - honest:+.4f}"
        )
        if last["step"] < steps:
            lines.append(f"{select} also decided how many epochs there were to choose from")
    return "\n".join(lines)
