// PageStore: the contents of a simulated device, with the difference between written and durable.
// Every write not yet flushed is kept beside the durable contents, so that a power loss can let
// each of them survive, vanish or tear, in any combination.
//
// Invariants:
//  1. A page's memory never changes after it was made: durable, pending and current contents share
//     it.
//  2. current = durable overlaid with the pending writes, in order.
// Thread rule: one world. Memory: pages written, 4 KiB each per version alive; unwritten space
// costs 8 bytes per 2 MiB.
#pragma once

#include <sys/uio.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "base/random.h"
#include "base/units.h"

namespace latte::sim {

/// Contents of one page, shared and immutable. Null = zeroes.
class PageRef {
 public:
  struct Page {
    std::array<std::byte, kBlockBytes> bytes;
    uint32_t references = 0;
  };

  PageRef() = default;
  PageRef(const PageRef& other) : page_(other.page_) {
    if (page_ != nullptr) ++page_->references;
  }
  PageRef(PageRef&& other) noexcept : page_(std::exchange(other.page_, nullptr)) {}
  PageRef& operator=(PageRef other) noexcept {
    std::swap(page_, other.page_);
    return *this;
  }
  ~PageRef() {
    if (page_ != nullptr && --page_->references == 0) recycle(page_);
  }
  /// A new page with undefined contents, for its maker to fill.
  static PageRef make();
  /// A new page with the contents of `other`.
  static PageRef copy_of(const PageRef& other);

  bool null() const { return page_ == nullptr; }
  std::byte* data() { return page_->bytes.data(); }
  const std::byte* data() const { return page_->bytes.data(); }

 private:
  static void recycle(Page* page);
  Page* page_ = nullptr;
};

class PageStore {
 public:
  explicit PageStore(uint64_t size_bytes);

  uint64_t size_bytes() const { return size_bytes_; }

  /// How a write is stored.
  struct Mode {
    uint32_t owner = 0;      ///< whose volatile cache holds it until flushed
    bool durable = false;    ///< at once
    Random* tear = nullptr;  ///< each sector is stored or not, by this
  };
  /// Stores `length` bytes from `source` (an iovec list; null = zeroes). Sector-aligned.
  void write(uint64_t offset, uint64_t length, std::span<const iovec> source, Mode mode);
  /// Makes a page what it was, durably; null = zeroes.
  void restore(uint64_t page, const PageRef& contents);
  /// Copies the current contents out.
  void read(uint64_t offset, std::span<const iovec> target) const;
  /// Number of the latest write.
  uint64_t version() const { return version_; }

  /// Makes `owner`'s writes up to `version` durable.
  void flush(uint32_t owner, uint64_t version);
  /// `owner`'s cache is gone: each write pending there survives, vanishes or is torn into sectors.
  void lose_cache(uint32_t owner, Random& random);
  /// True if `owner` has writes that are not durable.
  bool has_pending(uint32_t owner) const;

  /// A page chosen among those written that has been durable for `age` flushes or more, has nothing
  /// pending and is `allowed` (all are if that is empty), or kNoPage.
  static constexpr uint64_t kNoPage = UINT64_MAX;
  using Allowed = std::function<bool(uint64_t page)>;
  uint64_t pick_durable_page(Random& random, uint64_t age, const Allowed& allowed = {}) const;
  /// Flips bits of a page's newest version.
  void corrupt(uint64_t page, Random& random);
  /// Current contents of a page; null = zeroes.
  PageRef peek(uint64_t page) const;
  /// Likewise, as they would be if everything pending vanished.
  PageRef peek_durable(uint64_t page) const;

 private:
  struct Version {
    uint64_t number;
    uint32_t owner;
    uint8_t sectors;  // bit i: sector i of the page was written
    PageRef contents;
  };
  struct PageState {
    PageRef durable;
    PageRef current;
    std::vector<Version> pending;
    uint64_t durable_since_flush = 0;
    bool written = false;
    bool listed = false;  // in dirty_
  };
  static constexpr uint64_t kChunkPages = 512;
  using Chunk = std::array<PageState, kChunkPages>;

  PageState& state(uint64_t page);
  const PageState* find(uint64_t page) const;
  void store(uint64_t page, uint8_t sectors, PageRef contents, const Mode& mode);
  static PageRef overlay(const PageRef& below, const PageRef& above, uint8_t sectors);
  static void recompute(PageState& page);
  /// Calls `visit(PageState&)` for every page with pending writes, then drops those without from
  /// dirty_.
  template <typename Visit>
  void visit_dirty(Visit&& visit);

  uint64_t size_bytes_;
  std::vector<std::unique_ptr<Chunk>> chunks_;
  std::vector<uint64_t> dirty_;
  std::vector<uint64_t> written_;
  uint64_t version_ = 0;
  uint64_t flushes_ = 1;
};

}  // namespace latte::sim
