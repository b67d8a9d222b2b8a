"""The picture: what the questions find, and how long they take, over the size of the bank. SVG, drawn by hand."""
import math
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 1120, 560
FONT = "font-family='Helvetica, Arial, sans-serif'"
GREY, GRID = "#555555", "#e4e4e4"
BLUE, LIGHT_BLUE, ORANGE, GREEN, VIOLET = "#1f6fb4", "#86b7e2", "#d9730d", "#2c8a4b", "#7a4fb0"
LEGEND_LINE = 22


@dataclass(frozen=True)
class Line:
    title: str
    colour: str
    values: list[float]     # one per size
    dashes: str = ""
    marker: bool = True
    width: float = 2.2      # wider ones are drawn first and show beside what covers them


@dataclass(frozen=True)
class Axis:
    """Maps a value to a pixel; `ticks` are (value, label)."""
    low: float
    high: float
    from_pixel: float
    to_pixel: float
    ticks: list[tuple[float, str]]
    logarithmic: bool = True

    def pixel(self, value: float) -> float:
        low, high = self.low, self.high
        if self.logarithmic:
            value, low, high = (math.log10(max(x, 1e-9)) for x in (value, low, high))
        return self.from_pixel + (value - low) / (high - low) * (self.to_pixel - self.from_pixel)


def _text(x: float, y: float, text: str, size: int = 13, anchor: str = "middle", colour: str = GREY, more: str = "") -> str:
    return (f"<text x='{x:.1f}' y='{y:.1f}' font-size='{size}' text-anchor='{anchor}' fill='{colour}' {FONT} {more}>"
            f"{escape(text)}</text>")


def token_label(tokens: int) -> str:
    for unit, name in ((10**9, "B"), (10**6, "M"), (10**3, "K")):
        if tokens >= unit:
            return f"{tokens / unit:.3g}{name}"
    return str(tokens)


def _milliseconds_label(exponent: int) -> str:
    return f"{10 ** exponent:g} ms" if exponent < 3 else f"{10 ** (exponent - 3):g} s"


def _quality_lines(sizes: list[dict]) -> list[Line]:
    lines = []
    for figure, title, colour, width in (("routed", "routing recall", LIGHT_BLUE, 6), ("cited", "cited", ORANGE, 4),
                                         ("answered", "answered", GREEN, 2)):
        for hops, dashes in (("1-hop", ""), ("2-hop", "7 4")):
            what = "one hop" if hops == "1-hop" else ("two hops, first source" if figure == "routed" else "two hops")
            lines.append(Line(f"{title}, {what}", colour, [100 * size["quality"][hops][figure] for size in sizes], dashes,
                              width=width))
    return lines


def _latency_lines(sizes: list[dict]) -> list[Line]:
    return [Line("answer, two hops, median", GREEN, [s["quality"]["2-hop"]["answer"]["median_ms"] for s in sizes], "7 4"),
            Line("answer, one hop, median", GREEN, [s["quality"]["1-hop"]["answer"]["median_ms"] for s in sizes]),
            Line("Retrieve, p99", ORANGE, [s["retrieve"]["p99_ms"] for s in sizes]),
            Line("Retrieve, median", BLUE, [s["retrieve"]["median_ms"] for s in sizes]),
            Line("Retrieve's scoring, median", VIOLET, [s["retrieve"]["stage_median_ms"]["score"] for s in sizes]),
            Line("least time for it (roofline)", GREY, [s["roofline"]["roofline_ms"] for s in sizes], "2 4", False)]


def _panel(title: str, x: Axis, y: Axis, tokens: list[int], lines: list[Line], legend_columns: int) -> list[str]:
    left, right, bottom, top = x.from_pixel - 24, x.to_pixel + 24, y.from_pixel, y.to_pixel
    parts = [_text((left + right) / 2, top - 18, title, 16, colour="#222222", more="font-weight='bold'")]
    for value, label in y.ticks:
        at = y.pixel(value)
        parts.append(f"<line x1='{left}' y1='{at:.1f}' x2='{right}' y2='{at:.1f}' stroke='{GRID}'/>")
        parts.append(_text(left - 8, at + 4.5, label, anchor="end"))
    for value, label in x.ticks:
        at = x.pixel(value)
        parts.append(f"<line x1='{at:.1f}' y1='{bottom}' x2='{at:.1f}' y2='{bottom + 5}' stroke='{GREY}'/>")
        parts.append(_text(at, bottom + 21, label))
    parts.append(f"<path d='M {left} {top} V {bottom} H {right}' fill='none' stroke='{GREY}'/>")
    parts.append(_text((left + right) / 2, bottom + 44, "tokens in the bank"))
    for line in lines:
        points = [(x.pixel(t), y.pixel(v)) for t, v in zip(tokens, line.values)]
        path = " ".join(f"{px:.1f},{py:.1f}" for px, py in points)
        parts.append(f"<polyline points='{path}' fill='none' stroke='{line.colour}' "
                     f"stroke-width='{line.width}' stroke-dasharray='{line.dashes}'/>")
        if line.marker:
            fill = "#ffffff" if line.dashes else line.colour
            radius = 2.4 + line.width / 2
            parts += [f"<circle cx='{px:.1f}' cy='{py:.1f}' r='{radius:.1f}' fill='{fill}' stroke='{line.colour}' "
                      f"stroke-width='1.6'/>"
                      for px, py in points]
    column_width = (right - left) / legend_columns
    for index, line in enumerate(lines):
        column, row = index % legend_columns, index // legend_columns
        start, level = left + column * column_width, bottom + 74 + row * LEGEND_LINE
        parts.append(f"<line x1='{start:.1f}' y1='{level - 4.5}' x2='{start + 30:.1f}' y2='{level - 4.5}' stroke='{line.colour}' "
                     f"stroke-width='{line.width}' stroke-dasharray='{line.dashes}'/>")
        parts.append(_text(start + 38, level, line.title, anchor="start"))
    return parts


def _token_axis(tokens: list[int], left: float, right: float) -> Axis:
    low, high = min(tokens), max(tokens)
    if low == high:
        low, high = low / 2, high * 2
    return Axis(low, high, left, right, [(t, token_label(t)) for t in tokens])


def draw(figures: dict) -> str:
    sizes = figures["sizes"]
    tokens = [size["tokens_wanted"] for size in sizes]
    top, bottom = 96, 400
    quality, latency = _quality_lines(sizes), _latency_lines(sizes)

    least = min(min(line.values) for line in quality)
    floor = min(90, 10 * math.floor(least / 10))
    step = 10 if floor < 80 else 5 if floor < 90 else 2
    percent = Axis(floor, 100, bottom, top, [(v, f"{v}%") for v in range(floor, 101, step)], logarithmic=False)
    shown = [max(value, 1e-3) for line in latency for value in line.values]
    low, high = math.floor(math.log10(min(shown))), math.ceil(math.log10(max(shown)) + 1e-9)
    times = Axis(10.0**low, 10.0**high, bottom, top, [(10.0**e, _milliseconds_label(e)) for e in range(low, high + 1)])

    questions = figures["settings"]["questions_per_kind"]
    last = sizes[-1]
    subtitle = (f"The same {questions} questions of one hop and {questions} of two at every size; the bank grows to "
                f"{last['documents']:,} documents. {figures['settings']['shards']} shards, {last['limits']['threads']} threads, "
                f"{last['instruction_set']}.")
    parts = [f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {WIDTH} {HEIGHT}' width='{WIDTH}' height='{HEIGHT}'>",
             f"<rect width='{WIDTH}' height='{HEIGHT}' fill='#ffffff'/>",
             _text(WIDTH / 2, 28, "A needle bank that grows", 20, colour="#222222", more="font-weight='bold'"),
             _text(WIDTH / 2, 50, subtitle)]
    parts += _panel("What the questions find", _token_axis(tokens, 94, 512), percent, tokens, quality, 2)
    parts += _panel("Latency, one call at a time", _token_axis(tokens, 664, 1072), times, tokens, latency, 2)
    if notes := ", ".join(dict.fromkeys(size["note"] for size in sizes if size["note"])):
        parts.append(_text(WIDTH / 2, HEIGHT - 12, f"While this was measured: {notes}."))
    return "\n".join([*parts, "</svg>"]) + "\n"
