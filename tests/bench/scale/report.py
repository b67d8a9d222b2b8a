"""Table and picture of the figures of scale.py."""
import json
from pathlib import Path

from chart import draw, token_label
from roofline import add_rooflines

Row = tuple[str, list[str]]


def _megabytes(count: int) -> str:
    return f"{count / 1e6:,.{1 if count < 10**7 else 0}f}"


def _whole(number: float | None) -> str:
    return "-" if number is None else f"{number:,.0f}"


def _share(share: float | None) -> str:
    return "-" if share is None else f"{share:.3f}"


def _quality_rows(sizes: list[dict]) -> list[Row]:
    def row(title: str, hops: int, figure: str) -> Row:
        return title, [_share(size["quality"][f"{hops}-hop"].get(figure)) for size in sizes]
    return [
        row("routing recall, one hop", 1, "routed"), row("routing recall, two hops, first source", 2, "routed"),
        row("  in every layer, one hop", 1, "routed_in_every_layer"),
        row("  in every layer, two hops, first source", 2, "routed_in_every_layer"),
        row("  second source, where the first is cited", 2, "round 2 routed"),
        row("cited, one hop", 1, "cited"), row("cited, two hops, first source", 2, "round 1 cited"),
        row("  second source, where the first is cited", 2, "round 2 cited"), row("cited, two hops, both", 2, "cited"),
        row("answered, one hop", 1, "answered"), row("answered, two hops", 2, "answered")]


def _latency_rows(sizes: list[dict]) -> list[Row]:
    def row(title: str, value) -> Row:
        return title, [f"{value(size):,.1f}" for size in sizes]
    return [
        row("Retrieve, median, ms", lambda s: s["retrieve"]["median_ms"]),
        row("Retrieve, p99, ms", lambda s: s["retrieve"]["p99_ms"]),
        row("  processor time, all threads, ms", lambda s: s["retrieve"]["processor_ms"]),
        row("  of it scoring, median, ms", lambda s: s["retrieve"]["stage_median_ms"]["score"]),
        row("  before the restart, median, ms", lambda s: s["retrieve_before_restart"]["median_ms"]),
        row("least time of this machine (roofline), ms", lambda s: s["roofline"]["roofline_ms"]),
        row("  its share of Retrieve, %", lambda s: 100 * s["retrieve"]["share_of_roofline"]),
        row("  its share of processor time, %", lambda s: 100 * s["retrieve"]["processor_share_of_roofline"]),
        row("  its share of scoring, %", lambda s: 100 * s["retrieve"]["scoring_share_of_roofline"]),
        row("answer, one hop, median, ms", lambda s: s["quality"]["1-hop"]["answer"]["median_ms"]),
        row("answer, two hops, median, ms", lambda s: s["quality"]["2-hop"]["answer"]["median_ms"])]


def _keeping_rows(sizes: list[dict]) -> list[Row]:
    def row(title: str, value) -> Row:
        return title, [value(size) for size in sizes]
    return [
        row("documents", lambda s: f"{s['documents']:,}"), row("tokens", lambda s: f"{s['tokens']:,}"),
        row("chunks", lambda s: f"{s['chunks']:,}"),
        row("ingest, documents per second", lambda s: _whole(s["growth"]["documents_per_second"])),
        row("SIGTERM, start, to serving, s", lambda s: f"{s['restart']['serving_seconds']:.2f}"),
        row("kill -9, start, to serving, s", lambda s: f"{s['restart_after_kill']['serving_seconds']:.2f}"),
        row("  to the first Retrieve, s", lambda s: f"{s['restart_after_kill']['first_retrieve_seconds']:.2f}"),
        row("weights, MB", lambda s: _megabytes(s["memory"]["weights_bytes"])),
        row("bank: routing keys, MB", lambda s: _megabytes(s["bank"]["router_key_bytes"])),
        row("bank: content, MB", lambda s: _megabytes(s["bank"]["content_bytes"])),
        row("bank: ids, about, MB", lambda s: _megabytes(s["bank"]["index_bytes"])),
        row("bank on disk, with texts, MB", lambda s: _megabytes(s["bank"]["bytes_on_disk"])),
        row("resident after growing, MB", lambda s: _megabytes(s["memory"]["grown"]["resident"])),
        row("resident after the questions, MB", lambda s: _megabytes(s["memory"]["after_questions"]["resident"])),
        row("  anonymous, MB", lambda s: _megabytes(s["memory"]["after_questions"]["anonymous"])),
        row("  files, MB", lambda s: _megabytes(s["memory"]["after_questions"]["file"])),
        row("1.1 x (weights + bank) + 300, MB", lambda s: _megabytes(s["memory"]["bound_bytes"])),
        row("  the same without content, MB", lambda s: _megabytes(s["memory"]["bound_bytes_without_content"])),
        row("scratch of the questions at its peak, MB", lambda s: _megabytes(s["memory"]["scratch"]["peak"])),
        row("  anonymous, MB", lambda s: _megabytes(s["memory"]["scratch"]["peak_anonymous"]))]


def losses(sizes: list[dict]) -> str:
    """What the largest bank loses against the smallest, in points."""
    first, last = sizes[0], sizes[-1]
    parts = []
    for hops in ("1-hop", "2-hop"):
        for figure in ("routed", "cited", "answered"):
            lost = 100 * (first["quality"][hops][figure] - last["quality"][hops][figure])
            parts.append(f"{hops} {figure} {lost:.1f}")
    return f"lost from {token_label(first['tokens'])} to {token_label(last['tokens'])}, points: " + ", ".join(parts)


def table(figures: dict) -> str:
    sizes = figures["sizes"]
    if not sizes:
        return "nothing measured yet\n"
    rows = [*_keeping_rows(sizes), *_quality_rows(sizes), *_latency_rows(sizes)]
    width = max(len(title) for title, _ in rows)
    columns = [max(len(values[i]) for _, values in rows) for i in range(len(sizes))]
    lines = [" " * width + "".join(f"  {token_label(s['tokens_wanted']):>{w}}" for s, w in zip(sizes, columns))]
    lines += [f"{title:<{width}}" + "".join(f"  {value:>{w}}" for value, w in zip(values, columns)) for title, values in rows]
    if len(sizes) > 1:
        lines.append(losses(sizes))
    return "\n".join(lines) + "\n"


def one_line(size: dict) -> str:
    one, two = size["quality"]["1-hop"], size["quality"]["2-hop"]
    return (f"{token_label(size['tokens_wanted'])}: answered {_share(one['answered'])} and {_share(two['answered'])}, Retrieve "
            f"{size['retrieve']['median_ms']:.1f} ms, resident {_megabytes(size['memory']['after_questions']['resident'])} MB")


def write_report(figures: dict, out: Path) -> str:
    """scale.json, scale.txt and scale.svg in `out`. -> the table."""
    add_rooflines(figures["sizes"])
    text = table(figures)
    (out / "scale.json").write_text(json.dumps(figures, indent=1) + "\n")
    (out / "scale.txt").write_text(text)
    if figures["sizes"]:
        (out / "scale.svg").write_text(draw(figures))
    return text
