#include "disk/cloud_image.h"

#include <algorithm>

#include "base/planted.h"

namespace latte {
namespace {

class ImageVisitor final : public log::StreamVisitor {
 public:
  ImageVisitor(log::SegmentSpace& space, CloudImage& image, bool keep_crcs)
      : space_(space), image_(image), keep_crcs_(keep_crcs) {}

  void on_entry(const log::Entry& entry, log::BlockAddress address, std::span<const uint32_t> crcs,
                log::LogPosition, int64_t) override {
    for (size_t i = 0; i < crcs.size(); ++i) {
      space_.set_crc(address + i, log::unbound_crc(crcs[i], Lba(entry.lba + i), Seq(entry.seq)));
      space_.set_seq(address + i, Seq(entry.seq));
    }
    CloudImage::Item item;
    item.entry = entry;
    item.address = address;
    if (keep_crcs_) item.crcs.assign(crcs.begin(), crcs.end());
    image_.items.push_back(std::move(item));
  }
  void on_damage(log::LogPosition, const std::string& what) override {
    image_.damage.push_back("cloud log: " + what);
  }

 private:
  log::SegmentSpace& space_;
  CloudImage& image_;
  bool keep_crcs_;
};

/// A cut voids what stands before it in the log.
void apply_cuts(CloudImage& image) {
  for (size_t i = 0; i < image.items.size(); ++i) {
    const log::Entry& cut = image.items[i].entry;
    if (cut.kind != log::EntryKind::cut) continue;
    for (size_t j = 0; j < i; ++j) {
      const log::Entry& entry = image.items[j].entry;
      if (entry.kind != log::EntryKind::cut && entry.seq >= cut.seq &&
          entry.seq - cut.seq < cut.count)
        image.items[j].cut = true;
    }
  }
}

}  // namespace

Task<CloudImage> load_cloud_image(Reactor& reactor, log::SegmentSpace& space, Uuid disk_id,
                                  bool keep_crcs) {
  CloudImage image;
  const log::StreamSlot* slot = space.find_stream(disk_id);
  if (slot == nullptr) {
    image.damage.push_back("cloud log: belongs to another disk");
    co_return image;
  }
  const auto found = co_await log::find_segments(reactor, space, &image.unreadable);
  if (image.unreadable > 0) co_return image;
  ImageVisitor visitor(space, image, keep_crcs);
  log::StreamRecoveryOptions options;
  options.disk_id = disk_id;
  options.tail_order = slot->tail_order;
  image.stream = co_await log::recover_stream(space, options, found, visitor);
  image.unreadable = image.stream.unreadable;
  if (image.unreadable > 0) co_return image;
  apply_cuts(image);
  image.floor = Seq(slot->floor_seq);
  for (const CloudImage::Item& item : image.items) {
    const bool range =
        item.entry.kind == log::EntryKind::cut || item.entry.kind == log::EntryKind::empty;
    if ((item.entry.flags & log::kMorePieces) != 0) continue;
    image.seqs.add(Seq(item.entry.seq), range ? item.entry.count : 1);
  }
  image.contiguous = image.seqs.contiguous_from(image.floor);
  image.highest = std::max(Seq(image.stream.max_seq), image.floor);
  co_return image;
}

}  // namespace latte
