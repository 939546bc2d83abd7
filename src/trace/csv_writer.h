// CsvWriter: a live disk's requests as lines of the project's own form, such that TraceReader takes
// every one of them.
//
// Invariants: times don't go back; what meets another request of the same microsecond, and one of
// the two writes, comes a microsecond later.
// Thread rule: one thread at a time.
#pragma once

#include <string>
#include <vector>

#include "trace/trace_record.h"

namespace latte::trace {

class CsvWriter {
 public:
  /// The form's first line, with its newline.
  static const char* header() { return "timestamp_us,op,offset_bytes,length_bytes\n"; }

  /// Appends a line to `out`. False if the form has no place for the request: it moves no bytes and
  /// is no flush, or is out of range or too long (trace_record.h).
  bool add(const TraceRecord& record, std::string& out);

 private:
  bool meets_another(const TraceRecord& record) const;

  uint64_t time_us_ = 0;                   // of the last line
  std::vector<TraceRecord> same_instant_;  // lines of that microsecond
};

}  // namespace latte::trace
