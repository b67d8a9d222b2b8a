// The tile of int8_scan.h for one instruction set. A fragment: included inside the namespace and
// the attributes of a target, which has defined
//   Sums    16 int32, Codes 16 times four codes, Floats 16 f32; with the functions used below
//   kMostTileRows, kGroupsPerTile
// No include guard.

// kRows rows of a tile with kGroups groups.
template <size_t kRows, size_t kGroups>
void ScanTile(const Int8ScanArgs& args, const Int8Rows::Tile& tile, size_t first_group) {
  const size_t group_bytes = 64 * (args.steps + 3);
  const std::byte* const groups = args.groups + first_group * group_bytes;
  const int8_t* row_codes = args.rows->codes.data() + tile.first_code;
  Sums sums[kRows][kGroups];
#pragma GCC unroll 16
  for (size_t m = 0; m < kRows; ++m) {
#pragma GCC unroll 4
    for (size_t g = 0; g < kGroups; ++g) sums[m][g] = ZeroSums();
  }
  const std::byte* codes = groups;
  for (size_t step = 0; step < args.steps; ++step, codes += 64, row_codes += 4 * kRows) {
    Codes keys[kGroups];
#pragma GCC unroll 4
    for (size_t g = 0; g < kGroups; ++g) keys[g] = LoadCodes(codes + g * group_bytes);
#pragma GCC unroll 16
    for (size_t m = 0; m < kRows; ++m) {
      const auto four = BroadcastFour(row_codes + 4 * m);
#pragma GCC unroll 4
      for (size_t g = 0; g < kGroups; ++g) AddProducts(keys[g], four, &sums[m][g]);
    }
  }
  for (size_t g = 0; g < kGroups; ++g) {
    const auto* const numbers =
        reinterpret_cast<const float*>(groups + g * group_bytes + 64 * args.steps);
    const Floats scale = LoadFloats(numbers);
    const Floats error_norm = LoadFloats(numbers + 16);
    const Floats norm = LoadFloats(numbers + 32);
#pragma GCC unroll 16
    for (size_t m = 0; m < kRows; ++m) {
      const Int8Rows::Row& row = args.rows->rows[tile.first_row + m];
      const size_t at = static_cast<size_t>(row.query) * args.stride + 16 * (first_group + g);
      const Floats bound = row.alpha * error_norm + row.beta * norm;
      const Floats score = (row.scale * scale) * ToFloats(sums[m][g], row.bias);
      StoreLarger(args.upper + at, score + bound);
      StoreLarger(args.lower + at, score - bound);
    }
  }
}

template <size_t kRows>
void ScanRows(const Int8ScanArgs& args, const Int8Rows::Tile& tile, size_t first_group,
              size_t num_groups) {
  if (num_groups == kGroupsPerTile) return ScanTile<kRows, kGroupsPerTile>(args, tile, first_group);
  for (size_t g = 0; g < num_groups; ++g) ScanTile<kRows, 1>(args, tile, first_group + g);
}

template <size_t... kRows>
void ScanTileOf(const Int8ScanArgs& args, const Int8Rows::Tile& tile, size_t first_group,
                size_t num_groups, std::index_sequence<kRows...>) {
  using Function = void (*)(const Int8ScanArgs&, const Int8Rows::Tile&, size_t, size_t);
  static constexpr Function kFunctions[] = {&ScanRows<kRows + 1>...};
  kFunctions[tile.num_rows - 1](args, tile, first_group, num_groups);
}

// Groups stay in the cache while all rows pass over them.
void Scan(const Int8ScanArgs& args) {
  for (size_t g = 0; g < args.num_groups; g += kGroupsPerTile) {
    for (const Int8Rows::Tile& tile : args.rows->tiles) {
      ScanTileOf(args, tile, g, std::min(kGroupsPerTile, args.num_groups - g),
                 std::make_index_sequence<kMostTileRows>());
    }
  }
}
