"""A flame graph as SVG text: width is time, each frame stands on its caller, titles tell the numbers."""

from __future__ import annotations

from dataclasses import dataclass, field
from html import escape
from typing import TYPE_CHECKING

from benchmarks.stacks import OURS, SYSTEM_CALL, Stack, name_of

if TYPE_CHECKING:
    from collections.abc import Iterator

WIDTH, LINE, TOP = 1200, 17, 40
NARROWEST = 0.6
LETTER = 6.3
COLORS = {"ours": "#e8a25c", "pattern": "#d3c04f", "system": "#7fa8c9", "loop": "#b9b9b9"}


@dataclass
class Node:
    """A frame with its callees; `count` are the samples in it and above."""

    name: str
    count: int = 0
    children: dict[str, Node] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Box:
    name: str
    x: float
    width: float
    depth: int
    share: float


def build(stacks: list[Stack]) -> Node:
    """The tree of all stacks, by function (lines of one function together), from the event loop's turn upwards."""
    root = Node("all")
    for stack in stacks:
        root.count += stack.count
        node = root
        for frame in from_loop(stack.frames):
            node = node.children.setdefault(label(frame), Node(label(frame)))
            node.count += stack.count
    return root


def from_loop(frames: tuple[str, ...]) -> tuple[str, ...]:
    """The frames without what merely started the loop."""
    for place, frame in enumerate(frames):
        if name_of(frame) == "uv_run":
            return frames[place:]
    return frames


def label(frame: str) -> str:
    """`net/exchange.py function` for ours, `write()` for a system call, the bare function for others."""
    if match := OURS.match(frame):
        return f"{match['file'].rpartition('proxy/')[2]} {match['function']}"
    if match := SYSTEM_CALL.match(frame):
        return f"{match['call']}()"
    return name_of(frame)


def lay_out(node: Node, total: int, x: float = 0.0, depth: int = 0) -> Iterator[Box]:
    """The boxes of a node and of all above it; those too narrow to see are left out."""
    width = WIDTH * node.count / total
    if width < NARROWEST:
        return
    yield Box(node.name, x, width, depth, node.count / total)
    for child in sorted(node.children.values(), key=lambda n: n.name):
        yield from lay_out(child, total, x, depth + 1)
        x += WIDTH * child.count / total


def color(name: str) -> str:
    if ".py " in name:
        return COLORS["ours"]
    if "sre" in name:
        return COLORS["pattern"]
    return COLORS["system"] if name.endswith("()") else COLORS["loop"]


def draw(stacks: list[Stack], caption: str) -> str:
    """The SVG document. Stacks without samples give a picture that says so."""
    root = build(stacks)
    boxes = list(lay_out(root, root.count)) if root.count else []
    height = TOP + LINE * (max((box.depth for box in boxes), default=0) + 2)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        'font-family="monospace" font-size="10.5">',
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
        f'<text x="8" y="20" font-size="13">{escape(caption if boxes else "no samples")}</text>',
    ]
    for box in boxes:
        y = height - LINE * (box.depth + 1) - 4
        letters = int((box.width - 4) / LETTER)
        text = box.name if len(box.name) <= letters else box.name[: letters - 1] + "…"
        parts.append(
            f'<g><title>{escape(box.name)}: {box.share:.1%}</title><rect x="{box.x:.1f}" y="{y}" '
            f'width="{box.width:.1f}" height="{LINE - 1}" fill="{color(box.name)}" stroke="white" stroke-width="0.5"/>'
            + (f'<text x="{box.x + 2:.1f}" y="{y + 12}">{escape(text)}</text>' if letters >= 3 else "")
            + "</g>"
        )
    return "\n".join([*parts, "</svg>"]) + "\n"
