// A fragment: included inside the namespace of a target, after hwy/highway.h.

// Sum of squares in f32: lane l of accumulator a adds elements (4 * i + a) * lanes + l in the order
// of i, then the four accumulators and the lanes are added in a fixed tree; the tail is filled up
// with zeros.
HWY_INLINE float SumOfSquares(const float* values, size_t count) {
  namespace hn = hwy::HWY_NAMESPACE;
  const hn::ScalableTag<float> f32;
  const size_t lanes = hn::Lanes(f32);
  auto sum0 = hn::Zero(f32);
  auto sum1 = hn::Zero(f32);
  auto sum2 = hn::Zero(f32);
  auto sum3 = hn::Zero(f32);
  size_t i = 0;
  for (; i + 4 * lanes <= count; i += 4 * lanes) {
    const auto value0 = hn::LoadU(f32, values + i);
    const auto value1 = hn::LoadU(f32, values + i + lanes);
    const auto value2 = hn::LoadU(f32, values + i + 2 * lanes);
    const auto value3 = hn::LoadU(f32, values + i + 3 * lanes);
    sum0 = hn::MulAdd(value0, value0, sum0);
    sum1 = hn::MulAdd(value1, value1, sum1);
    sum2 = hn::MulAdd(value2, value2, sum2);
    sum3 = hn::MulAdd(value3, value3, sum3);
  }
  for (; i < count; i += lanes) {
    const auto value = hn::MaskedLoad(hn::FirstN(f32, count - i), f32, values + i);
    sum0 = hn::MulAdd(value, value, sum0);
  }
  return hn::GetLane(hn::SumOfLanes(f32, hn::Add(hn::Add(sum0, sum1), hn::Add(sum2, sum3))));
}
