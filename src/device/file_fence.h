// FileFence: a generation number in a file, shared by all processes that have a file volume open.
// It only goes up. Whoever has a lower generation may not write any more.
//
// Thread rule: one reactor. All calls block for a file access (a page-cache hit on a local file
// system).
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "base/io_status.h"
#include "base/result.h"
#include "device/unique_fd.h"

namespace latte {

class FileFence {
 public:
  /// Makes the file with generation 0 if it is missing. Errors: io, no_space.
  static Result<void> create(const std::string& path);
  static Result<std::unique_ptr<FileFence>> open(const std::string& path, bool read_only);

  /// Errors: io, damaged (wrong size).
  Result<uint64_t> read() const;
  /// Raises the fence, durably; `generation` must be above what read() says. Errors: io, no_space.
  Result<void> raise(uint64_t generation);

  /// The generation this process writes as; 0 until adopt().
  uint64_t own_generation() const { return own_generation_; }
  void adopt(uint64_t generation) { own_generation_ = generation; }
  /// ok if this process may write, fenced if a newer one owns the volume, io_error if it can't be
  /// known.
  IoStatus check() const;

 private:
  FileFence(std::string path, UniqueFd fd) : path_(std::move(path)), fd_(std::move(fd)) {}

  std::string path_;
  UniqueFd fd_;
  uint64_t own_generation_ = 0;
};

}  // namespace latte
