#include "engine/model/fingerprint.h"

#include <xxhash.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "kernels/core/check.h"
#include "kernels/core/status_macros.h"

namespace msa::engine {
namespace {

using kernels::DType;

// Changing either constant or the order of what is hashed changes every fingerprint, and banks are bound to them.
constexpr char kFormat[] = "msa model fingerprint 1";
constexpr size_t kBlockBytes = 8 << 20;
constexpr size_t kCacheBytes = 64 << 10;  // hashed and searched while it is in the cache

struct StateDeleter {
  void operator()(XXH3_state_t* state) const { XXH3_freeState(state); }
};
using State = std::unique_ptr<XXH3_state_t, StateDeleter>;

State NewState() {
  State state(XXH3_createState());
  MSA_CHECK(state != nullptr && XXH3_128bits_reset(state.get()) == XXH_OK,
            "no memory for a hash state");
  return state;
}

// Every setting that changes an encoding, one per line.
std::string SettingsText(const ModelConfig& config) {
  return absl::StrCat(kFormat, "\nhidden ", config.hidden_size, "\nlayers ", config.num_layers,
                      "\nheads ", config.num_query_heads, " ", config.num_kv_heads, " ",
                      config.head_dim, "\nffn ", config.ffn_size, "\nvocab ", config.vocab_size,
                      "\neps ", std::bit_cast<uint32_t>(config.rms_epsilon), "\nrope ",
                      std::bit_cast<uint64_t>(config.rope_theta), "\nmsa layers ",
                      absl::StrJoin(config.msa_layers, ","), "\npooling ", config.tokens_per_chunk,
                      "\nown router ", config.decouple_router, "\ncosine ", config.cosine, "\n");
}

template <class Word>
Word LoadWord(const std::byte* bytes) {
  Word word;
  std::memcpy(&word, bytes, sizeof(word));
  return word;
}

// All exponent bits set: NaN or infinity.
template <class Word>
bool HasNonFinite(absl::Span<const std::byte> bytes, Word exponent) {
  bool found = false;
  for (size_t i = 0; i + sizeof(Word) <= bytes.size(); i += sizeof(Word)) {
    found |= (LoadWord<Word>(bytes.data() + i) & exponent) == exponent;
  }
  return found;
}

bool HasNonFinite(absl::Span<const std::byte> bytes, DType dtype) {
  switch (dtype) {
    case DType::kBF16:
      return HasNonFinite<uint16_t>(bytes, 0x7f80);
    case DType::kF16:
      return HasNonFinite<uint16_t>(bytes, 0x7c00);
    case DType::kF32:
      return HasNonFinite<uint32_t>(bytes, 0x7f800000);
  }
  return true;
}

size_t FirstNonFinite(absl::Span<const std::byte> bytes, DType dtype) {
  const size_t size = SizeOf(dtype);
  size_t element = 0;
  while (!HasNonFinite(bytes.subspan(element * size, size), dtype)) ++element;
  return element;
}

struct Block {
  size_t tensor = 0;
  size_t begin = 0;  // byte within the tensor
  XXH128_hash_t hash{};
  bool finite = true;
};

void HashBlock(const CheckpointTensor& tensor, Block& block) {
  const absl::Span<const std::byte> bytes = tensor.bytes.subspan(block.begin, kBlockBytes);
  const State state = NewState();
  for (size_t begin = 0; begin < bytes.size(); begin += kCacheBytes) {
    const absl::Span<const std::byte> part = bytes.subspan(begin, kCacheBytes);
    XXH3_128bits_update(state.get(), part.data(), part.size());
    block.finite = block.finite && !HasNonFinite(part, tensor.dtype);
  }
  block.hash = XXH3_128bits_digest(state.get());
}

}  // namespace

absl::StatusOr<std::string> FingerprintModel(const ModelConfig& config,
                                             const Checkpoint& checkpoint,
                                             kernels::ThreadPool& pool) {
  const std::vector<ExpectedTensor> expected = ExpectedTensors(config);
  std::vector<CheckpointTensor> tensors;
  std::vector<Block> blocks;
  for (const ExpectedTensor& tensor : expected) {
    MSA_ASSIGN_OR_RETURN(const CheckpointTensor found, checkpoint.Find(tensor.name, tensor.shape));
    for (size_t begin = 0; begin < found.bytes.size(); begin += kBlockBytes) {
      blocks.push_back({.tensor = tensors.size(), .begin = begin});
    }
    tensors.push_back(found);
  }
  pool.ParallelFor(static_cast<int64_t>(blocks.size()), [&](int64_t task) {
    Block& block = blocks[static_cast<size_t>(task)];
    HashBlock(tensors[block.tensor], block);
  });

  const State state = NewState();
  const auto update = [&](const void* data, size_t size) {
    XXH3_128bits_update(state.get(), data, size);
  };
  const std::string settings = SettingsText(config);
  update(settings.data(), settings.size());
  size_t next = 0;
  for (size_t i = 0; i < tensors.size(); ++i) {
    const CheckpointTensor& tensor = tensors[i];
    const std::string header =
        absl::StrCat(expected[i].name, " ", std::string(NameOf(tensor.dtype)), " ",
                     ShapeText(tensor.shape), "\n");
    update(header.data(), header.size());
    for (; next < blocks.size() && blocks[next].tensor == i; ++next) {
      const Block& block = blocks[next];
      if (!block.finite) {
        const size_t element =
            block.begin / SizeOf(tensor.dtype) +
            FirstNonFinite(tensor.bytes.subspan(block.begin, kBlockBytes), tensor.dtype);
        return absl::InvalidArgumentError(
            absl::StrFormat("%s: tensor \"%s\": element %d is NaN or infinite", tensor.file->path(),
                            expected[i].name, element));
      }
      XXH128_canonical_t canonical;
      XXH128_canonicalFromHash(&canonical, block.hash);
      update(canonical.digest, sizeof(canonical.digest));
    }
  }
  const XXH128_hash_t hash = XXH3_128bits_digest(state.get());
  return absl::StrFormat("%016x%016x", hash.high64, hash.low64);
}

}  // namespace msa::engine
