#include "sim/page_store.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"

namespace latte::sim {

namespace {
constexpr uint8_t kAllSectors = 0xff;
constexpr uint64_t kSectorsPerPage = kBlockBytes / kSectorBytes;
static_assert(kSectorsPerPage == 8, "a page's sectors fill a byte");
/// Idle pages a thread keeps for reuse: 64 MiB.
constexpr size_t kMaxIdlePages = 16384;

struct IdlePages {
  std::vector<PageRef::Page*> pages;
  ~IdlePages() {
    for (auto* page : pages) delete page;
  }
};
IdlePages& idle_pages() {
  thread_local IdlePages idle;
  return idle;
}

/// Walks an iovec list and copies from or to it.
class IovecCursor {
 public:
  explicit IovecCursor(std::span<const iovec> vectors) : vectors_(vectors) {}
  template <typename Copy>
  void take(uint64_t length, Copy&& copy) {
    while (length > 0) {
      LATTE_CHECK(index_ < vectors_.size());
      const iovec& vector = vectors_[index_];
      const uint64_t part = std::min<uint64_t>(length, vector.iov_len - used_);
      copy(static_cast<std::byte*>(vector.iov_base) + used_, part);
      length -= part;
      used_ += part;
      if (used_ == vector.iov_len) {
        ++index_;
        used_ = 0;
      }
    }
  }

 private:
  std::span<const iovec> vectors_;
  size_t index_ = 0;
  uint64_t used_ = 0;
};
}  // namespace

PageRef PageRef::make() {
  PageRef made;
  auto& idle = idle_pages().pages;
  if (idle.empty()) {
    made.page_ = new Page;
  } else {
    made.page_ = idle.back();
    idle.pop_back();
  }
  made.page_->references = 1;
  return made;
}

PageRef PageRef::copy_of(const PageRef& other) {
  PageRef made = make();
  if (other.null()) {
    std::memset(made.data(), 0, kBlockBytes);
  } else {
    std::memcpy(made.data(), other.data(), kBlockBytes);
  }
  return made;
}

void PageRef::recycle(Page* page) {
  auto& idle = idle_pages().pages;
  if (idle.size() < kMaxIdlePages) {
    idle.push_back(page);
  } else {
    delete page;
  }
}

PageStore::PageStore(uint64_t size_bytes) : size_bytes_(size_bytes) {
  LATTE_CHECK(size_bytes > 0 && size_bytes % kSectorBytes == 0);
  const uint64_t pages = round_up(size_bytes, kBlockBytes) / kBlockBytes;
  chunks_.resize((pages + kChunkPages - 1) / kChunkPages);
}

PageStore::PageState& PageStore::state(uint64_t page) {
  LATTE_CHECK(page / kChunkPages < chunks_.size());
  auto& chunk = chunks_[page / kChunkPages];
  if (chunk == nullptr) chunk = std::make_unique<Chunk>();
  return (*chunk)[page % kChunkPages];
}

const PageStore::PageState* PageStore::find(uint64_t page) const {
  LATTE_CHECK(page / kChunkPages < chunks_.size());
  const auto& chunk = chunks_[page / kChunkPages];
  return chunk == nullptr ? nullptr : &(*chunk)[page % kChunkPages];
}

PageRef PageStore::overlay(const PageRef& below, const PageRef& above, uint8_t sectors) {
  if (sectors == kAllSectors) return above;
  PageRef merged = PageRef::copy_of(below);
  for (uint64_t sector = 0; sector < kSectorsPerPage; ++sector) {
    if ((sectors >> sector & 1) == 0) continue;
    std::byte* to = merged.data() + sector * kSectorBytes;
    if (above.null()) {
      std::memset(to, 0, kSectorBytes);
    } else {
      std::memcpy(to, above.data() + sector * kSectorBytes, kSectorBytes);
    }
  }
  return merged;
}

void PageStore::write(uint64_t offset, uint64_t length, std::span<const iovec> source, Mode mode) {
  LATTE_CHECK(offset % kSectorBytes == 0 && length % kSectorBytes == 0);
  LATTE_CHECK(offset + length <= size_bytes_);
  ++version_;
  IovecCursor cursor(source);
  for (uint64_t at = offset, end = offset + length; at < end;) {
    const uint64_t page = at / kBlockBytes;
    const uint64_t from = at % kBlockBytes;
    const uint64_t part = std::min<uint64_t>(kBlockBytes - from, end - at);
    const auto first = static_cast<unsigned>(from / kSectorBytes);
    const auto count = static_cast<unsigned>(part / kSectorBytes);
    auto sectors = static_cast<uint8_t>(((1u << count) - 1) << first);
    PageRef contents;
    if (!source.empty()) {
      contents = PageRef::make();
      std::byte* to = contents.data() + from;
      cursor.take(part, [&](const std::byte* bytes, uint64_t n) {
        std::memcpy(to, bytes, n);
        to += n;
      });
    }
    if (mode.tear != nullptr) sectors &= static_cast<uint8_t>(mode.tear->next());
    if (sectors != 0) store(page, sectors, std::move(contents), mode);
    at += part;
  }
}

void PageStore::store(uint64_t number, uint8_t sectors, PageRef contents, const Mode& mode) {
  PageState& page = state(number);
  if (!page.written) {
    page.written = true;
    written_.push_back(number);
  }
  page.current = overlay(page.current, contents, sectors);
  if (mode.durable) {
    // What is durable can't be undone by older pending writes of the same sectors: those go.
    page.durable = overlay(page.durable, contents, sectors);
    page.durable_since_flush = flushes_;
    for (Version& version : page.pending) version.sectors &= static_cast<uint8_t>(~sectors);
    return;
  }
  page.pending.push_back(Version{version_, mode.owner, sectors, std::move(contents)});
  if (!page.listed) {
    page.listed = true;
    dirty_.push_back(number);
  }
}

void PageStore::restore(uint64_t page, const PageRef& contents) {
  Mode mode;
  mode.durable = true;
  const iovec vector{const_cast<std::byte*>(contents.null() ? nullptr : contents.data()),
                     kBlockBytes};
  const std::span<const iovec> source =
      contents.null() ? std::span<const iovec>() : std::span(&vector, 1);
  write(page * kBlockBytes, kBlockBytes, source, mode);
}

void PageStore::read(uint64_t offset, std::span<const iovec> target) const {
  uint64_t at = offset;
  for (const iovec& vector : target) {
    auto* to = static_cast<std::byte*>(vector.iov_base);
    for (uint64_t left = vector.iov_len; left > 0;) {
      const uint64_t from = at % kBlockBytes;
      const uint64_t part = std::min<uint64_t>(kBlockBytes - from, left);
      const PageState* page = find(at / kBlockBytes);
      if (page == nullptr || page->current.null()) {
        std::memset(to, 0, part);
      } else {
        std::memcpy(to, page->current.data() + from, part);
      }
      to += part;
      at += part;
      left -= part;
    }
  }
}

void PageStore::recompute(PageState& page) {
  page.current = page.durable;
  for (const Version& version : page.pending)
    if (version.sectors != 0)
      page.current = overlay(page.current, version.contents, version.sectors);
}

template <typename Visit>
void PageStore::visit_dirty(Visit&& visit) {
  std::erase_if(dirty_, [&](uint64_t number) {
    PageState& page = state(number);
    visit(page);
    if (!page.pending.empty()) return false;
    page.listed = false;
    return true;
  });
}

void PageStore::flush(uint32_t owner, uint64_t version) {
  ++flushes_;
  visit_dirty([&](PageState& page) {
    std::erase_if(page.pending, [&](const Version& pending) {
      if (pending.owner != owner || pending.number > version) return false;
      if (pending.sectors != 0)
        page.durable = overlay(page.durable, pending.contents, pending.sectors);
      page.durable_since_flush = flushes_;
      return true;
    });
  });
}

void PageStore::lose_cache(uint32_t owner, Random& random) {
  const uint64_t salt = random.next();
  visit_dirty([&](PageState& page) {
    std::erase_if(page.pending, [&](const Version& pending) {
      if (pending.owner != owner) return false;
      // One fate a write, whatever its length; tears fall differently in each page.
      uint8_t kept = 0;
      switch (Random(salt ^ pending.number).below(3)) {
        case 0:
          kept = kAllSectors;
          break;
        case 1:
          break;
        default:
          kept = static_cast<uint8_t>(random.next());
          break;
      }
      kept &= pending.sectors;
      if (kept != 0) page.durable = overlay(page.durable, pending.contents, kept);
      page.durable_since_flush = flushes_;
      return true;
    });
    recompute(page);
  });
}

bool PageStore::has_pending(uint32_t owner) const {
  return std::any_of(dirty_.begin(), dirty_.end(), [&](uint64_t number) {
    const PageState* page = find(number);
    return std::any_of(page->pending.begin(), page->pending.end(), [&](const Version& version) {
      return version.owner == owner && version.sectors != 0;
    });
  });
}

uint64_t PageStore::pick_durable_page(Random& random, uint64_t age, const Allowed& allowed) const {
  if (written_.empty()) return kNoPage;
  // A bounded number of tries keeps this cheap; most pages qualify.
  for (int attempt = 0; attempt < 16; ++attempt) {
    const uint64_t number = written_[random.below(written_.size())];
    const PageState* page = find(number);
    if (page->pending.empty() && !page->durable.null() &&
        page->durable_since_flush + age <= flushes_ && (!allowed || allowed(number)))
      return number;
  }
  return kNoPage;
}

void PageStore::corrupt(uint64_t number, Random& random) {
  PageState& page = state(number);
  PageRef& target = page.pending.empty() ? page.durable : page.pending.back().contents;
  PageRef damaged = PageRef::copy_of(target);
  const uint64_t flips = random.between(1, 8);
  for (uint64_t i = 0; i < flips; ++i) {
    // Distinct bytes, so that two flips never cancel.
    const uint64_t at = (random.below(kBlockBytes / 8) * 8 + i) % kBlockBytes;
    damaged.data()[at] ^= static_cast<std::byte>(1u << random.below(8));
  }
  target = damaged;
  recompute(page);
}

PageRef PageStore::peek(uint64_t page) const {
  const PageState* found = find(page);
  return found == nullptr ? PageRef() : found->current;
}

PageRef PageStore::peek_durable(uint64_t page) const {
  const PageState* found = find(page);
  return found == nullptr ? PageRef() : found->durable;
}

}  // namespace latte::sim
