"""Training samples: one round of one question as text; what in it routes, counts and is copied."""
import random
from dataclasses import dataclass, field

from training import conversation, language
from training.language import Document

END_WEIGHT = 0.5            # <End-of-Retrieve>
QUESTION_WEIGHT = 0.3       # the answer block's question
ANSWER_PREFIX_WEIGHT = 0.1

Span = tuple[int, int]      # characters [start, end)


@dataclass
class Copy:
    """`length` characters at `target` repeat those at `source`."""

    source: int
    target: int
    length: int
    is_answer: bool


@dataclass
class Sample:
    text: str
    routed: list[Span]
    labels: list[tuple[Span, float]] = field(default_factory=list)  # written by the model; weight
    number: Span | None = None              # "[123]", where the round cites
    copies: list[Copy] = field(default_factory=list)
    positive: int | None = None             # index of the document that the round should cite
    expanded: list[int] = field(default_factory=list)  # indices of those already in the text


def make_sample(rng: random.Random, documents: list[Document], chain: list[int], round_index: int,
                copy_question: bool = True) -> Sample:
    """Round `round_index` (0-based) of a question whose sources are documents[chain]. The round
    after the last source ends retrieval and answers."""
    final = documents[chain[-1]]
    entity = (final.fact.entity if len(chain) == 1
              else language.relation_phrase(documents[chain[0]].fact))
    question = language.draw_question(rng, final.fact.key, entity)
    head = conversation.prompt_head(question)
    text = head + conversation.TEMPLATE_TAIL
    routed = [(0, len(head) + (round_index == 0))]
    value_source = 0
    for document in (documents[i] for i in chain[:round_index]):
        text += conversation.citation(document.number)
        start = len(text)
        text += conversation.expansion([(document.number, document.text)])
        routed[1:] = [(start, len(text) - len(conversation.REFERENCE_END))]
        # The blank before a value belongs to its first token.
        value_source = start + len(f"[{document.number}]. ") + document.value_start - 1
    sample = Sample(text, routed, expanded=chain[:round_index])
    if round_index < len(chain):
        _write_citation(sample, documents, chain[round_index])
    else:
        _write_answer(sample, question, final.fact.value, value_source, copy_question)
    return sample


def _append(sample: Sample, text: str, weight: float) -> int:
    """Adds text that the model writes -> where it starts."""
    start = len(sample.text)
    sample.text += text
    sample.labels.append(((start, len(sample.text)), weight))
    return start


def _write_citation(sample: Sample, documents: list[Document], cited: int) -> None:
    number = documents[cited].number
    start = _append(sample, conversation.citation(number), 1.0)
    sample.number = (start, start + len(f"[{number}]"))
    sample.positive = cited


def _write_answer(sample: Sample, question: str, value: str, value_source: int,
                  copy_question: bool) -> None:
    _append(sample, conversation.END_OF_RETRIEVAL, END_WEIGHT)
    block = conversation.answer_block(question)
    if copy_question:
        # The model never has to write the question, but learning to predict its second copy
        # (from the second word on) teaches it to copy words.
        first_blank = question.index(" ")
        target = len(sample.text) + block.index(question) + first_blank
        length = len(question) + 1 - first_blank
        sample.labels.append(((target, target + length), QUESTION_WEIGHT))
        source = len(conversation.BEFORE_QUESTION) + first_blank
        sample.copies.append(Copy(source, target, length, is_answer=False))
    sample.text += block
    _append(sample, conversation.ANSWER_PREFIX, ANSWER_PREFIX_WEIGHT)
    target = _append(sample, f" {value}{conversation.IM_END}", 1.0)
    sample.copies.append(Copy(value_source, target, len(value) + 1, is_answer=True))
