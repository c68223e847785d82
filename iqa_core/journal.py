"""What a training says of itself, in sentences for its log."""

import torch


def opening(fabric, model, groups: list[dict], tables: dict, data, told: dict) -> str:
    """Model, data, steps and device, a line each. `tables`: of the sets, by name; `told`: the arguments of `training.fit`."""
    learning = [sum(p.numel() for p in group["params"] if p.requires_grad) for group in groups]
    fixed, contract = sum(p.numel() for p in model.parameters()) - sum(learning), model.contract
    hinge = f" + {told['rank_weight']:g} x hinge" if told["rank_weight"] else ""
    device = torch.cuda.get_device_name(fabric.device) if fabric.device.type == "cuda" else fabric.device
    lines = (
        f"model: {type(model).__name__}; {learning[0]:,} parameters ({', '.join(told['backbone_parts'])}) learn at "
        f"{told['backbone_lr']:g}, {learning[1]:,} at {told['head_lr']:g}, {fixed:,} are fixed",
        "data: " + "; ".join(f"{name} {_set(table)}" for name, table in tables.items()),
        f"input: crops of {contract.crop} pixels, images resized to {contract.resize}; label = {contract.offset:.4g} + "
        f"{contract.scale:.4g} x score",
        f"steps: {told['epochs']} epochs of {len(data)} with {told['batch_size']} crops; loss {told['loss']}{hinge}, "
        f"{told['optimizer']}, schedule {told['schedule']}, seed {told['seed']}; weights chosen on {told['select']}",
        f"device: {device}, processes {fabric.world_size}, precision {told['precision']}, torch {torch.__version__}",
    )
    return "\n".join(lines)


def _set(table):
    contents = f" of {table.content.nunique():,} contents" if "content" in table else ""
    return f"{len(table):,} images{contents}, labels {table.label.min():.4g} to {table.label.max():.4g}"


def ending(rows: list[dict], steps: int, select: str, column: str) -> str:
    """Why it stopped and which row was chosen; where another set than val chose, also the row of val's choice."""
    last, best = rows[-1], [row for row in rows if row["best"]][-1]
    why = "all epochs are done" if last["step"] == steps else f"no better row since epoch {best['epoch']}"
    lines = [f"stopped after epoch {last['epoch']}, step {last['step']}: {why}"]
    lines.append(f"weights chosen on {select}: epoch {best['epoch']}, step {best['step']}, {column} {best[column]:.4f}")
    if honest := [row for row in rows if row.get("val_best")]:
        own = honest[-1]
        lines.append(
            f"val would have chosen epoch {own['epoch']}, step {own['step']}, {column} {own[column]:.4f}; "
            f"choosing on {select} itself adds {best[column] - own[column]:+.4f}"
        )
    return "\n".join(lines)
