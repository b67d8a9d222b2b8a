// Where oneDNN is not installed.
#include "tests/bench/onednn_peer.h"

namespace msa::bench {

struct OneDnnMatMul::Impl {
  std::vector<float> output;
};

std::unique_ptr<OneDnnMatMul> OneDnnMatMul::Create(int64_t, int64_t, int64_t, bool,
                                                   const std::vector<float>&, const kernels::BF16*,
                                                   size_t) {
  return nullptr;
}

void OneDnnMatMul::Run() {}
const std::vector<float>& OneDnnMatMul::output() const { return impl_->output; }
OneDnnMatMul::OneDnnMatMul(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
OneDnnMatMul::~OneDnnMatMul() = default;

}  // namespace msa::bench
