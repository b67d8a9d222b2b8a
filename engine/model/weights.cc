#include "engine/model/weights.h"

#include <algorithm>
#include <atomic>
#include <bit>
#include <cmath>
#include <cstring>
#include <thread>
#include <type_traits>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_format.h"
#include "engine/model/checkpoint.h"
#include "engine/model/fingerprint.h"
#include "kernels/core/check.h"
#include "kernels/core/dtype.h"
#include "kernels/core/large_array.h"
#include "kernels/core/status_macros.h"

namespace msa::engine {
namespace {

using kernels::BF16;
using kernels::ComputeDType;
using kernels::DType;
using kernels::MatrixView;
using kernels::TensorView;

constexpr int kMaxLoadThreads = 32;
constexpr int64_t kElementsPerTask = 1 << 20;
constexpr size_t kAlignment = 64;  // of a tensor

// Exact: every f16 is an f32.
float F16ToF32(uint16_t bits) {
  const int exponent = bits >> 10 & 0x1f;
  const int mantissa = bits & 0x3ff;
  const float sign = (bits & 0x8000) != 0 ? -1.0f : 1.0f;
  if (exponent == 0) return sign * std::ldexp(static_cast<float>(mantissa), -24);
  return sign * std::ldexp(static_cast<float>(mantissa + 1024),
                           exponent - 25);  // the files hold no NaN or infinity
}

template <DType kFrom>
float LoadF32(const std::byte* bytes) {
  std::conditional_t<kFrom == DType::kF32, uint32_t, uint16_t> bits;
  std::memcpy(&bits, bytes, sizeof(bits));
  if constexpr (kFrom == DType::kF32) return std::bit_cast<float>(bits);
  if constexpr (kFrom == DType::kBF16) return ToF32(BF16{bits});
  if constexpr (kFrom == DType::kF16) return F16ToF32(bits);
}

// Elements [begin, end) of `from` to the same places of `to`. Returns the first element that overflows, or -1.
template <DType kFrom>
int64_t ConvertRange(const std::byte* from, DType to_dtype, void* to, int64_t begin, int64_t end) {
  for (int64_t i = begin; i < end; ++i) {
    const float value = LoadF32<kFrom>(from + i * static_cast<int64_t>(SizeOf(kFrom)));
    if (to_dtype == DType::kF32) {
      static_cast<float*>(to)[i] = value;
      continue;
    }
    const BF16 rounded = kernels::ToBF16(value);
    if ((rounded.bits & 0x7f80) == 0x7f80) return i;
    static_cast<BF16*>(to)[i] = rounded;
  }
  return -1;
}

int64_t ConvertRange(const CheckpointTensor& tensor, DType to_dtype, void* to, int64_t begin,
                     int64_t end) {
  if (tensor.dtype == to_dtype) {
    const size_t first = static_cast<size_t>(begin) * SizeOf(to_dtype);
    std::memcpy(static_cast<std::byte*>(to) + first, tensor.bytes.data() + first,
                static_cast<size_t>(end - begin) * SizeOf(to_dtype));
    return -1;
  }
  switch (tensor.dtype) {
    case DType::kF32:
      return ConvertRange<DType::kF32>(tensor.bytes.data(), to_dtype, to, begin, end);
    case DType::kBF16:
      return ConvertRange<DType::kBF16>(tensor.bytes.data(), to_dtype, to, begin, end);
    case DType::kF16:
      return ConvertRange<DType::kF16>(tensor.bytes.data(), to_dtype, to, begin, end);
  }
  return begin;
}

class LoadedWeights : public Weights {
 public:
  // `checkpoint` must live until Init has returned.
  LoadedWeights(const Checkpoint* checkpoint, ComputeDType compute)
      : checkpoint_(checkpoint), compute_(compute) {}

  absl::Status Init(const ModelConfig& config, kernels::ThreadPool& pool) {
    for (const ExpectedTensor& expected : ExpectedTensors(config)) {
      MSA_ASSIGN_OR_RETURN(const CheckpointTensor tensor,
                           checkpoint_->Find(expected.name, expected.shape));
      num_bytes_ += Aligned(SizeAs(tensor, StoredDType(tensor)));
    }
    memory_ = kernels::AllocateLargeArray(num_bytes_);
    if (memory_ == nullptr) {
      return absl::ResourceExhaustedError(
          absl::StrFormat("no memory for the %d bytes of the model's weights", num_bytes_));
    }
    const int64_t hidden = config.hidden_size;
    MSA_ASSIGN_OR_RETURN(embedding,
                         Matrix("model.embed_tokens.weight", config.vocab_size, hidden, pool));
    lm_head = embedding;
    if (!config.tied_embeddings) {
      MSA_ASSIGN_OR_RETURN(lm_head, Matrix("lm_head.weight", config.vocab_size, hidden, pool));
    }
    MSA_ASSIGN_OR_RETURN(final_norm, Vector("model.norm.weight", hidden, pool));
    layers.resize(static_cast<size_t>(config.num_layers));
    for (int64_t layer = 0; layer < config.num_layers; ++layer) {
      MSA_RETURN_IF_ERROR(InitLayer(config, layer, pool));
    }
    MSA_CHECK(used_ == num_bytes_, "every expected tensor has its place");
    checkpoint_ = nullptr;
    return absl::OkStatus();
  }

 private:
  absl::Status InitLayer(const ModelConfig& config, int64_t layer, kernels::ThreadPool& pool) {
    LayerWeights& weights = layers[static_cast<size_t>(layer)];
    const int64_t hidden = config.hidden_size;
    const int64_t queries = config.query_width();
    const int64_t keys = config.kv_width();
    const auto vector = [&](std::string_view part, int64_t size) {
      return Vector(LayerTensorName(layer, part), size, pool);
    };
    const auto matrix = [&](std::string_view part, int64_t rows, int64_t columns) {
      return Matrix(LayerTensorName(layer, part), rows, columns, pool);
    };
    MSA_ASSIGN_OR_RETURN(weights.input_norm, vector("input_layernorm", hidden));
    MSA_ASSIGN_OR_RETURN(weights.post_attention_norm, vector("post_attention_layernorm", hidden));
    MSA_ASSIGN_OR_RETURN(weights.query_norm, vector("self_attn.q_norm", config.head_dim));
    MSA_ASSIGN_OR_RETURN(weights.key_norm, vector("self_attn.k_norm", config.head_dim));
    MSA_ASSIGN_OR_RETURN(weights.query, matrix("self_attn.q_proj", queries, hidden));
    MSA_ASSIGN_OR_RETURN(weights.key, matrix("self_attn.k_proj", keys, hidden));
    MSA_ASSIGN_OR_RETURN(weights.value, matrix("self_attn.v_proj", keys, hidden));
    MSA_ASSIGN_OR_RETURN(weights.output, matrix("self_attn.o_proj", hidden, queries));
    MSA_ASSIGN_OR_RETURN(weights.gate, matrix("mlp.gate_proj", config.ffn_size, hidden));
    MSA_ASSIGN_OR_RETURN(weights.up, matrix("mlp.up_proj", config.ffn_size, hidden));
    MSA_ASSIGN_OR_RETURN(weights.down, matrix("mlp.down_proj", hidden, config.ffn_size));
    if (config.decouple_router && config.MsaIndex(layer) >= 0) {
      MSA_ASSIGN_OR_RETURN(weights.router_query,
                           matrix("self_attn.router_q_proj.0", queries, hidden));
      MSA_ASSIGN_OR_RETURN(weights.router_key, matrix("self_attn.router_k_proj.0", keys, hidden));
    }
    return absl::OkStatus();
  }

  absl::StatusOr<MatrixView> Matrix(const std::string& name, int64_t rows, int64_t columns,
                                    kernels::ThreadPool& pool) {
    const int64_t shape[] = {rows, columns};
    MSA_ASSIGN_OR_RETURN(const CheckpointTensor tensor, checkpoint_->Find(name, shape));
    MatrixView view{nullptr, StoredDType(tensor), rows, columns};
    MSA_ASSIGN_OR_RETURN(view.data, Place(name, tensor, pool));
    return view;
  }

  absl::StatusOr<TensorView<const float, 1>> Vector(const std::string& name, int64_t size,
                                                    kernels::ThreadPool& pool) {
    MSA_ASSIGN_OR_RETURN(const CheckpointTensor tensor, checkpoint_->Find(name, {size}));
    MSA_ASSIGN_OR_RETURN(const void* data, Place(name, tensor, pool));
    return TensorView<const float, 1>{static_cast<const float*>(data), {size}};
  }

  static size_t Aligned(size_t size) { return (size + kAlignment - 1) / kAlignment * kAlignment; }
  static size_t SizeAs(const CheckpointTensor& tensor, DType dtype) {
    return tensor.bytes.size() / SizeOf(tensor.dtype) * SizeOf(dtype);
  }
  // Norms are f32 always.
  DType StoredDType(const CheckpointTensor& tensor) const {
    if (tensor.shape.size() < 2) return DType::kF32;
    return compute_ == ComputeDType::kBF16 || tensor.dtype == DType::kBF16 ? DType::kBF16
                                                                           : DType::kF32;
  }

  // A copy of the tensor's numbers in our memory, converted if need be.
  absl::StatusOr<const void*> Place(const std::string& name, const CheckpointTensor& tensor,
                                    kernels::ThreadPool& pool) {
    const DType dtype = StoredDType(tensor);
    const size_t size = SizeAs(tensor, dtype);
    std::byte* const place = memory_.get() + used_;
    used_ += Aligned(size);
    MSA_CHECK(used_ <= num_bytes_, "every tensor is an expected one");
    resident_bytes += static_cast<int64_t>(size);
    const auto end = static_cast<int64_t>(size / SizeOf(dtype));
    std::atomic<int64_t> overflow{end};  // the first element that overflows
    pool.ParallelFor((end + kElementsPerTask - 1) / kElementsPerTask, [&](int64_t task) {
      const int64_t begin = task * kElementsPerTask;
      const int64_t element =
          ConvertRange(tensor, dtype, place, begin, std::min(end, begin + kElementsPerTask));
      int64_t first = overflow;
      while (element >= 0 && element < first && !overflow.compare_exchange_weak(first, element)) {
      }
    });
    if (overflow < end) {
      return absl::InvalidArgumentError(
          absl::StrFormat("%s: tensor \"%s\": element %d is too large for %s", tensor.file->path(),
                          name, overflow.load(), NameOf(dtype)));
    }
    tensor.file->Release(tensor.bytes);
    return place;
  }

  const Checkpoint* checkpoint_;
  const ComputeDType compute_;
  kernels::LargeArray memory_;  // all tensors, one after the other
  size_t num_bytes_ = 0;
  size_t used_ = 0;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Weights>> Weights::Load(const std::string& model_dir,
                                                       const ModelConfig& config,
                                                       ComputeDType compute) {
  MSA_ASSIGN_OR_RETURN(auto checkpoint, Checkpoint::Open(model_dir));
  MSA_RETURN_IF_ERROR(checkpoint->Validate(config));
  kernels::ThreadPool pool(
      std::clamp(static_cast<int>(std::thread::hardware_concurrency()), 1, kMaxLoadThreads));
  MSA_ASSIGN_OR_RETURN(std::string fingerprint, FingerprintModel(config, *checkpoint, pool));
  auto weights = std::make_unique<LoadedWeights>(checkpoint.get(), compute);
  weights->fingerprint = std::move(fingerprint);
  MSA_RETURN_IF_ERROR(weights->Init(config, pool));
  return weights;
}

}  // namespace msa::engine
