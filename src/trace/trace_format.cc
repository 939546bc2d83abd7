#include "trace/trace_format.h"

#include <algorithm>
#include <array>
#include <utility>

#include "trace/record_parser.h"
#include "trace/vscsi_format.h"

namespace latte::trace {
namespace {

constexpr std::array kNames = {
    std::pair{TraceFormat::csv, std::string_view("csv")},
    std::pair{TraceFormat::msr, std::string_view("msr")},
    std::pair{TraceFormat::vscsi1, std::string_view("vscsi1")},
    std::pair{TraceFormat::vscsi2, std::string_view("vscsi2")},
    std::pair{TraceFormat::fio, std::string_view("fio")},
    std::pair{TraceFormat::blkparse, std::string_view("blkparse")},
};

/// Are the first two records (or the only one) of this version?
template <typename Record>
bool looks_like_vscsi(std::string_view beginning, uint16_t version) {
  if (beginning.size() < sizeof(Record)) return false;
  for (size_t at = 0; at + sizeof(Record) <= beginning.size() && at <= sizeof(Record);
       at += sizeof(Record)) {
    Record record;
    std::copy_n(beginning.data() + at, sizeof(Record), reinterpret_cast<char*>(&record));
    if (record.version >> 8 != version) return false;
  }
  return true;
}

bool is_number(std::string_view text) {
  return !text.empty() && text.find_first_not_of("0123456789") == std::string_view::npos;
}

/// "8,0", as blkparse names a device.
bool is_device_number(std::string_view text) {
  const size_t comma = text.find(',');
  return comma != std::string_view::npos && is_number(text.substr(0, comma)) &&
         is_number(text.substr(comma + 1));
}

}  // namespace

std::string_view to_string(TraceFormat format) {
  for (const auto& [value, name] : kNames)
    if (value == format) return name;
  return "unknown";
}

std::optional<TraceFormat> trace_format_named(std::string_view name) {
  for (const auto& [value, known] : kNames)
    if (known == name) return value;
  return std::nullopt;
}

std::optional<TraceFormat> detect_trace_format(std::string_view beginning) {
  if (beginning.starts_with("fio version ")) return TraceFormat::fio;
  // A text has no zero bytes; every vscsi record does, its size and command leave room for them.
  if (beginning.substr(0, sizeof(VscsiRecord2)).find('\0') != std::string_view::npos) {
    if (looks_like_vscsi<VscsiRecord2>(beginning, 2)) return TraceFormat::vscsi2;
    if (looks_like_vscsi<VscsiRecord1>(beginning, 1)) return TraceFormat::vscsi1;
    return std::nullopt;
  }
  const std::string_view line = beginning.substr(0, beginning.find('\n'));
  Fields words(line, ' ');
  if (is_device_number(words.next()) && is_number(words.next())) return TraceFormat::blkparse;
  const auto commas = std::count(line.begin(), line.end(), ',');
  if (commas == 3) return TraceFormat::csv;
  if (commas == 6) return TraceFormat::msr;
  return std::nullopt;
}

}  // namespace latte::trace
