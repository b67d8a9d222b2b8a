"""Training and inference compute the same model."""
import unittest

import torch
from tokenizers import Tokenizer

from training import conversation
from training.haystack import make_documents, make_questions
from training.inference import Sequence, encode_bank
from training.memory_bank import group_documents
from training.model import NeedleModel
from training.model_config import CHECKPOINT


class ModelTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.tokenizer = Tokenizer.from_file(str(CHECKPOINT / "tokenizer.json"))
        cls.model = NeedleModel.load(CHECKPOINT).eval()
        cls.documents = make_documents(60, seed=3, first_number=1)
        cls.bank = encode_bank(cls.model, cls.tokenizer, cls.documents)

    def ids(self, text: str) -> list[int]:
        return self.tokenizer.encode(text, add_special_tokens=False).ids

    def test_batch_pass_and_sequence_give_the_same_logits_and_selections(self):
        with torch.no_grad():
            prefix = self.model.template_prefix(torch.tensor(self.ids(conversation.TEMPLATE_HEAD)))
        questions = make_questions(self.documents, 4, seed=3)
        prompts = [self.ids(conversation.prompt_head(q.question) + conversation.TEMPLATE_TAIL)
                   for q in questions]
        # The tail is "\n", <|im_end|>, "\n", <|im_start|>; its first newline routes.
        routing = [len(p) - 3 for p in prompts]
        longest = max(map(len, prompts))
        token_ids = torch.zeros(4, longest, dtype=torch.long)
        routed = torch.zeros(4, longest, dtype=torch.bool)
        for row, prompt in enumerate(prompts):
            token_ids[row, :len(prompt)] = torch.tensor(prompt)
            routed[row, :routing[row]] = True
        with torch.no_grad():
            hidden, traces = self.model.read(token_ids, routed, self.bank, prefix, 16,
                                             torch.zeros(4, 60, dtype=torch.bool))
            logits = self.model.logits(hidden)
        for row, prompt in enumerate(prompts):
            sequence = Sequence(self.model, self.bank, prefix)
            alone = sequence.prefill(prompt[:-2], routed[row, :len(prompt) - 2].tolist())
            torch.testing.assert_close(alone, logits[row, len(prompt) - 3], atol=2e-4, rtol=1e-4)
            alone = sequence.feed(prompt[-2:])
            torch.testing.assert_close(alone, logits[row, len(prompt) - 1], atol=2e-4, rtol=1e-4)
            for layer, selection in sequence.selections.items():
                best = traces[layer].document_scores[row].topk(16).indices.tolist()
                self.assertEqual(selection.documents, best)

    def test_encoding_of_a_document_does_not_depend_on_its_company(self):
        alone = encode_bank(self.model, self.tokenizer, self.documents[7:8])
        chunks = self.bank.chunks[7][self.bank.chunks[7] >= 0]
        for layer in self.model.config.msa_layers:
            for kind in ("memory_key", "memory_value", "router_key"):
                torch.testing.assert_close(getattr(self.bank, kind)[layer][chunks],
                                           getattr(alone, kind)[layer], atol=1e-5, rtol=1e-5)

    def test_chunks_are_means_over_their_real_tokens(self):
        ids = self.ids(conversation.document_text(5, "The code of the iron gate is 123456. " * 6))
        groups, _ = group_documents([ids], 64)
        with torch.no_grad():
            bank = self.model.encode_documents(groups)
            layer = self.model.config.msa_layers[0]
            x, rope = self.model.embed(torch.tensor(ids))[None], self.model.rope(0, len(ids))
            for block in self.model.model.layers[:layer]:
                normed = block.input_layernorm(x)
                key, value = block.self_attn.keys_values(normed, rope)
                query = block.self_attn.queries(normed, rope)
                x = block.finish(x, block.self_attn.attend(query, key, value))
            block = self.model.model.layers[layer]
            key, _ = block.self_attn.keys_values(block.input_layernorm(x), rope)
        expected = torch.stack([part.mean(0) for part in key[0].split(64)])
        self.assertEqual(len(expected), 2)
        torch.testing.assert_close(bank.memory_key[layer], expected, atol=1e-5, rtol=1e-5)

    def test_equal_scores_select_the_lower_document(self):
        # The same text under the same number scores the same; only the order can decide.
        twins = [self.documents[0]] * 40
        bank = encode_bank(self.model, self.tokenizer, twins)
        with torch.no_grad():
            prefix = self.model.template_prefix(torch.tensor(self.ids(conversation.TEMPLATE_HEAD)))
        sequence = Sequence(self.model, bank, prefix)
        prompt = self.ids(conversation.prompt_head("What is the code of the iron gate?"))
        sequence.prefill(prompt, [True] * len(prompt))
        for selection in sequence.selections.values():
            self.assertEqual(selection.documents, list(range(16)))
            self.assertEqual(selection.margin, 0.0)


if __name__ == "__main__":
    unittest.main()
