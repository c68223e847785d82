"""What diagrams say of a network: its blocks in words, from model.json."""

from typing import NamedTuple

from ..tables.comparison import backbone_name

FAST = "\N{NO-BREAK SPACE}"
MARKS = "¹²³⁴"
DRAWN_OTHERWISE = {  # what a publication says of a block, where its code does otherwise
    "smart_iqa": {
        "fusion": "The report convolves each stage here; the code takes means and puts them side "
        "by side, with nothing to learn.",
        "gate": "The report has sigmoid gates (“channel attention”); the code has a softmax "
        "over one number a stage.",
        "hyper": "In the report it reads stage 4 alone; in the code the fused map.",
        "target": "The report draws fewer layers; the code has {layers}, on the LDA vector.",
    },
    "hyperiqa": {
        "local": "The paper stacks patches and averages them; the code takes means of 7 × 7 and a "
        "linear layer.",
        "target": "The paper speaks of four layers; the code has {layers}.",
    },
}


class Network(NamedTuple):
    """A model.json, in words: of each block a title and lines."""

    title: str
    stages: list[tuple[str, list[str]]]
    pooled: list[list[str]]  # what the fusion makes of each stage; empty without fusion
    branches: list[list[str]]  # what the local part makes of each stage
    words: dict[str, tuple[str, list[str]]]  # image, backbone, fusion, gate, local, hyper, target
    generated: str
    adapts: bool  # whether the stage weights read the image
    notes: list[str]


def network_of(facts: dict) -> Network:
    """A model.json in words; ValueError for a network that has no diagram, and for a file without
    `architecture`, naming the fix.
    """
    if facts["name"] not in DRAWN_OTHERWISE:
        known = ", ".join(DRAWN_OTHERWISE)
        raise ValueError(f"{facts['name']} has no diagram; there is one of {known}")
    if "architecture" not in facts:
        raise ValueError(
            "this model.json is of an earlier version and has no `architecture`: run the notebook "
            "that trained it again (finished weights are kept, nothing is trained), or load and "
            "save it with iqa_core.models.weights: weights.save(weights.load(folder), folder)"
        )
    described = facts["architecture"]
    blocks = {row["block"]: row for row in described["blocks"]}
    stages = [row for name, row in blocks.items() if name.startswith("stage")]
    light = facts["arguments"].get("head") == "light"
    words, notes = _words(facts["name"], blocks, light=light)
    words["image"] = ("Image", [_shape(described["input"])])
    name = {"smart_iqa": "SMART-IQA", "hyperiqa": "HyperIQA"}[facts["name"]]
    head = " (light head)" if light else ""
    learnt = sum(row["parameters"] for row in stages)
    spent = sum(row["gmacs"] for row in stages)
    backbone = backbone_name(described["backbone"])
    words["backbone"] = (f"Backbone {backbone}", [_count(learnt), _macs(spent)])
    return Network(
        title=f"{name}{head}: {described['parameters']:,} parameters, {_macs(described['gmacs'])}",
        stages=[_of_stage(row) for row in stages],
        pooled=_pooled(blocks, len(stages)),
        branches=_of_branches(blocks["local"], len(stages), light=light),
        words=words,
        generated=f"{blocks['hyper']['generated']:,} numbers",
        adapts="widths" in blocks.get("gate", {}),
        notes=notes,
    )


def _of_stage(row):
    title = row["block"].capitalize()
    return title, [_shape(row["gives"]), _count(row["parameters"]), _macs(row["gmacs"])]


def _pooled(blocks, stages):
    """Lines of the fusion's cell of each stage."""
    if "fusion" not in blocks:
        return []
    side = blocks["fusion"]["gives"][-1]
    weight = [[f"× w{_below(number)}"] if "gate" in blocks else [] for number in range(1, 5)]
    return [[f"means, {side} × {side}", *weight[number]] for number in range(stages)]


def _of_branches(local, stages, *, light):
    """Lines of the local part's cell of each stage; the light head's reads the image, too."""
    outputs = local["branches"][-stages:]
    if light:
        return [["mean, deviation", f"linear → {output}"] for output in outputs]
    steps = ["7 × 7 means", "1 × 1 conv."]
    return [
        [*steps[: 1 if number == stages else 2], f"linear → {output}"]
        for number, output in enumerate(outputs, 1)
    ]


def _words(name, blocks, *, light):
    """(block -> title and lines, notes): titles carry the marks of the notes."""
    hyper, target, local = blocks["hyper"], blocks["target"], blocks["local"]
    vector = f"{target['widths'][0]} numbers"
    lines = {"local": [vector, *_cost(local)], "hyper": ["generates weights", *_cost(hyper)]}
    own = [_count(target["parameters"])] if target["parameters"] else ["no parameters"]
    widths = _chain(target["widths"])
    lines["target"] = ["predicts the score", widths, *own, _macs(target["gmacs"])]
    titles = {"local": "LDA", "hyper": "HyperNet", "target": "TargetNet"}
    if light:
        titles["local"] = "Statistics"
    if "fusion" in blocks:
        titles["fusion"] = "Fusion (AFA)"
        lines["fusion"] = [f"side by side, {_shape(blocks['fusion']['gives'])}", "no parameters"]
    if "gate" in blocks:
        titles["gate"] = "Stage weights"
        lines["gate"] = _of_gate(blocks["gate"])
    notes = []
    layers = len(target["widths"]) - 1
    for block, text in DRAWN_OTHERWISE[name].items():
        adaptive = block != "gate" or "widths" in blocks.get("gate", {})
        fused = block != "hyper" or "fusion" in blocks
        if block in titles and adaptive and fused and not light:
            mark = MARKS[len(notes)]
            titles[block] += mark
            notes.append(f"{mark} {text.format(layers=layers)}")
    if light:
        notes.append(
            "The light head is the workbook's own: the image and every map by the means and "
            "deviations of their channels; generated weights correct learnt ones."
        )
    return {block: (titles[block], lines[block]) for block in titles}, notes


def _of_gate(gate):
    if "widths" not in gate:
        return [f"{gate['parameters']} learnt numbers", "softmax"]
    return ["mean of stage 4", f"{_chain(gate['widths'])}, softmax", *_cost(gate)]


def _cost(row):
    return [_count(row["parameters"]), _macs(row["gmacs"])]


def _shape(sides):
    return f"{FAST}×{FAST}".join(map(str, sides))


def _chain(widths):
    return f" →{FAST}".join(map(str, widths))


def _below(number):
    return "₀₁₂₃₄₅₆₇₈₉"[number]


def _count(parameters):
    """230 k param."""
    if parameters >= 999_500:
        return f"{_three(parameters / 1e6)} M param."
    return f"{_three(parameters / 1e3)} k param." if parameters >= 1e3 else f"{parameters} param."


def _macs(gmacs):
    """0.767 GMACs, and what is small in millions."""
    return f"{_three(gmacs)} GMACs" if gmacs >= 0.1 else f"{_three(1000 * gmacs)} MMACs"


def _three(value):
    """Three digits: 7.10."""
    return f"{value:#.3g}".rstrip(".")
