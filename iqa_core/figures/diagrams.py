"""What networks are built of, as diagrams."""

import re
from typing import Literal, NamedTuple

import pandas as pd

from .canvas import INK, PAD, Canvas, Rect, fitted
from .page import is_narrow
from .registry import figure

DYNAMIC = "#F44336"
LOOKS = {  # of a block: fill and edge
    "image": {"fc": "white", "ec": "0.4"},
    "backbone": {"fc": "#EDF4FA", "ec": "#0072B2", "lw": 1.4},
    "stage": {"fc": "#CFE3F2", "ec": "#0072B2"},
    "fusion": {"fc": "#FDF3E0", "ec": "#D55E00", "lw": 1.8},
    "pooled": {"fc": "#FBE0B4", "ec": "#D55E00"},
    "gate": {"fc": "#FBD3C0", "ec": "#D55E00", "lw": 1.8},
    "local": {"fc": "#F4F4F4", "ec": "0.5"},
    "branch": {"fc": "#E4E4E4", "ec": "0.5"},
    "hyper": {"fc": "#CDEBDD", "ec": "#00795A"},
    "target": {"fc": "#E4D7F3", "ec": "#5E35B1"},
}
BACKBONES = {  # timm's name, or how it begins -> what it is called
    "swin_tiny": "Swin-T",
    "swin_small": "Swin-S",
    "swin_base": "Swin-B",
    "resnet": "ResNet-",
    "tf_efficientnet_lite": "EfficientNet-Lite",
}
MARKS = "¹²³⁴"
GAP = 0.16  # inches between blocks
DRAWN_OTHERWISE = {  # what a publication says of a block, where its code does otherwise
    "smart_iqa": {
        "fusion": "The report convolves each stage here; the code takes means and puts them side by "
        "side, with nothing to learn.",
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


@figure
def architecture(facts: dict, *, layout: Literal["boxes", "merged", "flow"] = "boxes"):
    """The network as its code runs it: feature maps (channels × height × width), parameters and
    multiply-accumulates (GMACs and MMACs: billions and millions) of each block for one crop,
    counted on the network that was trained. For every image the HyperNet generates the weights of
    the TargetNet (dashed arrow). AFA is the multi-scale fusion, LDA the local distortion-aware
    part. Raised numbers: where the publication describes something else.

    facts    the model.json of HyperIQA or SMART-IQA
    layout   boxes: a box for each stage and what is made of it; merged: stages and fusion as one
             block; flow: a short flow chart

    Returns the figure, and a row a block with columns block, gives, widths, generated, parameters,
    gmacs; the last row is the whole network.

    ValueError for another network or layout, and for a model.json without `architecture`, naming
    the fix.
    """
    layouts = {"boxes": _boxes, "merged": _merged, "flow": _flow}
    if layout not in layouts:
        raise ValueError(f"no layout {layout!r}; there are {', '.join(layouts)}")
    network = _network(facts)
    canvas = Canvas()
    top = _title(canvas, network)
    bottom = layouts[layout](canvas, network, top)
    height = _notes(canvas, network, bottom)
    return canvas.finish(height), _numbers(facts["architecture"])


def _numbers(described):
    """The table of what is drawn."""
    whole = {"block": "all", "parameters": described["parameters"], "gmacs": described["gmacs"]}
    columns = ["block", "gives", "widths", "generated", "parameters", "gmacs"]
    return pd.DataFrame([*described["blocks"], whole]).reindex(columns=columns)


# ---- what the blocks say


class _Network(NamedTuple):
    """A model.json, in words: of each block a title and lines."""

    title: str
    backbone: str
    stages: list[tuple[str, list[str]]]
    pooled: list[list[str]]  # what the fusion makes of each stage; empty without fusion
    branches: list[list[str]]  # what the local part makes of each stage
    words: dict[str, tuple[str, list[str]]]  # image, fusion, gate, local, hyper, target
    generated: str
    notes: list[str]


def _network(facts):
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
    backbone = _backbone(described["backbone"])
    head = " (light head)" if light else ""
    learnt = sum(row["parameters"] for row in stages)
    spent = sum(row["gmacs"] for row in stages)
    return _Network(
        title=f"{name}{head}: {described['parameters']:,} parameters, {_macs(described['gmacs'])}",
        backbone=f"Backbone {backbone}: {_count(learnt)}, {_macs(spent)}",
        stages=[_of_stage(row) for row in stages],
        pooled=_pooled(blocks, len(stages)),
        branches=_of_branches(blocks["local"], len(stages), light=light),
        words=words,
        generated=f"{blocks['hyper']['generated']:,} numbers",
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
    lines = {"local": _cost(local), "hyper": ["generates weights", *_cost(hyper)]}
    own = [_count(target["parameters"])] if target["parameters"] else ["no parameters of its own"]
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
    return [f"mean, {_chain(gate['widths'])}", "softmax", *_cost(gate)]


def _cost(row):
    return [_count(row["parameters"]), _macs(row["gmacs"])]


def _shape(sides):
    return " × ".join(map(str, sides))


def _chain(widths):
    return " → ".join(map(str, widths))


def _below(number):
    return "₀₁₂₃₄₅₆₇₈₉"[number]


def _count(parameters):
    """230 k param."""
    if parameters >= 1e6:
        return f"{parameters / 1e6:.3g} M param."
    return f"{parameters / 1e3:.3g} k param." if parameters >= 1e3 else f"{parameters} param."


def _macs(gmacs):
    """0.767 GMACs, and what is small in millions."""
    return f"{gmacs:.3g} GMACs" if gmacs >= 0.001 else f"{1000 * gmacs:.3g} MMACs"


def _backbone(name):
    for start, called in BACKBONES.items():
        if name.startswith(start):
            number = re.match(r"\d*", name.removeprefix(start))[0]
            return called + number
    return name


# ---- above and below


def _title(canvas, network):
    """The network's name and size; returns where what is below begins."""
    y = PAD + canvas.leading / 2
    lines = fitted(network.title, canvas.width - 2 * PAD, canvas.size + 0.5, "bold")
    for line in lines:
        look = {"weight": "bold", "ha": "left", "fontsize": canvas.size + 0.5}
        canvas.write((PAD, y), line, **look)
        y += canvas.leading * 1.1
    return y + 0.02


def _notes(canvas, network, y):
    """Small type below the drawing; returns the height of the figure."""
    y += 0.08 + canvas.leading / 2
    for note in network.notes:
        for line in fitted(note, canvas.width - 2 * PAD, 7):
            canvas.write((PAD, y), line, ha="left", fontsize=7, color="0.25")
            y += canvas.leading if canvas.size == 7 else 7 * 1.35 / 72
    return y


# ---- a box for each block


def _boxes(canvas, network, top):
    """The backbone in the middle lane, fusion on one side, local part on the other; the lanes lie
    one below the other, or in a column one beside the other.
    """
    place = _Columns if is_narrow() else _Rows
    grid = place(canvas, network, top)
    lanes = grid.lanes
    for lane in lanes:
        canvas.frame(grid.frames[lane], **LOOKS[lane])
        grid.head(lane)
    for lane, cells in grid.cells.items():
        look = LOOKS[{"backbone": "stage", "fusion": "pooled", "local": "branch"}[lane]]
        for rect, (title, lines) in zip(cells, grid.texts[lane], strict=True):
            canvas.box(rect, title, lines, **look)
    for block, rect in grid.single.items():
        canvas.box(rect, *network.words[block], **LOOKS[block])
    grid.arrows()
    return grid.bottom


def _titled(canvas, words, width):
    """Title and lines of a block as the lines of a head above its cells."""
    title, lines = words
    head = fitted(title, width, canvas.size, "bold")
    return [(line, "bold") for line in head] + [
        (part, "normal") for line in lines for part in fitted(line, width, canvas.size)
    ]


class _Grid:
    """Where each block of the layout `boxes` lies."""

    def __init__(self, canvas: Canvas, network: _Network, top: float):
        self.canvas, self.network, self.top = canvas, network, top
        self.has_fusion, self.has_gate = "fusion" in network.words, "gate" in network.words
        self.texts = {
            "fusion": [("", lines) for lines in network.pooled],
            "backbone": network.stages,
            "local": [("", lines) for lines in network.branches],
        }
        if not self.has_fusion:
            del self.texts["fusion"]
        self.lanes = list(self.texts)
        self.cells: dict[str, list[Rect]] = {}
        self.frames: dict[str, Rect] = {}
        self.single: dict[str, Rect] = {}
        self.heads = {}
        self.lay_out()

    def words_of(self, lane: str) -> tuple[str, list[str]]:
        """Head of a lane."""
        return self.network.words.get(lane, (self.network.backbone, []))

    def cell_height(self, lane: str, width: float) -> float:
        """Of the highest cell of a lane."""
        return max(self.canvas.height(width, *text) for text in self.texts[lane])

    def head(self, lane: str) -> None:
        """The lane's name and counts."""
        (x, y), lines = self.heads[lane]
        for number, (text, weight) in enumerate(lines):
            self.canvas.write((x, y + (number + 0.5) * self.canvas.leading), text, weight=weight)


class _Rows(_Grid):
    """Left to right, for a page."""

    def lay_out(self) -> None:
        canvas, stages = self.canvas, len(self.network.stages)
        inner = canvas.width - 2 * PAD - GAP * (stages + 3)
        first, last = 0.155 * inner, 0.225 * inner
        width = (inner - first - last) / stages
        left = PAD + first + 1.5 * GAP
        right = canvas.width - PAD - last
        y = self.top + (0.16 if self.has_gate else 0)
        for lane in self.lanes:
            head = self._one_line(lane, stages * (width + GAP) - GAP)
            height = self.cell_height(lane, width)
            row = y + len(head) * canvas.leading + 0.03
            cells = [Rect(left + k * (width + GAP), row, width, height) for k in range(stages)]
            frame = cells[0].around(cells[-1], 0.06)
            self.frames[lane] = Rect(frame.x, y - 0.04, frame.w, frame.bottom - y + 0.04)
            self.cells[lane] = cells
            self.heads[lane] = ((frame.middle[0], y), head)
            y = frame.bottom + 0.3
        self._singles(first, last, right)
        self.bottom = max(y - 0.3, self.single["target"].bottom + 0.2)

    def _one_line(self, lane, width):
        """The head of a lane: its title, and what it costs behind it."""
        title, lines = self.words_of(lane)
        return [(line, "bold") for line in fitted(": ".join([title, ", ".join(lines)]) if lines
                else title, width, self.canvas.size, "bold")]  # fmt: skip

    def _singles(self, first, last, right):
        canvas, words = self.canvas, self.network.words
        beside = {"image": "backbone", "gate": "fusion"} if self.has_gate else {"image": "backbone"}
        for block, lane in beside.items():
            height = canvas.height(first, *words[block])
            middle = self.cells[lane][0].middle[1]
            self.single[block] = Rect(PAD, middle - height / 2, first, height)
        ends = {"hyper": self.lanes[0], "target": "local"}
        for block, lane in ends.items():
            height = canvas.height(last, *words[block])
            middle = self.frames[lane].middle[1]
            self.single[block] = Rect(right, middle - height / 2, last, height)

    def arrows(self) -> None:
        """Between all of them."""
        canvas, frames, single = self.canvas, self.frames, self.single
        chain = [single["image"], *self.cells["backbone"]]
        for before, after in zip(chain, chain[1:], strict=False):
            canvas.arrow((before.right, after.middle[1]), (after.x, after.middle[1]))
        for number, stage in enumerate(self.cells["backbone"]):
            if self.has_fusion:
                pooled = self.cells["fusion"][number]
                canvas.arrow((stage.middle[0], stage.y), (stage.middle[0], pooled.bottom))
            local = self.cells["local"][number]
            canvas.arrow((stage.middle[0], stage.bottom), (stage.middle[0], local.y))
        hyper, target = single["hyper"], single["target"]
        start = frames["fusion"].right if self.has_fusion else self.cells["backbone"][-1].right
        canvas.arrow((start, hyper.middle[1]), (hyper.x, hyper.middle[1]))
        canvas.arrow((frames["local"].right, target.middle[1]), (target.x, target.middle[1]))
        if self.has_gate:
            gate, last, frame = single["gate"], self.cells["fusion"][-1], frames["fusion"]
            canvas.arrow((gate.right, gate.middle[1]), (frame.x, gate.middle[1]))
            over = frame.y - 0.09
            canvas.arrow((last.right, last.middle[1]), (last.right + 0.03, last.middle[1]),
                         (last.right + 0.03, over), (gate.middle[0], over),
                         (gate.middle[0], gate.y))  # fmt: skip
        _dynamic_down(canvas, self.network, hyper, target)
        _score_below(canvas, target)


class _Columns(_Grid):
    """From above to below, for a column."""

    def lay_out(self) -> None:
        canvas, network, words = self.canvas, self.network, self.network.words
        order = ["local", "backbone", "fusion"] if self.has_fusion else ["local", "backbone"]
        margin = 0.14 if self.has_gate else 0
        gap = 0.2 if self.has_fusion else 1.05
        width = (canvas.width - 2 * PAD - margin - gap * (len(order) - 1)) / len(order) - 0.1
        lefts = {lane: PAD + 0.05 + k * (width + 0.1 + gap) for k, lane in enumerate(order)}
        first = {"image": "backbone", "gate": "fusion"} if self.has_gate else {"image": "backbone"}
        high = max(canvas.height(width, *words[block]) for block in first)
        for block, lane in first.items():
            height = canvas.height(width, *words[block])
            self.single[block] = Rect(lefts[lane], self.top + high - height, width, height)
        heads = {lane: _titled(canvas, self.words_of(lane), width) for lane in order}
        y = self.top + high + 0.2
        cells_from = y + max(map(len, heads.values())) * canvas.leading + 0.04
        height = max(self.cell_height(lane, width) for lane in order)
        for lane in order:
            self.cells[lane] = [
                Rect(lefts[lane], cells_from + k * (height + GAP), width, height)
                for k in range(len(network.stages))
            ]
            frame = self.cells[lane][0].around(self.cells[lane][-1], 0.05)
            self.frames[lane] = Rect(frame.x, y - 0.03, frame.w, frame.bottom - y + 0.03)
            self.heads[lane] = ((frame.middle[0], y), heads[lane])
        below = self.frames["local"].bottom + 0.2
        height = max(canvas.height(width + 0.1, *words[block]) for block in ("hyper", "target"))
        for block, lane in {"target": "local", "hyper": order[-1]}.items():
            self.single[block] = Rect(lefts[lane] - 0.05, below, width + 0.1, height)
        self.bottom = below + height + 0.2 + canvas.leading

    def arrows(self) -> None:
        """Between all of them."""
        canvas, frames, single = self.canvas, self.frames, self.single
        chain = [single["image"], *self.cells["backbone"]]
        x = chain[0].middle[0]
        canvas.arrow((x, chain[0].bottom), (x, frames["backbone"].y))
        for before, after in zip(chain[1:], chain[2:], strict=False):
            canvas.arrow((x, before.bottom), (x, after.y))
        for number, stage in enumerate(self.cells["backbone"]):
            y = stage.middle[1]
            if self.has_fusion:
                canvas.arrow((stage.right, y), (self.cells["fusion"][number].x, y))
            canvas.arrow((stage.x, y), (self.cells["local"][number].right, y))
        hyper, target = single["hyper"], single["target"]
        source = frames["fusion"] if self.has_fusion else self.cells["backbone"][-1]
        canvas.arrow((hyper.middle[0], source.bottom), (hyper.middle[0], hyper.y))
        canvas.arrow((target.middle[0], frames["local"].bottom), (target.middle[0], target.y))
        if self.has_gate:
            gate, last, frame = single["gate"], self.cells["fusion"][-1], frames["fusion"]
            canvas.arrow((gate.middle[0], gate.bottom), (gate.middle[0], frame.y))
            beside = frame.right + 0.1
            canvas.arrow((last.right, last.middle[1]), (beside, last.middle[1]),
                         (beside, gate.middle[1]), (gate.right, gate.middle[1]))  # fmt: skip
        _dynamic_left(canvas, self.network, hyper, target)
        _score_below(canvas, target)


# ---- arrows that all layouts have


def _dashed(canvas, start, end):
    canvas.arrow(start, end, color=DYNAMIC, ls=(0, (4, 2)), lw=1.5)


def _dynamic_down(canvas, network, hyper, target):
    """From the HyperNet down to the TargetNet, its name beside it."""
    x = hyper.x + 0.12 * hyper.w
    _dashed(canvas, (x, hyper.bottom), (x, target.y))
    y = (hyper.bottom + target.y) / 2
    for text, shift, weight in (("Dynamic weights", -0.5, "bold"), (network.generated, 0.5, "normal")):
        place = (x + 0.08, y + shift * canvas.leading)
        canvas.write(place, text, ha="left", color=INK, weight=weight)


def _dynamic_left(canvas, network, hyper, target):
    """From the HyperNet to the TargetNet at its left, its name above it."""
    x, y = (hyper.x + target.right) / 2, hyper.middle[1]
    _dashed(canvas, (hyper.x, y), (target.right, y))
    canvas.write((x, y - 0.65 * canvas.leading), "Dynamic weights", weight="bold", color=INK)
    canvas.write((x, y + 0.75 * canvas.leading), network.generated, color=INK)


def _score_below(canvas, target):
    x = target.middle[0]
    canvas.arrow((x, target.bottom), (x, target.bottom + 0.14))
    canvas.write((x, target.bottom + 0.15 + canvas.leading / 2), "Score", weight="bold")


# ---- stages and fusion as one block


def _merged(canvas, network, top):
    return top


def _flow(canvas, network, top):
    return top
