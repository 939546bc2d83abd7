// BlockIndex, ExtentMap and SeqSet beside a plain map that does the same, under random operations.
#include <gtest/gtest.h>

#include <map>
#include <optional>
#include <set>
#include <vector>

#include "base/random.h"
#include "log/block_index.h"
#include "log/extent_map.h"
#include "log/seq_set.h"

namespace latte {
namespace {

constexpr uint64_t kBlocks = 3 * 65536 + 100;  // three regions and a piece

TEST(BlockIndex, FindsWhatAMapWouldFind) {
  Random random(1);
  BlockIndex index(kBlocks);
  std::map<uint64_t, uint64_t> reference;
  const auto known = [&](uint64_t lba) {
    const auto it = reference.find(lba);
    return it == reference.end() ? BlockIndex::kNone : it->second;
  };
  for (int i = 0; i < 300'000; ++i) {
    const uint64_t lba = random.chance(1, 2) ? random.below(2000) : random.below(kBlocks);
    const uint64_t former = known(lba);
    const uint64_t address = random.below(BlockIndex::kNone);
    switch (random.below(8)) {
      case 0:
        ASSERT_EQ(index.erase(Lba(lba)), former);
        reference.erase(lba);
        break;
      case 1:
        ASSERT_FALSE(index.erase_if(Lba(lba), former == address ? address + 1 : address));
        if (former == BlockIndex::kNone) break;
        ASSERT_TRUE(index.erase_if(Lba(lba), former));
        reference.erase(lba);
        break;
      default:
        ASSERT_EQ(index.set(Lba(lba), address), former);
        reference[lba] = address;
        break;
    }
    ASSERT_EQ(index.size(), reference.size());
  }
  for (uint64_t lba = 0; lba < kBlocks; ++lba) ASSERT_EQ(index.find(Lba(lba)), known(lba));
  std::map<uint64_t, uint64_t> seen;
  index.for_each([&](Lba lba, uint64_t address) { seen[lba.value] = address; });
  EXPECT_EQ(seen, reference);
}

TEST(BlockIndex, ErasesRangesAndSaysWhatWasThere) {
  Random random(2);
  BlockIndex index(kBlocks);
  std::map<uint64_t, uint64_t> reference;
  for (int round = 0; round < 300; ++round) {
    for (int i = 0; i < 500; ++i) {
      const uint64_t lba = random.below(kBlocks);
      reference[lba] = random.below(1000);
      index.set(Lba(lba), reference[lba]);
    }
    const uint64_t first = random.below(kBlocks);
    const uint64_t most = random.chance(1, 2) ? 50 : kBlocks;
    const uint64_t count = std::min(random.between(1, most), kBlocks - first);
    const auto begin = reference.lower_bound(first);
    const auto end = reference.lower_bound(first + count);
    ASSERT_EQ(index.any_in(Lba(first), count), begin != end);
    const std::map<uint64_t, uint64_t> expected(begin, end);
    std::map<uint64_t, uint64_t> erased;
    index.erase_range(Lba(first), count,
                      [&](Lba lba, uint64_t address) { erased[lba.value] = address; });
    ASSERT_EQ(erased, expected);
    reference.erase(begin, end);
    ASSERT_EQ(index.size(), reference.size());
  }
}

TEST(BlockIndex, AFullRegionIsEmptiedAndFilledAgain) {
  constexpr uint64_t kRegion = 1u << 16;
  BlockIndex index(2 * kRegion);
  for (uint64_t lba = 0; lba < kRegion; ++lba) index.set(Lba(lba), lba + 1);
  for (uint64_t lba = 0; lba < kRegion; lba += 2) ASSERT_EQ(index.erase(Lba(lba)), lba + 1);
  for (uint64_t lba = 0; lba < kRegion; ++lba)
    ASSERT_EQ(index.find(Lba(lba)), lba % 2 == 0 ? BlockIndex::kNone : lba + 1) << lba;
  for (uint64_t lba = 0; lba < kRegion; ++lba)
    ASSERT_EQ(index.set(Lba(lba), lba), lba % 2 == 0 ? BlockIndex::kNone : lba + 1) << lba;
  for (uint64_t lba = kRegion; lba-- > 0;) ASSERT_EQ(index.erase(Lba(lba)), lba) << lba;
  ASSERT_EQ(index.size(), 0u);
}

TEST(BlockIndex, AnIndexedBlockCostsAtMost16Bytes) {
  BlockIndex index(1u << 18);
  for (uint64_t lba = 0; lba < 1u << 18; ++lba) {
    index.set(Lba(lba), lba);
    if (lba % 65536 > 10'000) {
      ASSERT_LE(index.memory_bytes(), 16 * index.size());
    }
  }
}

constexpr uint64_t kRange = 200;

struct Cell {
  ExtentKind kind;
  uint64_t seq;
};
using Cells = std::vector<std::optional<Cell>>;

/// All that can be asked about every block agrees.
void compare(const ExtentMap& map, const Cells& cells) {
  uint64_t zeroes = 0;
  for (uint64_t lba = 0; lba < kRange; ++lba) {
    const auto hit = map.find(Lba(lba), kRange - lba);
    ASSERT_EQ(hit.found, cells[lba].has_value()) << lba;
    ASSERT_GT(hit.run, 0u);
    for (uint64_t i = lba; i < lba + hit.run; ++i)
      ASSERT_EQ(cells[i].has_value(), hit.found) << lba << " " << i;
    if (!hit.found) continue;
    ASSERT_EQ(hit.kind, cells[lba]->kind);
    ASSERT_EQ(hit.seq.value, cells[lba]->seq);
    if (hit.kind == ExtentKind::zero) ++zeroes;
  }
  ASSERT_EQ(map.blocks(ExtentKind::zero), zeroes);
}

TEST(ExtentMap, HoldsWhatAnArrayWouldHold) {
  Random random(3);
  ExtentMap map;
  Cells cells(kRange);
  for (int i = 0; i < 4000; ++i) {
    const uint64_t first = random.below(kRange);
    const uint64_t count = random.between(1, std::min<uint64_t>(kRange - first, 40));
    const uint64_t seq = random.below(100);
    const auto kind = random.chance(1, 3) ? ExtentKind::lost : ExtentKind::zero;
    const uint64_t operation = random.below(4);
    for (uint64_t lba = first; lba < first + count; ++lba) {
      auto& cell = cells[lba];
      if (operation == 0 || (operation == 1 && (!cell || cell->seq <= seq))) cell = Cell{kind, seq};
      if (operation == 2 || (operation == 3 && cell && cell->seq <= seq)) cell.reset();
    }
    if (operation == 0) map.set(Lba(first), count, kind, Seq(seq));
    if (operation == 1) map.set_if_newer(Lba(first), count, kind, Seq(seq));
    if (operation == 2) map.erase(Lba(first), count);
    if (operation == 3) map.erase_up_to(Lba(first), count, Seq(seq));
    compare(map, cells);
    if (HasFatalFailure()) return;
  }
}

TEST(ExtentMap, ADiscardOfAWholeDiskIsOneEntry) {
  ExtentMap map;
  for (uint64_t lba = 0; lba < 1000; lba += 2) map.set(Lba(lba), 1, ExtentKind::zero, Seq(1));
  map.set(Lba(0), 1ull << 40, ExtentKind::zero, Seq(2));
  EXPECT_EQ(map.size(), 1u);
}

TEST(SeqSet, KnowsItsGapsAsASetWould) {
  Random random(4);
  for (int round = 0; round < 300; ++round) {
    SeqSet set;
    std::set<uint64_t> reference;
    const uint64_t top = random.between(1, 120);
    for (uint64_t i = random.below(40); i > 0; --i) {
      const uint64_t first = random.between(1, top);
      const uint64_t count = random.below(6);
      set.add(Seq(first), count);
      for (uint64_t seq = first; seq < first + count; ++seq) reference.insert(seq);
    }
    for (uint64_t seq = 1; seq <= top + 6; ++seq) {
      ASSERT_EQ(set.contains(Seq(seq)), reference.contains(seq));
      const auto above = reference.lower_bound(seq);
      const uint64_t below = above == reference.begin() ? 0 : *std::prev(above);
      ASSERT_EQ(set.highest_below(Seq(seq)).value, below);
    }
    const uint64_t floor = random.below(top + 1);
    uint64_t contiguous = floor;
    while (reference.contains(contiguous + 1)) ++contiguous;
    ASSERT_EQ(set.contiguous_from(Seq(floor)).value, contiguous);
    std::set<uint64_t> missing;
    for (const auto& [first, count] : set.gaps(Seq(floor), Seq(top)))
      for (uint64_t i = 0; i < count; ++i) ASSERT_TRUE(missing.insert(first.value + i).second);
    for (uint64_t seq = floor + 1; seq <= top; ++seq)
      ASSERT_EQ(missing.contains(seq), !reference.contains(seq)) << seq;
  }
}

}  // namespace
}  // namespace latte
