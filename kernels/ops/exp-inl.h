// exp for one target. A fragment: included inside the namespace of a target, after
// hwy/contrib/math/math-inl.h.

// Highway's Exp errs by at most 1 ulp from -104 up to 88 (arguments here are never positive); 0
// below. exp(0) = 1; NaN stays NaN.
HWY_INLINE hwy::HWY_NAMESPACE::Vec<hwy::HWY_NAMESPACE::ScalableTag<float>> ExpOfNonPositive(
    hwy::HWY_NAMESPACE::Vec<hwy::HWY_NAMESPACE::ScalableTag<float>> x) {
  namespace hn = hwy::HWY_NAMESPACE;
  const hn::ScalableTag<float> f32;
  const auto lowest = hn::Set(f32, -150.0f);  // keeps infinity out of the range reduction
  return hn::IfThenElse(hn::IsNaN(x), x, hn::Exp(f32, hn::Max(x, lowest)));
}
