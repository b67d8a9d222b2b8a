"""The strings around documents, questions, citations and answers."""

IM_START = "<|im_start|>"
IM_END = "<|im_end|>"
REFERENCE_END = "<|object_ref_end|>"
TEMPLATE_HEAD = f"{IM_START}user\n"
BEFORE_QUESTION = (
    "\nPlease answer the question based on the above historical document information\n\n")
AFTER_QUESTION = "\nPlease return all documents related to the question"
TEMPLATE_TAIL = f"\n{IM_END}\n{IM_START}"
END_OF_RETRIEVAL = "<End-of-Retrieve>"
ANSWER_PREFIX = "The answer to the question is:"


def document_text(number: int, text: str) -> str:
    """A document as it is encoded for the memory bank."""
    return f"{IM_START}[{number}]. {text}[{number}]{IM_END}"


def prompt_head(question: str) -> str:
    """The prompt through "...related to the question"; in round 1 the next character routes too."""
    return BEFORE_QUESTION + question + AFTER_QUESTION


def citation(number: int) -> str:
    """What the model writes to end a round with one citation."""
    return f"[{number}]{REFERENCE_END}"


def expansion(documents: list[tuple[int, str]]) -> str:
    """The cited documents (number, text) as they are appended after the citations."""
    return "".join(f"[{number}]. {text}\n" for number, text in documents) + REFERENCE_END


def answer_block(question: str) -> str:
    """What is appended when the model has ended retrieval."""
    return f"{IM_START}The user's question is: {question}\n{REFERENCE_END}"
