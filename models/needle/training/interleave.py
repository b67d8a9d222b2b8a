"""Memory Interleave as a server does it: cite, expand, route again, end retrieval, answer."""
import json
import re
from dataclasses import dataclass, field
from pathlib import Path

import torch
from tokenizers import Tokenizer
from torch import Tensor

from training import conversation
from training.inference import Selection, Sequence, encode_bank
from training.language import Document
from training.model import NeedleModel

OPEN_CITATION = re.compile(r"\[(\d*)$")
CITATION = re.compile(r"\[(\d+)\]")


@dataclass
class Round:
    selections: dict[int, Selection]            # MSA layer -> documents by index
    written: str = ""
    cited: list[int] = field(default_factory=list)  # numbers of existing documents, ascending
    margin: float = float("inf")                # smallest lead of a chosen token over the next best


@dataclass
class Outcome:
    rounds: list[Round]
    answer: str = ""
    answer_written: str = ""                    # with the phrase before the colon
    answer_margin: float = float("inf")


class _Greedy:
    """Chooses tokens and remembers the closest decision."""

    def __init__(self) -> None:
        self.margin = float("inf")

    def choose(self, logits: Tensor, allowed: list[int] | None = None) -> int:
        """logits [vocabulary]; `allowed` None: every token"""
        if allowed is not None:
            logits = logits[torch.tensor(allowed, device=logits.device)]
        if len(logits) > 1:
            best = logits.topk(2).values
            self.margin = min(self.margin, float(best[0] - best[1]))
        chosen = int(logits.argmax())
        return chosen if allowed is None else allowed[chosen]


def prompt(tokenizer: Tokenizer, question: str, expansions: str) -> tuple[list[int], list[bool]]:
    """Token ids of a round and which of them route: the question, in round 1 with the newline
    behind it, later with the documents that were appended last."""
    head = conversation.prompt_head(question)
    text = head + conversation.TEMPLATE_TAIL + expansions
    spans = [(0, len(head) if expansions else len(head) + 1)]
    start = text.rfind(f"]{conversation.REFERENCE_END}[")
    if start >= 0:
        start += len(f"]{conversation.REFERENCE_END}")
        spans.append((start, text.index(conversation.REFERENCE_END, start)))
    encoded = tokenizer.encode(text, add_special_tokens=False)
    routed = [any(first <= start and end <= last for first, last in spans)
              for start, end in encoded.offsets]
    return encoded.ids, routed


class Reader:
    """A model with a bank of documents, asked one question at a time."""

    def __init__(self, model: NeedleModel, tokenizer: Tokenizer, eos_token_ids: set[int],
                 documents: list[Document], use_bf16_encoding: bool = False):
        self._model = model
        self._tokenizer = tokenizer
        self._eos = eos_token_ids
        # By number, so that of equal scores the lower document number wins.
        self.documents = sorted(documents, key=lambda d: d.number)
        self._by_number = {d.number: d for d in documents}
        self.bank = encode_bank(model, tokenizer, self.documents, use_bf16_encoding)
        head = torch.tensor(self._ids(conversation.TEMPLATE_HEAD), device=model.device)
        with torch.no_grad():
            self._prefix = model.template_prefix(head)
        self._symbols = {c: self._ids(c)[0] for c in "0123456789]"}

    @staticmethod
    def load(folder: Path, documents: list[Document], device: torch.device,
             use_bf16_encoding: bool = False) -> "Reader":
        """A checkpoint in Hugging Face form."""
        generation = json.loads((folder / "generation_config.json").read_text())
        return Reader(NeedleModel.load(folder).to(device).eval(),
                      Tokenizer.from_file(str(folder / "tokenizer.json")),
                      set(generation["eos_token_id"]), documents, use_bf16_encoding)

    def answer(self, question: str, constrained: bool = True, max_rounds: int = 4,
               max_tokens: int = 40) -> Outcome:
        """`constrained`: inside brackets only numbers of documents selected in this round can be
        written. `max_tokens` bounds what a round writes and the answer. Without an answer where a
        bound or an eos ends the question first."""
        outcome, expansions = Outcome([]), ""
        while len(outcome.rounds) < max_rounds:
            sequence = Sequence(self._model, self.bank, self._prefix)
            logits = sequence.prefill(*prompt(self._tokenizer, question, expansions))
            this = Round(sequence.selections)
            outcome.rounds.append(this)
            logits = self._write_round(sequence, logits, this, constrained, max_tokens)
            if this.written.endswith(conversation.END_OF_RETRIEVAL):
                self._write_answer(sequence, question, outcome, max_tokens)
                break
            if not this.written.endswith(conversation.REFERENCE_END):
                break
            numbers = {int(n) for n in CITATION.findall(this.written)}
            this.cited = sorted(numbers & self._by_number.keys())
            expansions += this.written + conversation.expansion(
                [(n, self._by_number[n].text) for n in this.cited])
        return outcome

    def _ids(self, text: str) -> list[int]:
        return self._tokenizer.encode(text, add_special_tokens=False).ids

    def _write_round(self, sequence: Sequence, logits: Tensor, this: Round, constrained: bool,
                     max_tokens: int) -> Tensor:
        """Writes until a marker, an eos or the bound -> logits after the last token"""
        greedy, tokens = _Greedy(), []
        citable = {str(self.documents[d].number)
                   for selection in this.selections.values() for d in selection.documents}
        while len(tokens) < max_tokens:
            allowed = self._citable_tokens(this.written, citable) if constrained else None
            tokens.append(greedy.choose(logits, allowed))
            this.written = self._tokenizer.decode(tokens, skip_special_tokens=False)
            logits = sequence.feed(tokens[-1:])
            if tokens[-1] in self._eos or this.written.endswith(
                    (conversation.REFERENCE_END, conversation.END_OF_RETRIEVAL)):
                break
        this.margin = greedy.margin
        return logits

    def _citable_tokens(self, written: str, citable: set[str]) -> list[int] | None:
        """What may follow inside an open bracket, so that it becomes the number of a document."""
        opened = OPEN_CITATION.search(written)
        if not opened:
            return None
        digits = opened[1]
        following = {(n + "]")[len(digits)] for n in citable if n.startswith(digits)}
        return [self._symbols[c] for c in sorted(following)]

    def _write_answer(self, sequence: Sequence, question: str, outcome: Outcome,
                      max_tokens: int) -> None:
        greedy, tokens = _Greedy(), []
        logits = sequence.feed(self._ids(conversation.answer_block(question)))
        while len(tokens) < max_tokens:
            token = greedy.choose(logits)
            if token in self._eos:
                break
            tokens.append(token)
            logits = sequence.feed([token])
        outcome.answer_written = self._tokenizer.decode(tokens)
        outcome.answer = outcome.answer_written.partition(":")[2].strip()
        outcome.answer_margin = greedy.margin
