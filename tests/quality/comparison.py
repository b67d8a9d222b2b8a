"""Pairs the evaluator's outcome of every question with the server's."""
from collections import Counter
from dataclasses import dataclass, field

from query_record import QueryRecord

# Below these margins of the evaluator another order of additions can decide otherwise.
NEAR_TIE_SCORE = 1e-5       # cosine
NEAR_TIE_LOGIT = 1e-3


@dataclass
class Disagreement:
    """The first thing that differs between two outcomes of one question."""

    index: int
    what: str               # "selection", "order", "text", "citations", "rounds", "answer"
    where: str
    evaluator: str
    server: str
    is_near_tie: bool
    answers_differ: bool


@dataclass
class Comparison:
    figures: dict[str, Counter]         # "evaluator" and "server": (hops, figure) -> count
    agreements: Counter                 # what was compared, what was equal
    disagreements: list[Disagreement] = field(default_factory=list)
    num_questions: int = 0
    num_different_answers: int = 0
    num_unexplained_answers: int = 0    # different answers without a near-tie before them

    @property
    def share_of_different_answers(self) -> float:
        return self.num_different_answers / max(1, self.num_questions)


def count_right(record: QueryRecord) -> Counter:
    """(hops, figure) -> count for one question. A round's figures count only where the rounds
    before it cited exactly the right document."""
    counts: Counter = Counter()
    counts[record.hops, "questions"] = 1
    for index, (source, this) in enumerate(zip(record.sources, record.rounds), start=1):
        cited = this.cited == [source]
        counts[record.hops, f"round {index} reached"] = 1
        counts[record.hops, f"round {index} recall@k"] = all(
            source in numbers for numbers in this.selected.values())
        counts[record.hops, f"round {index} cited"] = cited
        if not cited:
            break
    counts[record.hops, "answers"] = record.answer == record.expected
    return counts


def _shorten(values: list[int]) -> str:
    return ", ".join(map(str, values)) if values else "nothing"


def _is_near(margin: float | None, limit: float) -> bool:
    return margin is not None and margin < limit


def find_disagreement(index: int, evaluator: QueryRecord, server: QueryRecord,
                      agreements: Counter) -> Disagreement | None:
    """The first difference that matters, in the order in which it came about; what is equal counts
    in `agreements`. The order within a selection does not change what the model computes, so it
    only counts; a different selection can only matter if something after it differs."""
    answers_differ = evaluator.answer != server.answer
    first: Disagreement | None = None
    is_near_tie = False     # anything so far that explains a later difference

    def differ(what: str, where: str, one: str, other: str, is_near: bool) -> None:
        nonlocal first, is_near_tie
        is_near_tie = is_near_tie or is_near
        if first is None:
            first = Disagreement(index, what, where, one, other, is_near_tie, answers_differ)

    for number, (one, other) in enumerate(zip(evaluator.rounds, server.rounds), start=1):
        for layer, selected in one.selected.items():
            agreements["selections compared"] += 1
            others = other.selected.get(layer, [])
            agreements["selections equal in order"] += selected == others
            agreements["selections equal as sets"] += set(selected) == set(others)
            if set(selected) != set(others):
                differ("selection", f"round {number}, layer {layer}",
                       _shorten(sorted(set(selected) - set(others))),
                       _shorten(sorted(set(others) - set(selected))),
                       _is_near(one.selection_margin.get(layer), NEAR_TIE_SCORE))
        agreements["citations compared"] += 1
        agreements["citations equal"] += one.cited == other.cited
        if one.written != other.written:
            differ("text", f"round {number}", one.written, other.written,
                   _is_near(one.margin, NEAR_TIE_LOGIT))
            break           # from here on the rounds have different prompts
        if one.cited != other.cited:
            differ("citations", f"round {number}", _shorten(one.cited), _shorten(other.cited),
                   False)
            break
    else:
        if len(evaluator.rounds) != len(server.rounds):
            differ("rounds", "end", str(len(evaluator.rounds)), str(len(server.rounds)), False)
    if answers_differ:
        differ("answer", "answer", evaluator.answer, server.answer,
               _is_near(evaluator.answer_margin, NEAR_TIE_LOGIT))
    agreements["answers compared"] += 1
    agreements["answers equal"] += not answers_differ
    if first is not None:
        first.is_near_tie = is_near_tie
    return first


def compare(evaluator: list[QueryRecord], server: list[QueryRecord]) -> Comparison:
    """Both in the same order. Other questions in one of them are a ValueError."""
    if [r.question for r in evaluator] != [r.question for r in server]:
        raise ValueError("the evaluator and the server were asked different questions")
    comparison = Comparison({"evaluator": Counter(), "server": Counter()}, Counter())
    comparison.num_questions = len(evaluator)
    for index, (one, other) in enumerate(zip(evaluator, server)):
        comparison.figures["evaluator"].update(count_right(one))
        comparison.figures["server"].update(count_right(other))
        found = find_disagreement(index, one, other, comparison.agreements)
        if found is not None:
            comparison.disagreements.append(found)
            comparison.num_different_answers += found.answers_differ
            comparison.num_unexplained_answers += found.answers_differ and not found.is_near_tie
    return comparison


def format_summary(comparison: Comparison) -> str:
    """The figures of both side by side, and how often they agree."""
    lines = [f"{'':24}{'evaluator':>16}{'server':>16}"]
    both = comparison.figures
    for hops in (1, 2):
        num_questions = both["evaluator"][hops, "questions"]
        if not num_questions:
            continue
        lines.append(f"{hops}-hop questions: {num_questions}")
        names = [f"round {r} {what}" for r in range(1, hops + 1) for what in ("recall@k", "cited")]
        for name in [*names, "answers"]:
            base = "questions" if name == "answers" else f"{name[:7]} reached"
            cells = []
            for who in ("evaluator", "server"):
                count, of = both[who][hops, name], both[who][hops, base]
                cells.append(f"{count / of if of else 0:.3f} {f'({count}/{of})':>9}")
            lines.append(f"  {name:22}{cells[0]:>16}{cells[1]:>16}")
    for what, base in (("selections equal in order", "selections compared"),
                       ("selections equal as sets", "selections compared"),
                       ("citations equal", "citations compared"),
                       ("answers equal", "answers compared")):
        count, of = comparison.agreements[what], comparison.agreements[base]
        lines.append(f"{what:28}{count:>8} of {of}")
    return "\n".join(lines)


def format_disagreement(found: Disagreement, question: str) -> str:
    effect = "answers differ" if found.answers_differ else "answers equal"
    tie = ", near-tie" if found.is_near_tie else ""
    return (f"question {found.index} ({effect}{tie}): {question}\n"
            f"  {found.what}, {found.where}\n"
            f"    evaluator: {found.evaluator}\n"
            f"    server:    {found.server}")
