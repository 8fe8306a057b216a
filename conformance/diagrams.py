"""Parts of drawings as SVG. They have the colour of the text around them, so that they can be read on light, on dark and on paper."""

from collections.abc import Iterable, Sequence
from html import escape
from typing import Final

Point = tuple[float, float]

BOX: Final = (112, 40)
"""Width and height of a box, if none are given."""

_TIP: Final = (
    '<defs><marker id="{name}" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="8" markerHeight="8" orient="auto-start-reverse">'
    '<path d="M0 0L10 5L0 10z" fill="currentColor" stroke="none"/></marker></defs>'
)


class Drawing:
    """An SVG in the making; its lines are in the order in which they are drawn. `name` is a word that no other drawing of a page has."""

    def __init__(self, name: str, size: tuple[int, int], title: str) -> None:
        self._name = name
        begin = (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {size[0]} {size[1]}" width="{size[0]}" role="img"'
            ' font-family="sans-serif" font-size="12" fill="none" stroke="currentColor" style="max-width:max(100%,44rem);height:auto">'
        )
        self._lines = [begin, f"<title>{escape(title)}</title>", _TIP.format(name=f"tip-{name}")]

    def text(self, place: Point, text: str, anchor: str = "middle", *, size: int = 12, weight: str = "normal") -> None:
        """Write a line of text; `anchor` says which part of it is at the place: start, middle or end."""
        style = f'font-size="{size}" font-weight="{weight}" fill="currentColor" stroke="none"'
        self._lines.append(f'<text x="{place[0]:g}" y="{place[1]:g}" text-anchor="{anchor}" {style}>{escape(text)}</text>')

    def texts(self, place: Point, texts: Sequence[str], anchor: str = "middle", *, size: int = 12) -> None:
        """Write lines of text under each other, the first at the place."""
        for number, text in enumerate(texts):
            self.text((place[0], place[1] + number * (size + 3)), text, anchor, size=size)

    def box(self, middle: Point, size: Point = BOX, *, width: float = 1.5, dashes: str = "", corner: int = 6) -> None:
        """Draw a box around a place; with `dashes`, as SVG has them, a frame."""
        left, top = middle[0] - size[0] / 2, middle[1] - size[1] / 2
        dashed = f' stroke-dasharray="{dashes}"' if dashes else ""
        place = f'x="{left:g}" y="{top:g}" width="{size[0]:g}" height="{size[1]:g}"'
        self._lines.append(f'<rect {place} rx="{corner}" stroke-width="{width:g}"{dashed}/>')

    def named_box(self, middle: Point, name: str) -> None:
        """Draw a box with a name in it."""
        self.box(middle)
        self.text((middle[0], middle[1] + 4), name, weight="bold")

    def shade(self, middle: Point, size: Point, opacity: float = 0.16) -> None:
        """Shade an area: whatever was or will be drawn there can still be read."""
        place = f'x="{middle[0] - size[0] / 2:g}" y="{middle[1] - size[1] / 2:g}" width="{size[0]:g}" height="{size[1]:g}"'
        self._lines.append(f'<rect {place} rx="3" fill="currentColor" fill-opacity="{opacity:g}" stroke="none"/>')

    def line(self, *points: Point, width: float = 1, dashes: str = "", has_tip: bool = False) -> None:
        """Draw a line through some points; `has_tip`: it is an arrow to the last."""
        path = "L".join(f"{x:g} {y:g}" for x, y in points)
        self._path(f"M{path}", width, dashes, has_tip)

    def arc(self, start: Point, bend: Point, end: Point) -> None:
        """Draw a bent arrow; `bend` is the point towards which it is bent."""
        self._path(f"M{start[0]:g} {start[1]:g}Q{bend[0]:g} {bend[1]:g} {end[0]:g} {end[1]:g}", 1, "", True)

    def dot(self, place: Point, radius: float = 3.5) -> None:
        """Draw a dot."""
        self._lines.append(f'<circle cx="{place[0]:g}" cy="{place[1]:g}" r="{radius:g}" fill="currentColor" stroke="none"/>')

    def _path(self, path: str, width: float, dashes: str, has_tip: bool) -> None:
        dashed = f' stroke-dasharray="{dashes}"' if dashes else ""
        tip = f' marker-end="url(#tip-{self._name})"' if has_tip else ""
        self._lines.append(f'<path d="{path}" stroke-width="{width:g}"{dashed}{tip}/>')

    def svg(self) -> str:
        """Return the drawing."""
        return "\n".join([*self._lines, "</svg>"])


def around(places: Iterable[Point], *, above: float = 0, below: float = 0) -> tuple[Point, Point]:
    """Return middle and size of a frame around some boxes, with so much room above and below them."""
    (left, right), (top, bottom) = ((min(axis), max(axis)) for axis in zip(*places, strict=True))
    middle = ((left + right) / 2, (top - above + bottom + below) / 2)
    return middle, (right - left + BOX[0] + 20, bottom - top + BOX[1] + 20 + above + below)


def border(inside: Point, toward: Point) -> Point:
    """Return where the line from the middle of a box to some point leaves it."""
    across, down = toward[0] - inside[0], toward[1] - inside[1]
    scale = min(BOX[0] / 2 / abs(across) if across else 9, BOX[1] / 2 / abs(down) if down else 9)
    return inside[0] + across * scale, inside[1] + down * scale
