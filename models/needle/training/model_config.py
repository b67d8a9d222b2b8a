"""The needle model's geometry, and its Hugging Face form (config.json)."""
import json
from dataclasses import dataclass
from pathlib import Path

CHECKPOINT = Path(__file__).resolve().parent.parent / "checkpoint"      # the bundled one


@dataclass(frozen=True)
class ModelConfig:
    """Qwen3 with Memory Sparse Attention: decoupled cosine router; head mean, chunk max."""

    vocab_size: int = 2688
    width: int = 256                          # M
    num_layers: int = 5                       # L
    num_heads: int = 8                        # Hq
    num_kv_heads: int = 4                     # Hkv
    head_dim: int = 32                        # D
    ffn_width: int = 512
    rope_theta: float = 1e4
    norm_eps: float = 1e-6
    chunk_tokens: int = 64                    # P
    top_k: int = 16                           # k, documents selected per MSA layer
    msa_layers: tuple[int, ...] = (2, 3, 4)

    @property
    def heads_per_kv_head(self) -> int:
        return self.num_heads // self.num_kv_heads

    @staticmethod
    def read(folder: Path) -> "ModelConfig":
        values = json.loads((folder / "config.json").read_text())
        msa = values["msa_config"]
        num_layers = values["num_hidden_layers"]
        listed = msa["router_layer_idx"]
        msa_layers = range(num_layers) if listed == "all" else map(int, listed.split(","))
        return ModelConfig(
            vocab_size=values["vocab_size"], width=values["hidden_size"], num_layers=num_layers,
            num_heads=values["num_attention_heads"], num_kv_heads=values["num_key_value_heads"],
            head_dim=values["head_dim"], ffn_width=values["intermediate_size"],
            rope_theta=values["rope_theta"], norm_eps=values["rms_norm_eps"],
            chunk_tokens=msa["pooling_kernel_size"], top_k=msa.get("doc_top_k", 16),
            msa_layers=tuple(msa_layers))

    def to_json(self, bos_token_id: int, eos_token_id: int) -> dict:
        """What config.json holds; keys that inference does not read are those of the MSA format."""
        return {
            "architectures": ["MSAForCausalLM"], "attention_bias": False, "attention_dropout": 0.0,
            "bos_token_id": bos_token_id, "eos_token_id": eos_token_id, "head_dim": self.head_dim,
            "hidden_act": "silu", "hidden_size": self.width, "initializer_range": 0.02,
            "intermediate_size": self.ffn_width, "max_position_embeddings": 32768,
            "max_window_layers": 28, "model_type": "msa",
            "msa_config": {
                "ansloss_weight": 1.0, "answer_block_mask": "causal", "aux_loss": False,
                "aux_loss_method": "INFONCE", "auxloss_weight": 0.3, "chunk_reduce_method": "max",
                "decouple_pooling_mode": "mean", "decouple_router": True, "doc_top_k": self.top_k,
                "head_reduce_method": "mean", "infonce_loss_temp": 0.05,
                "lmloss_weigth": 1.0,  # spelled so in the format
                "pooling_kernel_size": self.chunk_tokens, "query_reduce_method": "max",
                "recloss_weight": 0.0, "rewrite_position": True,
                "router_layer_idx": ",".join(map(str, self.msa_layers)), "top_k_docs": self.top_k},
            "num_attention_heads": self.num_heads, "num_hidden_layers": self.num_layers,
            "num_key_value_heads": self.num_kv_heads, "rms_norm_eps": self.norm_eps,
            "rope_scaling": None, "rope_theta": self.rope_theta, "sliding_window": 4096,
            "tie_word_embeddings": True, "torch_dtype": "bfloat16", "use_cache": True,
            "use_sliding_window": False, "vocab_size": self.vocab_size}
