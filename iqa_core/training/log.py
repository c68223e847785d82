"""What a training says of itself, in sentences for its log."""

import torch

from ..loading.views import FEATURES


def opening(fabric, model, groups: list[dict], tables: dict, data, told: dict) -> str:
    """Model, data, steps and device, a line each. `tables`: of the sets, by name; `told`: the
    arguments of `training.fit`.
    """
    learning = [sum(p.numel() for p in group["params"] if p.requires_grad) for group in groups]
    fixed, contract = sum(p.numel() for p in model.parameters()) - sum(learning), model.contract
    hinge = f" + {told['rank_weight']:g} x hinge" if told["rank_weight"] else ""
    size = f"resized to {contract.resize}" if contract.resize else "as they are"
    crops = f"crops of {contract.crop} pixels, images {size}"
    source = (
        f"features of {len(data.images[0])} fixed {crops}"
        if data.images[0].dtype == FEATURES
        else crops
    )
    device = (
        torch.cuda.get_device_name(fabric.device) if fabric.device.type == "cuda" else fabric.device
    )
    lines = (
        f"model: {type(model).__name__}; {learning[0]:,} parameters "
        f"({', '.join(told['backbone_parts'])}) learn at "
        f"{told['backbone_lr']:g}, {learning[1]:,} at {told['head_lr']:g}, {fixed:,} are fixed",
        "data: " + "; ".join(f"{name} {_set(table)}" for name, table in tables.items()),
        f"input: {source}; label = {contract.offset:.4g} + {contract.scale:.4g} score",
        f"steps: {told['epochs']} epochs of {len(data)} with {told['batch_size']} crops; loss "
        f"{told['loss']}{hinge}, "
        f"{told['optimizer']}, schedule {told['schedule']}, seed {told['seed']}; weights chosen on "
        f"{told['select']}",
        f"device: {device}, processes {fabric.world_size}, precision {told['precision']}, torch "
        f"{torch.__version__}",
    )
    return "\n".join(lines)


def _set(table):
    contents = f" of {table.content.nunique():,} contents" if "content" in table else ""
    return f"{len(table):,} images{contents}, labels {table.label.min():.4g} to {table.label.max():.4g}"


def column(select: str) -> str:
    """The column of a training's rows whose highest value chooses the weights."""
    return "val_score" if select == "val" else f"{select}_srcc"


def chosen(rows: list[dict], select: str = "val") -> dict:
    """Which row of a training chose the weights; where that was not val's choice, what both choices
    give on that other set.

    Keys selected_on, selected_epoch, selected_step and, on another set than val, <set>_srcc and
    <set>_plcc of the chosen row and <set>_srcc_val_selected, <set>_plcc_val_selected of the row
    that val would have chosen."""
    best = [row for row in rows if row["best"]][-1]
    told = {"selected_on": select, "selected_epoch": best["epoch"], "selected_step": best["step"]}
    if select == "val":
        return told
    own, names = [row for row in rows if row["val_best"]][-1], (f"{select}_srcc", f"{select}_plcc")
    return (
        told
        | {name: best[name] for name in names}
        | {f"{name}_val_selected": own[name] for name in names}
    )


def ending(rows: list[dict], steps: int, select: str) -> str:
    """Why it stopped and which row was chosen; where another set than val chose, also what val's
    choice gives there.
    """
    last, told, name = rows[-1], chosen(rows, select), column(select)
    best = [row for row in rows if row["best"]][-1]
    why = (
        "all epochs are done"
        if last["step"] == steps
        else f"no better row since epoch {best['epoch']}"
    )
    lines = [f"stopped after epoch {last['epoch']}, step {last['step']}: {why}"]
    lines.append(
        f"weights chosen on {select}: epoch {best['epoch']}, step {best['step']}, {name} "
        f"{best[name]:.4f}"
    )
    if select != "val":
        honest = told[f"{name}_val_selected"]
        lines.append(
            f"chosen on val they give {name} {honest:.4f}; choosing on {select} itself adds "
            f"{best[name] - honest:+.4f}"
        )
        if last["step"] < steps:
            lines.append(f"{select} also decided how many epochs there were to choose from")
    return "\n".join(lines)
