"""The phases of training: what a batch holds, which losses count, how the rate falls."""
from dataclasses import asdict, dataclass, fields, replace

from training.language import LONG_SHARE

FEW_POINT_HEADS = (0, 2)
POINT_HEADS = (0, 2, 4, 6)          # one per key head


@dataclass(frozen=True)
class Level:
    """How hard citing is."""

    number_digits: int              # longest document number
    memory_documents: int           # selected per MSA layer


LEVELS = tuple(Level(*pair) for pair in (
    (1, 1), (2, 1), (3, 2), (4, 2), (5, 4), (6, 4), (7, 8), (7, 16)))
LAST_LEVEL = len(LEVELS) - 1


@dataclass(frozen=True)
class Phase:
    """One stretch of training; it starts from what the phase before it left."""

    name: str
    seed: int
    steps: int
    falls_over: int = 0             # steps over which the rate falls; 0: `steps`
    rate: float = 1.0               # factor on all rates, at the start
    end_rate: float = 1.0
    gain_rate: float = 0.003        # of norm gains

    # The batch.
    documents: int = 192
    first_round: int = 128          # samples: round 1 of questions of one and two hops
    second_round: int = 0           # round 2 of questions of two hops
    answer_round: int = 0           # the round that ends retrieval and answers
    long_share: float = LONG_SHARE
    narrow_share: float = 0.0       # of batches about three keys only, as the best of a large bank
    near_share: float = 0.0         # narrow, and entities differ in one word or syllable only
    mined_share: float = 0.0        # of batches made of training.mining's near misses, not drawn
    # Such a batch has up to mined_rounds * (mined_near + 2) documents, whatever `documents` says.
    mined_rounds: int = 32          # samples that have their near misses in the batch
    mined_near: int = 12            # near misses of each
    copy_question: bool = True      # the answer block's question is a copying exercise
    level: int = LAST_LEVEL         # where to start in LEVELS
    next_level_at: float = 0.85     # share of right digits that leads to the next level

    # The losses.
    routing_only: bool = False      # only the layers through the first MSA layer's routing
    route_weight: float = 0.3
    point_weight: float = 0.3
    copy_weight: float = 0.3
    point_heads: tuple[int, ...] = POINT_HEADS
    point_margin: float = 2.0       # logits that wrong chunks are ahead in the pointing loss

    # Changes to the weights before the first step.
    copy_routing: bool = False      # the first MSA layer's routing goes to the later ones
    sharpen: float = 1.0            # factor on the MSA layers' query gains

    def with_settings(self, settings: list[str]) -> "Phase":
        """`settings`: "name=value". An unknown name or a value of another type is a ValueError."""
        types = {f.name: type(getattr(self, f.name)) for f in fields(self)}
        changes = {}
        for setting in settings:
            name, _, text = setting.partition("=")
            if name not in types or name == "name":
                raise ValueError(f"no setting '{name}'; there are: {', '.join(types)}")
            if types[name] is bool:
                if text not in ("true", "false"):
                    raise ValueError(f"{name} must be true or false, not '{text}'")
                changes[name] = text == "true"
            elif types[name] is tuple:
                changes[name] = tuple(map(int, text.split(",")))
            else:
                changes[name] = types[name](text)
        return replace(self, **changes)

    def to_dict(self) -> dict:
        return asdict(self)


def _recorded_phases() -> tuple[Phase, ...]:
    """What made the bundled checkpoint. Phases were ended by hand, so most rates fall over more
    steps than were run."""
    route = Phase(
        "route", seed=1, steps=200, falls_over=220, end_rate=0.3, documents=256, first_round=256,
        routing_only=True, route_weight=1.0, copy_weight=0.0, point_heads=FEW_POINT_HEADS,
        point_margin=0.0)
    cite = Phase(
        "cite", seed=1, steps=150, falls_over=500, documents=128, first_round=128, second_round=24,
        level=0, long_share=0.08, point_weight=0.5, point_heads=FEW_POINT_HEADS, point_margin=0.0,
        copy_routing=True)
    mixed = Phase(
        "mixed-5-digits", seed=3, steps=100, falls_over=1000, documents=128, first_round=88,
        second_round=32, answer_round=48, level=4, point_weight=0.4, copy_question=False,
        point_heads=FEW_POINT_HEADS, point_margin=0.0)
    seven = replace(mixed, name="mixed-7-digits", seed=4, level=6, falls_over=857, end_rate=0.03)
    copying = replace(seven, name="copying", seed=5, steps=150, falls_over=665, rate=0.9,
                      copy_question=True)
    narrow = Phase(
        "narrow", seed=6, steps=50, falls_over=562, rate=0.75, end_rate=0.03, gain_rate=0.006,
        documents=160, first_round=104, second_round=36, answer_round=32, narrow_share=0.7,
        point_weight=0.8, point_heads=FEW_POINT_HEADS, point_margin=0.0)
    margin = replace(narrow, name="margin", seed=7, steps=100, falls_over=537, rate=0.65,
                     gain_rate=0.01, point_weight=0.6, point_margin=2.0, sharpen=1.35)
    sharper = replace(margin, name="sharper", seed=8, steps=50, falls_over=545, rate=0.5,
                      sharpen=1.25)
    four_heads = replace(sharper, name="four-heads", seed=9, steps=150, falls_over=304, rate=0.46,
                         end_rate=0.02, point_weight=0.8, sharpen=1.0, point_heads=POINT_HEADS)
    settle = Phase(
        "settle", seed=10, steps=130, rate=0.22, end_rate=0.01, gain_rate=0.006, documents=160,
        first_round=120, second_round=40, answer_round=16, narrow_share=0.7, point_weight=0.8)
    near = replace(settle, name="near", seed=21, steps=390, rate=0.4, documents=192,
                   near_share=0.6, narrow_share=0.25)
    return (route, cite, mixed, seven, copying, narrow, margin, sharper, four_heads, settle, near)


RECORDED_PHASES = _recorded_phases()

# From the bundled checkpoint on: what routing brings along in a large bank, from training.mining.
CONTINUE = Phase(
    "continue", seed=31, steps=500, rate=0.4, end_rate=0.01, gain_rate=0.006, documents=384,
    first_round=96, second_round=24, answer_round=12, near_share=0.6, narrow_share=0.25,
    mined_share=0.75, point_weight=0.8)

PHASES = {phase.name: phase for phase in (*RECORDED_PHASES, CONTINUE)}
