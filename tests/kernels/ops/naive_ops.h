#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <numeric>
#include <vector>

#include "kernels/ops/score_chunks.h"

// The ops once more, in double precision and as plainly as they can be written.
namespace msa::kernels::naive {

using Doubles = std::vector<double>;

inline Doubles Widen(const std::vector<float>& values) { return {values.begin(), values.end()}; }

inline double Dot(const double* a, const double* b, int64_t count) {
  double sum = 0;
  for (int64_t i = 0; i < count; ++i) sum += a[i] * b[i];
  return sum;
}

// input [M, K], weight [N, K] -> [M, N]
inline Doubles MatMul(const Doubles& input, const Doubles& weight, int64_t m, int64_t n,
                      int64_t k) {
  Doubles output(static_cast<size_t>(m * n));
  for (int64_t i = 0; i < m; ++i) {
    for (int64_t j = 0; j < n; ++j) {
      output[static_cast<size_t>(i * n + j)] =
          Dot(&input[static_cast<size_t>(i * k)], &weight[static_cast<size_t>(j * k)], k);
    }
  }
  return output;
}

inline Doubles Softmax(Doubles scores) {
  if (scores.empty()) return scores;
  const double largest = *std::max_element(scores.begin(), scores.end());
  double total = 0;
  for (double& score : scores) total += score = std::exp(score - largest);
  for (double& score : scores) score /= total;
  return scores;
}

// One query row and head over `rows` keys and values of width `d`; zeros if there are none.
inline Doubles AttendRow(const Doubles& query, const std::vector<Doubles>& keys,
                         const std::vector<Doubles>& values, double scale) {
  Doubles scores;
  for (const Doubles& key : keys)
    scores.push_back(scale * Dot(query.data(), key.data(), static_cast<int64_t>(query.size())));
  const Doubles weights = Softmax(scores);
  Doubles output(query.size(), 0.0);
  for (size_t j = 0; j < values.size(); ++j) {
    for (size_t i = 0; i < output.size(); ++i) output[i] += weights[j] * values[j][i];
  }
  return output;
}

inline Doubles RmsNorm(const Doubles& input, const Doubles& weight, double epsilon) {
  const size_t width = weight.size();
  Doubles output(input.size());
  for (size_t row = 0; row < input.size(); row += width) {
    double squares = 0;
    for (size_t i = 0; i < width; ++i) squares += input[row + i] * input[row + i];
    const double length = std::sqrt(squares / static_cast<double>(width) + epsilon);
    for (size_t i = 0; i < width; ++i) output[row + i] = input[row + i] / length * weight[i];
  }
  return output;
}

inline double Silu(double x) { return x / (1.0 + std::exp(-x)); }

inline void Normalize(double* head, int64_t count) {
  const double length = std::max(std::sqrt(Dot(head, head, count)), 1e-12);
  for (int64_t i = 0; i < count; ++i) head[i] /= length;
}

// The score of one document [num_chunks, Hkv * D] for one query's rows [T, columns].
struct ScoreRule {
  HeadReduce head_reduce;
  QueryReduce query_reduce;
  ChunkReduce chunk_reduce;
  int64_t num_query_heads;
  int64_t num_kv_heads;
  int64_t head_dim;
  double scale;
};

inline double RowScore(const ScoreRule& rule, const double* query, const double* key) {
  if (rule.head_reduce == HeadReduce::kMean)
    return Dot(query, key, rule.num_kv_heads * rule.head_dim);
  double best = -std::numeric_limits<double>::infinity();
  for (int64_t h = 0; h < rule.num_query_heads; ++h) {
    const int64_t g = h / (rule.num_query_heads / rule.num_kv_heads);
    best = std::max(best, Dot(query + h * rule.head_dim, key + g * rule.head_dim, rule.head_dim));
  }
  return best;
}

inline double DocumentScore(const ScoreRule& rule, const Doubles& query, const Doubles& keys) {
  const int64_t heads =
      rule.head_reduce == HeadReduce::kMean ? rule.num_kv_heads : rule.num_query_heads;
  const auto columns = static_cast<size_t>(heads * rule.head_dim);
  const auto width = static_cast<size_t>(rule.num_kv_heads * rule.head_dim);
  Doubles chunk_scores;
  for (size_t chunk = 0; chunk < keys.size(); chunk += width) {
    Doubles rows;
    for (size_t t = 0; t < query.size(); t += columns)
      rows.push_back(RowScore(rule, &query[t], &keys[chunk]));
    const double sum = std::accumulate(rows.begin(), rows.end(), 0.0);
    chunk_scores.push_back(
        rule.query_reduce == QueryReduce::kMax    ? *std::max_element(rows.begin(), rows.end())
        : rule.query_reduce == QueryReduce::kMean ? sum / static_cast<double>(rows.size())
                                                  : rows.back());
  }
  const double sum = std::accumulate(chunk_scores.begin(), chunk_scores.end(), 0.0);
  return rule.scale * (rule.chunk_reduce == ChunkReduce::kMax
                           ? *std::max_element(chunk_scores.begin(), chunk_scores.end())
                           : sum / static_cast<double>(chunk_scores.size()));
}

}  // namespace msa::kernels::naive
