"""The trainings that a notebook's parameters ask for: its own, and those of its variants."""

OF_RECIPE = (
    "epochs", "crops_per_image", "batch_size", "backbone_lr", "head_lr", "weight_decay", "options",
)  # fmt: skip
CHANGEABLE = ("arguments", "contract", "frozen_crops", "seeds", *OF_RECIPE, "model")  # by a variant


def merged(parameters: dict, change: dict) -> dict:
    """The parameters of a variant: those of the full model but for what it changes, of mappings the
    keys that it names. Another model starts from its own arguments and contract.
    """
    changed = dict(parameters)
    if change.get("model", parameters.get("model")) != parameters.get("model"):
        changed |= {"arguments": {}, "contract": {}}
    for key, value in change.items():
        merges = isinstance(changed[key], dict)
        changed[key] = {**changed[key], **value} if merges else value
    return changed


def trainings(parameters: dict) -> dict[str, dict]:
    """Variant -> its parameters, of which the first seed alone; "" for those of the notebook."""
    parts = {"": parameters}
    for variant, change in parameters.get("variants", {}).items():
        parts[variant] = merged(parameters, change)
    for variant, part in parts.items():
        if "seeds" in part:
            parts[variant] = {**part, "seed": part["seeds"][0]}
    return parts
