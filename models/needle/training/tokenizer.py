"""Trains the byte-level BPE in Qwen's form: NFC, Qwen's split pattern, one token per digit.

    python -m training.tokenizer FOLDER

writes tokenizer.json and tokenizer_config.json. Weights belong to the token numbering they were
trained with: for the bundled weights use the checkpoint's tokenizer.
"""
import argparse
import json
import random
from collections.abc import Iterator
from pathlib import Path

from tokenizers import (
    AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors,
    trainers)

from training import conversation, language, word_lists
from training.haystack import make_documents

VOCABULARY_LIMIT = 3584
CORPUS_SEED = 99
CORPUS_DOCUMENTS = 30_000
SPECIAL_TOKENS = [f"<|{name}|>" for name in (
    "endoftext im_start im_end object_ref_start object_ref_end box_start box_end quad_start "
    "quad_end vision_start vision_end vision_pad image_pad video_pad").split()]
ADDED_TOKENS = (
    "<tool_call> </tool_call> <|fim_prefix|> <|fim_middle|> <|fim_suffix|> <|fim_pad|> "
    "<|repo_name|> <|file_sep|> <tool_response> </tool_response> <think> </think>").split()
SPLIT_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+")
CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + "
    "message['content'] + '<|im_end|>\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>' }}{% endif %}")


def _corpus() -> Iterator[str]:
    """Texts that cover every word list and every template, without special tokens."""
    rng = random.Random(CORPUS_SEED)
    for index, document in enumerate(make_documents(CORPUS_DOCUMENTS, CORPUS_SEED)):
        number, fact = document.number, document.fact
        yield f"[{number}]. {document.text}[{number}]"
        if index < 2000:
            yield f"[{number}]. {document.text}\n"
        question = language.draw_question(rng, fact.key, fact.entity)
        yield conversation.prompt_head(question)
        yield f"The user's question is: {question}\n"
        yield f"{conversation.ANSWER_PREFIX} {fact.value}"
        yield conversation.END_OF_RETRIEVAL
        yield "user\n"
    words = [*word_lists.ADJECTIVES, *word_lists.NOUNS]
    for values in language.WORD_VALUES.values():
        words += values
    for word in words:
        yield from [f" {word}"] * 50
    for syllable in language.SYLLABLES:  # often, so that invented names are cut into syllables
        yield from [f" {syllable.capitalize()}", syllable] * 2000


def train_tokenizer() -> Tokenizer:
    byte_level = {"add_prefix_space": False, "trim_offsets": False, "use_regex": False}
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(SPLIT_PATTERN), behavior="isolated"),
        pre_tokenizers.ByteLevel(**byte_level)])
    tokenizer.post_processor = processors.ByteLevel(**byte_level)
    tokenizer.decoder = decoders.ByteLevel(**byte_level)
    tokenizer.train_from_iterator(_corpus(), trainers.BpeTrainer(
        vocab_size=VOCABULARY_LIMIT - len(SPECIAL_TOKENS) - len(ADDED_TOKENS), min_frequency=60,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False))
    tokenizer.add_special_tokens(
        [AddedToken(t, special=True, normalized=False) for t in SPECIAL_TOKENS])
    tokenizer.add_tokens([AddedToken(t, special=False, normalized=False) for t in ADDED_TOKENS])
    return tokenizer


def tokenizer_config(tokenizer: Tokenizer) -> dict:
    """What tokenizer_config.json holds."""
    flags = {"lstrip": False, "normalized": False, "rstrip": False, "single_word": False}
    return {
        "add_bos_token": False, "add_prefix_space": False,
        "added_tokens_decoder": {
            str(tokenizer.token_to_id(t)): {"content": t, **flags, "special": t in SPECIAL_TOKENS}
            for t in SPECIAL_TOKENS + ADDED_TOKENS},
        "additional_special_tokens": SPECIAL_TOKENS[1:], "bos_token": None,
        "chat_template": CHAT_TEMPLATE, "clean_up_tokenization_spaces": False,
        "eos_token": conversation.IM_END, "errors": "replace", "model_max_length": 131072,
        "pad_token": SPECIAL_TOKENS[0], "split_special_tokens": False,
        "tokenizer_class": "PreTrainedTokenizerFast", "unk_token": None}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = train_tokenizer()
    tokenizer.save(str(folder / "tokenizer.json"))
    config = json.dumps(tokenizer_config(tokenizer), indent=1)
    (folder / "tokenizer_config.json").write_text(config + "\n")
    print(f"{tokenizer.get_vocab_size()} tokens")


if __name__ == "__main__":
    main()
