#include "tests/bench/onednn_peer.h"

#include <oneapi/dnnl/dnnl.hpp>
#include <utility>

namespace msa::bench {

struct OneDnnMatMul::Impl {
  dnnl::engine engine{dnnl::engine::kind::cpu, 0};
  dnnl::stream stream{engine};
  dnnl::matmul product;
  dnnl::memory input;
  std::vector<dnnl::memory> weights;
  std::vector<float> output;
  dnnl::memory output_memory;
  size_t turn = 0;
};

std::unique_ptr<OneDnnMatMul> OneDnnMatMul::Create(int64_t m, int64_t n, int64_t k, bool bf16,
                                                   const std::vector<float>& input,
                                                   const kernels::BF16* weights,
                                                   size_t num_copies) {
  using dnnl::memory;
  const auto dtype = bf16 ? memory::data_type::bf16 : memory::data_type::f32;
  auto impl = std::make_unique<Impl>();
  try {
    const memory::desc input_shape({m, k}, dtype, memory::format_tag::ab);
    const memory::desc output_shape({m, n}, memory::data_type::f32, memory::format_tag::ab);
    const memory::desc any_weights({k, n}, dtype, memory::format_tag::any);
    const dnnl::matmul::primitive_desc choice(
        dnnl::matmul::desc(input_shape, any_weights, output_shape), impl->engine);
    impl->product = dnnl::matmul(choice);
    const auto convert = [&](const memory::desc& from_shape, const void* data,
                             const memory::desc& to_shape) {
      memory from(from_shape, impl->engine, const_cast<void*>(data));
      memory to(to_shape, impl->engine);
      dnnl::reorder(from, to).execute(impl->stream, from, to);
      impl->stream.wait();
      return to;
    };
    impl->input = convert({{m, k}, memory::data_type::f32, memory::format_tag::ab}, input.data(),
                          input_shape);
    for (size_t i = 0; i < num_copies; ++i) {
      // [n, k] in rows is [k, n] in columns.
      const memory::desc rows({k, n}, memory::data_type::bf16, memory::dims{1, k});
      impl->weights.push_back(
          convert(rows, weights + i * static_cast<size_t>(n * k), choice.weights_desc()));
    }
    impl->output.resize(static_cast<size_t>(m * n));
    impl->output_memory = memory(output_shape, impl->engine, impl->output.data());
  } catch (const dnnl::error&) {
    return nullptr;
  }
  return std::unique_ptr<OneDnnMatMul>(new OneDnnMatMul(std::move(impl)));
}

void OneDnnMatMul::Run() {
  impl_->product.execute(impl_->stream,
                         {{DNNL_ARG_SRC, impl_->input},
                          {DNNL_ARG_WEIGHTS, impl_->weights[impl_->turn++ % impl_->weights.size()]},
                          {DNNL_ARG_DST, impl_->output_memory}});
  impl_->stream.wait();
}

const std::vector<float>& OneDnnMatMul::output() const { return impl_->output; }

OneDnnMatMul::OneDnnMatMul(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
OneDnnMatMul::~OneDnnMatMul() = default;

}  // namespace msa::bench
