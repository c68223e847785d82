"""What networks are built of, as diagrams."""

from typing import Literal

import pandas as pd

from .blocks import Network, network_of
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
GAP = 0.16  # inches between blocks


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
    gmacs; the last row is the whole network, and the only one with costs in a flow chart.

    ValueError for another network or layout, and for a model.json without `architecture`, naming
    the fix.
    """
    layouts = {"boxes": _boxes, "merged": _merged, "flow": _flow}
    if layout not in layouts:
        raise ValueError(f"no layout {layout!r}; there are {', '.join(layouts)}")
    network = network_of(facts)
    canvas = Canvas()
    top = _title(canvas, network)
    bottom = layouts[layout](canvas, network, top)
    height = _notes(canvas, network, bottom)
    return canvas.finish(height), _numbers(facts["architecture"], costs=layout != "flow")


def _numbers(described, *, costs):
    """The table of what is drawn: without the costs of each block, those of the whole alone."""
    whole = {"block": "all", "parameters": described["parameters"], "gmacs": described["gmacs"]}
    columns = ["block", "gives", "widths", "generated", "parameters", "gmacs"]
    table = pd.DataFrame([*described["blocks"], whole]).reindex(columns=columns)
    if not costs:
        table.loc[table.block != "all", ["parameters", "gmacs"]] = float("nan")
    return table


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


def _line(network, block):
    """Title and lines of a block as one line."""
    title, lines = network.words[block]
    return f"{title}: {', '.join(lines)}"


def _titled(canvas, words, width):
    """Title and lines of a block as the lines of a head above its cells."""
    title, lines = words
    head = fitted(title, width, canvas.size, "bold")
    return [(line, "bold") for line in head] + [
        (part, "normal") for line in lines for part in fitted(line, width, canvas.size)
    ]


class _Grid:
    """Where each block of the layout `boxes` lies."""

    def __init__(self, canvas: Canvas, network: Network, top: float):
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
            # Arrows enter the local part from above: its head stands below its cells.
            above = 0.03 if lane == "local" else len(head) * canvas.leading + 0.03
            cells = [
                Rect(left + k * (width + GAP), y + above, width, height) for k in range(stages)
            ]
            bottom = cells[0].bottom + 0.06
            if lane == "local":
                self.heads[lane] = ((cells[0].around(cells[-1]).middle[0], bottom - 0.03), head)
                bottom += len(head) * canvas.leading
            else:
                self.heads[lane] = ((cells[0].around(cells[-1]).middle[0], y), head)
            frame = cells[0].around(cells[-1], 0.06)
            self.frames[lane] = Rect(frame.x, y - 0.04, frame.w, bottom - y + 0.04)
            self.cells[lane] = cells
            y = bottom + 0.3
        self._singles(first, last, right)
        self.bottom = max(y - 0.3, self.single["target"].bottom + 0.2)

    def _one_line(self, lane, width):
        """The head of a lane: its title, and what it costs behind it."""
        return [
            (line, "bold")
            for line in fitted(_line(self.network, lane), width, self.canvas.size, "bold")
        ]

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
                canvas.arrow(
                    (stage.middle[0], frames["backbone"].y), (stage.middle[0], pooled.bottom)
                )
            local = self.cells["local"][number]
            canvas.arrow((stage.middle[0], stage.bottom), (stage.middle[0], local.y))
        hyper, target = single["hyper"], single["target"]
        start = frames["fusion"].right if self.has_fusion else self.cells["backbone"][-1].right
        canvas.arrow((start, hyper.middle[1]), (hyper.x, hyper.middle[1]))
        canvas.arrow((frames["local"].right, target.middle[1]), (target.x, target.middle[1]))
        if self.has_gate:
            gate, last, frame = single["gate"], self.cells["fusion"][-1], frames["fusion"]
            canvas.arrow((gate.right, gate.middle[1]), (frame.x, gate.middle[1]))
        if self.network.adapts:
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
        heads = {lane: _titled(canvas, self.network.words[lane], width) for lane in order}
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
        if self.network.adapts:
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
    x = hyper.x + 0.1 * min(hyper.w, 1.0)
    _dashed(canvas, (x, hyper.bottom), (x, target.y))
    y = (hyper.bottom + target.y) / 2
    for text, shift, weight in (
        ("Dynamic weights", -0.5, "bold"),
        (network.generated, 0.5, "normal"),
    ):
        place = (x + 0.06, y + shift * canvas.leading)
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
    """The stages as one column, each with what the fusion makes of it; the other blocks around."""
    words, has_fusion = network.words, "fusion" in network.words
    inner = canvas.width - 2 * PAD - (0.14 if "gate" in words else 0)
    left = PAD + 0.05
    widths = [0.56 * inner, 0.44 * inner - 0.1] if has_fusion else [inner - 0.1]
    xs = [left, left + widths[0]]
    single = {}
    above = {"image": 0, "gate": 1} if "gate" in words else {"image": 0}
    high = max(canvas.height(widths[k] - 0.2, *words[block]) for block, k in above.items())
    for block, k in above.items():
        width = min(widths[k] - 0.2, 1.8 * canvas.size / 7)
        height = canvas.height(width, *words[block])
        y = top + (0 if block == "gate" else high - height)
        single[block] = Rect(xs[k] + (widths[k] - width) / 2, y, width, height)
    y = top + high + 0.2
    frame, rows = _merged_block(canvas, network, y, xs, widths)
    for rect in single.values():
        canvas.arrow((rect.middle[0], rect.bottom), (rect.middle[0], frame.y))
    if network.adapts:
        gate, last, beside = single["gate"], rows[-1], frame.right + 0.1
        y = last.middle[1]
        canvas.arrow((last.right, y), (beside, y), (beside, gate.middle[1]),
                     (gate.right, gate.middle[1]))  # fmt: skip
    bottom = _merged_below(canvas, network, frame, rows[-1], single)
    for block, rect in single.items():
        canvas.box(rect, *words[block], **LOOKS[block])
    return bottom


def _merged_block(canvas, network, y, xs, widths):
    """Draws the block; returns its frame and the right cell of every stage."""
    lanes = ["backbone", "fusion"][: len(widths)]
    heads = [_titled(canvas, network.words[lane], width - 0.1)
             for lane, width in zip(lanes, widths, strict=True)]  # fmt: skip
    cells_from = y + max(map(len, heads)) * canvas.leading + 0.06
    texts = [[(f"{title}: {shape}", [", ".join(cost)]) for title, (shape, *cost) in network.stages]]
    texts += [[("", [", ".join(lines)]) for lines in network.pooled]]
    height = max(canvas.height(width, *text) for column, width in zip(texts, widths, strict=False)
                 for text in column)  # fmt: skip
    pitch = height + 0.04
    frame = Rect(xs[0] - 0.05, y, sum(widths) + 0.1, cells_from - y + len(texts[0]) * pitch + 0.02)
    canvas.frame(frame, **LOOKS["fusion" if len(widths) > 1 else "backbone"])
    for head, x, width in zip(heads, xs, widths, strict=False):
        for number, (text, weight) in enumerate(head):
            place = (x + width / 2, y + 0.04 + (number + 0.5) * canvas.leading)
            canvas.write(place, text, weight=weight)
    for column, x, width, look in zip(texts, xs, widths, ("stage", "pooled"), strict=False):
        cells = [Rect(x, cells_from + k * pitch, width, height) for k in range(len(column))]
        for cell, text in zip(cells, column, strict=True):
            canvas.box(cell, *text, **LOOKS[look])
    return frame, cells


def _merged_below(canvas, network, frame, last, single):
    """Places local part, HyperNet and TargetNet with their arrows; returns where they end."""
    words, y = network.words, frame.bottom + 0.22
    gap = 0.3 if is_narrow() else 1.15 * canvas.size / 7
    width = (frame.w - gap) / 2 if is_narrow() else (frame.w - gap - 0.3) / 3
    height = max(canvas.height(width, *words[block]) for block in ("local", "hyper", "target"))
    local = single["local"] = Rect(frame.x, y, width, height)
    hyper = single["hyper"] = Rect(frame.right - width, y, width, height)
    canvas.arrow((local.middle[0], frame.bottom), (local.middle[0], y))
    start = frame.bottom if "fusion" in words else last.bottom
    canvas.arrow((hyper.middle[0], start), (hyper.middle[0], y))
    if not is_narrow():
        target = single["target"] = Rect(local.right + 0.3, y, width, height)
        canvas.arrow((local.right, local.middle[1]), (target.x, target.middle[1]))
        _dynamic_left(canvas, network, hyper, target)
    else:
        below = local.bottom + 0.4
        target = Rect(frame.x, below, frame.w, canvas.height(frame.w, *words["target"]))
        single["target"] = target
        canvas.arrow((local.middle[0], local.bottom), (local.middle[0], below))
        _dynamic_down(canvas, network, hyper, target)
    _score_below(canvas, target)
    return target.bottom + 0.2 + canvas.leading


# ---- a flow chart


def _flow(canvas, network, top):
    """Stages as a pile, the image below; each flows to the right into the fusion and to the left
    into the local part.
    """
    words, stages = network.words, network.stages[::-1]
    wide = canvas.width / 3.46
    x = PAD + 0.18
    width = 0.265 * canvas.width
    text = [(title, lines[:1]) for title, lines in stages]
    height = max(canvas.height(width, *one) for one in text)
    head = _Flow(canvas, network)
    y = top + (head.gate_height() + 0.2 if "gate" in words else 0)
    piled = [Rect(x, y + k * (height + GAP), width, height) for k in range(len(stages))]
    for rect, one in zip(piled, text, strict=True):
        canvas.box(rect, *one, **LOOKS["stage"])
    below = piled[-1].bottom + GAP
    image = Rect(x, below, width, canvas.height(width, *words["image"]))
    lines = words["local"][0], words["local"][1][:1]
    local = Rect(x, image.bottom + GAP, width, canvas.height(width, *lines))
    canvas.box(image, *words["image"], **LOOKS["image"])
    canvas.box(local, *lines, **LOOKS["local"])
    for lower, upper in zip([image, *piled[::-1]], piled[::-1], strict=False):
        canvas.arrow((lower.middle[0], lower.y), (lower.middle[0], upper.bottom))
    bus = PAD + 0.04
    for rect in piled:
        canvas.arrow((rect.x, rect.middle[1]), (bus, rect.middle[1]), head=False)
    canvas.arrow((bus, piled[0].middle[1]), (bus, local.middle[1]), (local.x, local.middle[1]))
    start = head.fuse(piled, top, 0.14 * wide)
    return head.judge(start, piled, local)


class _Flow:
    """The right half of the flow chart."""

    def __init__(self, canvas: Canvas, network: Network):
        self.canvas, self.network, self.words = canvas, network, network.words
        self.left = PAD + 0.18 + 0.265 * canvas.width  # where the stages end

    def gate_text(self) -> tuple[str, list[str]]:
        """What the gate's box says: no costs."""
        title, lines = self.words["gate"]
        return title, [", ".join(lines[:2])]

    def gate_height(self) -> float:
        """Of its box."""
        return self.canvas.height(self.canvas.width - PAD - self.left - 0.2, *self.gate_text())

    def fuse(self, piled: list[Rect], top: float, gap: float) -> tuple[float, float]:
        """Draws pooling, weights and fusion; returns where what they give comes out."""
        canvas, first = self.canvas, piled[0]
        if not self.network.pooled:
            return first.right, first.middle[1]
        width = 0.44 * canvas.size / 7
        pooled = [Rect(first.right + gap, rect.y, width, rect.h) for rect in piled]
        for stage, rect, lines in zip(piled, pooled, self.network.pooled[::-1], strict=True):
            text = [lines[0].removeprefix("means, "), *lines[1:]]
            canvas.arrow((stage.right, stage.middle[1]), (rect.x, rect.middle[1]))
            canvas.box(rect, "", text, **LOOKS["pooled"])
        bar = Rect(pooled[0].right + gap, first.y, 0.26 * canvas.size / 7,
                   piled[-1].bottom - first.y)  # fmt: skip
        canvas.frame(bar, **LOOKS["fusion"])
        text = f"{self.words['fusion'][0]}: {self.words['fusion'][1][0].rpartition(', ')[2]}"
        canvas.write(bar.middle, text, rotation=90, weight="bold")
        for rect in pooled:
            canvas.arrow((rect.right, rect.middle[1]), (bar.x, rect.middle[1]))
        if "gate" in self.words:
            x = pooled[0].x
            gate = Rect(x, top, canvas.width - PAD - x, self.gate_height())
            canvas.box(gate, *self.gate_text(), **LOOKS["gate"])
            if self.network.adapts:
                y = gate.middle[1]
                canvas.arrow((first.middle[0], first.y), (first.middle[0], y), (gate.x, y))
            for above, rect in zip([gate, *pooled], pooled, strict=False):
                middle = rect.middle[0]
                canvas.arrow((middle, above.bottom), (middle, rect.y), color="#D55E00")
        return bar.right, bar.middle[1]

    def judge(self, start: tuple[float, float], piled: list[Rect], local: Rect) -> float:
        """Draws HyperNet and TargetNet; returns where they end."""
        canvas, words = self.canvas, self.words
        x = max(start[0], self.left + 0.1) + 0.15 * canvas.width / 3.46
        width = min(canvas.width - PAD - x, 2 * canvas.size / 7)
        x = canvas.width - PAD - width
        short = {"hyper": words["hyper"][1][:1], "target": words["target"][1][:2]}
        high = {name: canvas.height(width, words[name][0], lines) for name, lines in short.items()}
        hyper = Rect(x, start[1] - high["hyper"] / 2, width, high["hyper"])
        target = Rect(x, local.bottom - high["target"], width, high["target"])
        canvas.box(hyper, words["hyper"][0], short["hyper"], **LOOKS["hyper"])
        canvas.box(target, words["target"][0], short["target"], **LOOKS["target"])
        canvas.arrow(start, (hyper.x, start[1]))
        canvas.arrow((local.right, local.middle[1]), (target.x, local.middle[1]))
        _dynamic_down(canvas, self.network, hyper, target)
        _score_below(canvas, target)
        return target.bottom + 0.2 + canvas.leading
